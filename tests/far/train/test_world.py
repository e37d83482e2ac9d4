"""What joining a world brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECK = """
import sys
from far.train.world import import_deepspeed
import_deepspeed()
assert "mlflow" not in sys.modules, "DeepSpeed has imported MLflow"
import mlflow.version
"""

BESIDE = """
import importlib, sys, threading
sys.path.insert(0, sys.argv[1])
from far.train.world import _seemingly_not_installed
with _seemingly_not_installed("beside"):
    try:
        import beside
    except ImportError:
        thread = threading.Thread(target=importlib.import_module, args=["beside"])
        thread.start()
        thread.join()
assert "beside" in sys.modules
"""


def test_deepspeed_leaves_mlflow_alone_and_it_can_be_imported_afterwards() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True)


def test_other_threads_import_what_is_kept_from_one(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    subprocess.run([sys.executable, "-c", BESIDE, tmp_path], check=True)
