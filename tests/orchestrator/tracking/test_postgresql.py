"""The mirror on a real PostgreSQL without a server before it: artifacts in the store, and the password nowhere."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from far.store.atomic import append_json_line, write_json
from far.store.paths import TrialPaths
from orchestrator.tracking.mirror import Mirror, connect
from orchestrator.tracking.tracked import Sweep, TrackedTrial

pytestmark = pytest.mark.slow  # making the tables takes seconds
PASSWORD = "s3cret-word"
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nonexistent"))


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The address of an empty data base, password included."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    initdb = shutil.which("initdb", path=BINARIES) or shutil.which("initdb")
    if initdb is None:
        pytest.skip("PostgreSQL is not installed")
    place, user = Path(tempfile.mkdtemp(prefix="farlab-postgresql-")), None  # pytest's folders are for one user
    if os.geteuid() == 0:  # as which it refuses to run
        user = pwd.getpwnam("nobody")
        shutil.chown(place, user.pw_uid, user.pw_gid)

    def run(program: str, *arguments: str | Path) -> None:
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        command = [Path(initdb).with_name(program), *arguments]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, **who)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr or done.stdout

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    (place / "password").write_text(PASSWORD)
    run("initdb", "-D", "data", "-U", "farlab", "--pwfile=password", "-A", "scram-sha-256", "--no-sync")
    options = f"-p {port} -k '' -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")
    try:
        yield f"postgresql+psycopg2://farlab:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(place)


def test_a_sweep_is_mirrored_moved_renamed_and_rebuilt(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs"
    trials = [TrackedTrial(f"key{n}", f"row {n}", 0, place / "trials" / f"key{n}") for n in range(2)]
    for trial in trials:
        paths = TrialPaths(trial.directory)
        write_json(paths.trial, {"key": trial.key, "config": {"model": {"depth": 12}}})
        append_json_line(paths.metrics, {"epoch": 0, "train_loss": 2.0})
        write_json(paths.result, {"key": trial.key, "state": "finished", "metrics": {"top1": 50.0}, "seconds": 60.0,
                                  "finished_at": "2026-01-01T00:01:00+00:00"})  # fmt: skip
    tags = {"farlab.study": "a_study", "farlab.store": "s" * 32}
    sweep = Sweep("a_study", "demo", trials, place / "state.json", place / "mlartifacts", tags)
    assert Mirror(postgresql, [sweep]).close()
    client = connect(postgresql)
    experiment = client.get_experiment_by_name("a_study").experiment_id
    before = client.search_runs([experiment])
    assert {(run.info.end_time - run.info.start_time) / 1000 for run in before} == {60.0}
    assert not [path for path in tmp_path.iterdir() if path != place], "no artifacts in the working directory"

    moved = place.rename(tmp_path / "moved")
    trials = [replace(trial, row=f"new {trial.row}", directory=moved / "trials" / trial.key) for trial in trials]
    sweep = replace(sweep, trials=trials, state=moved / "state.json", artifacts=moved / "mlartifacts")
    assert Mirror(postgresql, [sweep]).close()
    renamed = {run.info.run_id: run for run in client.search_runs([experiment], "tags.`farlab.kind` = 'trial'")}
    assert {run.data.params["row"] for run in renamed.values()} == {"new row 0", "new row 1"}
    assert renamed.keys() < {run.info.run_id for run in before}
    for name, run in renamed.items():
        assert run.info.artifact_uri.startswith(moved.as_uri()) and client.list_artifacts(name)

    assert Mirror(postgresql, [sweep], rebuild=True).close()
    after = client.search_runs([experiment], run_view_type=3)  # deleted ones included
    assert len(after) == 3 and not {run.info.run_id for run in after} & {run.info.run_id for run in before}
    assert len(list((moved / "mlartifacts" / "a_study").iterdir())) == 2

    # MLflow itself would try for two minutes to reach it.
    broken = Mirror(postgresql.replace("/postgres", "/none"), [sweep])
    assert not broken.close(timeout=1.0)
    said = "".join([*capfd.readouterr(), broken.reason])
    kept = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "none" in broken.reason and PASSWORD not in said and PASSWORD not in kept
