"""`nakawari app`: the jobs of the command line as pages in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .early import check


def command(
    work: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of drawings and results; created if it is missing.")
    ] = Path("nakawari-work"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but the default admits other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port; default: the first free one from 7860 on.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Draw in-betweens, set tracks, compare and train adapters in a browser, on this machine."""
    check(output=work)
    from ..app.server import serve

    def announce(url: str) -> None:
        typer.echo(f"{url} (work folder {work}; Ctrl-C stops it)")

    serve(work, host, port, browser=browser, tell=announce)
