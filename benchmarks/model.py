"""Speed of the network: ratios of medians, all entries interleaved in one run.

    python benchmarks/model.py                       # ViT-S, 16 x 224 x 224, batch 1, fp32 and bf16
    python benchmarks/model.py --device cuda --batch 8 --types bf16 --compile
    python benchmarks/model.py --clock cpu --threads 1   # on a machine that others use at the same time

Each round runs every entry once, forward and forward+backward; a ratio is between medians over rounds. ``written out``
is the ancestors' form: whole score matrices in memory. The goals are printed beside
the ratios. The rate is the analytic count of multiply-accumulates, times two, over the time of a forward pass, as a
share of the rate of one large square matrix product in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from far.architecture import costs
from far.architecture.far import FarConfig
from far.model import attention
from far.model.vit import build

PLAIN = {"interaction": "none", "classifier": "global-mean"}
OURS = {
    "global": {"attention": {"global": 1}, **PLAIN},
    "far": {},
    "hsda": {"attention": {"global": 1, "sparse-dense": 1}, **PLAIN},
    "sparse-dense": {"attention": {"sparse-dense": 1}, **PLAIN},
}
GOALS = {
    ("far", "global"): 0.94,
    ("hsda", "global"): 0.90,
    ("sparse-dense", "global"): 0.80,
    ("far", "written out"): 0.50,
    ("far", "transformers"): 0.92,
}
RATE_GOALS = {"fp32": 0.90, "bf16": 0.75}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CLASSES = 174


@dataclass
class Entry:
    """One network, and its times in seconds by what was run."""

    net: nn.Module
    run: Callable[[Tensor], Tensor]
    macs: int | None = None
    times: dict[str, list[float]] = field(default_factory=lambda: {"forward": [], "forward+backward": []})


@contextlib.contextmanager
def written_out() -> Iterator[None]:
    """Run our Global network in the ancestors' form."""
    before, attention.attend = attention.attend, attention.attend_written_out
    try:
        yield
    finally:
        attention.attend = before


def entries(args: argparse.Namespace, dtype: torch.dtype) -> dict[str, Entry]:
    made: dict[str, Entry] = {}
    for name, changes in OURS.items():
        config = FarConfig.model_validate({"backbone": args.backbone, **changes})
        net = build(config, CLASSES, seed=0).to(args.device, dtype)
        if args.compile:
            net.compile()
        made[name] = Entry(net, net, costs.flops(config, CLASSES))
    plain = build(FarConfig.model_validate({"backbone": args.backbone, **OURS["global"]}), CLASSES, seed=0)
    plain.to(args.device, dtype)

    def explicit(clips: Tensor) -> Tensor:
        with written_out():
            return plain(clips)

    made["written out"] = Entry(plain, explicit)
    with contextlib.suppress(ImportError):
        made["transformers"] = transformers_entry(args, dtype)
    return made


def transformers_entry(args: argparse.Namespace, dtype: torch.dtype) -> Entry:
    """Hugging Face's VideoMAE of the same size, with the attention implementation asked for."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    width, depth, heads = FarConfig.model_validate({"backbone": args.backbone}).sizes
    config = VideoMAEConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=4 * width,
        num_labels=CLASSES, attn_implementation=args.transformers_attention,
    )  # fmt: skip
    net = VideoMAEForVideoClassification(config).to(args.device, dtype).train()
    return Entry(net, lambda clips: net(pixel_values=clips.transpose(1, 2)).logits)


class Clock:
    """Wall time, or the processor's time where others use the machine; waits for the device."""

    def __init__(self, kind: str, device: str) -> None:
        self.now = time.process_time if kind == "cpu" else time.perf_counter
        self.device = device

    def time(self, run: Callable[[], object]) -> float:
        """Return the seconds that a call takes."""
        self.wait()
        start = self.now()
        run()
        self.wait()
        return self.now() - start

    def wait(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def step(entry: Entry, clips: Tensor) -> None:
    entry.run(clips).float().square().sum().backward()
    entry.net.zero_grad(set_to_none=True)


def forward(entry: Entry, clips: Tensor) -> None:
    with torch.no_grad():
        entry.run(clips)


def measure(args: argparse.Namespace, dtype: torch.dtype) -> tuple[dict[str, Entry], float]:
    """Return the entries with their times, and the rate of a large matrix product (FLOP/s)."""
    clock, made = Clock(args.clock, args.device), entries(args, dtype)
    made = {name: entry for name, entry in made.items() if not args.only or name in args.only}
    clips = torch.randn(args.batch, 3, 16, 224, 224).to(args.device, dtype)
    size = args.matmul
    a, b = (torch.randn(size, size).to(args.device, dtype) for _ in range(2))
    products: list[float] = []
    for number in range(args.rounds + 1):
        warm = number == 0
        seconds = clock.time(lambda: a @ b)
        products += [] if warm else [seconds]
        for entry in made.values():
            for name, run in (("forward", forward), ("forward+backward", step)):
                if args.forward_only and name != "forward":
                    continue
                seconds = clock.time(lambda run=run, entry=entry: run(entry, clips))  # type: ignore[misc]
                entry.times[name] += [] if warm else [seconds]
    return made, 2 * size**3 / statistics.median(products)


def summary(made: dict[str, Entry], rate: float, batch: int, kind: str) -> dict[str, object]:
    medians = {n: {what: statistics.median(t) for what, t in e.times.items() if t} for n, e in made.items()}
    ratios = [
        {"of": of, "to": to, "what": what, "ratio": medians[of][what] / medians[to][what], "goal": goal}
        for (of, to), goal in GOALS.items()
        if of in medians and to in medians and (to != "written out" or kind == "fp32")
        for what in medians[of]
    ]
    shares = {
        name: 2 * entry.macs * batch / medians[name]["forward"] / rate for name, entry in made.items() if entry.macs
    }
    return {"type": kind, "medians_s": medians, "ratios": ratios, "matmul_flops": rate, "forward_share": shares}


def show(found: dict[str, object]) -> None:
    kind = str(found["type"])
    print(f"\n{kind}: large matrix product {found['matmul_flops'] / 1e9:.0f} GFLOP/s")  # type: ignore[operator]
    for name, times in found["medians_s"].items():  # type: ignore[attr-defined]
        share = found["forward_share"].get(name)  # type: ignore[attr-defined]
        rate = "" if share is None else f"  {share:.2f} of that rate (goal {RATE_GOALS[kind]:.2f})"
        print(f"  {name:14}" + "".join(f"  {what} {t * 1e3:8.1f} ms" for what, t in times.items()) + rate)
    for r in found["ratios"]:  # type: ignore[attr-defined]
        met = "met" if r["ratio"] <= r["goal"] else "missed"
        print(f"  {r['of']:>12} / {r['to']:12} {r['what']:17} {r['ratio']:.2f}  goal {r['goal']:.2f}  {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, help="default: PyTorch's")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--matmul", type=int, default=4096, help="rows and columns of the large matrix product")
    parser.add_argument("--transformers-attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="e.g. --only far global")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    results = []
    for kind in args.types:
        made, rate = measure(args, TYPES[kind])
        results.append(summary(made, rate, args.batch, kind))
        if not args.json:
            show(results[-1])
    if args.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
