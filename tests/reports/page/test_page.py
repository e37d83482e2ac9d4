"""The page, and the account of a cell."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from far.errors import ConfigError
from reports.figures import Options
from reports.page import watch
from reports.page.build import build_page
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.results.state import State
from reports.tables.ablation import build_table
from reports.tables.provenance import command, trace
from reports.tables.registry import build_all

MakeResults = Callable[..., Results]
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
VOID = {"meta", "img", "br", "link", "hr", "input", "wbr"}


class Checker(HTMLParser):
    """Follows the nesting of elements, and remembers what a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        self.loads += [value or "" for name, value in attrs if name in ("src",) or (tag == "link" and name == "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_the_page_is_whole_escaped_and_loads_nothing(make_results: MakeResults) -> None:
    failed = {"state": "failed", "metrics": None, "error": {"kind": EVIL, "message": EVIL}}
    results = make_results("head_ratio", seeds=3, changes={("2:1", 1): failed}, skip={("1:2", 2)})
    page = build_page(build_all([1, 7], [results]), [results], Options())
    found = check(page)
    assert found.scripts == 0
    assert found.loads and all(load.startswith("data:image/svg+xml;base64,") for load in found.loads)
    assert "7 of 9 trials finished" in page
    assert "1 failed" in page and "1 missing" in page
    for part in ("Table 1.", "Table 5.", "Table 7.", "McNemar", "minutes per trial", "abc1234", "farlab sweep"):
        assert part in page


def test_every_html_table_is_escaped(make_results: MakeResults, tmp_path: Path) -> None:
    study = tmp_path / "evil.yaml"
    rows = {f"{EVIL} & 50 % #1_$x": "{model.attention: {global: 1}}", "plain": "{model.classifier: global-mean}"}
    study.write_text("study: evil\nrows:\n" + "".join(f"  '{name}': {value}\n" for name, value in rows.items()))
    table = build_table(make_results(study))
    assert check(RENDERERS["html"]([table])).scripts == 0
    assert r"50 \% \#1\_\$x" in RENDERERS["latex"]([table])


def test_watching_ends_when_nothing_is_pending(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(watch.time, "sleep", slept.append)
    monkeypatch.chdir(tmp_path)
    states = [make_results("head_ratio", skip={("1:2", 1)}), make_results("head_ratio")]
    states[0].collected["1:2"][1].__dict__["state"] = State.RUNNING
    seen: list[str] = []

    def collect() -> list[Results]:
        if slept:
            seen.append((tmp_path / "out" / "index.html").read_text())
        return [states.pop(0)]

    tables = watch.write_page(tmp_path / "out", collect, [], everything=False, every=5)
    assert slept == [5]
    assert '<meta http-equiv="refresh" content="5">' in seen[0]
    assert "1 running" in seen[0]
    final = (tmp_path / "out" / "index.html").read_text()
    assert "refresh" not in final
    assert not tables[0].unfinished


def test_a_cell_is_traced_to_its_files(make_results: MakeResults) -> None:
    results = make_results("head_ratio", seeds=[3, 5], skip={("2:1", 5)})
    text = trace([results], "2:1", "top1")
    trial = results.row("2:1").finished[0]
    assert trial.directory is not None
    assert str(trial.directory / "result.json") in text
    assert "mean over 1 of 2 seeds" in text
    assert re.search(r"seed 5: missing  \(not in the average\)", text)
    assert "the paper prints 70.7" in text
    assert command(results).endswith("--profile demo --seeds 3,5")
    with pytest.raises(ConfigError, match="no row '3:1'"):
        trace([results], "3:1", "top1")
    with pytest.raises(ConfigError, match="unknown metric"):
        trace([results], "2:1", "top2")
