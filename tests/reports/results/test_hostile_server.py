"""A tracking server that lies: what it calls things is never a path here, and nonsense is one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reports.results.mlflow import TrackingError, read_runs
from reports.results.results import Results
from reports.results.state import State
from reports.results.trials import TrialRecord

MakeResults = Callable[..., Results]

pytestmark = pytest.mark.slow  # importing MLflow takes seconds

FILES = ("result.json", "trial.json", "metrics.jsonl", "predictions.parquet")


class FakeServer:
    """Answers MLflow's client as it is told to.

    Attributes:
        answers: JSON by the end of the request's path; ``*`` for any other.
        uri: where it listens.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                found = next((value for end, value in fake.answers.items() if path.endswith(end)), None)
                found = fake.answers.get("*", {}) if found is None else found
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    made.close()


@pytest.fixture
def plan(make_results: MakeResults, tmp_path: Path) -> Results:
    """A study of one trial that has not run here."""
    study = tmp_path / "one.yaml"
    study.write_text("study: one\nrows:\n  a: {recipe.epochs: 2}\nseeds: 1\n")
    return make_results(study, seeds=1, skip={("a", 0)})


def trial_of(results: Results) -> TrialRecord:
    return results.rows[0].planned[0]


def lie(fake: FakeServer, plan: Results, run_id: str, artifacts: Path) -> None:
    """Let the server say that a run of this id has finished the trial."""
    key = trial_of(plan).key
    tags = {"farlab.kind": "trial", "farlab.profile": plan.profile, "farlab.key": key, "farlab.row": "a"}
    run = {
        "info": {"run_id": run_id, "run_uuid": run_id, "experiment_id": "1", "status": "FINISHED",
                 "lifecycle_stage": "active", "artifact_uri": artifacts.as_uri()},
        "data": {"tags": [{"key": name, "value": value} for name, value in tags.items()]},
    }  # fmt: skip
    experiment = {"experiment_id": "1", "name": plan.study, "lifecycle_stage": "active"}
    fake.answers = {
        "experiments/get-by-name": {"experiment": experiment},
        "runs/search": {"runs": [run]},
        "runs/get": {"run": run},
    }


@pytest.mark.parametrize("form", ["absolute", "upwards", "dots", "empty", "nul", "long"])
def test_a_run_id_is_no_path(form: str, fake: FakeServer, plan: Results, tmp_path: Path) -> None:
    trial, cache = trial_of(plan), tmp_path / "runs" / "mlflow-cache"
    assert trial.directory is not None
    target = trial.directory if form == "absolute" else tmp_path / "runs"
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (target / name).write_text("the truth")
    artifacts = tmp_path / "theirs"
    artifacts.mkdir()
    forged = {"key": trial.key, "state": "finished", "metrics": {"top1": 99.0, "top5": 99.9, "loss": 0.1}}
    (artifacts / "result.json").write_text(json.dumps(forged))
    ids = {"absolute": str(target), "upwards": f"../trials/{trial.key}", "dots": "..", "empty": "", "nul": "a\0b"}
    lie(fake, plan, ids.get(form, "x" * 5000), artifacts)
    found = trial_of(read_runs(plan, fake.uri, cache))
    assert found.directory is None or found.directory.resolve().is_relative_to(cache)
    assert [(target / name).read_text() for name in FILES] == ["the truth"] * 4


def test_what_one_server_says_is_not_taken_for_anothers(fake: FakeServer, plan: Results, tmp_path: Path) -> None:
    cache, trial, other = tmp_path / "cache", trial_of(plan), FakeServer()
    for server, top1 in ((fake, 99.0), (other, 50.0)):
        artifacts = tmp_path / f"{top1:g}"
        artifacts.mkdir()
        said = {"key": trial.key, "state": "finished", "metrics": {"top1": top1, "top5": 99.9, "loss": 0.1}}
        (artifacts / "result.json").write_text(json.dumps(said))
        lie(server, plan, "a" * 32, artifacts)
    assert trial_of(read_runs(plan, fake.uri, cache)).metric("top1") == 99.0
    assert trial_of(read_runs(plan, other.uri, cache)).metric("top1") == 50.0
    other.close()


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"key": "another", "state": "finished", "metrics": {"top1": 99.0}},
        {"key": "KEY", "state": "finished", "metrics": {"top1": "<b>99</b>"}},
        {"key": "KEY", "state": "finished", "metrics": [1]},
        {"key": "KEY", "state": "splendid", "metrics": {}},
        [1, 2],
        "text",
    ],
)
def test_a_result_that_is_none_is_no_number(result: Any, fake: FakeServer, plan: Results, tmp_path: Path) -> None:
    artifacts = tmp_path / "theirs"
    artifacts.mkdir()
    (artifacts / "result.json").write_text(json.dumps(result).replace("KEY", trial_of(plan).key))
    (artifacts / "trial.json").mkdir()  # a folder where a file should be
    lie(fake, plan, "a" * 32, artifacts)
    for _ in range(2):
        found = trial_of(read_runs(plan, fake.uri, tmp_path / "cache"))
        assert (found.state, found.metric("top1")) == (State.MISSING, None)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"", [], {"experiment": 3}, {"experiment": {"experiment_id": "1"}, "runs": [{}]}, b"\xff\xfe"]
)
def test_nonsense_is_one_line(answer: Any, fake: FakeServer, plan: Results, tmp_path: Path) -> None:
    fake.answers = {"*": answer}
    uri = fake.uri.replace("http://", "http://bob:s3cret@")
    try:
        found = read_runs(replace(plan), uri, tmp_path / "cache")
    except TrackingError as error:
        assert "\n" not in str(error)
        assert "s3cret" not in str(error)
    else:
        assert trial_of(found).state is State.MISSING
        assert "s3cret" not in f"{found.problems}{found.tracking_uri}"
