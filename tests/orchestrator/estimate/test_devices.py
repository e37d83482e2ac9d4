"""Cards: what drivers call them, which are visible, and what becomes of one that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import farlab
from far.errors import ConfigError
from orchestrator.estimate import devices
from orchestrator.estimate.devices import CARDS, find_target, recognised
from orchestrator.executors.ray.nodes import this_machine

DRIVER_NAMES = {
    "Tesla T4": "t4",
    "Tesla V100-SXM2-16GB": "v100-16g",
    "Tesla V100-SXM2-32GB": "v100-32g",
    "NVIDIA GeForce RTX 3090": "rtx3090",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "NVIDIA GeForce RTX 5090": "rtx5090",
    "NVIDIA RTX A5000": "a5000",
    "NVIDIA RTX A6000": "a6000",
    "NVIDIA RTX 6000 Ada Generation": "rtx6000-ada",
    "NVIDIA A10": "a10",
    "NVIDIA A10G": "a10g",
    "NVIDIA A40": "a40",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA A100-SXM4-40GB": "a100-40g",
    "NVIDIA A100 80GB PCIe": "a100-80g",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H100 NVL": "h100-nvl",
    "NVIDIA H200": "h200",
    "NVIDIA H200 NVL": "h200-nvl",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA B200": "b200",
}


@pytest.mark.parametrize(("name", "card"), DRIVER_NAMES.items())
def test_a_driver_names_a_card(name: str, card: str) -> None:
    assert recognised(name) == card
    target = find_target(card)
    assert target.same(name)
    assert [other for other in DRIVER_NAMES if target.same(other)] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4090 D", "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA A10-4Q", "NVIDIA L40", "NVIDIA GeForce RTX 3090 Ti", "Quadro RTX 6000", "AMD Instinct MI300X", "",
    ],
)  # fmt: skip
def test_what_only_resembles_a_card_is_none_of_them(name: str) -> None:
    assert recognised(name) is None
    assert not any(find_target(card).same(name) for card in CARDS)


@pytest.mark.parametrize(
    ("card", "gibibytes", "tflops"),
    [
        ("a10", 22.5, 125), ("l4", 22.5, 121), ("l40s", 45, 362), ("a10g", 22.5, 70), ("h100", 79.6, 989),
        ("h100-pcie", 79.6, 756), ("h100-nvl", 93.6, 835),
    ],
)  # fmt: skip
def test_cards_have_the_memory_that_their_driver_shows(card: str, gibibytes: float, tflops: float) -> None:
    target = find_target(card)
    assert target.memory == int(gibibytes * 2**30)
    assert target.tflops == tflops


def driver(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    gpus = [(name, 24 << 30, f"GPU-{number}abc") for number, name in enumerate(names)]
    monkeypatch.setattr(devices, "_nvidia", lambda: gpus)


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, [0, 1, 2]), ("0", [0]), ("2,0", [2, 0]), (" 1 , 2", [1, 2]), ("GPU-1abc", [1]), ("GPU-2", [2]),
        ("0,-1,1", [0]), ("0,7,1", [0]), ("0,x", [0]),
    ],
)  # fmt: skip
def test_visible_gpus_are_those_that_cuda_would_see(
    visible: str | None, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NVIDIA A10", "NVIDIA L4", "NVIDIA A40"]
    driver(monkeypatch, *names)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    target = find_target(None)
    assert (target.kind, target.count, target.name) == ("gpu", len(numbers), names[numbers[0]])
    assert this_machine()["GPU"] == len(numbers)


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", "9"])
def test_no_visible_gpu_is_a_cpu(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, "NVIDIA A10")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_target(None).kind == "cpu"
    assert "GPU" not in this_machine()


def test_an_unknown_card_says_so_and_takes_its_stated_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    driver(monkeypatch, "Quadro RTX 8000")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert farlab.run(["plan", "head_ratio"]) == 0
    assert "estimate: not known for Quadro RTX 8000" in (said := capsys.readouterr().out) and "--tflops" in said
    assert farlab.run(["plan", "head_ratio", "--tflops", "130", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)["price"]
    assert estimate["seconds"] > 0 and estimate["fit_on_a_device"] > 0
    assert farlab.run(["plan", "head_ratio", "--device", "rtx8000"]) == 2
    assert "unknown device 'rtx8000'; with --tflops" in capsys.readouterr().err
    assert farlab.run(["plan", "head_ratio", "--device", "rtx8000", "--tflops", "130"]) == 0
    assert "the memory of rtx8000 is not known" in capsys.readouterr().out
    (tmp_path / "farlab.toml").write_text('device = "rtx8000"\n')
    assert farlab.run(["plan", "head_ratio"]) == 2
    assert "farlab.toml:1: device: unknown device 'rtx8000'" in capsys.readouterr().err
    (tmp_path / "farlab.toml").write_text('device = "rtx8000"\ntflops = 130\n')
    assert farlab.run(["plan", "head_ratio", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["price"]["device"] == "rtx8000"


@pytest.mark.parametrize("peak", ["0", "-3", "nan", "inf"])
def test_a_peak_is_a_positive_number(peak: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert farlab.run(["plan", "head_ratio", "--device", "a10", "--tflops", peak]) == 2


def test_a_peak_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch)
    with pytest.raises(ConfigError, match="this machine has none"):
        find_target(None, tflops=100.0)


def test_unknown_device_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'h100'"):
        find_target("h10")


@given(st.sampled_from(sorted(DRIVER_NAMES)), st.sampled_from([" ", "-", "_"]), st.booleans())
def test_spelling_does_not_matter(name: str, joint: str, upper: bool) -> None:
    spelled = joint.join(name.replace("-", " ").split())
    assert recognised(spelled.upper() if upper else spelled.lower()) == DRIVER_NAMES[name]
