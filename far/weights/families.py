"""Families of checkpoints: how each is recognised, how its names become ours, which positions it was trained with.

Ours are the names of VideoMAE's fine-tuning state dict; ``attn.{q,k,v}.*`` and ``attn.qkv.bias`` are fused afterwards
(``far.weights.source``). Sources: MCG-NJU/VideoMAE, OpenGVLab/VideoMAEv2, ruiwang2021/mvd, facebookresearch/mae_st,
facebookresearch/omnivore, Hugging Face transformers (both layouts of its VideoMAE).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from far.registry import Registry

Shapes = Mapping[str, tuple[int, ...]]
IMPOSSIBLE, POSSIBLE, SURE = 0, 1, 2

Rule = tuple[str, str | None]
"""A regular expression for a whole name, and our name for it (None: not used by a classifier)."""

LINEAR = r"\.(weight|bias)"
ENCODER: tuple[Rule, ...] = (
    (r"patch_embed\.proj" + LINEAR, r"patch_embed.proj.\1"),
    (r"blocks\.(\d+)\.(norm1|norm2|attn\.(?:qkv|proj|q|k|v)|mlp\.fc[12])" + LINEAR, r"blocks.\1.\2.\3"),
    (r"blocks\.(\d+)\.attn\.([qv]_bias)", r"blocks.\1.attn.\2"),
)
CLASSIFIER: tuple[Rule, ...] = ((r"(fc_norm|head)" + LINEAR, r"\1.\2"),)
PRETRAINING: tuple[Rule, ...] = (
    (r"norm" + LINEAR, None),  # over tokens; the classifier normalises their mean instead
    (r"(encoder_to_decoder|decoder)\..*|mask_token", None),
)


@dataclass(frozen=True)
class Family:
    """One lineage of checkpoints.

    Attributes:
        title: what people call it.
        position_embedding: the table it was trained with (``far.model.position``).
        evidence: from names and shapes, whether a file is of this family: impossible, possible or sure.
        rules: names, the first rule that matches a whole name decides.
    """

    title: str
    position_embedding: str
    evidence: Callable[[Shapes], int]
    rules: tuple[Rule, ...]

    def translate(self, name: str) -> tuple[bool, str | None]:
        """Return whether the family knows the name, and our name for it (None: not used)."""
        for pattern, ours in self.rules:
            match = re.fullmatch(pattern, name)
            if match:
                return True, None if ours is None else match.expand(ours)
        return False, None


FAMILIES: Registry[Family] = Registry("family of weights")
"""In the order in which they are preferred where names alone do not tell."""


def _any(shapes: Shapes, pattern: str) -> bool:
    return any(re.match(pattern, name) for name in shapes)


def _plain(shapes: Shapes) -> bool:
    """Whether the names are those of VideoMAE's own code, pre-trained or fine-tuned."""
    return _any(shapes, r"(encoder\.)?blocks\.0\.attn\.qkv\.weight") and _any(
        shapes, r"(encoder\.)?blocks\.0\.attn\.q_bias"
    )


MVD_STUDENT = r"(decoder|mask_token|pos_embed|down)_(img|vid)\b"

FAMILIES.register("farlab")(
    Family(
        "FARLab",
        "auto",  # its files say which
        lambda s: SURE if _any(s, r"blocks\.0\.interaction\.") or "farlab" in s else IMPOSSIBLE,
        (
            *ENCODER,
            (r"blocks\.(\d+)\.interaction\.(norm|reduce|conv|expand)" + LINEAR, r"blocks.\1.interaction.\2.\3"),
            *CLASSIFIER,
            (r"pos_embed", r"pos_embed"),
            (r"farlab", None),
        ),
    )
)
FAMILIES.register("videomae-v2")(
    Family(
        "VideoMAE V2",
        "sinusoid-1d",
        lambda s: (
            IMPOSSIBLE
            if not _plain(s) or _any(s, MVD_STUDENT)
            else SURE
            if s.get("head.weight", (0,))[0] == 710
            else POSSIBLE
        ),
        (
            *((r"(?:encoder\.)?" + pattern, ours) for pattern, ours in ENCODER),
            *CLASSIFIER,
            (r"encoder\.norm" + LINEAR, None),
            *PRETRAINING,
        ),
    )
)
VIDEOMAE = Family(
    "VideoMAE",
    "sinusoid-1d",
    lambda s: SURE if _plain(s) and not _any(s, MVD_STUDENT) and s.get("head.weight", (0,))[0] != 710 else IMPOSSIBLE,
    FAMILIES["videomae-v2"].rules,
)
FAMILIES.register("videomae")(VIDEOMAE)
FAMILIES.register("mvd")(
    Family(
        "MVD",
        "sincos-3d",
        lambda s: (
            IMPOSSIBLE  # its students have no prefix
            if not _plain(s) or _any(s, r"encoder\.")
            else SURE
            if _any(s, MVD_STUDENT)
            else POSSIBLE
        ),
        (
            *((r"(?:encoder\.)?" + pattern, ours) for pattern, ours in ENCODER),
            *CLASSIFIER,
            (MVD_STUDENT + r".*", None),
            (r"pos_embed", r"pos_embed"),
            *PRETRAINING,
        ),
    )
)
FAMILIES.register("st-mae")(
    Family(
        "ST-MAE",
        "learned",
        lambda s: SURE if _any(s, r"blocks\.0\.attn\.q\.weight") and _any(s, r"pos_embed") else IMPOSSIBLE,
        (
            *ENCODER,
            (r"norm" + LINEAR, r"fc_norm.\1"),  # mae_st applies it to the mean of the tokens
            (r"head(?:\.projection)?" + LINEAR, r"head.\1"),
            (r"(pos_embed(?:_spatial|_temporal)?)", r"\1"),
            (r"pos_embed_class|cls_token|mask_token|decoder_.*|pred_head\..*", None),
        ),
    )
)
FAMILIES.register("omnimae")(
    Family(
        "OmniMAE",
        "sinusoid-1d",
        lambda s: SURE if _any(s, r"trunk\.blocks\.0\.attn\.qkv\.weight") else IMPOSSIBLE,
        (
            (r"trunk\.patch_embed\.proj\.1" + LINEAR, r"patch_embed.proj.\1"),
            *((r"trunk\." + pattern, ours) for pattern, ours in ENCODER[1:]),
            (r"trunk\.norm" + LINEAR, r"fc_norm.\1"),
            (r"trunk\.pos_embed", r"pos_embed"),
            (r"trunk\.(decoder\..*|mask_token)", None),
            (r"head" + LINEAR, r"head.\1"),
            (r"head\..*", None),
        ),
    )
)
_LAYER = r"videomae\.encoder\.layer\.(\d+)\."
_HF_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    r"attention\.attention\.query": "attn.q",
    r"attention\.attention\.key": "attn.k",
    r"attention\.attention\.value": "attn.v",
    r"attention\.output\.dense": "attn.proj",
    r"intermediate\.dense": "mlp.fc1",
    r"output\.dense": "mlp.fc2",
}
FAMILIES.register("huggingface")(
    Family(
        "Hugging Face VideoMAE",
        "sinusoid-1d",
        lambda s: SURE if _any(s, _LAYER) else IMPOSSIBLE,
        (
            (r"videomae\.embeddings\.patch_embeddings\.projection" + LINEAR, r"patch_embed.proj.\1"),
            *((_LAYER + theirs + LINEAR, rf"blocks.\1.{ours}.\2") for theirs, ours in _HF_NAMES.items()),
            (_LAYER + r"attention\.attention\.([qv]_bias)", r"blocks.\1.attn.\2"),
            (r"fc_norm" + LINEAR, r"fc_norm.\1"),
            (r"classifier" + LINEAR, r"head.\1"),
            (r"videomae\.layernorm" + LINEAR, None),
            (r"videomae\.embeddings\.position_embeddings", None),
            *PRETRAINING,
        ),
    )
)


def candidates(shapes: Shapes) -> list[str]:
    """Return the families that a file may be of, the likeliest first."""
    evidence = {name: family.evidence(shapes) for name, family in FAMILIES.items()}
    return sorted((name for name, found in evidence.items() if found), key=lambda name: -evidence[name])
