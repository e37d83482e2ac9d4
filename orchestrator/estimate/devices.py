"""Devices: what the makers state of their cards, how a driver's name is recognised, and what is here."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from far.cpus import whole_cpus
from far.errors import ConfigError
from far.registry import Registry
from far.store.environment import processor


@dataclass(frozen=True)
class Card:
    """A kind of GPU as its data sheet states it.

    Attributes:
        tflops: peak dense tensor-core TFLOP/s with 16-bit inputs and 32-bit accumulation (1 FLOP = 1 multiply
            or 1 add).
        fp32: peak TFLOP/s in 32 bits without tensor cores.
        memory_gib: of one card as the driver shows it, in GiB; less than the maker's figure where error correction
            takes its part.
        bandwidth: of its memory, in GB/s.
        tokens: words that the driver's name for it holds.
    """

    tflops: float
    fp32: float
    memory_gib: float
    bandwidth: float
    tokens: tuple[str, ...]


CARDS: Registry[Card] = Registry("device")
"""Source of each entry: NVIDIA's data sheet of the card; for GeForce, the white papers of GA102, AD102 and GB202."""
for _name, _card in {
    "t4": Card(65, 8.1, 15, 320, ("t4",)),
    "v100-16g": Card(125, 15.7, 16, 900, ("v100", "16gb")),
    "v100-32g": Card(125, 15.7, 32, 900, ("v100", "32gb")),
    "rtx3090": Card(71, 35.6, 24, 936, ("3090",)),
    "rtx4090": Card(165, 82.6, 24, 1008, ("4090",)),
    "rtx5090": Card(209.5, 104.8, 31.8, 1792, ("5090",)),
    "a5000": Card(111, 27.8, 24, 768, ("a5000",)),
    "a6000": Card(155, 38.7, 48, 768, ("a6000",)),
    "rtx6000-ada": Card(364, 91.1, 48, 960, ("6000", "ada")),
    "a10": Card(125, 31.2, 22.5, 600, ("a10",)),
    "a10g": Card(70, 31.5, 22.5, 600, ("a10g",)),
    "a30": Card(165, 10.3, 24, 933, ("a30",)),
    "a40": Card(150, 37.4, 45, 696, ("a40",)),
    "l4": Card(121, 30.3, 22.5, 300, ("l4",)),
    "l40s": Card(362, 91.6, 45, 864, ("l40s",)),
    "a100-40g": Card(312, 19.5, 40, 1555, ("a100", "40gb")),
    "a100-80g": Card(312, 19.5, 80, 2039, ("a100", "80gb")),
    "h20": Card(148, 44, 95.6, 4000, ("h20",)),
    "h800": Card(989, 67, 79.6, 3350, ("h800",)),
    "h100": Card(989, 67, 79.6, 3350, ("h100",)),
    "h100-pcie": Card(756, 51, 79.6, 2039, ("h100", "pcie")),
    "h100-nvl": Card(835, 60, 93.6, 3938, ("h100", "nvl")),
    "h200": Card(989, 67, 140.4, 4800, ("h200",)),
    "h200-nvl": Card(835, 60, 140.4, 4800, ("h200", "nvl")),
    "gh200": Card(989, 67, 95.6, 4000, ("gh200",)),
    "b200": Card(2250, 75, 179, 7700, ("b200",)),
}.items():
    CARDS.register(_name)(_card)

OTHER = re.compile(r"laptop|mobile|max|d|ti|super|mig|\d+[abcq]")
"""Words of a driver's name that make it another card, or a part of one: ``RTX 4090 Laptop GPU``, ``A100 MIG 1g.5gb``,
``A10-4Q``."""

OPERATIONS_A_BYTE = 150.0
"""Peak operations per second over bytes of memory per second, of a card that is not in the table: an A100's."""

CPU_CORE_TFLOPS = 0.1
"""Peak of one CPU core in 32 bits: 2 fused multiply-adds of 512 bits per cycle at about 1.6 GHz."""


@dataclass(frozen=True)
class Target:
    """The devices that a plan is estimated for.

    Attributes:
        name: for people, e.g. ``a100-80g`` or the processor's name.
        kind: ``gpu`` or ``cpu``.
        count: devices; CPU cores on a CPU.
        tflops: stated peak of one device in 16 bits, of one core on a CPU in 32; None if not stated.
        memory: bytes of one device, of the whole machine on a CPU; None if unknown.
        here: whether it is this machine's.
        card: its name in the table, None if it is not there.
        fp32: stated peak of one device in 32 bits, where known.
        bandwidth: bytes per second between one device's processors and its memory, where known.
        cores: CPU cores of the machine with the GPUs, None if unknown.
    """

    name: str
    kind: str
    count: int
    tflops: float | None
    memory: int | None
    here: bool
    card: str | None = None
    fp32: float | None = None
    bandwidth: float | None = None
    cores: int | None = None

    def same(self, device: str | None) -> bool:
        """Return whether a result's ``env.device`` names this kind of device."""
        if not device:
            return False
        return recognised(device) == self.card if self.card else _words(device) == _words(self.name)

    @property
    def unit(self) -> str:
        """What an hour of it is called."""
        return "GPU-hours" if self.kind == "gpu" else "core-hours"


def recognised(name: str) -> str | None:
    """Return which entry of the table a driver's name means, None if it means none of them."""
    words = _words(name)
    if any(OTHER.fullmatch(word) for word in words):
        return None
    known = [key for key, card in CARDS.items() if set(card.tokens) <= words]
    return max(known, key=lambda key: len(CARDS[key].tokens)) if known else None


def find_target(name: str | None, count: int | None = None, tflops: float | None = None) -> Target:
    """Return a card of the table by its name or the driver's, another one whose peak is stated, or what is here.

    Args:
        name: of a card; None: what this machine has.
        count: how many; default: one of a named card, all that are here.
        tflops: peak of one card, instead of the table's.

    Raises:
        ConfigError: the table has no such card and its peak is not stated, or a number makes no sense.
    """
    if count is not None and count < 1:
        raise ConfigError(f"at least one device is needed, not {count}", key="--devices")
    if tflops is not None and not 0 < tflops < math.inf:
        raise ConfigError(f"the peak of a GPU is a positive number, not {tflops:g}", key="--tflops")
    if name is None:
        return _local(count, tflops)
    card = name if name in CARDS else recognised(name)
    if card is None and tflops is None:
        raise ConfigError(
            f"unknown device '{name}'; with --tflops, its stated dense 16-bit peak, any GPU can be estimated",
            key="--device",
            choices=CARDS,
            got=name,
        )
    return _gpu(name, count or 1, card, tflops, here=False)


def _gpu(
    name: str, count: int, card: str | None, tflops: float | None, *, memory: int | None = None, here: bool
) -> Target:
    sheet = CARDS[card] if card else None
    stated = tflops or (sheet.tflops if sheet else None)
    bandwidth = sheet.bandwidth * 1e9 if sheet else stated * 1e12 / OPERATIONS_A_BYTE if stated else None
    return Target(
        name,
        "gpu",
        count,
        stated,
        memory or (int(sheet.memory_gib * 2**30) if sheet else None),
        here=here,
        card=card,
        fp32=sheet.fp32 if sheet else None,
        bandwidth=bandwidth,
        cores=whole_cpus() if here else None,
    )


def _local(count: int | None, tflops: float | None) -> Target:
    gpus = _visible(_nvidia())
    if gpus:
        name, memory, _ = gpus[0]
        return _gpu(name, count or len(gpus), recognised(name), tflops, memory=memory, here=True)
    if tflops is not None:
        raise ConfigError("--tflops is a GPU's peak, and this machine has none; name one with --device", key="--tflops")

    cores = count or whole_cpus()
    return Target(processor(), "cpu", cores, CPU_CORE_TFLOPS, psutil.virtual_memory().total, here=True)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[\s_\-]+", name.lower()))


Seen = tuple[str, int, str]
"""A GPU's name, its bytes and its UUID."""


def _nvidia() -> list[Seen]:
    """Return every NVIDIA GPU in the driver's order, asked of the driver and not of torch, which takes seconds."""
    if not Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total,uuid", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in done.stdout.splitlines()]
    return [(row[0], int(row[1]) * 2**20, row[2]) for row in rows if len(row) == 3 and row[1].isdigit()]


def _visible(gpus: list[Seen]) -> list[Seen]:
    """Return those that ``CUDA_VISIBLE_DEVICES`` leaves, as CUDA reads it: up to the first unknown one."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return gpus
    left: list[Seen] = []
    for word in (part.strip() for part in text.split(",")):
        found = [gpu for gpu in gpus if word.startswith("GPU-") and gpu[2].startswith(word)]
        if word.isdigit() and int(word) < len(gpus):
            found = [gpus[int(word)]]
        if len(found) != 1:
            break
        left += found
    return left
