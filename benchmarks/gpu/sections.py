"""What is checked and measured on a GPU, section by section; every one runs small on a CPU."""

from __future__ import annotations

import copy
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.model import CLASSES, OURS, PLAIN, Clock, written_out
from far.architecture.far import FarConfig
from far.config.trial import RecipeConfig, TrialConfig
from far.distributed import World, join_world
from far.model import attention, convolution
from far.model.vit import VideoTransformer, build

VARIANTS: dict[str, dict[str, Any]] = {
    **OURS,
    "temporal": {"attention": {"temporal": 1}, **PLAIN},
    "far, batch norm": {"interaction": "bottleneck-batchnorm"},
    "far, ungrouped": {"interaction": "bottleneck-ungrouped"},
}
EXPLICIT = "explicit softmax"
GOALS = {("far", "global"): 0.94, ("hsda", "global"): 0.90, ("far", EXPLICIT): 0.50}


@dataclass
class Bench:
    """Where rows go, and how large everything is."""

    row: Callable[..., None]
    short: bool = True
    tiny: bool = False
    device: torch.device = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self.clock = Clock("wall", self.device.type)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32  # as trials have it

    @property
    def clip(self) -> list[int]:
        """Frames, height and width."""
        return [4, 32, 32] if self.tiny else [16, 224, 224]

    def config(self, name: str, **changes: Any) -> FarConfig:
        """Return a variant's configuration."""
        given = {"backbone": "tiny" if self.tiny else "small", "clip": self.clip, **VARIANTS[name], **changes}
        return FarConfig.model_validate(given)

    def fresh(self) -> None:
        """Free what is not used any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def medians(self, runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
        """Return each call's median seconds over rounds that run every one once; two warm-up rounds are not counted."""
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(-1 if self.tiny else -2, 1 if self.tiny else rounds):
            for name, run in runs.items():
                taken = self.clock.time(run)
                if number >= 0:
                    times[name].append(taken)
        return {name: statistics.median(taken) for name, taken in times.items()}


def right(bench: Bench) -> None:
    """Every variant and precision against float64 on the CPU, forward and backward; the library versions."""
    cuda = bench.device.type == "cuda"
    bench.row("device", torch.cuda.get_device_name() if cuda else "CPU")
    bench.row("torch, CUDA, cuDNN", f"{torch.__version__}, {torch.version.cuda}, {convolution.CUDNN}")
    limits = {torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 0.01}
    clip = [4, 32, 32] if bench.tiny else [16, 112, 112]
    for name in VARIANTS:
        torch.manual_seed(0)
        config = bench.config(name, backbone="tiny", clip=clip, init_scale=1.0)
        net = build(config, CLASSES, seed=0)
        clips, keep = torch.randn(2, 3, *clip), torch.rand(2, config.sizes[1], 3) * 0.2 + 0.9
        upstream = torch.randn(2, CLASSES)

        def gradients(device: str | torch.device, dtype: torch.dtype, *given: Tensor, net: nn.Module = net) -> Tensor:
            own = copy.deepcopy(net).to(device, dtype)
            x, factors, weights = (each.to(device) for each in given)
            y = own(x.to(dtype), factors)
            (y * weights.to(y.dtype)).sum().backward()
            every = [y.detach(), *(p.grad for p in own.parameters() if p.grad is not None)]
            return torch.cat([(each.double() / each.numel() ** 0.5).flatten().cpu() for each in every])

        exact = gradients("cpu", torch.float64, clips, keep, upstream)
        for dtype, limit in limits.items():
            found = gradients(bench.device, dtype, clips, keep, upstream)
            error = float((found - exact).norm() / exact.norm())
            verdict = "right" if error <= limit else "WRONG"
            kind = str(dtype).removeprefix("torch.")
            bench.row(f"{name}, {kind}: error against float64, forward and gradients", error, f"≤ {limit:g}: {verdict}")
    _forms(bench)


def _forms(bench: Bench) -> None:
    """The two forms of the convolution and of attention in small groups, in bf16."""
    clips, grid = (1, (2, 4, 4)) if bench.tiny else (32, (8, 14, 14))
    kind = {"device": bench.device, "dtype": torch.bfloat16}
    x = torch.randn(clips, *grid, 96, **kind, requires_grad=True)  # type: ignore[call-overload]
    weight = torch.randn(96, 16, 3, 3, 3, **kind, requires_grad=True)  # type: ignore[call-overload]
    qkv = [torch.randn(clips * 196, 6, 8, 64, **kind, requires_grad=True) for _ in range(3)]  # type: ignore[call-overload]

    def step(form: Callable[..., Tensor], *inputs: Tensor, extra: tuple[Any, ...] = ()) -> Callable[[], object]:
        def run() -> object:
            y = form(*inputs, *extra)
            return torch.autograd.grad(y, inputs, y.detach())

        return run

    runs = {
        "convolution, conv3d": step(convolution.conv3d, x, weight, extra=(None, 6)),
        "convolution, without conv3d": step(convolution.stacked_conv2d, x, weight, extra=(None, 6)),
        "attention in groups of 8, written out": step(attention.attend_written_out, *qkv),
        "attention in groups of 8, PyTorch's": step(F.scaled_dot_product_attention, *qkv),
    }
    for name, taken in bench.medians(runs, rounds=20).items():
        bench.row(f"{name}: forward+backward, ms", 1e3 * taken)


def _step(net: nn.Module, clips: Tensor) -> Callable[[], None]:
    def step() -> None:
        net(clips).float().square().mean().backward()
        net.zero_grad(set_to_none=True)

    return step


class _Explicit(nn.Module):
    """The Global network as the ancestors wrote it: whole score matrices in memory."""

    def __init__(self, net: VideoTransformer) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: Tensor) -> Tensor:
        with written_out():
            logits: Tensor = self.net(clips)
            return logits


def model(bench: Bench) -> None:
    """Milliseconds a clip, forward and with the backward pass, in bf16; ratios; memory."""
    _model(bench, compiled=False, names=["far", "global", "hsda", "sparse-dense", "temporal", EXPLICIT])


def compiled(bench: Bench) -> None:
    """The same with ``torch.compile``, block by block."""
    _model(bench, compiled=True, names=["far", "global", EXPLICIT])


def _model(bench: Bench, *, compiled: bool, names: list[str]) -> None:
    size = 2 if bench.tiny else 64
    clips = torch.randn(size, 3, *bench.clip, device=bench.device, dtype=torch.bfloat16)
    nets: dict[str, nn.Module] = {}
    started = time.perf_counter()
    for name in names:
        config = bench.config("global" if name == EXPLICIT else name)
        net = build(config, CLASSES, seed=0).to(bench.device, torch.bfloat16).train()
        if compiled:
            torch._dynamo.reset()
            for block in net.blocks:
                block.compile(backend="aot_eager" if bench.tiny else "inductor")
        nets[name] = _Explicit(net) if name == EXPLICIT else net
        if compiled:
            _step(nets[name], clips)()
    if compiled:
        bench.row("seconds to compile the blocks of all", time.perf_counter() - started)

    def forward(net: nn.Module) -> Callable[[], None]:
        @torch.no_grad()
        def run() -> None:
            net(clips)

        return run

    rounds = 5 if bench.short else 15
    for kind, runs in (
        ("forward+backward", {name: _step(net, clips) for name, net in nets.items()}),
        ("forward", {name: forward(net) for name, net in nets.items()}),
    ):
        found = bench.medians(runs, rounds)
        for name, taken in found.items():
            bench.row(f"{name}: {kind}, ms a clip ({size} clips, bf16)", 1e3 * taken / size)
        for (of, to), goal in GOALS.items():
            if of in found and to in found:
                bench.row(f"{of} ÷ {to}, {kind}", found[of] / found[to], f"≤ {goal:.2f}")
    if bench.device.type == "cuda" and not compiled:
        for name in ("far", "global", EXPLICIT):
            bench.fresh()
            before = torch.cuda.memory_allocated()
            _step(nets[name], clips)()
            bench.row(f"{name}: MiB a clip", (torch.cuda.max_memory_allocated() - before) / size / 2**20)


def engine(bench: Bench) -> None:
    """DeepSpeed at every precision and ZeRO stage against plain torch: weights after three steps; and its overhead."""
    from far.train.engine import dtype_of, make_engine, release
    from far.train.parameter_groups import parameter_groups

    world = join_world(gpus=bench.device.type == "cuda", cpus=4)
    cases = [("bf16", stage) for stage in (0, 1, 2, 3)] + [("fp16", 1), ("fp32", 0), ("fp32", 1)]
    if world.device.type == "cpu":
        cases = [("fp32", 0), ("bf16", 1)]
    size = 4
    config = bench.config("far", backbone="tiny", clip=[4, 32, 32] if bench.tiny else [16, 64, 64], init_scale=1.0)
    clips, labels = torch.randn(3 * size, 3, *config.clip), torch.randint(0, 10, (3 * size,))

    def trained(precision: str, stage: int | None) -> Tensor:
        recipe = RecipeConfig(batch_size=size, precision=precision, zero_stage=stage or 0, lr=1e-3)  # type: ignore[arg-type]
        net = build(config, 10, seed=0).to(world.device)
        before = [p.detach().double().cpu() for p in net.parameters()]
        groups = parameter_groups(net, config, recipe)
        if stage is None:
            optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
            for part in range(0, 3 * size, size):
                optimizer.zero_grad()
                x, y = (each[part : part + size].to(world.device) for each in (clips, labels))
                F.cross_entropy(net(x), y).backward()
                if recipe.gradient_clipping:
                    nn.utils.clip_grad_norm_(net.parameters(), recipe.gradient_clipping)
                optimizer.step()
            after = list(net.parameters())
        else:
            from deepspeed.runtime.zero import GatheredParameters

            made = make_engine(net, groups, recipe, size, precision, world)
            for part in range(0, 3 * size, size):
                x, y = (each[part : part + size].to(world.device) for each in (clips, labels))
                made.backward(F.cross_entropy(made(x.to(dtype_of(precision))).float(), y))
                made.step()
            with GatheredParameters(list(net.parameters()), enabled=stage == 3):
                after = [p.detach().clone() for p in net.parameters()]
            release(made)
        changes = [p.detach().double().cpu() - q for p, q in zip(after, before, strict=True)]
        return torch.cat([change.flatten() for change in changes])

    exact = trained("fp32", None)
    for precision, stage in cases:
        bench.fresh()
        found = trained(precision, stage)
        error = float((found - exact).norm() / exact.norm())
        limit = {"fp32": 0.01, "fp16": 0.3, "bf16": 0.6}[precision]  # weights of 16 bits hide a part of small changes
        verdict = "right" if error <= limit else "WRONG"
        bench.row(f"{precision}, ZeRO {stage}: weights' changes against plain torch", error, f"≤ {limit:g}: {verdict}")
    _overhead(bench, world)


def _overhead(bench: Bench, world: World) -> None:
    from far.train.engine import make_engine, release
    from far.train.parameter_groups import parameter_groups

    config, size = bench.config("far"), 2 if bench.tiny else 64
    dtype = torch.bfloat16
    clips = torch.randn(size, 3, *bench.clip, device=world.device, dtype=dtype)
    labels = torch.randint(0, CLASSES, (size,), device=world.device)
    for stage in (0, 1):
        bench.fresh()
        recipe = RecipeConfig(batch_size=2 * size, precision="bf16", zero_stage=stage)  # type: ignore[arg-type]
        net = build(config, CLASSES, seed=0)
        made = make_engine(net.to(world.device), parameter_groups(net, config, recipe), recipe, size, "bf16", world)

        def step(made: Any = made) -> None:
            for _ in range(2):
                made.backward(F.cross_entropy(made(clips).float(), labels))
                made.step()

        def plain(net: nn.Module = net) -> None:
            for _ in range(2):
                F.cross_entropy(net(clips).float(), labels).backward()
            net.zero_grad(set_to_none=True)

        found = bench.medians({"engine": step, "plain": plain} if stage == 0 else {"engine": step}, rounds=4)
        for name, taken in found.items():
            said = f"DeepSpeed, ZeRO {stage}" if name == "engine" else "without an optimiser"
            bench.row(f"a step of 2 micro-batches of {size}, bf16, {said}, ms", 1e3 * taken)
        release(made)


def loader(bench: Bench) -> None:
    """Clips a second of the network alone, the data alone, and both; decoding is a wait of 30 ms, augmentation real."""
    import numpy as np

    from far.data.loader import TrainStream
    from far.data.sources.manifest import Manifest, Video

    height, width = (24, 40) if bench.tiny else (240, 427)
    frames = np.random.default_rng(0).integers(0, 256, (45, height, width, 3), dtype=np.uint8)
    videos = tuple(Video(f"v{i:05d}", "train", "x", i % CLASSES, 45, 12.0, width, height, "") for i in range(4096))
    manifest = Manifest(videos, tuple(map(str, range(CLASSES))), Path(), "x", Path())

    class Source:
        def read(self, video: Video, pick: Callable[[int], Any]) -> Any:
            time.sleep(0.03)  # another process decodes
            return frames[pick(45)]

        def decoders(self) -> dict[str, int]:
            return {}

    augment = {"repeats": 2, "randaug_ops": 4, "crop": True, "erasing": 0.25, "mixup": 0.8, "cutmix": 1.0}
    config = TrialConfig.model_validate(
        {
            "model": {"backbone": "tiny" if bench.tiny else "small", "clip": bench.clip},
            "data": {"classes": CLASSES},
            "recipe": {"batch_size": 32, "label_smoothing": 0.1, "augment": augment},
            "run": {"workers": 2 if bench.tiny else 8, "micro_batch": 2 if bench.tiny else 16},
        }
    )
    net = build(config.model, CLASSES, seed=0).to(bench.device, torch.bfloat16)
    micro = config.run.micro_batch or 16
    clips = torch.randn(2 * micro, 3, *bench.clip, device=bench.device, dtype=torch.bfloat16)
    alone = bench.medians({"net": _step(net, clips)}, rounds=8)["net"]
    bench.row("network alone, clips/s", 2 * micro / alone)
    for train in (False, True):
        source: Any = Source()
        stream = TrainStream(manifest, config, rank=0, world=1, micro_batch=micro, frames=source, device=bench.device)
        batches, seen, start = stream.epoch(0), 0, 0.0
        for number, batch in enumerate(batches):
            if train:
                given = batch.clips.to(bench.device, torch.bfloat16)
                F.cross_entropy(net(given).float(), batch.targets.to(bench.device)).backward()
                net.zero_grad(set_to_none=True)
            if number == 3:
                bench.clock.wait()
                start, seen = time.perf_counter(), 0
            seen += len(batch.ids)
            if number > 3 and time.perf_counter() - start > (0.2 if bench.tiny else 4 if bench.short else 8):
                break
        bench.clock.wait()
        taken = time.perf_counter() - start
        batches.close()  # type: ignore[attr-defined]
        name = "data and network" if train else "data alone"
        bench.row(f"{name}, {config.run.workers} workers, clips/s", seen / taken)


def trials(bench: Bench) -> None:
    """Whole trials on the demo data: one, the same again, and one that is resumed after its first epoch."""
    from far.store.paths import TrialPaths
    from far.train.trial import TrialRun

    world = join_world(gpus=bench.device.type == "cuda", cpus=4)
    size = 32 if bench.tiny else 64
    demo = {"train_clips": 20 if bench.tiny else 400, "val_clips": 10 if bench.tiny else 100, "size": size}
    config = TrialConfig.model_validate(
        {
            "model": {"backbone": "tiny", "clip": [4 if bench.tiny else 16, size, size], "tubelet": [2, 16, 16]},
            "data": {"source": "demo", "classes": 10, "demo": demo, "views": {"clips": 1, "crops": 1}},
            "recipe": {"batch_size": 10 if bench.tiny else 40, "epochs": 2, "warmup_epochs": 1},
            "run": {"workers": 4, "deterministic": True},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def run(name: str, stop: int | None = None) -> tuple[TrialRun, float]:
            paths = TrialPaths(root / name)
            paths.directory.mkdir(parents=True, exist_ok=True)
            trial = TrialRun(config, {}, paths, world, data_root=root / "data")
            start = time.perf_counter()
            while not trial.is_trained and (stop is None or trial.epochs_done < stop):
                trial.train_epoch()
            return trial, time.perf_counter() - start

        losses: dict[str, list[float]] = {}
        for name in ("first", "again", "resumed"):
            if name == "resumed":
                run(name, 1)[0].close()
            trial, seconds = run(name)
            if name == "first":
                result = trial.finish()
                bench.row("a trial's precision", result["execution"]["precision"])
                bench.row("a trial of 2 epochs, seconds", seconds)
                versions = {key: result["env"].get(key) for key in ("device", "driver", "cudnn", "deepspeed")}
                bench.row("recorded", ", ".join(f"{key} {value}" for key, value in versions.items()))
            losses[name] = [record["train_loss"] for record in trial.history]
            trial.close()
        bench.row("the same losses again (run.deterministic)", losses["again"] == losses["first"], "True")
        bench.row("the same losses after a resume (run.deterministic)", losses["resumed"] == losses["first"], "True")
