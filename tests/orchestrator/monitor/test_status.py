"""Status and logs, from what lies in the store; resume, retry and cancel of a submitted study."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import farlab
from far.errors import ConfigError
from far.store.atomic import append_json_line, read_json, write_json
from far.store.records import write_heartbeat, write_result
from orchestrator.commands.logs import follow_file
from orchestrator.monitor.status import chosen, statuses
from orchestrator.plan.lockfile import write_lockfile
from orchestrator.plan.plan import Plan, make_plan
from orchestrator.store.store import Store, is_held
from orchestrator.study import load_study

TINY = """
study: tiny
rows:
  a: {model.attention: {global: 1}}
  b: {}
seeds: 1
base:
  model: {depth: 2, clip: [8, 32, 32]}
  data.demo: {train_clips: 40, val_clips: 20, size: 32}
  recipe: {epochs: 1, batch_size: 8, warmup_epochs: 0}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    store = Store(tmp_path / "runs")
    made = make_plan(load_study("tiny.yaml", seeds=2), store, manifest_hash=lambda data: "d")
    write_lockfile(made, store)
    return made


@pytest.fixture
def store(plan: Plan, tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_states_epochs_and_errors_are_read_off_the_store(plan: Plan, store: Store) -> None:
    done, running, failed, _ = (trial.key for trial in plan.trials)
    write_json(store.paths(done).result, {"key": done, "state": "finished", "metrics": {"top1": 51.0}})
    error = {"kind": "data", "message": "no such video"}
    write_json(store.paths(failed).result, {"key": failed, "state": "failed", "metrics": {}, "error": error})
    store.write_trial(running, {"attempts": [{}, {}]})
    append_json_line(store.paths(running).metrics, {"epoch": 0, "train_loss": 2.0, "val_top1": 12.5})
    write_json(store.paths(running).progress, {"phase": "train", "epoch": 1, "done": 3, "total": 4, "loss": 1.5})
    with store.lock_trial(running), store.lock_study("tiny"):
        (study,) = statuses(store)
    assert f"process {os.getpid()}" in (study.driver or "")
    first, second, third, fourth = study.trials
    assert (first.state, first.top1) == ("finished", 51.0)
    assert (second.state, second.phase, second.loss, second.top1) == ("running", "train 75 %", 1.5, 12.5)
    assert (second.epoch, second.epochs, second.attempts) == (1, 1, 2)
    assert (third.state, third.error) == ("failed", "data: no such video")
    assert (fourth.state, fourth.attempts) == ("missing", 0)
    assert [study.count(state) for state in ("finished", "running", "failed", "missing")] == [1, 1, 1, 1]


def test_filters(plan: Plan, store: Store) -> None:
    key = plan.trials[3].key

    def keys(**filters) -> list[str]:
        return [t.key for s in chosen(statuses(store), **filters) for t in s.trials]

    assert keys(rows=["b"]) == [plan.trials[2].key, key]
    assert keys(ids=[key[:6]]) == [key]
    assert keys(states=["finished"]) == []
    assert len(keys(states=["missing"])) == 4
    with pytest.raises(ConfigError, match="'missing'"):
        keys(states=["misssing"])
    with pytest.raises(ConfigError, match="no row 'c'"):
        keys(rows=["c"])
    with pytest.raises(ConfigError, match="'tiny'"):
        statuses(store, ["tinny"])
    with pytest.raises(ConfigError, match="'demo'"):
        statuses(store, profile="demoo")


def test_rows_are_chosen_by_their_very_names(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"FAR": {}, "far": {"model.interaction": "none"}, "FAR*": {"recipe.lr": 0.5}}
    base = {"data.demo": {"train_clips": 10, "val_clips": 10, "size": 32}}
    Path("names.yaml").write_text(json.dumps({"study": "names", "base": base, "rows": rows, "seeds": 1}))
    made = make_plan(load_study("names.yaml"), store, manifest_hash=lambda data: "d")
    write_lockfile(made, store)
    for trial in made.trials:
        error = {"kind": "data", "message": "lost"}
        write_json(store.paths(trial.key).result, {"key": trial.key, "state": "failed", "metrics": {}, "error": error})
    for name in rows:
        assert farlab.run(["status", "names", "--json", "--row", name]) == 0
        (study,) = json.loads(capsys.readouterr().out)
        assert [trial["row"] for trial in study["trials"]] == [name]
    for command in (["status", "names"], ["cancel", "names"], ["retry", "names", "--failed"]):
        for wrong, said in (("Far", "'FAR' or 'far'"), ("FAR'", "no row 'FAR''")):
            assert farlab.run([*command, "--row", wrong]) == 2
            assert said in capsys.readouterr().err


def test_the_command_prints_json_and_a_table(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["status", "--json", "--row", "a"]) == 0
    (study,) = json.loads(capsys.readouterr().out)
    assert [trial["seed"] for trial in study["trials"]] == [0, 1]
    assert farlab.run(["status", "--watch"]) == 0  # not running, so it ends
    assert "tiny: 4 missing" in capsys.readouterr().out
    assert farlab.run(["status", "tinny"]) == 2


def test_clips_are_those_of_all_starts(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    done, running, failed, old = (trial.key for trial in plan.trials)
    finished = {"state": "finished", "metrics": {"top1": 51.0}}
    write_result(store.paths(done), {"key": done, **finished}, [{"clips": {"delivered": 60, "decoded": 20}}] * 2)
    store.write_trial(running, {"attempts": [{"clips": {"delivered": 30, "decoded": 30}}, {}]})
    store.write_trial(failed, {"attempts": [{}, {"clips": {"delivered": 5, "decoded": 0}}]})
    write_json(store.paths(old).result, {"key": old, **finished})  # of a version that did not count
    assert statuses(store)[0].trials[1].clips == {"delivered": 30, "decoded": 30}  # its second start has not begun
    for key, said in ((running, {"delivered": 1050, "decoded": 5}), (failed, {"delivered": 5, "decoded": 0})):
        write_heartbeat(store.paths(key), phase="train", epoch=1, done=3, total=4, loss=None, clips=said)
    with store.lock_trial(running):
        (study,) = statuses(store)
        assert farlab.run(["status"]) == 0
    expected = [{"delivered": 120, "decoded": 40}, {"delivered": 1080, "decoded": 35}, {"delivered": 5, "decoded": 0}]
    assert [trial.clips for trial in study.trials] == [*expected, None]
    said = "clips: 1,205 delivered, 75 decoded (0.06 decodings per clip)"
    assert said in capsys.readouterr().out.splitlines()
    assert json.loads(json.dumps(study.as_json()))["clips"] == {"delivered": 1205, "decoded": 75}
    frame = farlab.status().set_index("key")
    assert (frame.loc[done, "delivered"], frame.loc[done, "decoded"]) == (120, 40)
    assert farlab.run(["show", running]) == 0
    assert "1,080 delivered, 35 decoded (0.03 decodings per clip)" in capsys.readouterr().out


def test_a_store_that_counted_no_clips_says_nothing_of_them(
    plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert farlab.run(["status"]) == 0
    assert "clips" not in capsys.readouterr().out
    assert statuses(store)[0].as_json()["clips"] is None


def test_logs_follow_until_the_trial_ends(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    key = plan.trials[0].key
    store.write_trial(key, {})
    store.paths(key).log.write_text("one\n")
    assert farlab.run(["logs", key[:5]]) == 0
    assert capsys.readouterr().out == "one\n"
    lock = store.lock_trial(key).acquire()

    def go_on() -> None:
        time.sleep(0.3)
        with store.paths(key).log.open("a") as stream:
            stream.write("two\n")
        lock.release()

    thread = threading.Thread(target=go_on)
    thread.start()
    assert "".join(follow_file(store, key, wait=0.05)) == "one\ntwo\n"
    thread.join()


def test_logs_of_nothing_are_an_error(plan: Plan, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["logs", "zzz"]) == 2
    store.write_trial("abc", {})
    assert farlab.run(["logs", "abc"]) == 2
    assert "has said nothing yet" in capsys.readouterr().err


DRIVER = """
import signal, sys
from pathlib import Path
from orchestrator.store.store import Store
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with Store(sys.argv[1]).lock_study("tiny"):
    print("driving", flush=True)
    signal.pause()
"""


def test_cancel_stops_the_driver_and_waits_for_it(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert farlab.run(["cancel", "tiny"]) == 2
    assert "is not running" in capsys.readouterr().err
    command = [sys.executable, "-c", DRIVER, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            assert driver.stdout.readline() == "driving\n"
            assert farlab.run(["cancel", "tiny"]) == 0
            assert driver.wait(10) == 0
        finally:
            if driver.poll() is None:
                driver.send_signal(signal.SIGKILL)
    assert not is_held(store.study("tiny").driver_lock)


def test_retry_wants_to_know_what(plan: Plan) -> None:
    assert farlab.run(["retry", "tiny"]) == 2
    assert farlab.run(["retry", "nothing", "--failed"]) == 2


@pytest.mark.slow
def test_resume_runs_what_was_submitted_and_retry_only_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep, an edit of the file, a failure: resume does not see the edit, retry runs the failed trial alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)

    def command(*words: str) -> str:
        capsys.readouterr()
        code = farlab.run([*words, "--executor", "local"])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    command("sweep", "tiny.yaml")
    store = Store(tmp_path / "runs")
    (study,) = statuses(store)
    a, b = study.trials
    assert (a.state, b.state) == ("finished", "finished")

    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 1,", "epochs: 7,"))
    write_json(store.paths(a.key).result, {"key": a.key, "state": "failed", "metrics": {}, "error": None})
    before = store.paths(b.key).result.stat().st_mtime_ns
    command("retry", "tiny", "--failed")
    assert store.state(a.key) == "finished"
    assert store.paths(b.key).result.stat().st_mtime_ns == before
    assert read_json(store.paths(a.key).directory / "result.0.json")["state"] == "failed"

    assert "2 done, 0 to run" in command("resume", "tiny")
    assert [trial.epochs for trial in statuses(store)[0].trials] == [1, 1]
