"""Study files: what they expand to, and what a wrong one is told."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from far.architecture import costs
from far.errors import ConfigError
from orchestrator.study import Study, load_study, profile_names
from orchestrator.study.profiles import packaged_studies

PAPER = ["attention_pattern", "interaction", "classifier", "head_ratio", "interaction_position"]
SHIPPED = sorted(path for path in packaged_studies().rglob("*.yaml") if path.parent.name != "profiles")
PROFILES = profile_names([packaged_studies() / "profiles"])


def names(study: Study) -> list[str]:
    return [row.name for row in study.rows]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_resolves(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert study.rows
    assert study.row(study.baseline or "") in study.rows
    assert len(study.seeds) >= 2


@pytest.mark.parametrize("profile", PROFILES)
def test_every_shipped_profile_serves_every_shipped_study(profile: str) -> None:
    for path in sorted(packaged_studies().glob("*.yaml")):
        study = load_study(path, profile=profile)
        assert study.profile.name == profile
        assert study.profile.title
        for row in study.rows:
            assert costs.flops(row.config.model, row.config.data.classes) > 0


@pytest.mark.parametrize("data", ["ssv2", "k400"])
@pytest.mark.parametrize("size", ["small", "base"])
@pytest.mark.parametrize("ancestor", ["videomae", "mvd"])
def test_paper_profiles_are_table_1(data: str, size: str, ancestor: str) -> None:
    table = json.loads((resources.files("orchestrator.study") / "paper_tables.json").read_text())["1"]
    names = {"videomae": "VideoMAE", "mvd": "MVD", "ssv2": "Sth-Sth V2", "k400": "Kinetics-400"}
    column = table["columns"].index(f"FAR ({names[ancestor]}) {names[data]}")
    wanted = {row[0]: row[column] for row in table["rows"]}
    wanted = {k: v[size[0].upper()] if isinstance(v, dict) else v for k, v in wanted.items()}
    study = load_study("head_ratio", profile=f"{data}-{size}-{ancestor}")
    config = study.row("1:1").config
    recipe, augment = config.recipe, config.recipe.augment
    assert study.profile.comparable
    assert {
        "learning rate": recipe.lr,
        "weight decay": recipe.weight_decay,
        "momentum": recipe.betas,
        "batch size": recipe.batch_size,
        "warmup epochs": recipe.warmup_epochs,
        "training epochs": recipe.epochs,
        "drop path": config.model.drop_path,
        "layer-wise lr decay": recipe.layer_decay,
        "repeated augmentation": augment.repeats,
        "flip augmentation": config.data.flip,
        "RandAug": [augment.randaug_magnitude, augment.randaug_std],
        "label smoothing": recipe.label_smoothing,
        "mixup": augment.mixup,
        "cutmix": augment.cutmix,
        "accumulation step": recipe.batch_size // (config.run.devices * (config.run.micro_batch or 0)),
    } == {key: value for key, value in wanted.items() if key not in ("optimizer", "lr schedule")}


def test_abstract_profiles_cannot_be_run() -> None:
    with pytest.raises(ConfigError, match=r"only there to be extended.*ssv2-small-mvd"):
        load_study("head_ratio", profile="paper-ssv2")


def test_tables_2_to_6_cover_the_papers_rows() -> None:
    studies = map(load_study, PAPER)
    tables = {study.table: [name for name in names(study) if name != study.control] for study in studies}
    assert tables == {
        2: ["Global", "Sparse-Dense", "Temporal", "Head-Split Temporal", "Head-Split Sparse-Dense"],
        3: ["w/o Bottleneck", "Bottleneck w Group", "Bottleneck w/o Group"],
        4: ["Global-Mean", "Group-Mean"],
        5: ["1:1", "2:1", "1:2"],
        6: ["Before Attention", "After Attention", "After MLP"],
    }


def test_layers_later_ones_win(study) -> None:
    loaded = study(
        """
        study: s
        base: {recipe.epochs: 3, recipe: {lr: 0.1}}
        rows:
          a: {recipe.lr: 0.2}
          b:
        """,
        overrides=["recipe.epochs=5"],
    )
    a, b = loaded.row("a").config, loaded.row("b").config
    assert (a.recipe.epochs, a.recipe.lr) == (5, 0.2)
    assert b.recipe.lr == 0.1
    assert a.model.width == 96  # the demo profile, under everything


def test_seeds_of_the_command_line_replace_the_studys(study) -> None:
    text = "study: s\nrows: {a: {}}\nseeds: [4, 7]"
    assert study(text).seeds == (4, 7)
    assert study(text, seeds=3).seeds == (0, 1, 2)
    assert study(text, seeds=[9]).seeds == (9,)


def test_grid_and_zip_multiply_rows(study) -> None:
    loaded = study(
        """
        study: s
        rows: {a: {}, b: {model.interaction: none}}
        grid: {recipe.lr: [0.1, 0.2]}
        zip: {recipe.epochs: [1, 2], recipe.batch_size: [8, 16]}
        """
    )
    assert len(loaded.rows) == 8
    assert names(loaded)[0] == "a, lr=0.1, epochs=1, batch_size=8"
    last = loaded.rows[-1].config
    assert (last.recipe.lr, last.recipe.epochs, last.recipe.batch_size) == (0.2, 2, 16)
    assert last.model.interaction == "none"


def test_include_and_exclude(study) -> None:
    loaded = study(
        """
        study: s
        grid: {recipe.lr: [0.1, 0.2], recipe.epochs: [1, 2]}
        exclude: [{recipe: {lr: 0.2}, recipe.epochs: 2}]
        include: {special: {recipe.lr: 0.5}}
        """
    )
    assert names(loaded) == ["lr=0.1, epochs=1", "lr=0.1, epochs=2", "lr=0.2, epochs=1", "special"]


def test_ablations_have_one_row_a_distinct_set_of_components(study) -> None:
    loaded = study(
        """
        study: s
        ablate:
          components:
            split: {without: {model.attention: {global: 1}}}
            exchange: {without: {model.interaction: none}}
            groups: {without: {model.classifier: global-mean}}
          modes: [leave-one-out, add-one-in, cumulative]
        """
    )
    assert names(loaded) == [
        "full", "w/o split", "w/o exchange", "w/o groups",
        "none", "+ split", "+ exchange", "+ groups",
    ]  # "+ split + exchange" is "w/o groups"  # fmt: skip
    without = loaded.row("w/o exchange").config.model
    assert (without.interaction, without.classifier) == ("none", "group-mean")
    only = loaded.row("+ exchange").config.model
    assert (only.interaction, only.classifier, only.attention) == ("bottleneck", "global-mean", {"global": 1})
    models = [row.config.model_dump_json() for row in loaded.rows]
    assert len(set(models)) == len(models)


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("study: s\nrwos: {a: {}}", 2, "rwos", "'rows'"),
        ("study: s\nrows:\n  a:\n    model.widht: 3", 4, "model.widht", "'width'"),
        ("study: s\nrows:\n  a:\n    model:\n      attention: {globl: 1}", 5, "model.attention", "'global'"),
        ("study: s\nrows:\n  a: {model.interaction: bottlneck}", 3, "model.interaction", "'bottleneck'"),
        ("study: s\nrows:\n  a: {recipe.epochs: 2.5}", 3, "recipe.epochs", "whole number"),
        ("study: s\nrows:\n  a: {recipe.epochs: '3'}", 3, "recipe.epochs", "whole number"),
        ("study: s\nrows:\n  a: {model.attention: {global: 3, temporal: 1}}", 3, "model.attention", "3:1"),
        ("study: s\nrows: {Abc: {}}\nbaseline: Abd", 3, "baseline", "'Abc'"),
        ("study: s\nrows: {a: {}}\nseeds: 0", 3, "seeds", "at least 1"),
        ("study: s\nrows: {a: {}}\nseeds: [1, 1]", 3, "seeds", "twice"),
        ("study: s\nrows:\n  a: {seed: 3}", 3, "seed", "seeds"),
        ("study: s\nrows: {a: {}}\nprofile: dmo", 3, "profile", "'demo'"),
        ("study: s\nrows: {a: {}}\nexclude:\n  - {recipe.lr: 7.0}", 4, "exclude.0", "no row"),
        ("study: s\nzip: {recipe.lr: [0.1], recipe.epochs: [1, 2]}", 2, "zip", "one length"),
        ("study: s\nrows: {a: {}}\nresources: {gpus: 1.5}", 3, "resources.gpus", "whole number"),
        ("study: s\nrows: {a: {}}\nresources:\n  gpu: 1", 4, "resources.gpu", "'gpus'"),
        ("study: s\nrows: {a: {}}\nretry: {lots: 1}", 3, "retry.lots", "'lost'"),
        ("study: s", 1, "rows", "varies nothing"),
        ("study: s\ngrid: {recipe.lr: [0.1, 0.1]}", 2, "grid", "two rows"),
        ("study: s\nrows: {a: {}}\nsearch:\n  space: {recipe.lr: {low: 1.0}}", 4, "space.recipe.lr", "low < high"),
        ("study: s\nrows: {a: {}}\nsearch:\n  space: {recipe.lr: {lo: 1.0}}", 4, "space.recipe.lr.lo", "'low'"),
        ("study: s\nablate:\n  modes: [leave-one]\n  components: {a: {without: {x: 1}}}", 3, "ablate.modes", "one-out"),
        ("study: s\nrows: {a: {}}\nrows: {b: {}}", 3, "", "duplicate"),
        ("study: s\nrows: {a: {}", None, "", "YAML"),
        ("study: my study\nrows: {a: {}}", 1, "study", "e.g. my-study"),
        ("study: s\nrows: [a, b]", 2, "rows", "must be a mapping of keys to values, e.g. {A: "),
        ("study: s\nrows:", 2, "rows", "must be a mapping"),
        ("study: s\nrows: {'': {}}", 2, "rows", "needs a name"),
        ("study: s\nrows: {a: {}}\nseeds: [0, -1]", 3, "seeds.1", "must be at least 0, not -1"),
        ("study: s\nrows: {a: {}}\nseeds: [0, 1.0]", 3, "seeds.1", "must be a whole number, not 1.0"),
        ("study: s\nrows: {a: {}}\nseeds: []", 3, "seeds", "at least 1 entry, e.g. 3 or [0, 1, 4]"),
        ("study: s\nrows: {a: {}}\nseeds: two", 3, "seeds", "a whole number or a list, e.g. 3 or [0, 1, 4], not 'two'"),
        ("study: s\nrows: {a: {}}\nbase: !include b.yaml", 3, "", "'!include' is a YAML tag"),
        ("study: s\nrows: {a: {}}\nbase: {seed: 3}", 3, "seed", "'seeds'"),
        ("study: s\nrows: {a: {}}\nbase: {recipe.epochs: 3, recipe: {epochs: 4}}", 3, "recipe.epochs", "duplicate key"),
        ("study: s\nrows:\n  a: {recipe.lr: 0.1, recipe: {lr: 0.2}}", 3, "recipe.lr", "duplicate key"),
        ("study: s\nrows: {a: {}}\ngrid:\n  recipe.lr: [0.1, 0.2, 0.1]", 4, "grid.recipe.lr", "0.1 is listed twice"),
        ("study: s\nzip: {recipe.lr: [1, 1], recipe.epochs: [2, 2]}", 2, "zip", "[1, 2] is listed twice"),
        ("study: s\nrows: {a: {}}\ntable: 9", 3, "table", "no table 9 of results (valid: 2, 3"),
        ("study: s\nrows: {a: {}}\ntable: 1", 3, "table", "no table 1"),
        ("study: s\nrows: {1e3: {}}\nexclude: [{row: 1e3}]", 3, "exclude.0.row", "quote it"),
        ("study: s\nrows: {a: {}}\nresources: {gpus: many}", 3, "resources.gpus", "must be a number or 'auto'"),
        ("study: s\nrows: {a: {}}\nretry: {wait_seconds: .inf}", 3, "retry.wait_seconds", "a finite number"),
        ("study: s\nrows: {a: {}}\nbudget: {hours: 1e400}", 3, "budget.hours", "a finite number"),
        ("study: s\nrows:\n  a: {data.stride: 2}", 3, "data.stride", "has no effect: data.sampling"),
        ("study: s\nrows: {a: {}}\ngrid:\n  data.stride: [2, 4]", 4, "data.stride", "has no effect"),
        ("study: s\nrows:\n  a: {recipe.warmup_epochs: 9}", 3, "recipe.warmup_epochs", "recipe.epochs = 8"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(study, text: str, line: int | None, key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study(text)
    message = str(caught.value)
    assert f"s.yaml:{line or ''}" in message
    assert key in message
    assert said in message


def test_wrong_override_names_the_command_line(study) -> None:
    with pytest.raises(ConfigError, match=r"command line: recipe\.epoch.*'epochs'"):
        study("study: s\nrows: {a: {}}", overrides=["recipe.epoch=3"])


def test_unknown_study_and_profile_offer_the_nearest(study) -> None:
    with pytest.raises(ConfigError, match="'head_ratio'"):
        load_study("head_rato")
    with pytest.raises(ConfigError, match=r"command line.*'demo'"):
        load_study("head_ratio", profile="demmo")


def test_profile_beside_the_study_wins_and_extends(study, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "half.yaml").write_text(
        "profile: half\nextends: demo\nsettings: {recipe: {epochs: 1}, data: {demo: {noise: 0.5}}}"
    )
    loaded = study("study: s\nprofile: half\nrows: {a: {}}")
    config = loaded.row("a").config
    assert (loaded.profile.name, config.recipe.epochs, config.data.demo.noise) == ("half", 1, 0.5)
    assert config.model.width == 96

    (tmp_path / "profiles" / "half.yaml").write_text("profile: half\nsettings: {recipe: {epoch: 1}}")
    with pytest.raises(ConfigError, match=r"half\.yaml:2: recipe\.epoch.*'epochs'"):
        study("study: s\nprofile: half\nrows: {a: {}}")


def test_profiles_that_extend_each_other_are_refused(study, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "a.yaml").write_text("profile: a\nextends: b")
    (tmp_path / "profiles" / "b.yaml").write_text("profile: b\nextends: a")
    with pytest.raises(ConfigError, match="a -> b -> a"):
        study("study: s\nprofile: a\nrows: {a: {}}")


def test_row_names_are_those_that_were_typed(study) -> None:
    assert names(study("study: s\nrows:\n  1e3: {}\n  0.10: {}\n  ~: {}\n  0x10: {}\n  yes: {}\n")) == [
        "1e3", "0.10", "~", "0x10", "yes",
    ]  # fmt: skip


def test_a_grid_over_a_component_and_its_setting_is_meant(study) -> None:
    """In some of the rows the setting has no effect; that two of them are then the same trial is said elsewhere."""
    grid = "{model.interaction: [none, bottleneck], recipe.new_module_lr: [1.0, 2.0]}"
    assert len(study(f"study: s\ngrid: {grid}").rows) == 4
    with pytest.raises(ConfigError, match=r"new_module_lr: has no effect: model\.interaction is none"):
        study(f"study: s\nbase: {{model.interaction: none}}\ngrid: {grid.replace('none, bottleneck', 'none')}")


def test_an_override_must_have_an_effect_in_some_row() -> None:
    assert load_study("interaction", overrides=["recipe.new_module_lr=2.0"])
    with pytest.raises(ConfigError, match=r"command line: recipe\.new_module_lr: has no effect"):
        load_study("attention_pattern", overrides=["recipe.new_module_lr=2.0"])


def test_run_settings_beside_the_studys_own_resources_are_refused(study) -> None:
    text = "study: s\nrows: {a: {}}\nresources: {gpus: 2, cpus: 3}"
    for override in ("run.devices=4", "run.cpus=1"):
        with pytest.raises(ConfigError, match=r"command line: run\..*: has no effect: resources\..pus of the study"):
            study(text, overrides=[override])
    assert study("study: s\nrows: {a: {}}\nresources: {gpus: 0.5}", overrides=["run.devices=2"])


def test_devices_that_decide_numbers_are_said_once(study) -> None:
    base = "{model.interaction: bottleneck-batchnorm, run.micro_batch: 4, run.devices: %d}"
    text = f"study: s\nbase: {base}\nrows: {{a: {{}}}}\n"
    assert study(text % 2 + "resources: {gpus: 2}")
    with pytest.raises(ConfigError, match=r"s\.yaml:4: resources\.gpus: 2 conflicts with run\.devices = 1"):
        study(text % 1 + "resources: {gpus: 2}")


def test_a_profiles_warm_up_is_scaled_and_said_for_a_shorter_training() -> None:
    short = load_study("head_ratio", profile="ssv2-small-mvd", overrides=["recipe.epochs=3"])
    assert {row.config.recipe.warmup_epochs for row in short.rows} == {0.375}
    assert short.notes == (
        "recipe.warmup_epochs = 0.375: 5 of 40 epochs, scaled to recipe.epochs = 3; set it to have another",
    )
    assert load_study("head_ratio", profile="ssv2-small-mvd").notes == ()
