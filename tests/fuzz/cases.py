"""Strategies: what may stand in files, on the command line and in the environment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import farlab

COMMANDS = dict(farlab.leaves(farlab.build_app()))

NAMES = [
    "q", "head_ratio", "demo", "a", "1:1", "", " ", ".", "..", "/", "a/b", "~", "~nobody/x", "-", "--", "=",
    "-n", "a=b",
    "[/x]", "[red]r", ":x:", "\x1b[31mred", "\x1b]0;t\x07", "\x9b2J", "‮r", "é", "日本", "😀", "ﬁ", "$x_$ tot$", "{x}",
    "%s", "\\", "a\nb", "a\tb", "null", "1e400", "nan", "x" * 300, "../" * 40, "recipe.lr=1", "model.attention={a",
    "recipe.lr=.inf", "data.source=nope", "data={}", "recipe.epochs=99999999999999999999", "seed=1", "model.depth=0",
    "q.yaml", "studies", "data", "runs", "weights", "farlab.toml", "lists", "junk.bin", "empty", "trial.json",
]  # fmt: skip
NUMBERS = ["0", "1", "2", "-1", "3.5", "nan", "inf", "-inf", "1e400", "9" * 30, "1_0", "٣", "0x10", "", "x"]
WORDS = {
    "profile": ["demo", "csv", "ssv2-small-mvd", "tiny", "nope"],
    "seeds": ["1", "2", "0,1", "3,", ",", "1,1", "-1", "x"],
    "table": ["5", "2-6", "1", "7", "9", "5-", "x", "6..2"],
    "format_": ["md", "latex", "html", "csv", "json", "term", "nope"],
    "output": ["o.md", "o.tex", "o.html", "o.csv", "o.json", "o.png", "o.pdf", "o.xyz", "empty", "q.yaml/x.md",
               "/proc/x.md"],
    "device": ["a100-80g", "h100", "nope"],
    "budget": ["8h", "2d", "1trials", "40gpuh", "0h", "-1h", "nanh", "x"],
    "executor": ["ray", "local", "nope"],
    "state": ["finished", "failed", "nope"],
    "views": ["1x1", "2x3", "0x1", "99999x99999", "x"],
    "order": ["natural", "reversed", "nope"],
    "layout": ["ssv2", "k400", "csv", "folder", "nope"],
    "name": ["2", "patterns", "pareto", "curves", "classes", "order", "6", "nope", "mine"],
    "from_": ["mlflow", "sqlite:///nope.db", "http://127.0.0.1:1", "x://y"],
    "tracking_uri": ["sqlite:///x.db", "http://127.0.0.1:1", "http://u:p@127.0.0.1:1", "foo", "x://y"],
    "address": ["auto", "127.0.0.1:1", "foo", "ray://x"],
    "host": ["127.0.0.1", "203.0.113.1", "no.such.host.invalid", "x" * 80, "é"],
    "store": ["runs", "empty", "nope", "q.yaml"],
    "family": ["vit", "nope"],
    "explain": ["a", "top1", "1:1", "nope"],
    "kills": ["1", "0"], "seed": ["0", "1", "-1"], "period": ["1", "0"], "devices": ["1", "2", "0"],
    "clip": ["16", "1", "0"],
    "folder": ["lists", "mine", "empty", "nope"], "source": ["demo", "mine", "nope"], "split": ["train", "val", "nope"],
    "file": ["weights/w.pth", "junk.bin", "runs", "nope"], "config": ["tiny", "demo", "q.yaml", "nope"],
    "interval": ["1", "0"], "difference": ["0.4", "0"], "videos": ["100", "1"], "goal": ["0.8", "2"],
    "port": ["1", "99999"],
    "seed_sd": ["0.1", "-1"], "disagreement": ["5", "200"], "timeout": ["0.1", "-1"], "frames": ["2", "0"],
    "target": ["1", "-1"],
}  # fmt: skip

names = st.one_of(
    st.sampled_from(NAMES),
    st.text(max_size=12),
    st.binary(max_size=6).map(lambda b: b.decode("utf-8", "surrogateescape")),
)
values = st.one_of(names, st.sampled_from(NUMBERS))
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(), st.text(max_size=10),
    st.sampled_from(NAMES), st.sampled_from([10**400, -0.0, float("nan"), "1e3", "off", "2026-01-01"]),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
)

STUDY: dict[str, Any] = {
    "study": "q", "title": "Title", "table": 5, "row_header": "Row", "profile": "tiny",
    "base": {"model": {"depth": 1}, "recipe.lr": 0.1},
    "rows": {"a": {"model.attention": {"global": 1}}, "b": None, "c": {"recipe": {"epochs": 3}}},
    "grid": {"recipe.batch_size": [4, 8]}, "zip": {"recipe.weight_decay": [0.0, 0.1], "recipe.warmup_epochs": [0, 1]},
    "include": {"extra": {"recipe.lr": 0.3}},
    "exclude": [{"row": "a, batch_size=4, weight_decay=0.0, warmup_epochs=0"}],
    "ablate": {"components": {"x": {"without": {"model.drop_path": 0.1}}}, "modes": ["leave-one-out"]},
    "seeds": [0, 1], "resources": {"gpus": 0, "cpus": 1, "concurrent": 2}, "retry": {"lost": 1},
    "budget": {"hours": 1.5}, "baseline": None,
    "search": {"space": {"recipe.lr": {"low": 0.1, "high": 0.5}}, "trials": 2, "objectives": [{"metric": "top1"}]},
    "scales": {},
}  # fmt: skip
OPTIONAL = ("table", "profile", "grid", "zip", "include", "exclude", "ablate", "baseline", "search", "scales", "budget")
SETTINGS = {
    "store": "runs", "data_root": "data", "weights_root": "weights", "tracking_uri": "sqlite:///x.db",
    "ray_address": "auto", "profile": "tiny", "device": "h100", "devices": 2,
}  # fmt: skip


def paths_of(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in nested mappings and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in items for path in ((*here, key), *paths_of(value, (*here, key)))]


@st.composite
def spoilt(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """Replace, remove or rename a few places of a tree that is right."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(0, most))):
        places = paths_of(tree)
        if not places:
            break
        *parents, last = draw(st.sampled_from(places))
        node = tree
        for key in parents:
            node = node[key]
        action = draw(st.sampled_from(["replace", "remove", "rename", "junk"]))
        if action == "remove":
            del node[last]
        elif action == "rename" and isinstance(node, dict):
            node[draw(st.one_of(names, st.sampled_from(["model", "recipe.lr", "seed", "profile"])))] = node.pop(last)
        else:
            node[last] = draw(leaves if action == "replace" else trees)
    return tree


def as_yaml(tree: Any) -> bytes:
    """Write a tree as YAML flow style, with its non-finite numbers."""
    text = json.dumps(tree)
    return text.replace("Infinity", ".inf").replace("NaN", ".nan").encode()


@st.composite
def studies(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["spoilt"] * 6 + ["names", "encoding", "bytes", "text"]))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    if kind == "text":
        signs = st.text("study: rows{}[]&*!|>'\"\n\t -#%@`,?=\x00\x1b\u2028\ufeff", max_size=60)
        return draw(signs).encode("utf-8", "surrogatepass")
    left_out = draw(st.sets(st.sampled_from(OPTIONAL)))
    tree = {key: value for key, value in STUDY.items() if key not in left_out}
    if kind == "names":
        tree = {key: value for key, value in tree.items() if key not in ("exclude", "baseline", "grid", "zip")}
        tree["rows"] = {draw(names).replace("\udcff", ""): {"recipe.lr": 0.1 * (i + 1)} for i in range(3)}
        tree["title"], tree["row_header"] = draw(names), draw(names)
    text = as_yaml(draw(spoilt(tree)) if kind == "spoilt" else tree)
    if kind == "encoding":
        how = draw(st.sampled_from(["utf-16", "utf-8-sig", "latin-1", "utf-32"]))
        return text.decode().replace("Title", "Café").encode(how, "replace")
    return text


@st.composite
def settings_files(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["right"] * 3 + ["spoilt"] * 4 + ["bytes"]))
    if kind == "bytes":
        return draw(
            st.one_of(st.binary(max_size=40), st.just(b"x = " + b"[" * 3000), st.just("profile='é'".encode("latin-1")))
        )
    chosen = draw(st.sets(st.sampled_from(sorted(SETTINGS)), max_size=4))
    tree = {key: SETTINGS[key] for key in chosen}
    if kind == "spoilt":
        tree = {**tree, draw(st.one_of(st.sampled_from(sorted(SETTINGS)), names)): draw(leaves)}
    lines = [f"{json.dumps(str(key))} = {json.dumps(value)}" for key, value in tree.items() if value is not None]
    return "\n".join(lines).replace("NaN", "nan").replace("Infinity", "inf").encode("utf-8", "surrogatepass")


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """Draw a command with its parameters: half the time plausible ones alone, else with some junk among them."""
    if draw(st.integers(0, 30)) == 30:
        return draw(st.lists(values, max_size=4))
    words = draw(st.sampled_from(sorted(COMMANDS)))
    junk = draw(st.booleans())
    found, positional = list(words), []
    for param in COMMANDS[words].params:
        usual = WORDS.get(param.name, ["q", "a", "1", "2"])
        plausible = st.sampled_from(usual if junk else usual[: max(1, len(usual) // 2)])
        value = st.one_of(plausible, plausible, values) if junk else plausible
        if param.param_type_name == "argument":
            many = param.nargs == -1
            count = draw(st.integers(0, 2)) if many else int(param.required or draw(st.booleans()))
            right = st.sampled_from(["q", "q.yaml", "head_ratio", "recipe.epochs=2"]) if many else value
            positional += [draw(st.one_of(right, right, value)) for _ in range(count)]
        elif draw(st.integers(0, 6)) == 6:
            found.append(draw(st.sampled_from(param.opts)))
            found += [] if param.is_flag else [draw(value) for _ in range(param.nargs)]
    whole = [*found, *positional, *bounded(words)]
    return [text for text in whole if words != ("plan",) or text != "--probe"]  # it would train


def bounded(words: tuple[str, ...]) -> list[str]:
    """Return what keeps a command from training, serving or waiting."""
    return {
        ("sweep",): ["--dry-run"],
        ("train",): ["--dry-run"],
        ("chaos",): ["--fault", "none"],
        ("ui",): ["--host", "203.0.113.1"],
        ("data", "generate"): ["data.demo={train_clips: 8, val_clips: 8, size: 32}"],
        ("sync",): ["--timeout", "0.1"],
        ("resume",): ["--address", "foo"],
        ("retry",): ["--address", "foo"],
    }.get(words, [])


environments = st.fixed_dictionaries(
    {},
    optional={
        "COLUMNS": st.sampled_from(["0", "1", "80", "99999999999", "x", "-5"]),
        "NO_COLOR": st.just("1"),
        "TERM": st.sampled_from(["dumb", "", "xterm-256color", "x\x1by"]),
        "HOME": st.sampled_from(["/proc/none", "", "q.yaml"]),
        "TMPDIR": st.sampled_from(["/proc/none", "", "tmp dir"]),
        "MLFLOW_TRACKING_URI": st.sampled_from(["foo", "http://127.0.0.1:1"]),
        "RAY_ADDRESS": st.sampled_from(["auto", "127.0.0.1:1"]),
        "WORLD_SIZE": st.sampled_from(["", "2", "x", "0", "-1"]),
        "RANK": st.sampled_from(["", "0", "x", "9"]),
        "MASTER_ADDR": st.sampled_from(["", "127.0.0.1"]),
        "CUDA_VISIBLE_DEVICES": st.sampled_from(["", "-1", "x"]),
    },
)


@dataclass(frozen=True)
class Case:
    """One invocation: files by path, what happens to the store, environment, arguments, and how output is taken."""

    arguments: list[str]
    study: bytes
    settings: bytes | None
    damage: list[tuple[str, bytes]]
    environment: dict[str, str]
    encoding: str = "utf-8"
    stream: str = "pipe"
    below: bool = False
    extra: dict[str, bytes] = field(default_factory=dict)


damages = st.lists(
    st.tuples(
        st.sampled_from(
            ["result.json", "trial.json", "metrics.jsonl", "predictions.parquet", "log.txt", "progress.json",
             "study.lock.yaml", "driver.lock", "manifest.parquet", "mine.parquet", "classes", "profile", "store.id"]
        ),
        st.one_of(
            st.binary(max_size=30), trees.map(lambda tree: json.dumps(tree).encode()), st.just(b"{}"), st.just(b""),
            st.just(b'{"state": "finished"}'), st.just(b"\xff\xfe"), st.just(b"DIRECTORY"), st.just(b"LOOP"),
        ),
    ),
    max_size=2,
)  # fmt: skip

cases = st.builds(
    Case,
    arguments=arguments(),
    study=studies(),
    settings=st.one_of(st.none(), st.none(), settings_files()),
    damage=damages,
    environment=environments,
    encoding=st.sampled_from(["utf-8"] * 4 + ["latin-1", "ascii", "cp1252"]),
    stream=st.sampled_from(["pipe"] * 5 + ["full", "closed", "head", "none"]),
    below=st.booleans(),
    extra=st.dictionaries(
        st.sampled_from(["lists/list.csv", "lists/labels.json", "junk.bin", "mine/v.mp4"]),
        st.binary(max_size=50),
        max_size=2,
    ),
)
