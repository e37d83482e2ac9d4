"""Impossible networks: each error names the key, the reason, and what would be possible."""

import pytest

from far.config.trial import ModelConfig
from far.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "key", "reason", "choices"),
    [
        ({"heads": 5}, "model.heads", "width 384 is not a multiple of 5 heads", {"4", "6"}),
        ({"clip": [16, 220, 224]}, "model.clip", "height 220 is not a multiple of the token's 16", {"208", "224"}),
        ({"clip": [15, 224, 224]}, "model.clip", "frames 15", {"14", "16"}),
        ({"attention": {"global": 1, "sparse-dense": 3}}, "model.attention", "ratio 1:3", {"3:3", "2:4"}),
        ({"attention": {"global": 1, "temporal": 2, "spatial": 2}}, "model.attention", "1:2:2", {"2:2:2", "1:1:4"}),
        ({"attention": {"sparse": 1}}, "model.attention", "unknown attention pattern 'sparse'", {"sparse-dense"}),
        ({"attention": {}}, "model.attention", "empty head layout", {"global"}),
        ({"attention": []}, "model.attention", "empty list", set()),
        ({"interaction": "botleneck"}, "model.interaction", "unknown token-group interaction", {"bottleneck"}),
        ({"interaction_position": "after"}, "model.interaction_position", "unknown interaction", {"after-mlp"}),
        ({"classifier": "mean"}, "model.classifier", "unknown classifier", {"group-mean"}),
        ({"backbone": "huge"}, "model.backbone", "unknown backbone", {"large"}),
        ({"position_embedding": "sin"}, "model.position_embedding", "unknown position", {"auto", "sincos-3d"}),
        (
            {"width": 40, "heads": 5, "position_embedding": "sincos-3d", "interaction": "none",
             "attention": {"global": 1}},
            "model.position_embedding", "a width that 16 divides", {"sinusoid-1d"},
        ),
        ({"width": 90}, "model.width", "a width that 4 divides, not 90", {"88", "92"}),
        ({"width": 40, "heads": 4}, "model.interaction", "4 groups do not divide its 10", {"bottleneck-ungrouped"}),
        ({"mlp_ratio": 0.001}, "model.mlp_ratio", "no channel", set()),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(changes: dict[str, object], key: str, reason: str, choices: set[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        ModelConfig.model_validate(changes)
    assert caught.value.key == key
    assert reason in str(caught.value)
    assert choices <= set(caught.value.choices)
