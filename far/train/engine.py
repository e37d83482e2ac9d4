"""The DeepSpeed engine of a trial, made from its configuration alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from far.config.optimization import OPTIMIZERS
from far.config.trial import RecipeConfig, RunConfig
from far.distributed import World, import_deepspeed
from far.errors import ConfigError

if TYPE_CHECKING:
    import torch

MICRO_BATCH_LIMIT = {"cpu": 16, "cuda": 64}
"""Videos at once on one device where the configuration names no micro-batch."""


def micro_batch(recipe: RecipeConfig, run: RunConfig, world_size: int, device: str) -> int:
    """Return the videos that one device takes at once; the rest of its share is accumulated.

    Raises:
        ConfigError: the batch does not divide over the devices and the micro-batch.
    """
    share, rest = divmod(recipe.batch_size, world_size)
    if rest:
        raise ConfigError(
            f"a batch of {recipe.batch_size} videos does not divide over {world_size} devices",
            key="recipe.batch_size",
        )
    if run.micro_batch is not None:
        if share % run.micro_batch:
            raise ConfigError(
                f"{share} videos per device are not a multiple of a micro-batch of {run.micro_batch}",
                key="run.micro_batch",
                choices=[size for size in range(1, share + 1) if share % size == 0],
                got=run.micro_batch,
            )
        return run.micro_batch
    limit = MICRO_BATCH_LIMIT[device]
    return max(size for size in range(1, min(share, limit) + 1) if share % size == 0)


def resolve_precision(precision: str, device: str) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16`` for this device.

    Raises:
        ConfigError: fp16 on a CPU, which DeepSpeed refuses.
    """
    if precision == "auto":
        if device != "cuda":
            return "fp32"
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if precision == "fp16" and device == "cpu":
        raise ConfigError(
            "fp16 cannot be trained on a CPU",
            key="recipe.precision",
            choices=["auto", "fp32", "bf16"],
            got=precision,
        )
    return precision


def dtype_of(precision: str) -> torch.dtype:
    """Return the floating type of ``fp32``, ``bf16`` or ``fp16``."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def zero_stage(recipe: RecipeConfig, precision: str) -> int:
    """Return the ZeRO stage that is run: the recipe's, but at least 1 in fp16.

    At stage 0 DeepSpeed does not scale an fp16 loss and divides its gradients by the scale all the same, which doubles
    for ever: nothing is learned after some thousand steps (deepspeedai/DeepSpeed pull request 8393).
    """
    return max(1, recipe.zero_stage) if precision == "fp16" else recipe.zero_stage


def deepspeed_config(recipe: RecipeConfig, micro: int, world_size: int, precision: str) -> dict[str, Any]:
    """Return DeepSpeed's own configuration of a recipe.

    DeepSpeed divides the loss by the accumulation steps; nothing else does (the ancestors divide twice).
    """
    return {
        "train_batch_size": recipe.batch_size,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": recipe.batch_size // (micro * world_size),
        "gradient_clipping": recipe.gradient_clipping,
        "zero_optimization": {"stage": zero_stage(recipe, precision)},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": precision == "bf16"},
        # the ancestors' dynamic loss scale (VideoMAE utils.py:482-511)
        "fp16": {"enabled": precision == "fp16", "initial_scale_power": 7, "loss_scale_window": 128},
        "steps_per_print": 10**12,
        "wall_clock_breakdown": False,
        # it waits for the GPU twice in each micro-step
        "timers": {"throughput": {"enabled": False}},
    }


def make_engine(
    model: Any, groups: list[dict[str, Any]], recipe: RecipeConfig, micro: int, precision: str, world: World
) -> Any:
    """Return a DeepSpeed engine around the recipe's optimiser."""
    deepspeed = import_deepspeed()
    _restore_linear()  # of a trial that ended before it was closed
    optimizer = OPTIMIZERS[recipe.optimizer].build(groups, recipe)
    given = {p: p.detach().clone() for group in groups for p in group["params"]}
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        config=deepspeed_config(recipe, micro, world.size, precision),
        dist_init_required=False,
    )
    _begin_as_given(engine.optimizer, given)
    return engine


def _begin_as_given(wrapper: Any, given: Mapping[torch.nn.Parameter, torch.Tensor]) -> None:
    """Undo what DeepSpeed's optimiser for half precision at ZeRO 0 has done when it is made; no other one does it.

    It takes its 32-bit weights from the rounded ones, and makes room for Adam's moments by a step with gradients of
    zero, which decays the weights and leaves Adam's correction of its first averages one step ahead.
    """
    import torch

    if not hasattr(wrapper, "fp32_groups"):
        return
    with torch.no_grad():
        for rounded, whole in zip(wrapper.fp16_groups, wrapper.fp32_groups, strict=True):
            for parameter, master in zip(rounded, whole, strict=True):
                master.copy_(given[parameter])
                parameter.copy_(master)
    wrapper.optimizer.state.clear()


def set_deterministic(enabled: bool) -> None:
    """Have every operation give the same bits each time, for all trials in the process from now on.

    On a GPU that takes the kernels that add in a fixed order; attention in fp32 then runs as written-out products,
    since its memory-efficient kernel has no such order in its backward pass.

    Raises:
        RuntimeError: later, by an operation that has no deterministic form.
    """
    import torch

    if enabled != torch.are_deterministic_algorithms_enabled():  # to say so imports the compiler: 0.9 s
        torch.use_deterministic_algorithms(enabled)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # what is read is written
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_mem_efficient_sdp(not enabled)
    torch.backends.cuda.enable_cudnn_sdp(not enabled)


def release(engine: Any) -> None:
    """End an engine, and what DeepSpeed left behind in PyTorch for it."""
    engine.destroy()
    _restore_linear()


def _restore_linear() -> None:
    """Take back what ZeRO 3 replaces ``torch.nn.functional.linear`` by, for good unless undone.

    That one rounds otherwise: a trial that follows in the process would not compute what it computes in a fresh one.
    """
    import torch
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses as Patch

    torch.nn.functional.linear = getattr(Patch, "linear_bk", torch.nn.functional.linear)
