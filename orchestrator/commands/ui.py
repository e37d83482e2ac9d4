"""``farlab ui``: the MLflow page over the sweeps of this workspace."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Annotated

import typer

from far.errors import ConfigError, FarError
from far.interpreter import child_environment, python_command
from far.redaction import redacted
from orchestrator.cli.inputs import refuse_given
from orchestrator.cli.options import TrackingOption, note_environment
from orchestrator.tracking.mirror import SERVER_ENVIRONMENT
from orchestrator.workspace.settings import checked_uri, load_settings


def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tracking_uri: TrackingOption = None,
) -> None:
    """Open MLflow's page to compare runs: one experiment per study, one run per trial. Ctrl-C ends it."""
    settings = load_settings()
    if tracking_uri is None:
        note_environment(settings, "MLFLOW_TRACKING_URI")
    uri = settings.tracking_uri if tracking_uri is None else checked_uri(tracking_uri, "--tracking-uri")
    if uri.startswith(("http://", "https://")):
        refuse_given("port", "host", because=f"the tracking server {redacted(uri)} has its own page")
        print(f"the tracking server has its own page: {redacted(uri)}")
        return
    base = settings.store / "mlflow.db"
    if tracking_uri is None and uri == f"sqlite:///{base}" and not base.exists():
        raise ConfigError("nothing is tracked here yet; run `farlab sweep` first", where=str(base))
    chosen = claimed_port(host, port)
    # A command line can be read by everybody on the machine.
    environment = child_environment(**SERVER_ENVIRONMENT, MLFLOW_BACKEND_STORE_URI=uri)
    command = python_command("-m", "mlflow", "ui")
    command += ["--host", host, "--port", str(chosen), "--workers", "1"]
    print(f"http://{host}:{chosen}", flush=True)
    with tempfile.NamedTemporaryFile(prefix="farlab-ui-", suffix=".log", delete=False) as log:
        code = serve(command, environment, log)
    if code:
        raise FarError(f"MLflow's server has ended by itself (exit code {code}); what it said is in {log.name}")
    Path(log.name).unlink(missing_ok=True)


def claimed_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ConfigError: the port is in use, or this machine has no such address.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            chosen: int = probe.getsockname()[1]
            return chosen
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            what = "is taken" if error.errno == errno.EADDRINUSE else "is not for everybody's use"
            raise ConfigError(f"{port} {what}: choose another, or 0 for a free one", key="--port") from None
        raise ConfigError(f"this machine has no address '{host}' ({error})", key="--host") from None


def serve(command: list[str], environment: dict[str, str], log: IO[bytes]) -> int:
    """Run a server until it ends, or until Ctrl-C or a signal ends it with all its processes; return its exit code."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A session of its own: Ctrl-C is then ours alone, and the server ends without a word of its own about it.
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for step in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, step)
                process.wait(timeout=10)
        for number, handler in before.items():
            signal.signal(number, handler)
