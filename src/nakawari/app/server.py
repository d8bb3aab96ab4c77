"""Serve the pages until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path
from threading import Timer

from ..errors import NakawariError, UsageError
from ..files import check_writable

PORT = 7860
TRIES = 20


def free_port(host: str, port: int | None) -> int:
    """`port`, or the first free port from `PORT` on. Raises `UsageError` if it is in use or none is free."""
    for candidate in [port] if port is not None else range(PORT, PORT + TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    raise UsageError(f"Cannot listen on {host}, port {port or PORT}; give another --port or --host.")


def serve(root: Path, host: str, port: int | None, *, browser: bool, tell: Callable[[str], None]) -> None:
    """Serve the pages for the work folder `root` until Ctrl-C.

    Raises:
        NakawariError: the extra is not installed, or the folder cannot be written.
        UsageError: the port is in use.
    """
    check_writable(root)
    port = free_port(host, port)
    try:
        import uvicorn

        from .site import site_of
        from .web import application
    except ImportError as error:
        raise NakawariError(
            f"The app needs the extra app ({error.name} is missing): pip install 'nakawari[app]'."
        ) from error
    site = site_of(root)
    try:
        url = f"http://{host}:{port}/"
        tell(url)
        if browser:
            Timer(1.0, webbrowser.open, (url,)).start()
        uvicorn.run(application(site), host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)
    finally:
        site.queue.close()
