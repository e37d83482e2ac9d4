"""A checkpoint without the optimiser's state, which is two thirds of it: enough to test and to explain the network.

What is left is one file of DeepSpeed's form, so that whatever reads a checkpoint reads this one. It replaces the whole
one in one step, and only then are the optimiser's own files removed: a kill in between leaves either a whole checkpoint
or one of the network alone.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from far.distributed import import_deepspeed
from far.errors import DamagedError, WeightsError
from far.store.atomic import write_atomic
from far.train.unpickle import DEEPSPEED, loading

MARK = "network_only"
"""Key of what holds the network alone."""
OPTIMIZER = "optimizer"
"""Key of the optimiser's state, where it has no files of its own."""
FILE = "mp_rank_00_model_states.pt"
SHARDS = "zero_pp_rank_*_mp_rank_00_model_states.pt"
"""What stands in its place under ZeRO 3, a file for each process."""
BYTES = 4
"""Of a parameter that was put together from ZeRO 3's shards."""


def read_states(checkpoint: Path, device: str = "cpu") -> dict[str, Any]:
    """Return what a checkpoint's file of the network says; under ZeRO 3 without the network itself.

    Args:
        checkpoint: its folder.
        device: where its tensors go; ``meta`` reads none of them.

    Raises:
        WeightsError: it holds no such file, or one that would run code when loaded.
        DamagedError: the file cannot be loaded.
    """
    import torch

    files = [checkpoint / FILE] if (checkpoint / FILE).exists() else sorted(checkpoint.glob(SHARDS))
    if not files:
        raise WeightsError(f"{checkpoint} holds no model states")
    with loading(checkpoint):
        found: dict[str, Any] = dict(
            torch.load(files[0], map_location=device, weights_only=True, mmap=device == "meta")
        )
    if "module" not in found:
        raise DamagedError(f"{checkpoint} cannot be loaded: it holds no network")
    return found


def module_of(checkpoint: Path, states: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the network's parameters and buffers; ZeRO 3's parts are put together, in 32 bits.

    Args:
        checkpoint: its folder.
        states: what ``read_states`` said of it.

    Raises:
        DamagedError, WeightsError: its parts cannot be loaded.
    """
    if not _is_split(checkpoint):
        module = states.get("module")
        if not isinstance(module, Mapping):
            raise DamagedError(f"{checkpoint} cannot be loaded: it holds no network")
        return module
    import_deepspeed()
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    talk = io.StringIO()  # it prints its steps and a progress bar
    with loading(checkpoint, DEEPSPEED), contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
        whole: Mapping[str, Any] = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint.parent), tag=checkpoint.name)
    return whole


def removable(checkpoint: Path) -> int:
    """Return the bytes that go with the optimiser's state of a checkpoint, 0 if it has none.

    Raises:
        DamagedError, WeightsError: the checkpoint cannot be loaded.
    """
    states = read_states(checkpoint, "meta")
    files = sum(path.stat().st_size for path in _only_to_train_on(checkpoint))
    if _is_split(checkpoint):
        shapes = [shape for group in states.get("param_shapes") or () for shape in group.values()]
        return max(0, files - BYTES * sum(math.prod(shape) for shape in shapes))
    inside = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(states.get(OPTIMIZER)))
    return files + inside


def strip(checkpoint: Path) -> None:
    """Remove the optimiser's state from a checkpoint.

    Raises:
        DamagedError, WeightsError: the checkpoint cannot be loaded; it stays as it is.
        StorageError: there is no room for the file that replaces it.
    """
    import torch

    states = read_states(checkpoint)
    if not states.get(MARK):
        module = module_of(checkpoint, states)
        slim = {**states, "module": module, OPTIMIZER: None, MARK: True}
        write_atomic(checkpoint / FILE, lambda stream: torch.save(slim, stream))
    for path in list(_only_to_train_on(checkpoint)):
        path.unlink(missing_ok=True)


def network_alone(checkpoint: Path) -> dict[str, Any] | None:
    """Return what a checkpoint says that holds the network alone, None if it is a whole one."""
    if any(_only_to_train_on(checkpoint)) or not (checkpoint / FILE).exists():
        return None
    return read_states(checkpoint) if read_states(checkpoint, "meta").get(MARK) else None


def load_into(engine: Any, states: Mapping[str, Any], checkpoint: Path) -> None:
    """Give a network to an engine that has nothing left to train.

    Raises:
        DamagedError: it is another network's.
    """
    deepspeed = import_deepspeed()
    parameters = list(engine.module.parameters())
    with loading(checkpoint), deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
        engine.module.load_state_dict(states["module"])


def _is_split(checkpoint: Path) -> bool:
    return not (checkpoint / FILE).exists()


def _only_to_train_on(checkpoint: Path) -> Iterator[Path]:
    """Yield the files that are needed for nothing else once the network stands in its one file."""
    yield from sorted(checkpoint.glob("*_optim_states.pt"))
    yield from sorted(checkpoint.glob(SHARDS))


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
