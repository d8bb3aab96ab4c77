"""`nakawari examples`: copy the shipped drawings, which the commands of the documentation use, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .early import check_writable

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def command(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to write.")] = Path("examples"),
) -> None:
    """Write three key drawings and a time sheet as examples."""
    from ..errors import UsageError
    from ..files import atomic_path

    check_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder.")
    shipped = {folder / file.name: file.read_bytes() for file in sorted(EXAMPLES.iterdir()) if file.is_file()}
    for path, content in shipped.items():
        if path.exists() and path.read_bytes() != content:
            raise UsageError(f"{path} exists already and is another file; give another folder.")
    for path, content in shipped.items():
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        typer.echo(f"  {path}")
    typer.echo("Big Buck Bunny, © 2008 Blender Foundation / www.bigbuckbunny.org, CC-BY 3.0")
