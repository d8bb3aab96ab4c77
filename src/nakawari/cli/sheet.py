"""`nakawari sheet`: show and convert time sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Show and convert time sheets (.xdts, .csv).", no_args_is_help=True)
SheetFile = Annotated[Path, typer.Argument(metavar="SHEET", help="A time sheet, .xdts or .csv.")]


@app.command()
def show(sheet: SheetFile) -> None:
    """Print a sheet: frames down, levels across."""
    from ..cut.files import read_sheet
    from ..cut.showing import lines_of

    for line in lines_of(read_sheet(sheet)):
        typer.echo(line)


@app.command()
def convert(
    sheet: SheetFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="The sheet to write, .xdts or .csv.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a sheet in the other format."""
    from ..cut.files import read_sheet, write_sheet
    from ..errors import UsageError

    read = read_sheet(sheet)
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists already; give another output path, or --overwrite.")
    write_sheet(output, read)
    typer.echo(f"{output}: {len(read.levels)} levels, {read.duration} frames")
