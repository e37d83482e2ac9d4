"""Files of weights in every ancestor's layout, all holding the same random plain ViT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from far.architecture.position_embeddings import EMBEDDINGS
from far.config.trial import ModelConfig
from far.model.vit import VideoTransformer, build

State = dict[str, Tensor]
CLASSES = 5
WIDTH = 96


@pytest.fixture(scope="session")
def plain() -> ModelConfig:
    """Global attention, as every ancestor has it; 16 frames, so that stored tables have 8 times."""
    values = {"backbone": "tiny", "depth": 2, "clip": [16, 32, 32], "init_scale": 1.0}
    axes = {"attention": {"global": 1}, "interaction": "none", "classifier": "global-mean"}
    return ModelConfig.model_validate({**values, **axes})


@pytest.fixture(scope="session")
def reference(plain: ModelConfig) -> Callable[[str], VideoTransformer]:
    """Return a network with every parameter random, with the position embedding asked for."""

    def make(embedding: str) -> VideoTransformer:
        net = build(plain.model_copy(update={"position_embedding": embedding}), CLASSES, seed=1)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        return net

    return make


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def table(name: str) -> Tensor:
    compute = EMBEDDINGS[name].table
    assert compute is not None
    return torch.from_numpy(compute((8, 2, 2), WIDTH)).float()[None]


def without_head(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith(("fc_norm", "head"))}


def decoder(prefix: str) -> State:
    return {
        f"{prefix}.blocks.0.norm1.weight": randn(48),
        f"{prefix}.norm.bias": randn(48),
        f"{prefix}.head.weight": randn(1536, 48),
    }


def full_bias(state: State, block: str) -> Tensor:
    q, v = state[f"{block}.attn.q_bias"], state[f"{block}.attn.v_bias"]
    return torch.cat([q, randn(WIDTH), v])  # a key's bias is random: it must not matter


def videomae_pretrained(state: State) -> dict[str, Any]:
    import argparse

    kept = {f"encoder.{name}": value for name, value in without_head(state).items()}
    norm = {"encoder.norm.weight": randn(WIDTH), "encoder.norm.bias": randn(WIDTH)}
    rest = {**decoder("decoder"), "encoder_to_decoder.weight": randn(48, WIDTH), "mask_token": randn(1, 1, 48)}
    args = argparse.Namespace(lr=1.5e-4, output_dir="out")
    return {"model": {**kept, **norm, **rest}, "epoch": 799, "args": args, "loss": np.float64(0.5)}


def videomae_finetuned(state: State) -> dict[str, Any]:
    return {"module": {name: value.half() for name, value in state.items()}, "global_steps": 7}


def videomae_v2(state: State) -> dict[str, Any]:
    head = {"head.weight": randn(710, WIDTH), "head.bias": randn(710)}
    return {"model": {f"_orig_mod.{name}": value for name, value in {**state, **head}.items()}}


def mvd_student(state: State) -> dict[str, Any]:
    rest: State = {"norm.weight": randn(WIDTH), "norm.bias": randn(WIDTH), "pos_embed": table("sincos-3d")}
    for kind in ("img", "vid"):
        rest |= decoder(f"decoder_{kind}")
        rest |= {f"mask_token_{kind}": randn(1, 1, 48), f"pos_embed_{kind}": randn(1, 32, 48)}
        rest |= {f"down_{kind}.weight": randn(48, WIDTH), f"down_{kind}.bias": randn(48)}
    return {"model": {**without_head(state), **rest}}


def st_mae(state: State) -> dict[str, Any]:
    full = state["pos_embed"].reshape(8, 4, WIDTH)
    out = {"cls_token": randn(1, 1, WIDTH), "pos_embed_class": randn(1, 1, WIDTH)}
    out |= {"pos_embed_temporal": full[None, :, 0], "pos_embed_spatial": (full - full[:, :1])[None, 0]}
    for name, value in state.items():
        block, _, leaf = name.partition(".attn.")
        if leaf == "qkv.weight":
            biases = full_bias(state, block).chunk(3)
            for part, weight, bias in zip("qkv", value.chunk(3), biases, strict=True):
                out |= {f"{block}.attn.{part}.weight": weight, f"{block}.attn.{part}.bias": bias}
        elif leaf not in ("q_bias", "v_bias") and name != "pos_embed":
            out[name.replace("fc_norm", "norm").replace("head.", "head.projection.")] = value
    return {"model_state": {**out, "decoder_embed.weight": randn(48, WIDTH), "mask_token": randn(1, 1, 48)}}


def omnimae(state: State) -> dict[str, Any]:
    out: State = {"trunk.pos_embed": table("sinusoid-1d"), "trunk.mask_token": randn(1, 1, 48)}
    for name, value in state.items():
        block, _, leaf = name.partition(".attn.")
        if leaf == "q_bias":
            out[f"trunk.{block}.attn.qkv.bias"] = full_bias(state, block)
        elif leaf != "v_bias":
            ours = name.replace("patch_embed.proj", "patch_embed.proj.1").replace("fc_norm", "norm")
            out[ours if name.startswith("head") else f"trunk.{ours}"] = value
    return {**out, **{f"trunk.{name}": value for name, value in decoder("decoder").items()}}


LAYOUTS: dict[str, tuple[Callable[[State], dict[str, Any]], str, str, bool]] = {
    "videomae-pretrained": (videomae_pretrained, "videomae", "sinusoid-1d", False),
    "videomae-finetuned": (videomae_finetuned, "videomae", "sinusoid-1d", True),
    "videomae-v2": (videomae_v2, "videomae-v2", "sinusoid-1d", False),
    "mvd": (mvd_student, "mvd", "sincos-3d", False),
    "st-mae": (st_mae, "st-mae", "learned", True),
    "omnimae": (omnimae, "omnimae", "sinusoid-1d", True),
}
"""Layout, family, position embedding, and whether its head is for ``CLASSES`` classes."""


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def expected(layout: str) -> tuple[str, str, bool]:
    _, family, embedding, has_head = LAYOUTS[layout]
    return family, embedding, has_head


@pytest.fixture
def written(layout: str, reference: Callable[[str], VideoTransformer], tmp_path: Path) -> tuple[Path, VideoTransformer]:
    """A file in this layout, and the network that it holds."""
    make, _, embedding, _ = LAYOUTS[layout]
    net = reference(embedding)
    if embedding == "learned":  # separable, as ST-MAE's is
        with torch.no_grad():
            net.pos_embed.copy_((randn(8, 1, WIDTH) + randn(1, 4, WIDTH).flip(-1)).reshape(1, 32, WIDTH))
    path = tmp_path / f"{layout}.pth"
    torch.save(make(dict(net.state_dict())), path)
    return path, net
