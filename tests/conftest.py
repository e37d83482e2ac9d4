"""What every test stands on: a home that stays clean, and what takes seconds to make, made once for all workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from far.config import TrialConfig, resolve
from far.config.layers import Layer
from orchestrator.chaos.site import Server

os.environ["OMP_NUM_THREADS"] = "1"
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by background jobs, and so by children
settings.register_profile("farlab", deadline=None)  # time is never asserted
settings.load_profile("farlab")

TINY = {
    "model": {"backbone": "tiny", "depth": 1, "clip": [8, 32, 32], "tubelet": [2, 8, 8], "init_scale": 1.0},
    "data": {"classes": 10, "demo": {"train_clips": 40, "val_clips": 20, "size": 32, "motion": 12.0}},
    "recipe": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "lr_reference_batch": 8, "precision": "fp32"},
}
"""Settings of a trial that takes about a second."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests: one of them that came last would run while a core idles."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def clean_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send whatever would write into the user's home into a temporary folder."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="session")
def tiny_overrides() -> list[str]:
    """The tiny trial's settings as the command line takes them."""
    return [
        f"{section}.{key}.{inner}={value}" if isinstance(values, dict) else f"{section}.{key}={values}"
        for section, settings in TINY.items()
        for key, values in settings.items()
        for inner, value in (values.items() if isinstance(values, dict) else [("", None)])
    ]


@pytest.fixture(scope="session")
def tiny_config() -> TrialConfig:
    """A trial that takes about a second."""
    return resolve([Layer(TINY, lambda keys: "tests")])


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return ``once(name, make)``: a folder that the first of the workers to want it has filled, for all to read."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.made"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def tiny_data(once: Once, tiny_config: TrialConfig) -> Path:
    """The data root that holds the tiny demo set."""
    from far.data import open_manifest

    return once("tiny-data", lambda root: open_manifest(tiny_config.data, root))


@pytest.fixture(scope="session")
def mlflow_database(once: Once) -> Path:
    """An empty data base of MLflow's, to be copied: making one takes seconds."""
    from orchestrator.tracking.mirror import connect

    return once("mlflow", lambda folder: connect(f"sqlite:///{folder / 'mlflow.db'}")) / "mlflow.db"


@pytest.fixture
def server(tmp_path: Path, mlflow_database: Path) -> Iterator[Server]:
    """Return a real MLflow server on loopback."""
    made = Server(tmp_path / "server")
    shutil.copy(mlflow_database, made.database)
    made.start()
    yield made
    made.close()


@pytest.fixture
def mount() -> Iterator[Callable[..., Path]]:
    """Return ``mount(place, *options)``: a file system at a folder until the test ends, where this user may mount."""
    places: list[Path] = []

    def mount(place: Path, *options: str | Path) -> Path:
        if os.geteuid() or subprocess.run(["mount", *options, place]).returncode:
            pytest.skip("mounting needs rights that this user lacks")
        places.append(place)
        return place

    yield mount
    for place in places:
        if f" {place} " in Path("/proc/mounts").read_text():
            subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return Chromium, driven by playwright, whose event loop must not outlast the tests that use it."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium")
    quiet = ("background-networking", "component-update", "gpu", "sync")
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=arguments)
        yield opened
        opened.close()
