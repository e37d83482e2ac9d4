"""A live page: served on this machine alone, made again while trials run, refreshed in the browser where it stands."""

from __future__ import annotations

import errno
import signal
import threading
import uuid
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import typer

from far.errors import ConfigError, FarError
from reports.page.watch import Watch

HOST = "127.0.0.1"
RULES = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; connect-src 'self'"
"""What a browser may load for the page: nothing from elsewhere."""


class PageServer(ThreadingHTTPServer):
    """A server of one page; nothing else of this machine can be read through it.

    Args:
        port: on this machine; 0 takes a free one.

    Raises:
        ConfigError: the port cannot be used.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            what = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise ConfigError(f"{port} {what}: choose another, or 0 for a free one", key="--port") from None
        self.page = b""
        self.version = ""

    @property
    def hosts(self) -> set[str]:
        """Names by which a browser may ask: another one is a page elsewhere that points its own name here."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._answer(HTTPStatus.FORBIDDEN)
        elif self.path.partition("?")[0] != "/":
            self._answer(HTTPStatus.NOT_FOUND)
        elif self.headers.get("If-None-Match") == f'"{self.server.version}"':
            self._answer(HTTPStatus.NOT_MODIFIED)
        else:
            self._answer(HTTPStatus.OK, self.server.page)

    def _answer(self, status: HTTPStatus, content: bytes = b"") -> None:
        version = self.server.version
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("ETag", f'"{version}"')
        rules = f"{RULES}; script-src 'nonce-{version}'"
        self.send_header("Content-Security-Policy", rules)
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "farlab"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the user."""


def serve_page(watch: Watch, *, every: int, port: int) -> None:
    """Serve the page until Ctrl-C or a signal ends it.

    Args:
        watch: what it shows.
        every: seconds between two looks.
        port: on this machine; 0 takes a free one.

    Raises:
        ConfigError: the port cannot be used, or what is asked for does not exist.
    """
    server = PageServer(port)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        watch.look()
        _publish(server, watch)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        typer.echo(f"serving http://{HOST}:{server.server_port}/ (Ctrl-C ends it)")
        said = ""
        while True:
            watch.wait(every)
            try:
                if watch.look():
                    _publish(server, watch)
                said = ""
            except FarError as error:  # the page stays as it was until the results can be read again
                if said != (said := str(error)):
                    typer.echo(f"note: not refreshed: {error}", err=True)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _publish(server: PageServer, watch: Watch) -> None:
    version = uuid.uuid4().hex
    page = watch.page(live=version).encode()
    server.page, server.version = page, version
