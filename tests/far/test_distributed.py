"""What joining a world brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from far.config import TrialConfig
from far.data import open_manifest
from far.data.decoding.indexes import open_indexes

TRIAL = """
import sys
from pathlib import Path
from far.config import TrialConfig
from far.config.identity import identity
from far.data import open_manifest
from far.distributed import join_world
from far.store.paths import TrialPaths
from far.train.trial import TrialRun
config, data = TrialConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2])
whole = identity(config, data_hash=open_manifest(config.data, data).content_hash)
run = TrialRun(config, whole, TrialPaths(Path(sys.argv[3])), join_world(), data_root=data)
run.train_epoch()
unused = {"mlflow", "pandas", "sympy", "torch._dynamo.convert_frame"} & set(sys.modules)
assert not unused, f"imported though nothing here needs them: {unused}"
import mlflow.version

import torch
module = sys.modules["torch._dynamo"]
double = torch.compile(lambda x: 2 * x, backend="eager")
assert double(torch.ones(3)).sum() == 6
assert sys.modules["torch._dynamo"] is module is torch._dynamo and "torch._dynamo.convert_frame" in sys.modules
asked = torch.optim.Optimizer.add_param_group.__wrapped__
assert not hasattr(asked, "__dynamo_disable"), "the compiler would compile what it is to leave out"
"""

BESIDE = """
import importlib, sys, threading
sys.path.insert(0, sys.argv[1])
from far.distributed import _seemingly_not_installed
with _seemingly_not_installed("beside"):
    try:
        import beside
    except ImportError:
        thread = threading.Thread(target=importlib.import_module, args=["beside"])
        thread.start()
        thread.join()
assert "beside" in sys.modules
"""

RANKS = """
import multiprocessing, psutil, torch
from far.distributed import LOOPBACK, Rendezvous, join_world

def listening():
    return [c.laddr.ip.removeprefix("::ffff:") for c in psutil.Process().net_connections() if c.status == "LISTEN"]

def peer(address, over):
    join_world(1, 2, rendezvous=address)
    torch.distributed.all_reduce(torch.ones(1))
    over.send(listening())

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    rendezvous = Rendezvous(2, LOOPBACK)
    here, there = context.Pipe()
    process = context.Process(target=peer, args=(rendezvous.address, there))
    process.start()
    join_world(0, 2, rendezvous=rendezvous)
    torch.distributed.all_reduce(torch.ones(1))
    found = listening() + here.recv()
    process.join()
    assert found and set(found) == {LOOPBACK}, found
"""


def test_a_trial_imports_neither_mlflow_nor_the_compiler_and_both_can_be_imported_afterwards(
    tiny_config: TrialConfig, tiny_data: Path, tmp_path: Path
) -> None:
    open_indexes(open_manifest(tiny_config.data, tiny_data))  # what makes them needs pandas
    command = [sys.executable, "-c", TRIAL, tiny_config.model_dump_json(), tiny_data, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_other_threads_import_what_is_kept_from_one(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    subprocess.run([sys.executable, "-c", BESIDE, tmp_path], check=True)


def test_processes_of_one_machine_listen_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(RANKS)
    subprocess.run([sys.executable, tmp_path / "ranks.py"], check=True)
