"""Our own checkpoints, read back as the networks that they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from far.architecture.networks import NETWORKS
from far.architecture.position_embeddings import EMBEDDINGS
from far.config.trial import InitConfig, ModelConfig
from far.store.atomic import write_json
from far.weights import build_network, open_source
from far.weights.convert import convert
from tests.far.weights.nets import CLASSES, WIDTH, difference, model, random_net, read


def own_checkpoint(folder: Path, net: Any, *, early: bool) -> Path:
    """Write what a trial's folder holds; early: as before the model was recorded in the checkpoint."""
    directory = folder / "checkpoints" / "epoch-0002"
    directory.mkdir(parents=True)
    said = {"position_embedding": net.config.position_embedding if early else net.config.embedding}
    config = net.config.model_dump(mode="json")
    write_json(folder / "trial.json", {"config": {"model": config}})
    if not early:
        (folder / "trial.json").unlink()
        said["model_config"] = config
    torch.save({"module": net.state_dict(), **said, "epochs": 2}, directory / "mp_rank_00_model_states.pt")
    return directory


GRIDS = [
    ([16, 32, 32], (2, 16, 16)),
    ([16, 64, 64], (8, 16, 16)),
    ([16, 64, 64], (4, 16, 16)),
    ([4, 32, 48], (2, 8, 16)),
]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("clip", "tubelet"), GRIDS)
@pytest.mark.parametrize("embedding", ["auto", *EMBEDDINGS])
def test_our_checkpoints_start_the_network_that_they_are(
    embedding: str, clip: list[int], tubelet: tuple[int, int, int], early: bool, tmp_path: Path
) -> None:
    net = random_net(model(clip, tubelet, embedding))
    directory = own_checkpoint(tmp_path / "trial", net, early=early)
    out = tmp_path / "out.safetensors"
    convert(open_source(directory), out)
    for path in (directory, tmp_path / "trial", tmp_path / "trial" / "checkpoints", out):
        for configured in ("auto", embedding):
            again = read(path, model(clip, tubelet, configured))
            assert again.config.embedding == net.config.embedding
            assert difference(again, net, clip) < 1e-6


def test_a_trial_of_transformers_network_starts_ours(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    theirs = ModelConfig.model_validate({"network": "videomae", "backbone": "tiny", "depth": 2, "clip": [8, 32, 32]})
    net = NETWORKS["videomae"].build(theirs, CLASSES, seed=3).eval()
    again = read(own_checkpoint(tmp_path / "trial", net, early=False), model([8, 32, 32]))
    assert difference(again, net, [8, 32, 32]) < 1e-4


def test_our_interactions_are_read_whatever_parts_they_have(tmp_path: Path) -> None:
    """Another variant's: what both have is taken, the rest is named; running statistics are not parameters."""
    config = model([8, 32, 32]).model_copy(update={"interaction": "bottleneck", "position_embedding": "sinusoid-1d"})
    net = random_net(config)
    part = "blocks.0.interaction.other.running_mean"
    state = {name: value for name, value in net.state_dict().items() if ".interaction.norm." not in name}
    torch.save({"module": {**state, part: torch.ones(7)}}, tmp_path / "w.pth")
    _, load_report = build_network(config, InitConfig(weights=str(tmp_path / "w.pth")), CLASSES, seed=0)
    assert load_report is not None and load_report.ignored == {part: "the model's interaction has no such part"}
    assert load_report.fresh["blocks.0.interaction.norm.weight"] == "the file's interaction has no such part"
    assert "blocks.1.interaction.conv.weight" in load_report.loaded


def test_our_running_statistics_are_loaded_with_the_interaction(tmp_path: Path) -> None:
    clip, tubelet = [16, 32, 32], (2, 16, 16)
    settings = model(clip, tubelet).model_copy(update={"interaction": "bottleneck-batchnorm"})
    net = random_net(settings)
    net.train()
    with torch.no_grad():
        net(torch.randn(2, 3, *clip))
    net.eval()
    again = read(own_checkpoint(tmp_path, net, early=False), settings)
    assert difference(again, net, clip) < 1e-6


def test_running_statistics_are_taken_as_well(tmp_path: Path) -> None:
    values = {"interaction": "bottleneck-batchnorm", "position_embedding": "sinusoid-1d"}
    config = model([8, 32, 32]).model_copy(update=values)
    net = random_net(config)
    for name, buffer in net.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(4)))
    torch.save({"module": net.state_dict()}, tmp_path / "w.pth")
    assert difference(read(tmp_path / "w.pth", config), net, [8, 32, 32]) == 0


def test_our_learned_table_is_resized_from_its_own_grid(tmp_path: Path) -> None:
    """A table along time alone stays one, whatever the network's size."""
    net = random_net(model([16, 64, 64], (8, 16, 16), "learned"))
    with torch.no_grad():
        net.pos_embed.copy_(torch.arange(2.0)[:, None, None].expand(2, 16, WIDTH).reshape(1, 32, WIDTH))
    again = read(own_checkpoint(tmp_path, net, early=False), model([16, 96, 96], (8, 16, 16)))
    assert torch.allclose(again.pos_embed.reshape(2, 36, WIDTH)[1], torch.tensor(1.0), atol=1e-5)
