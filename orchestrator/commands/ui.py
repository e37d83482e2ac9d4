"""``farlab ui``: the MLflow page over the sweeps of this workspace."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated

import typer

from far.errors import ConfigError, FarError
from far.interpreter import child_environment, python_command
from far.redaction import redacted
from orchestrator.cli.inputs import refuse_given
from orchestrator.cli.options import TrackingOption, note_environment
from orchestrator.store.store import Store
from orchestrator.tracking.base import TRACKERS
from orchestrator.tracking.database import has_moved
from orchestrator.tracking.pages import SERVER_ENVIRONMENT, overview, pages
from orchestrator.workspace.settings import checked_uri, load_settings

Experiment = tuple[str, str, dict[str, str]]
"""Id, name and tags."""
LISTED = 1000
"""Experiments that a server is asked for."""
LOOK = 0.2
"""Seconds between two looks at whether the server is up."""


def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tracking_uri: TrackingOption = None,
    open_: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open it in a browser; default: on a terminal, where there is one."),
    ] = None,
) -> None:
    """Open MLflow's page on the runs of this workspace's studies, to compare them. Ctrl-C ends it.

    Examples:
        farlab ui
        farlab ui --port 0
    """
    settings = load_settings()
    if tracking_uri is None:
        note_environment(settings, "MLFLOW_TRACKING_URI")
    uri = settings.tracking_uri if tracking_uri is None else checked_uri(tracking_uri, "--tracking-uri")
    if uri.partition("://")[0] in TRACKERS:
        raise ConfigError(f"{redacted(uri)} is not MLflow's: it has no page", key="tracking_uri")
    store = Store(settings.store)
    opens = sys.stdout.isatty() if open_ is None else open_
    if uri.startswith(("http://", "https://")):
        refuse_given("port", "host", because=f"the tracking server {redacted(uri)} has its own page")
        _show(uri, _experiments_of(uri), store, opens=opens)
        return
    base = settings.store / "mlflow.db"
    if tracking_uri is None and uri == f"sqlite:///{base}" and not base.exists():
        raise ConfigError("nothing is tracked here yet; run `farlab sweep` first", where=str(base))
    chosen = claimed_port(host, port)
    if has_moved(uri, store.root):
        from orchestrator.tracking.selection import follow_store  # noqa: PLC0415  (memory that waiting does not need)

        follow_store(uri, store)
    # A command line can be read by everybody on the machine.
    environment = child_environment(**SERVER_ENVIRONMENT, MLFLOW_BACKEND_STORE_URI=uri)
    command = python_command("-m", "mlflow", "ui")
    command += ["--host", host, "--port", str(chosen), "--workers", "1"]
    address = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    if sys.stderr.isatty():
        print("MLflow's server is starting ...", file=sys.stderr)

    def show() -> None:
        _show(address, asked(address), store, opens=opens)

    with tempfile.NamedTemporaryFile(prefix="farlab-ui-", suffix=".log", delete=False) as log:
        code = serve(command, environment, log, lambda: asked(address) is not None, show)
    if code:
        raise FarError(f"MLflow's server has ended by itself (exit code {code}); what it said is in {log.name}")
    Path(log.name).unlink(missing_ok=True)


def _show(base: str, experiments: list[Experiment] | None, store: Store, *, opens: bool) -> None:
    """Print where the studies' runs are compared, and open it in a browser: one study's, else the list of them."""
    lines = pages(base, experiments or [], store.studies())
    print("\n".join(lines or [overview(base)]), flush=True)
    if opens:
        open_in_browser(lines[0] if len(lines) == 1 else overview(base))


def _experiments_of(uri: str) -> list[Experiment] | None:
    """Return the experiments of a server elsewhere, None if it does not say."""
    from orchestrator.tracking.mirror import connect  # noqa: PLC0415  (memory that waiting does not need)

    try:
        found = connect(uri).search_experiments(max_results=LISTED)
    except Exception as error:  # whatever its answer makes of MLflow's client; a browser may have access all the same
        why = (str(error).splitlines() or [type(error).__name__])[0][:160]
        print(f"note: {redacted(uri)} does not list its experiments: {redacted(why)}", file=sys.stderr)
        return None
    return [(experiment.experiment_id, experiment.name, experiment.tags) for experiment in found]


def asked(address: str) -> list[Experiment] | None:
    """Return the experiments of a server on this machine, None while it does not answer."""
    body = json.dumps({"max_results": LISTED, "view_type": "ACTIVE_ONLY"}).encode()
    place = f"{_reachable(address)}/api/2.0/mlflow/experiments/search"
    request = urllib.request.Request(place, body, {"Content-Type": "application/json"})
    try:
        # Not by way of a proxy, which knows nothing of this machine's ports.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            found = json.load(answer).get("experiments") or []
    except (OSError, ValueError):
        return None
    return [
        (str(each["experiment_id"]), str(each["name"]), {tag["key"]: tag["value"] for tag in each.get("tags") or []})
        for each in found
    ]


def _reachable(address: str) -> str:
    """Return an address at which a server is reached that listens on all of this machine's."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def open_in_browser(address: str) -> None:
    """Open an address in the user's browser, if there is one that does not take the terminal."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(address)


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


def serve(
    command: list[str],
    environment: dict[str, str],
    log: IO[bytes],
    is_up: Callable[[], bool],
    on_up: Callable[[], None],
) -> int:
    """Run a server until it ends, or until Ctrl-C or a signal ends it with all its processes; return its exit code.

    Args:
        command: that starts it.
        environment: the server's.
        log: gets what it says.
        is_up: asks whether it answers.
        on_up: called once it does.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A session of its own: Ctrl-C is then ours alone, and the server ends without a word of its own about it.
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        while process.poll() is None:
            if is_up():
                on_up()
                return process.wait()
            time.sleep(LOOK)
        return process.returncode
    except KeyboardInterrupt:
        return 0
    finally:
        for step in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, step)
                process.wait(timeout=10)
        for number, handler in before.items():
            signal.signal(number, handler)
