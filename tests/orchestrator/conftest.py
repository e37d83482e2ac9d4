"""What tests of running sweeps share: a workspace with a small study, and the real command in it."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import farlab
from far.data.decoding.pool import POOL
from far.errors import ConfigError
from far.store.atomic import read_json
from orchestrator.chaos.invariants import MARK, leftovers, violations
from orchestrator.executors.ray.cluster import prepare_environment
from orchestrator.store.store import Store, is_held

prepare_environment(None)  # Ray reads it when it is first imported, which libraries do unasked

STUDY = """
study: small
base:
  model: {depth: 1, clip: [8, 32, 32], tubelet: [2, 8, 8], attention: {global: 1}}
  data: {classes: 10, demo: {train_clips: 40, val_clips: 20, size: 32, motion: 12.0}}
  recipe: {epochs: 3, batch_size: 8, warmup_epochs: 0, lr_reference_batch: 8, precision: fp32}
rows:
  one: {}
  two: {recipe.lr: 5.0e-4}
  three: {recipe.lr: 2.0e-3}
seeds: 1
"""


class Lab:
    """A workspace, and ``farlab`` run in it as a user runs it: in a process of its own, or, for less, in this one."""

    def __init__(self, directory: Path, data: Path, study: str = STUDY) -> None:
        self.directory, self.store, self.mark = directory, Store(directory / "runs"), uuid.uuid4().hex
        if not (directory / "farlab.toml").exists():  # else another worker has made it
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "study.yaml").write_text(study)
            (directory / "farlab.toml").write_text(f"data_root = '{data}'\nmlflow_report = false\n")
        self.environment = {**os.environ, MARK: self.mark}
        self.uri = f"sqlite:///{self.store.root / 'mlflow.db'}"

    def start(self, *arguments: str, command: str = "sweep", **environment: str) -> subprocess.Popen[str]:
        """Start the command; a session of its own, so that signals reach it alone."""
        line = [sys.executable, "-m", "farlab", command, *arguments]
        return subprocess.Popen(
            line, cwd=self.directory, env={**self.environment, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            # A suite that runs in the background ignores Ctrl-C, and so would what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def run(self, *arguments: str, command: str = "sweep", timeout: float = 240, **environment: str) -> Any:
        """Run the command to its end; ``returncode``, ``stdout`` and ``stderr`` tell of it."""
        return self.finish(self.start(*arguments, command=command, **environment), timeout)

    def finish(self, process: subprocess.Popen[str], timeout: float = 240) -> Any:
        """Wait for a command that was started."""
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def call(self, *arguments: str, command: str = "sweep") -> Any:
        """Run the command to its end in this process, which has imported already what takes most of its time."""
        output, errors, before = io.StringIO(), io.StringIO(), dict(os.environ)
        os.environ[MARK] = self.mark
        try:
            with (
                contextlib.chdir(self.directory),
                contextlib.redirect_stdout(output),
                contextlib.redirect_stderr(errors),
            ):
                code = farlab.run([command, *arguments])
        finally:
            POOL.close()  # as the end of the command's own process does
            os.environ.clear()
            os.environ.update(before)
        return subprocess.CompletedProcess([command, *arguments], code, output.getvalue(), errors.getvalue())

    def sweep(self, *arguments: str) -> Any:
        """Run the study with the in-process executor, here: the same trials as on Ray, without its start."""
        return self.call("study.yaml", "--executor", "local", *arguments)

    def writers(self) -> list[int]:
        """Return the processes that hold a trial's lock."""
        found = []
        for key in sorted(self.store.keys()):
            lock = self.store.paths(key).lock
            if is_held(lock) and "pid" in (owner := read_json(lock) or {}):
                found.append(int(owner["pid"]))
        return found

    def epochs(self) -> int:
        """Return how many epochs all trials have finished."""
        paths = [self.store.paths(key).metrics for key in sorted(self.store.keys())]
        return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())

    def wrong(self, clean: Lab, uri: str | None = None) -> list[str]:
        """Return what is left over, or differs from an undisturbed sweep."""
        return leftovers(self.mark, self.directory) + violations(self.store, clean.store, uri or self.uri)


def wait_for(condition: Callable[[], object], timeout: float = 120.0, every: float = 0.01) -> Any:
    """Return the condition's value once it holds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)
    return value


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, mlflow_database: Path) -> Callable[..., Lab]:
    """Make workspaces with the small study, or another one."""

    def make(study: str = STUDY) -> Lab:
        made = Lab(tmp_path_factory.mktemp("lab"), tiny_data, study)
        made.store.root.mkdir()
        shutil.copy(mlflow_database, made.store.root)
        return made

    return make


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Iterator[Lab]:
    """A fresh workspace; nothing that was started in it outlives the test."""
    made = make_lab()
    yield made
    left = leftovers(made.mark, made.directory, patience=0.0)
    for text in left:
        os.kill(int(text.split()[1]), 9)


class RayCluster:
    """Nodes on this machine, each started as a user starts one, by ``ray start``.

    Args:
        python: the nodes' interpreter, with its options.
        environment: what the nodes have in theirs beside this process's.
    """

    def __init__(self, python: Sequence[str] = (sys.executable,), **environment: str) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="r", dir="/tmp")  # sockets have short names
        self._python, self._nodes = python, list[subprocess.Popen[bytes]]()
        kept = {k: v for k, v in os.environ.items() if k.startswith("RAY_AUTH") or not k.startswith(("RAY_", "PYTHON"))}
        self._environment = {**kept, "HOME": self._scratch.name, **environment}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"

    def add_node(self, cpus: int) -> subprocess.Popen[bytes]:
        """Start a node, the head if it is the first, and wait until it has joined."""
        from orchestrator.executors.ray.nodes import nodes_of

        where = [f"--address={self.address}"]
        if not self._nodes:
            where = ["--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false"]
            where += [f"--temp-dir={self._scratch.name}"]
        arguments = ["ray", "start", *where, f"--num-cpus={cpus}", "--object-store-memory=83886080", "--block"]
        code = (
            f"import sys; sys.argv = {[*arguments, '--disable-usage-stats']}; import ray.scripts.scripts as s; s.main()"
        )
        node = subprocess.Popen(
            [*self._python, "-c", code], env=self._environment, cwd=self._scratch.name, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._nodes.append(node)

        def joined() -> bool:
            with contextlib.suppress(ConfigError):
                return len(nodes_of(self.address)) == len(self._nodes)
            return False

        wait_for(joined, every=0.5)
        return node

    def close(self) -> None:
        """End all nodes."""
        for node in self._nodes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        self._scratch.cleanup()


@pytest.fixture
def ray_cluster() -> Iterator[Callable[..., RayCluster]]:
    """Make clusters out of nodes on this machine."""
    made: list[RayCluster] = []

    def make(**options: Any) -> RayCluster:
        made.append(RayCluster(**options))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="session")
def undisturbed(once: Callable[..., Path], tiny_data: Path) -> Lab:
    """The small study, finished without any fault, in a process of its own; not to be written to."""

    def make(directory: Path) -> None:
        done = Lab(directory, tiny_data).run("study.yaml", "--executor", "local")
        assert done.returncode == 0, done.stderr

    return Lab(once("undisturbed", make), tiny_data)


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """Return ``wait_for``."""
    return wait_for
