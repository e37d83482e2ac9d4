"""What a Ray cluster is made of, asked before anything depends on it.

``ray.init`` waits many minutes for an address that does not answer, and ignores signals. So a child process asks first,
as ``python -m orchestrator.executors.ray.nodes ADDRESS``, and is given up after some seconds.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

from far.cpus import whole_cpus
from far.errors import ConfigError
from far.interpreter import child_environment, python_command
from orchestrator.estimate.devices import find_target
from orchestrator.executors.base import Node
from orchestrator.executors.ray.cluster import prepare_environment

PATIENCE = 20.0
"""Seconds that a cluster has for its answer."""
CONNECT = 5.0
"""Seconds that its address has to take a connection."""


def this_machine() -> Node:
    """Return what a cluster started on this machine will have."""
    target = find_target(None)
    gpus = {"GPU": float(target.count)} if target.kind == "gpu" else {}
    return {"CPU": float(whole_cpus()), **gpus}


def nodes_of(address: str) -> list[Node]:
    """Return what the living nodes of an existing cluster have.

    Args:
        address: ``host:port`` of its head node, or ``auto`` for the cluster that this machine belongs to.

    Raises:
        ConfigError: this is no such address, or no cluster answers there.
    """
    check_address(address)
    command = python_command("-m", "orchestrator.executors.ray.nodes", address)
    with subprocess.Popen(
        command, env=child_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            output, errors = child.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise _nobody(address, f"what listens there did not answer as one within {PATIENCE:g} s") from None
        finally:
            child.kill()
    if child.returncode or not output.strip():
        said = [line for line in errors.strip().splitlines() if line.strip()]
        raise _nobody(address, said[-1].strip()[:300] if said else f"exit status {child.returncode}")
    found: list[Node] = json.loads(output.strip().splitlines()[-1])
    return found


def check_address(address: str) -> None:
    """Look at an address without Ray.

    Raises:
        ConfigError: it is no address of a cluster, or nothing listens there.
    """
    if address in ("auto", "local"):
        if address == "local":
            raise ConfigError("'local' is no cluster; leave it out to start Ray on this machine", key="--address")
        return
    if "://" in address:
        raise ConfigError(
            f"'{address}' is an address of Ray's client, which cannot run a sweep; name host:port of the head node "
            "(6379 unless it was started otherwise) from a machine that shares the workspace with the cluster",
            key="--address",
        )
    found = re.fullmatch(r"\[?([^\[\]/\s]+?)\]?:(\d{1,5})", address)
    if not found or not 0 < int(found[2]) < 65536:
        raise ConfigError(f"'{address}' is no address; name host:port of the head node, or auto", key="--address")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=CONNECT).close()
    except OSError as error:
        raise _nobody(address, error.strerror or str(error)) from None


def _nobody(address: str, why: str) -> ConfigError:
    hint = "start one with `ray start --head`, or leave --address out" if address == "auto" else "is the address right?"
    return ConfigError(f"no Ray cluster answers at '{address}' ({why}); {hint}", key="--address")


def main() -> None:
    """Print the nodes of a cluster as JSON; what is wrong is the last line on standard error."""
    prepare_environment(sys.argv[1])
    import ray

    try:
        ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    except Exception as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)
    print(json.dumps([{kind: node[kind] for kind in ("CPU", "GPU") if kind in node} for node in alive]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
