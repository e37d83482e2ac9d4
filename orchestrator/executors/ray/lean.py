"""What Ray starts on a machine that a sweep does without, or need not wait for: half of the CPU time of its start."""

from __future__ import annotations

import contextlib
import functools
import inspect
import socket
from collections.abc import Iterator
from typing import Any

AGENT_PORTS = ("METRICS_AGENT_PORT_NAME", "METRICS_EXPORT_PORT_NAME", "DASHBOARD_AGENT_LISTEN_PORT_NAME")
"""What the agent of Ray's page says about where it listens; where it has no page to serve it says -1."""
PROCESSES = "--num_prestart_python_workers="
NO_PROCESSES = f"{PROCESSES}0"
"""Else one is started for each core, and waited for; the trials' are started when Tune asks for them."""
AGENT, NO_AGENT = "--dashboard_agent_command=", "sleep 2147483647"
"""The node manager ends when its agent does."""


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """Yield a port that nobody else is given meanwhile, and that a process of ours may listen at."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Ray's agents do
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@contextlib.contextmanager
def lean_start(port: int) -> Iterator[None]:
    """Start a cluster with less, within.

    It has no server of Ray's page (which ``include_dashboard=False`` starts without the page), no autoscaler, nothing
    that brings the output of workers here, and no processes for tasks yet. The agent for environments of tasks is not
    waited for.

    Args:
        port: of that agent; to be held until the cluster is gone.
    """
    from ray._private import node, parameter, services

    settings: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False, "runtime_env_agent_port": port}
    known = inspect.signature(parameter.RayParams).parameters
    params = functools.partial(parameter.RayParams, **{k: value for k, value in settings.items() if k in known})
    start = services.start_ray_process

    def start_leanly(command: list[str], *arguments: Any, **options: Any) -> Any:
        lean = [NO_PROCESSES if word.startswith(PROCESSES) else word for word in _without_agent(command)]
        return start(lean, *arguments, **options)

    with (
        _replaced(parameter, "RayParams", params),
        _replaced(services, "start_ray_process", start_leanly),
        _replaced(node.Node, "start_api_server", lambda node, **options: None),
    ):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for a while, if it is there: other versions of Ray may lack it."""
    if name not in vars(owner):
        yield
        return
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _without_agent(command: list[str]) -> list[str]:
    """Return a node manager's command without the agent of Ray's page; any other command as it is.

    The node manager waits until the agent has said where it listens, so that is said in its place.
    """
    flags = dict(word[2:].split("=", 1) for word in command if word.startswith("--") and "=" in word)
    if not any(word.startswith(AGENT) for word in command) or not {"session_dir", "node_id"} <= flags.keys():
        return command
    from ray import _raylet

    ports = [getattr(_raylet, name, None) for name in AGENT_PORTS]
    if not hasattr(_raylet, "persist_port") or None in ports:
        return command
    for port in ports:
        _raylet.persist_port(flags["session_dir"], flags["node_id"], port, -1)
    return [AGENT + NO_AGENT if word.startswith(AGENT) else word for word in command]
