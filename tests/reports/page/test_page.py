"""The page, and the account of a cell."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from far.errors import ConfigError
from far.evaluate.frame_order import ORDERS
from reports.figures import Options
from reports.page import watch
from reports.page.build import Picture, build_page
from reports.page.serve import PageServer
from reports.renderers import RENDERERS
from reports.results.results import Results
from reports.tables.ablation import build_table
from reports.tables.footnotes import scale_warning
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


def test_watching_draws_what_has_changed_and_ends_when_nothing_is_pending(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial is missing for two looks, then it finishes; another study is through all the time."""
    monkeypatch.chdir(tmp_path)
    skip = {("1:2", 1)}
    whole = make_results("classifier")
    slept: list[float] = []
    seen: list[str] = []
    collected: list[int] = []
    drawn: list[str] = []
    results = make_results("head_ratio", skip=skip)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        seen.append((tmp_path / "out" / "index.html").read_text())
        if len(slept) == 3:
            make_results("head_ratio")

    def collect() -> list[Results]:
        collected.append(len(slept))
        return [whole, results if len(slept) < 3 else make_results("head_ratio")]

    def picture(name: str, results: Results, options: Options) -> Picture:
        drawn.append(f"{name} {results.study}")
        return Picture(name, problem="none")

    monkeypatch.setattr(watch.time, "sleep", sleep)
    monkeypatch.setattr("reports.page.build.picture", picture)
    tables = watch.write_page(tmp_path / "out", watch.Watch(collect, []), every=5)
    assert collected == [0, 3]  # between two changes nothing is read
    assert len(slept) == 3 and slept[1] == 5
    assert '<meta http-equiv="refresh" content="5">' in seen[0]
    assert "1 missing" in seen[0]
    final = (tmp_path / "out" / "index.html").read_text()
    assert "refresh" not in final
    assert not any(table.unfinished for table in tables)
    assert drawn.count("pareto head_ratio") == 2 and drawn.count("pareto classifier") == 1
    assert capsys.readouterr().out.count("watching; open file://") == 1


def test_a_page_is_served_alone_and_only_here(make_results: MakeResults, tmp_path: Path) -> None:
    def ask(path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        found = answer.status, dict(answer.headers), answer.read().decode()
        connection.close()
        return found

    server = PageServer(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        results = make_results("head_ratio", skip={(row, seed) for row in ("2:1", "1:2") for seed in (0, 1)})
        page = watch.Watch(lambda: [results], [])
        page.look()
        server.page, server.version = page.page(live="one").encode(), "one"
        status, headers, text = ask("/")
        assert status == 200 and "2 of 6 trials finished" in text
        assert check(text).scripts == 1 and 'nonce="one"' in text
        assert "script-src 'nonce-one'" in headers["Content-Security-Policy"]
        assert ask("/", **{"If-None-Match": headers["ETag"]})[0] == 304
        for path in ("/index.html", "/../runs/store.id", "//etc/passwd", "/%2e%2e/farlab.toml"):
            assert ask(path)[0] == 404
        assert ask("/", Host="elsewhere.example")[0] == 403  # a name of somebody else's that leads here
        with pytest.raises(ConfigError, match=f"--port: {server.server_port} is taken"):
            PageServer(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_only_numbers_of_the_demo_are_said_to_show_that_the_pipeline_works(make_results: MakeResults) -> None:
    results = make_results("head_ratio")
    assert "the pipeline works" in scale_warning(results)
    config = results.configs["1:1"]
    own = config.model_copy(update={"data": config.data.model_copy(update={"source": "mine"})})
    warning = scale_warning(replace(results, configs={"1:1": own}))
    assert "pipeline" not in warning and "not comparable with the paper's" in warning


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


def test_a_page_measures_nothing_where_what_was_kept_is_damaged_or_of_another_attempt(
    make_results: MakeResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.page.build.FIGURES", ())
    results = make_results("head_ratio", seeds=1)
    whole = {"finished_at": "2026-11-01T12:00:00Z", "top1": dict.fromkeys(ORDERS, 50.0)}
    for said, drawn in ((whole, 1), ({**whole, "finished_at": "before"}, 0), ({**whole, "top1": 5}, 0)):
        for trial in results.finished:
            assert trial.directory is not None
            (trial.directory / "order.json").write_text(json.dumps(said))
        page = build_page(build_all([], [results]), [results], Options(data_root=tmp_path))
        assert page.count("<b>Sensitivity to the order of frames") == drawn
