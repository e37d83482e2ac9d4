"""The DeepSpeed engine of a trial, made from its configuration alone."""

from __future__ import annotations

from typing import Any

from far.config.trial import RecipeConfig, RunConfig
from far.distributed import World, import_deepspeed
from far.errors import ConfigError

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
                f"{share} videos a device are not a multiple of a micro-batch of {run.micro_batch}",
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


def deepspeed_config(recipe: RecipeConfig, micro: int, world_size: int, precision: str) -> dict[str, Any]:
    """Return DeepSpeed's own configuration of a recipe.

    DeepSpeed divides the loss by the accumulation steps; nothing else does (the ancestors divide twice).
    """
    return {
        "train_batch_size": recipe.batch_size,
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": recipe.batch_size // (micro * world_size),
        "gradient_clipping": recipe.gradient_clipping,
        "zero_optimization": {"stage": recipe.zero_stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": precision == "bf16"},
        # the ancestors' dynamic loss scale (VideoMAE utils.py:482-511)
        "fp16": {"enabled": precision == "fp16", "initial_scale_power": 7, "loss_scale_window": 128},
        "steps_per_print": 10**12,
        "wall_clock_breakdown": False,
    }


def make_engine(
    model: Any, groups: list[dict[str, Any]], recipe: RecipeConfig, micro: int, precision: str, world: World
) -> Any:
    """Return a DeepSpeed engine around AdamW; torch's own, which needs no build."""
    import torch

    deepspeed = import_deepspeed()
    _restore_linear()  # of a trial that ended before it was closed
    beta1, beta2 = recipe.betas
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(beta1, beta2), eps=1e-8)
    engine, *_ = deepspeed.initialize(
        model=model,
        optimizer=optimizer,
        config=deepspeed_config(recipe, micro, world.size, precision),
        dist_init_required=False,
    )
    return engine


def release(engine: Any) -> None:
    """End an engine, and what DeepSpeed left behind in PyTorch for it."""
    engine.destroy()
    _restore_linear()


def _restore_linear() -> None:
    """Take back what ZeRO 3 replaces ``torch.nn.functional.linear`` by, for good if nobody does.

    That one rounds otherwise: a trial that follows in the process would not compute what it computes in a fresh one.
    """
    import torch
    from deepspeed.runtime.zero.partition_parameters import InsertPostInitMethodToModuleSubClasses as Patch

    torch.nn.functional.linear = getattr(Patch, "linear_bk", torch.nn.functional.linear)
