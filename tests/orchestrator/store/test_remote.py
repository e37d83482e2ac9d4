"""A store at a URL, over a real FTP server: what one machine has begun, another one finishes."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from far.errors import ConfigError
from far.store.atomic import read_json, write_json
from far.store.paths import TrialPaths
from orchestrator.store.remote import RemoteStore, RemoteStoreError
from orchestrator.store.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    (tmp_path / "ftp").mkdir()
    users = DummyAuthorizer()
    users.add_user("user", "secret", str(tmp_path / "ftp"), perm="elradfmwMT")

    class Handler(FTPHandler):
        authorizer = users

    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"timeout": 0.1}, daemon=True)
    thread.start()
    yield f"ftp://user:secret@127.0.0.1:{server.address[1]}/farlab"
    server.close_all()
    thread.join(10)


def make_trial(store: Store, key: str, epochs: int, starts: int = 1) -> TrialPaths:
    paths = store.paths(key)
    write_json(paths.trial, {"key": key, "config": {}, "attempts": [{"epoch": 0}] * starts})
    folder = paths.checkpoints / f"epoch-{epochs:04d}"
    folder.mkdir(parents=True)
    for name in ("model.pt", "optimiser.pt"):
        (folder / name).write_bytes(f"{name} after {epochs}".encode() * 1000)
    paths.metrics.write_text('{"epoch": 0}\n' * epochs)
    return paths


def test_a_trial_moves_to_another_machine(url: str, tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    paths, other = make_trial(here, "k", 2), there.paths("k")
    remote_store = RemoteStore(url)
    remote_store.push_trial(paths)
    RemoteStore(url).pull_trial(other)
    checkpoint = "checkpoints/epoch-0002/model.pt"
    assert (other.directory / checkpoint).read_bytes() == (paths.directory / checkpoint).read_bytes()
    assert not other.result.exists()

    make_trial(there, "k", 3, starts=2)  # it goes on there
    write_json(other.result, {"key": "k", "state": "finished", "metrics": {}})
    (other.checkpoints / "epoch-0002" / "model.pt").unlink()
    (other.checkpoints / "epoch-0002" / "optimiser.pt").unlink()
    (other.checkpoints / "epoch-0002").rmdir()
    RemoteStore(url).push_trial(other)
    remote_store.push(here, ["k"])  # what is older here does not undo it
    remote_store.pull(here)
    assert read_json(paths.result)["state"] == "finished"
    assert len(read_json(paths.trial)["attempts"]) == 2
    assert sorted(path.name for path in (tmp_path / "ftp/farlab/trials/k/checkpoints").iterdir()) == ["epoch-0003"]

    paths.checkpoints.rename(tmp_path / "gone")
    remote_store.set_aside("k", 1)  # to be run anew: nobody goes on from what it had come to, and it is there
    RemoteStore(url).pull_trial(paths)
    assert not paths.checkpoints.exists()
    aside = tmp_path / "ftp/farlab/trials/k/earlier/1"
    assert read_json(aside / "result.json")["state"] == "finished"
    assert [path.name for path in (aside / "checkpoints/epoch-0003").glob("model.pt")] == ["model.pt"]

    remote_store.submit(paths)  # to be run again
    remote_store.pull(fresh := Store(tmp_path / "fresh"))
    assert fresh.result("k") is None


def test_what_was_cut_off_on_its_way_is_not_taken(url: str, tmp_path: Path) -> None:
    paths = make_trial(Store(tmp_path / "here"), "k", 2)
    write_json(paths.result, {"key": "k", "state": "finished", "metrics": {}})
    RemoteStore(url).push_trial(paths)
    remote = tmp_path / "ftp/farlab/trials/k"
    (remote / "result.json").write_bytes(b'{"key": "k", "sta')
    (remote / "checkpoints/epoch-0002/files.json").unlink()
    other = Store(tmp_path / "there")
    RemoteStore(url).pull(other)
    RemoteStore(url).pull_trial(other.paths("k"))
    assert not other.paths("k").result.exists()
    assert not other.paths("k").checkpoints.exists()


def test_what_the_url_calls_a_file_is_no_path(url: str, tmp_path: Path) -> None:
    paths = make_trial(Store(tmp_path / "here"), "k", 2)
    RemoteStore(url).push_trial(paths)
    listed = tmp_path / "ftp/farlab/trials/k/checkpoints/epoch-0002/files.json"
    (listed.parent / "evil").write_text("x")
    other = Store(tmp_path / "there")
    for name in ("../../../evil", str(tmp_path / "evil"), "..", ""):
        listed.write_text(json.dumps({name: 1}))
        with pytest.raises(RemoteStoreError, match="cannot be the name of a file"):
            RemoteStore(url).pull_trial(other.paths("k"))
    assert not list(tmp_path.rglob("there/**/evil")) and not (tmp_path / "evil").exists()
    for key in ("../x", "/x", "..", "", "a/b", "a\0"):
        with pytest.raises(ConfigError, match="cannot be the name of a"):
            other.paths(key)
        with pytest.raises(ConfigError, match="cannot be the name of a"):
            other.study(key)


def test_no_error_tells_the_password(tmp_path: Path) -> None:
    url = "ftp://user:s3cret@127.0.0.1:1/farlab"
    with pytest.raises(RemoteStoreError) as caught:
        RemoteStore(url).pull(Store(tmp_path))
    assert "ftp://127.0.0.1:1/farlab" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_unknown_kind_of_url_is_refused_by_name() -> None:
    with pytest.raises(RemoteStoreError, match="nosuch://bucket/x cannot be opened"):
        RemoteStore("nosuch://bucket/x")


def test_a_sweep_that_one_machine_began_is_finished_by_another(
    url: str, make_lab: Callable[..., Any], undisturbed: Any, wait: Callable[..., Any]
) -> None:
    first, second = make_lab(), make_lab()
    for lab in (first, second):
        with (lab.directory / "farlab.toml").open("a") as stream:
            stream.write(f"store = '{url}'\n")
    process = first.start("study.yaml", "--executor", "local")
    wait(lambda: first.epochs() >= 4)  # in the middle of the second trial
    process.send_signal(signal.SIGKILL)
    process.communicate()
    told = second.call("--json", command="status")
    assert '"finished"' in told.stdout, told.stderr
    done = second.sweep()
    assert done.returncode == 0, done.stderr
    assert "3/3 trials finished" in done.stdout
    assert second.wrong(undisturbed) == []
    starts = [len(second.store.trial(key)["attempts"]) for key in sorted(second.store.keys())]
    assert sorted(starts) == [1, 1, 2]
    table = ("--study", "study.yaml", "--format", "csv")
    assert first.call(*table, command="report").stdout == second.call(*table, command="report").stdout != ""
