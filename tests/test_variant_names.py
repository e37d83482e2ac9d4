"""Nobody compares with a registered name outside the module that registers it: a variant says itself what it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [path for name in ("far", "farlab", "orchestrator", "reports") for path in (ROOT / name).rglob("*.py")]
MEANT_OTHERWISE = {
    ("far/definitions.py", "far"),  # the package
    ("reports/selection.py", "mlflow"),  # what --from takes for the workspace's own tracking store
    ("reports/results/collect.py", "mlflow"),
    ("far/weights/facts.py", "farlab"),  # an entry of a file's metadata
    ("far/weights/facts.py", "videomae"),  # transformers' model_type
    ("orchestrator/executors/ray/nodes.py", "local"),  # an address that Ray takes
    ("orchestrator/commands/status.py", "loss"),  # a column's title
    ("farlab/frames.py", "loss"),  # columns of an epoch's record
    ("orchestrator/commands/show.py", "loss"),  # how a number is written
    ("reports/page/summary.py", "top1"),  # the paper's measure: a column, a key of a result
    ("reports/tables/lines.py", "top1"),
    ("reports/results/validity.py", "top1"),
    ("reports/page/build.py", "curves"),  # the one figure that shows what still runs
    ("orchestrator/monitor/status.py", "interrupted"),  # the state of a trial
    ("orchestrator/commands/cancel.py", "interrupted"),
}
"""File and word, where the word is no variant's name though a variant is called so."""


def registered(trees: dict[Path, ast.Module]) -> dict[str, set[Path]]:
    """Names of variants, each with the files that register it; a constant stands for its value."""
    found: dict[str, set[Path]] = defaultdict(set)
    for path, tree in trees.items():
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            registry, first = node.func.value, node.args[0]
            if node.func.attr != "register" or not (isinstance(registry, ast.Name) and registry.id.isupper()):
                continue
            name = first.value if isinstance(first, ast.Constant) else constants.get(getattr(first, "id", ""))
            if isinstance(name, str):
                found[name].add(path)
    return found


def compared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string that something is compared with or matched by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            for part in getattr(side, "elts", [side]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def test_no_variants_name_is_compared_with_outside_its_module() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    names = registered(trees)
    assert {"none", "dense", "far", "sinusoid-1d", "group-mean"} <= set(names)
    wrong = [
        f"{place}:{line}: {text!r}"
        for path, tree in trees.items()
        if (place := path.relative_to(ROOT).as_posix())
        for line, text in compared(tree)
        if text in names and path not in names[text] and (place, text) not in MEANT_OTHERWISE
    ]
    assert not wrong, "a variant's name is compared with outside its module:\n" + "\n".join(wrong)
