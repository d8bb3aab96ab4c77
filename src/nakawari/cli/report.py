"""`nakawari report`: turn results into a page, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .early import check


def command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT", help="Folders that nakawari evaluate wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; an earlier report is replaced.")],
    cases: Annotated[
        int, typer.Option(min=0, max=10, help="Filmstrips of each kind: best, median, worst, most disputed.")
    ] = 2,
    sheet: Annotated[
        int, typer.Option(min=0, max=500, help="Write sheet.png with this many samples, those with the most motion.")
    ] = 0,
    cards: Annotated[
        bool, typer.Option("--cards", help="Also write each model's scores into the card (README.md) in its folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write results as HTML, Markdown, LaTeX, CSV and figures."""
    for folder in results:
        if not folder.exists():
            raise UsageError(
                f"{folder} does not exist or has no aggregates.json; give a folder that nakawari evaluate wrote."
            )
    check(output=output)
    from ..reporting.page import write_report

    written = write_report(results, output, cases=cases, sheet=sheet)
    changed = []
    if cards:
        from ..reporting.model_cards import write_scores

        changed = write_scores(results)
    if as_json:
        files = [str(file) for file in written.files]
        typer.echo(json.dumps({"page": str(written.page), "files": files, "cards": [str(card) for card in changed]}))
        return
    size = written.page.stat().st_size / 2**20
    typer.echo(f"{written.page} ({size:.1f} MiB, opens anywhere, needs no network)")
    for folder, what in (("tables", "Markdown, LaTeX, CSV"), ("figures", "PNG, PDF")):
        count = len({file.stem for file in written.files if file.parent.name == folder})
        typer.echo(f"  {output / folder}: {count} {folder} as {what}")
    if sheet:
        typer.echo(f"  {output / 'sheet.png'}: keys, every row and truth, fastest samples first")
    for card in changed:
        typer.echo(f"  {card}: scores")
    typer.echo(f"  {output / 'report.md'}: tables and figures in one Markdown file")
