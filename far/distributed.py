"""The processes of one trial: one per device, joined by torch.distributed under DeepSpeed.

The same code serves one CPU process and several GPUs on several nodes; only the device and the backend differ.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from far.compiler import defer_compiler
from far.errors import ConfigError
from far.gpu import usable

if TYPE_CHECKING:
    import torch

LOOPBACK = "127.0.0.1"
"""Where the processes of a trial meet that are all on one machine."""
TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for its peers in a collective before it gives up."""


@dataclass(frozen=True)
class World:
    """This process's place among the processes of its trial."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes the trial's files."""
        return self.rank == 0


class Rendezvous:
    """Where ranks find each other: a TCP store that rank 0 binds to a port of the system's choice.

    No port is picked before it is bound, so trials that start together cannot clash.

    Args:
        size: processes of the trial.
        host: address of this machine for the others; ``LOOPBACK`` where all of them run on it, which is then all that
            is listened on.
    """

    def __init__(self, size: int, host: str = LOOPBACK) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        self.host = host
        options: dict[str, Any] = {"is_master": True, "wait_for_workers": False, "timeout": TIMEOUT}
        if self.host == LOOPBACK:  # else it would listen on all addresses
            listener = socket.create_server((LOOPBACK, 0))
            port = listener.getsockname()[1]
            self.store = TCPStore(self.host, port, size, master_listen_fd=listener.detach(), **options)
        else:
            self.store = TCPStore(self.host, 0, size, **options)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for the other ranks."""
        return self.host, self.store.port


def join_world(
    rank: int = 0,
    size: int = 1,
    *,
    rendezvous: Rendezvous | tuple[str, int] | None = None,
    local_rank: int = 0,
    cpus: int = 1,
    gpus: bool = True,
) -> World:
    """Join the trial's process group and return this process's place in it.

    A process joins once and then serves many trials: destroying the group between trials breaks DeepSpeed.
    What it does not find on a GPU it was given, it never does on the CPU instead.

    Args:
        rank: this process's number, from 0.
        size: processes of the trial.
        rendezvous: rank 0's own ``Rendezvous``; for other ranks its address. A single process needs none.
        local_rank: which of the visible GPUs is this process's.
        cpus: CPU cores that this process may use.
        gpus: whether it is to use a GPU where there is one.

    Raises:
        ConfigError: this process sees a GPU, and torch cannot use it.
        OutOfMemoryError: nothing fits on the GPU any more.
    """
    import torch

    cuda = gpus and usable(local_rank)
    torch.set_num_threads(cpus)
    if cuda:  # read once, when cuBLAS starts; without it no trial in this process could be deterministic
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(local_rank), LOCAL_SIZE="1")
    if not cuda:
        os.environ["DS_ACCELERATOR"] = "cpu"
    deepspeed = import_deepspeed()
    if not torch.distributed.is_initialized():
        if size == 1 or _host(rendezvous) == LOOPBACK:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", _loopback_interface())
        backend = "nccl" if cuda else "gloo"
        torch.distributed.init_process_group(
            backend, store=_store(rank, size, rendezvous), rank=rank, world_size=size, timeout=TIMEOUT
        )
        deepspeed.init_distributed(backend, auto_mpi_discovery=False, verbose=False)
    defer_compiler()
    if cuda:
        torch.cuda.set_device(local_rank)
        # cuDNN's convolutions use TF32 by default, linear layers do not: fp32 would be half of each
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32
    return World(rank, size, torch.device("cuda", local_rank) if cuda else torch.device("cpu"))


def import_deepspeed() -> Any:
    """Import DeepSpeed without what it would do unasked.

    On a CPU that is a C++ build: ``deepspeed_shm_comm`` compiles for 25-80 s on the first ``init_distributed``, and a
    killed build leaves a lock that hangs every later start; gloo needs none of it. Its autotuner imports MLflow where
    that is installed, which is 1.5 of the import's 2 seconds and 115 MiB per process, for something never used here.
    """
    with _seemingly_not_installed("mlflow"):
        import deepspeed
    # None of its kernels is built: asking which could be compiles a test program and prints a warning for each.
    vars(deepspeed.ops)["__compatible_ops__"] = {}
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed


@contextlib.contextmanager
def _seemingly_not_installed(package: str) -> Iterator[None]:
    """Keep this thread, and no other, from importing a package that is not imported yet."""
    here = threading.get_ident()

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == package and threading.get_ident() == here:
                raise ModuleNotFoundError(f"{name} is not needed here", name=name)

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@dataclass(frozen=True)
class Launched:
    """This process's place as a launcher such as ``torchrun`` describes it in the environment; alone without one.

    Raises:
        ConfigError: the environment describes a place that cannot be.
    """

    rank: int = field(default_factory=lambda: _from_environment("RANK", 0))
    size: int = field(default_factory=lambda: _from_environment("WORLD_SIZE", 1, least=1))
    local_rank: int = field(default_factory=lambda: _from_environment("LOCAL_RANK", 0))
    port: int = field(default_factory=lambda: _from_environment("MASTER_PORT", 0))
    host: str = field(default_factory=lambda: os.environ.get("MASTER_ADDR", ""))

    def __post_init__(self) -> None:
        for name, lacking in (("MASTER_ADDR", not self.host), ("MASTER_PORT", not 0 < self.port < 2**16)):
            if self.size > 1 and lacking:
                raise ConfigError(f"WORLD_SIZE is {self.size}, but no {name} says where the others are: use torchrun")
        if self.rank >= self.size:
            raise ConfigError(f"rank {self.rank} of {self.size} processes cannot be", key="RANK", where="environment")

    def join(self, cpus: int = 1) -> World:
        """Join the world."""
        if self.size == 1:
            return join_world(cpus=cpus)
        place = self.host, self.port
        return join_world(self.rank, self.size, rendezvous=place, local_rank=self.local_rank, cpus=cpus)


def _from_environment(name: str, default: int, least: int = 0) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"'{text}' is no number from {least}", key=name, where="environment")
    return int(text)


def _store(rank: int, size: int, rendezvous: Rendezvous | tuple[str, int] | None) -> Any:
    from torch.distributed import HashStore, TCPStore  # type: ignore[attr-defined]

    if size == 1:
        return HashStore()
    if isinstance(rendezvous, Rendezvous):
        return rendezvous.store
    if rendezvous is None:
        raise ValueError("several ranks need a rendezvous")
    host, port = rendezvous
    # A launcher's agent may hold the port already; if not, rank 0 opens it.
    launched = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(host, port, size, is_master=rank == 0 and not launched, timeout=TIMEOUT)


def _host(rendezvous: Rendezvous | tuple[str, int] | None) -> str | None:
    return rendezvous.host if isinstance(rendezvous, Rendezvous) else rendezvous[0] if rendezvous else None


def _loopback_interface() -> str:
    """Return the interface on which gloo is to listen, so that other machines cannot reach it."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
