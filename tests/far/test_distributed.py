"""What joining a world brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECK = """
import sys
from far.distributed import import_deepspeed
import_deepspeed()
assert "mlflow" not in sys.modules, "DeepSpeed has imported MLflow"
import mlflow.version
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


def test_deepspeed_leaves_mlflow_alone_and_it_can_be_imported_afterwards() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)


def test_other_threads_import_what_is_kept_from_one(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    subprocess.run([sys.executable, "-c", BESIDE, tmp_path], check=True)


def test_processes_of_one_machine_listen_on_loopback_alone(tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(RANKS)
    subprocess.run([sys.executable, tmp_path / "ranks.py"], check=True)
