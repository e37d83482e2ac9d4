"""The machine: whether torch computes on its device and decoders load, memory, shared memory, processors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from far.cpus import whole_cpus
from far.gpu import driver, given_gpus
from far.interpreter import child_environment, python_command
from orchestrator.doctor.finding import Finding
from orchestrator.estimate.format import size

SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED = 2**28
"""Bytes of shared memory below which decoding processes may find no room; a container has 64 MiB unless it says."""
LEAST_MEMORY = 4 * 2**30
"""Bytes of memory that are free below which the demo's trials may be killed."""
PATIENCE = 60.0
"""Seconds that libraries have to load."""
PROBE = "from orchestrator.doctor.probe import main; main()"


class LibraryProbe:
    """Loads torch and the decoders in a child, which may crash or hang, while other things are looked at."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            python_command("-c", PROBE), env=child_environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()
        self._process.communicate()

    def findings(self) -> Iterator[Finding]:
        """Yield what loading them came to."""
        try:
            output, errors = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            yield Finding("libraries", "fail", f"torch and decoders have not loaded in {PATIENCE:.0f} s")
            return
        try:
            said: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (ValueError, IndexError):
            last = (errors.strip().splitlines() or ["no word"])[-1]
            code = self._process.returncode
            yield Finding("libraries", "fail", f"loading torch and decoders ended with exit code {code}: {last}")
            return
        yield from _device(said)
        yield from _decoders(said["decoders"])


def _device(said: dict[str, Any]) -> Iterator[Finding]:
    if said["torch"] is None:
        yield Finding("torch", "fail", f"cannot be loaded: {said['problem']}", "pip install --force-reinstall torch")
        return
    given = given_gpus()
    if said["problem"]:
        yield Finding("gpu", "fail", said["problem"])
    elif said["gpus"]:
        for name in said["gpus"]:
            yield Finding("gpu", "ok", f"{name}, driver {driver()}, CUDA {said['cuda']}, {said['torch']}")
    else:
        yield Finding("gpu", "ok", f"none{f' ({given})' if given else ''}: trials train on the CPU; {said['torch']}")
    if said["conv3d_wrong_for"]:
        kinds = ", ".join(said["conv3d_wrong_for"])
        text = f"cuDNN {said['cudnn']}: its conv3d is wrong in {kinds}; FARLab computes it otherwise, more slowly"
        yield Finding("cudnn", "warn", text, "pip install --upgrade nvidia-cudnn-cu12")
    elif said["cudnn"]:
        yield Finding("cudnn", "ok", f"{said['cudnn']}")


def _decoders(found: dict[str, str | None]) -> Iterator[Finding]:
    """Yield a line a decoder; PyAV is needed, decord makes it fast."""
    for name, problem in found.items():
        if problem is None:
            yield Finding("decoder", "ok", f"{name} loads")
        elif name == "av":
            yield Finding("decoder", "fail", f"{name} does not load: {problem}", "pip install --force-reinstall av")
        else:
            text = f"{name} does not load ({problem}): PyAV reads everything, more slowly"
            yield Finding("decoder", "warn", text, f"pip install {name}")


def resources() -> Iterator[Finding]:
    """Yield what there is to say of processors, memory and shared memory."""
    yield Finding("cpus", "ok", f"{whole_cpus()} of {os.cpu_count()} for this process")
    memory = psutil.virtual_memory()
    text = f"{size(memory.available)} free of {size(memory.total)}"
    yield Finding("memory", "ok" if memory.available >= LEAST_MEMORY else "warn", text)
    try:
        free = shutil.disk_usage(SHARED_MEMORY)
    except OSError as error:
        yield Finding("/dev/shm", "fail", f"cannot be used: {error.strerror}", "mount -t tmpfs tmpfs /dev/shm")
        return
    level, mend = ("ok", "") if free.free >= LEAST_SHARED else ("warn", "docker run --shm-size=2g …, or free some")
    yield Finding("/dev/shm", level, f"{size(free.free)} free of {size(free.total)}", mend)  # type: ignore[arg-type]
