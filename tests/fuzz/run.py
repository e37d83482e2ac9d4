"""Running cases: a workspace for each, one invocation of ``farlab.main()``, and what must never come of it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import farlab
from far.store.atomic import write_json
from far.text import printable
from tests.fuzz.cases import Case

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 60
"""Seconds that a case may take."""
CODES = {0, 1, 2, 3, 4, 130}
STUDY = "study: q\nrows: {a: {}, b: {recipe.lr: 0.02}}\nseeds: 2\nprofile: tiny\n"
PROFILE = """
profile: tiny
extends: demo
settings: {data.demo: {train_clips: 16, val_clips: 16, size: 32}, recipe.batch_size: 8}
"""


OTHERS = {
    "classes": "weights/w.pth",
    "profile": "profiles/tiny.yaml",
    "store.id": "runs/store.id",
    "driver.lock": "runs/studies/q/driver.lock",
    "mine.parquet": "data/mine/manifest.parquet",
}


class TooLongError(BaseException):
    """The case did not end; no handler of the command may take it for an error of its own."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    code: int | str
    output: str
    errors: str
    readable: bool = True
    """Whether output was kept."""

    @property
    def fault(self) -> str | None:
        """What must not be, None if all is well."""
        both = self.output + self.errors
        if self.code == "too long":
            return "did not end"
        if "Traceback (most recent call last)" in both or "Exception ignored" in both:
            return "traceback"
        if self.code not in CODES or "error: unforeseen" in both:
            return f"unforeseen, exit code {self.code}"
        if self.code != 0 and not both.strip() and self.readable:
            return "failed without a word"
        if printable(both) != both:
            return "control character"
        return None


class Site:
    """A workspace that is right, made once, and copied for every case."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.template = directory, directory / "template"
        self._make()

    def _make(self) -> None:
        from orchestrator.plan.lockfile import write_lockfile
        from orchestrator.plan.plan import make_plan
        from orchestrator.study import load_study
        from orchestrator.workspace.workspace import open_workspace

        for folder in ("studies", "profiles", "lists", "weights", "empty", "mine", "data"):
            (self.template / folder).mkdir(parents=True)
        (self.template / "studies" / "q.yaml").write_text(STUDY)
        (self.template / "profiles" / "tiny.yaml").write_text(PROFILE)
        with inside(self.template, {}):
            workspace = open_workspace()
            study, store, data_hash = load_study("q"), workspace.store, workspace.data_hash
            plan = make_plan(study, store, manifest_hash=data_hash)
            write_lockfile(plan, store)
            store.identity()
            for number, trial in enumerate(plan.trials):
                record = {"key": trial.key, "identity": trial.identity, "config": trial.config.model_dump(mode="json")}
                store.write_trial(trial.key, {**record, "profile": "tiny", "attempts": [{}]})
                metrics = {"top1": 50.0 + number, "top5": 90.0, "loss": 1.0}
                whole = {**record, "state": "finished", "metrics": metrics, "seconds": 10.0, "evaluated": 16}
                write_json(
                    store.paths(trial.key).result, {**whole, "expected": 16, "data_hash": data_hash(trial.config.data)}
                )

    @contextlib.contextmanager
    def case(self, case: Case) -> Iterator[Path]:
        """Yield the directory in which a case runs; it is gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.directory, prefix="case ", ignore_cleanup_errors=True) as name:
            place = Path(name)
            spoilt = any("parquet" in file for file, _ in case.damage)
            left_out = shutil.ignore_patterns("*.mp4") if spoilt else shutil.ignore_patterns("data")
            shutil.copytree(self.template, place, dirs_exist_ok=True, ignore=left_out)
            if not spoilt:
                (place / "data").symlink_to(self.template / "data")
            (place / "q.yaml").write_bytes(case.study)
            if case.settings is not None:
                (place / "farlab.toml").write_bytes(case.settings)
            for path, content in case.extra.items():
                (place / path).write_bytes(content)
            for file, content in case.damage:
                for target in self._targets(place, file):
                    _spoil(target, content)
            yield place / "studies" if case.below else place

    def _targets(self, place: Path, file: str) -> list[Path]:
        """Return the paths that a kind of damage is done to."""
        if file == "study.lock.yaml":
            return [*place.glob("runs/studies/q/*/study.lock.yaml")]
        if file == "manifest.parquet":
            return [*place.glob("data/*/manifest.parquet")]
        if file in OTHERS:
            (place / OTHERS[file]).parent.mkdir(exist_ok=True)
            return [place / OTHERS[file]]
        return [trial / file for trial in sorted(place.glob("runs/trials/*"))[:1]]


def _spoil(target: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):
        target.unlink(missing_ok=True)
        if content == b"DIRECTORY":
            target.mkdir()
        elif content == b"LOOP":
            target.symlink_to(target.name)
        else:
            target.write_bytes(content)


@contextlib.contextmanager
def inside(directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """Change directory and environment for a while."""
    before, cwd = dict(os.environ), Path.cwd()
    os.environ.update(environment)
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(before)


class Full(io.TextIOWrapper):
    """A stream on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def run_here(case: Case, place: Path) -> Outcome:
    """Run a case in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=case.encoding, write_through=True) for _ in range(2))
    shown: Any = Full(io.BytesIO()) if case.stream == "full" else None if case.stream == "none" else out
    streams, argv, tempdir = (sys.stdout, sys.stderr), sys.argv, tempfile.tempdir
    hooks = sys.excepthook, sys.unraisablehook, __import__("threading").excepthook
    freeze, gc.freeze = gc.freeze, lambda: None  # type: ignore[assignment]

    def too_long(number: int, frame: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, too_long)
    code: int | str | None = None
    try:
        with inside(place, _possible(case.environment)):
            sys.stdout, sys.stderr, sys.argv = shown, err, ["farlab", *case.arguments]
            tempfile.tempdir = None
            signal.alarm(LONGEST)
            farlab.main()
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    except TooLongError:
        code = "too long"
    except BaseException as error:
        code = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        (sys.stdout, sys.stderr), sys.argv, tempfile.tempdir = streams, argv, tempdir
        sys.excepthook, sys.unraisablehook, __import__("threading").excepthook = hooks
        gc.freeze = freeze
    return Outcome(code if code is not None else 0, _text(out), _text(err), case.stream == "pipe")


def run_process(case: Case, place: Path) -> Outcome:
    """Run a case as a process, with its real streams."""
    ends = {"full": "> /dev/full", "closed": ">&-", "head": "| head -c 10", "none": "> /dev/null"}
    line = f'"$@" {ends.get(case.stream, "")}; exit ${{PIPESTATUS[0]}}'
    arguments = [text.replace("\0", "") for text in case.arguments]
    command = ["bash", "-c", line, "bash", sys.executable, str(ROOT / "farlab"), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": case.encoding, **_possible(case.environment)}
    try:
        line_ = [os.fsencode(part) for part in command]
    except UnicodeEncodeError as error:  # arguments that no process can be given
        return Outcome(2, "", str(error))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            line_, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        code: int | str
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            code = "too long"
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found = []
        for stream in (out, err):
            stream.seek(0)
            found.append(stream.read().decode(case.encoding, "replace"))
    return Outcome(code, *found, case.stream == "pipe")


def _text(stream: io.TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode(stream.encoding, "replace")  # type: ignore[attr-defined]


def _possible(environment: dict[str, str]) -> dict[str, str]:
    return {name: value.replace("\0", "") for name, value in environment.items()}


def described(case: Case, outcome: Outcome) -> str:
    """Return a failed case as text from which it can be repeated."""
    whole = {**vars(case), "study": repr(case.study), "settings": repr(case.settings), "damage": repr(case.damage),
             "extra": repr(case.extra)}  # fmt: skip
    return f"{outcome.fault}\n{json.dumps(whole, ensure_ascii=True, indent=1)}\n{outcome.errors[-2000:]}"
