"""The device table: what the makers state, and what is here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from far.cpus import whole_cpus
from far.errors import ConfigError
from far.registry import Registry

UTILISATION = 0.3
"""Part of the stated peak that training is assumed to reach where nothing has been measured."""

STEP_SECONDS = 0.02
"""What an optimiser step takes at least, however small the network: launches, Python, the data loader."""


@dataclass(frozen=True)
class Device:
    """A kind of accelerator as its data sheet states it.

    Attributes:
        tflops: peak dense tensor-core TFLOP/s with 16-bit inputs and 32-bit accumulation (1 FLOP = 1 multiply
            or 1 add).
        memory_gib: of one device.
        tokens: words that the driver's name for it holds.
        source: where the figures are stated.
    """

    tflops: float
    memory_gib: float
    tokens: tuple[str, ...]
    source: str


DEVICES: Registry[Device] = Registry("device")
for _name, _device in {
    "t4": Device(65, 15, ("t4",), "NVIDIA T4 data sheet"),
    "v100-16g": Device(125, 16, ("v100", "16gb"), "NVIDIA V100 data sheet"),
    "v100-32g": Device(125, 32, ("v100", "32gb"), "NVIDIA V100 data sheet"),
    "rtx3090": Device(71, 24, ("3090",), "NVIDIA GA102 white paper"),
    "rtx4090": Device(165, 24, ("4090",), "NVIDIA Ada white paper"),
    "a5000": Device(111, 24, ("a5000",), "NVIDIA RTX A5000 data sheet"),
    "a10": Device(125, 24, ("a10",), "NVIDIA A10 data sheet"),
    "l4": Device(121, 24, ("l4",), "NVIDIA L4 data sheet"),
    "l40s": Device(362, 48, ("l40s",), "NVIDIA L40S data sheet"),
    "a100-40g": Device(312, 40, ("a100", "40gb"), "NVIDIA A100 data sheet"),
    "a100-80g": Device(312, 80, ("a100", "80gb"), "NVIDIA A100 data sheet"),
    "h100": Device(989, 80, ("h100",), "NVIDIA H100 SXM data sheet"),
    "h200": Device(989, 141, ("h200",), "NVIDIA H200 data sheet"),
}.items():
    DEVICES.register(_name)(_device)

CPU_CORE_TFLOPS = 0.1
"""Peak of one CPU core in 32-bit: 2 fused multiply-adds of 512 bits a cycle at about 1.6 GHz."""


@dataclass(frozen=True)
class Target:
    """The devices that a plan is priced for.

    Attributes:
        name: for people, e.g. ``a100-80g`` or the processor's name.
        kind: ``gpu`` or ``cpu``.
        count: devices; CPU cores on a CPU.
        tflops: stated peak of one device (of one core on a CPU); None if nobody has stated it.
        memory: bytes of one device; of the whole machine on a CPU.
        tokens: words of the name that results of the same kind of device carry.
        here: whether it is this machine's.
        cores: CPU cores beside the GPUs, None where nobody knows.
    """

    name: str
    kind: str
    count: int
    tflops: float | None
    memory: int
    tokens: tuple[str, ...]
    here: bool
    cores: int | None = None

    def same(self, device: str | None) -> bool:
        """Return whether a result's ``env.device`` names this kind of device."""
        words = (device or "").lower().replace("-", " ").replace("_", " ").split()
        return bool(self.tokens) and all(token in words for token in self.tokens)

    @property
    def unit(self) -> str:
        """What an hour of it is called."""
        return "GPU-hours" if self.kind == "gpu" else "core-hours"


def find_target(name: str | None, count: int | None = None) -> Target:
    """Return a device of the table by name, or what this machine has.

    Raises:
        ConfigError: the table has no such device, or the count is not positive.
    """
    if count is not None and count < 1:
        raise ConfigError(f"at least one device is needed, not {count}", key="--devices")
    if name is None:
        return _local(count)
    try:
        device = DEVICES[name]
    except ConfigError as error:
        raise error.at(key="--device") from None
    memory = int(device.memory_gib * 2**30)
    return Target(name, "gpu", count or 1, device.tflops, memory, device.tokens, here=False)


def _local(count: int | None) -> Target:
    gpus = _nvidia()
    if gpus:
        name, memory = gpus[0]
        tokens = tuple(name.lower().replace("-", " ").split())
        known = [d for d in DEVICES.values() if set(d.tokens) <= set(tokens)]
        tflops = max(known, key=lambda d: len(d.tokens)).tflops if known else None
        return Target(name, "gpu", count or len(gpus), tflops, memory, tokens, here=True, cores=whole_cpus())
    import psutil

    from far.store.environment import processor

    name = processor()
    tokens = tuple(name.lower().replace("-", " ").replace("_", " ").split())
    cores = count or whole_cpus()
    return Target(name, "cpu", cores, CPU_CORE_TFLOPS, psutil.virtual_memory().total, tokens, here=True)


def _nvidia() -> list[tuple[str, int]]:
    """Return name and bytes of each NVIDIA GPU, asked of the driver and not of torch, which takes seconds."""
    if not Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    return [(name.strip(), int(mebibytes) * 2**20) for name, _, mebibytes in rows if mebibytes.strip().isdigit()]
