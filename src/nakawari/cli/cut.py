"""`nakawari cut`: a whole cut from its time sheet, or from a plain folder of keys."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..cut.filling import Naming
from ..cut.sheet import PREVIEWS
from .doubts import doubts
from .drawing_options import Drawing, drawing
from .early import check
from .memory_options import Memory, memory, show_way
from .option_groups import with_options
from .progress import Bar

if TYPE_CHECKING:
    from ..cut.plan import Cut


@with_options("memory", memory)
@with_options("drawing", drawing)
def command(
    source: Annotated[
        Path, typer.Argument(metavar="SHEET|FOLDER", help="The time sheet, .xdts or .csv, or a plain folder of keys.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")],
    drawings: Annotated[
        Path | None,
        typer.Option(help="For a sheet: the folder of the drawings, LEVEL/NAME.png, LEVEL0001.png and so on."),
    ] = None,
    between: Annotated[
        str | None, typer.Option(help="For a folder: in-betweens per gap.  [default: from the names, else 7]")
    ] = None,
    exposure: Annotated[
        int | None, typer.Option(min=1, max=100, help="For a folder: exposure of a drawing in frames.  [default: 1]")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=1, max=120, help="For a folder: frames per second.  [default: 24]")
    ] = None,
    names: Annotated[
        Naming, typer.Option(help='Name in-betweens after the keys ("1a"), or renumber every level.')
    ] = Naming.beside,
    ground: Annotated[Path | None, typer.Option(help="Background picture below all levels in the preview.")] = None,
    preview: Annotated[str, typer.Option(help="Some of mp4,gif, or none.")] = "mp4",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace edited drawings; other files stay.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    memory: Memory,
    drawing: Drawing,
) -> None:
    """Draw the missing drawings of a time sheet, level by level.

    The sheet, a preview and a contact sheet of each level are written beside them.
    """
    kinds, model = previews(preview), drawing.variant(memory)
    check(files=[source, drawings, ground])
    cut_of = _reader(source, drawings, names, between, exposure, fps)  # reads the sheet before the slow imports
    check(variants=[model], output=output)
    from ..cut.plan import Target
    from ..cut.work import draw_cut
    from ..interpolation import Settings

    target, cut = Target(output, ground, kinds, overwrite), cut_of()
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
    notes = [note for gap in done.record["gaps"] for note in gap.get("notes") or ()]
    for note in [*dict.fromkeys(notes), *doubts((_named(gap["files"]), gap) for gap in done.record["gaps"])]:
        typer.echo(f"nakawari: {note}", err=True)
    if as_json:
        summary = {"drawn": done.drawn, "missing": cut.missing, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(summary | {"key": done.record["key"], "files": files}))
        return
    there = "" if done.drawn == cut.missing else f", of which {cut.missing - done.drawn} were already drawn"
    typer.echo(
        f"{len(cut.levels)} levels, {cut.sheet.duration} frames, {cut.missing} missing drawings{there}, {seconds:.1f} s"
    )
    for level in done.record["levels"]:
        count = sum("share" in drawing for drawing in level["drawings"])
        typer.echo(f"  {output / level['name']}: {len(level['drawings'])} drawings, {count} of them drawn")
    for name in done.record["files"]:
        if "/" not in name:
            typer.echo(f"  {output / name}")


def _named(files: Sequence[str]) -> str:
    """The drawings of a gap."""
    return files[0] if len(files) == 1 else f"{files[0]} to {files[-1]}"


def _reader(
    source: Path, drawings: Path | None, names: Naming, between: str | None, exposure: int | None, fps: float | None
) -> Callable[[], Cut]:
    """The function that builds the cut of a sheet or a folder; `UsageError` for options that do not apply to it."""
    from ..errors import UsageError

    if source.is_dir():
        if drawings is not None:
            raise UsageError(f"--drawings does not apply to {source}, a folder of keys; give a sheet, or leave it out.")
        from ..cut.plan import cut_of_keys

        return partial(cut_of_keys, source, names, between, exposure or 1, fps)
    for name, value in {"--between": between, "--exposure": exposure, "--fps": fps}.items():
        if value is not None:
            raise UsageError(f"{name} does not apply to {source}, a sheet, which sets it; leave it out.")
    if drawings is None:
        raise UsageError(f"{source} is a sheet without the folder of its drawings; give it with --drawings.")
    from ..cut.files import read_sheet

    sheet = read_sheet(source)
    from ..cut.plan import cut_of

    return partial(cut_of, source, sheet, drawings, names)


def previews(text: str) -> tuple[str, ...]:
    """The kinds of preview that a comma-separated list names; raises `UsageError`."""
    from ..errors import UsageError

    kinds = tuple(dict.fromkeys(text.replace(" ", "").split(",")))
    if kinds == ("none",):
        return ()
    for kind in kinds:
        if kind not in PREVIEWS:
            raise UsageError(f"The preview {kind!r} is not known; give some of {', '.join(PREVIEWS)}, or none.")
    return kinds
