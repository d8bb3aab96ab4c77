"""`nakawari cut`: a whole cut from its time sheet."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..cut.filling import Naming
from ..cut.sheet import PREVIEWS
from .drawing_options import Drawing, drawing
from .early import check
from .memory_options import Memory, memory, show_way
from .option_groups import with_options
from .progress import Bar


@with_options("memory", memory)
@with_options("drawing", drawing)
def command(
    sheet: Annotated[Path, typer.Argument(metavar="SHEET", help="The time sheet, .xdts or .csv.")],
    drawings: Annotated[
        Path, typer.Option(help="The folder of the drawings: LEVEL/NAME.png, or LEVEL0001.png and the like.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")],
    names: Annotated[
        Naming, typer.Option(help='Write in-betweens beside the keys ("1a"), or number every level anew.')
    ] = Naming.beside,
    ground: Annotated[Path | None, typer.Option(help="A picture below all levels, in the preview.")] = None,
    preview: Annotated[str, typer.Option(help="Some of mp4,gif, or none.")] = "mp4",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace drawings that were changed by hand, beside files of others.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    memory: Memory,
    drawing: Drawing,
) -> None:
    """Draw what a time sheet lacks, level by level; sheet, preview and contact sheets beside it."""
    from ..cut.files import read_sheet

    kinds, model = _previews(preview), drawing.variant(memory)
    read = read_sheet(sheet)  # before what takes seconds to import
    check(variants=[model], files=[drawings, ground], output=output)
    from ..cut.plan import Target, plan_cut
    from ..cut.work import draw_cut
    from ..interpolation import Settings

    target = Target(output, ground, kinds, overwrite)
    cut = plan_cut(sheet, read, drawings, names)
    target.check(cut)
    way, fingerprint = None, ""
    if cut.missing:
        from ..variants import check_prompt
        from ..variants import fingerprint as fingerprint_of

        if drawing.words["prompt"]:
            check_prompt(model)
        way = memory.way(model, drawing.place(), *cut.largest(), drawing.steps, drawing.guidance, **drawing.cached())
        if way is not None:
            show_way(way)
            model = way.model
        fingerprint = fingerprint_of(model)
    options = {**drawing.options(model), **memory.options(model, way)}
    settings = Settings((), size=memory.size, options=options, **drawing.words)
    started = time.monotonic()
    with Bar("drawings", "drawing") as bar:
        done = draw_cut(cut, target, settings, model, fingerprint, partial(drawing.load, model, way), bar.show)
    seconds = time.monotonic() - started
    files = [str(output / name) for name in done.record["files"]]
    if as_json:
        summary = {"drawn": done.drawn, "missing": cut.missing, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(summary | {"key": done.record["key"], "files": files}))
        return
    there = "" if done.drawn == cut.missing else f", of which {cut.missing - done.drawn} were drawn already"
    typer.echo(
        f"{len(cut.levels)} levels, {cut.sheet.duration} frames, {cut.missing} missing drawings{there}, {seconds:.1f} s"
    )
    for level in done.record["levels"]:
        count = sum("share" in drawing for drawing in level["drawings"])
        typer.echo(f"  {output / level['name']}: {len(level['drawings'])} drawings, {count} of them drawn")
    for name in done.record["files"]:
        if "/" not in name:
            typer.echo(f"  {output / name}")


def _previews(text: str) -> tuple[str, ...]:
    from ..errors import UsageError

    kinds = tuple(dict.fromkeys(text.replace(" ", "").split(",")))
    if kinds == ("none",):
        return ()
    for kind in kinds:
        if kind not in PREVIEWS:
            raise UsageError(f"The preview {kind!r} is not known; give some of {', '.join(PREVIEWS)}, or none.")
    return kinds
