"""`nakawari demo`: in-betweens of the shipped drawings by the shipped model, and their time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .early import check
from .examples import EXAMPLES
from .progress import Bar

if TYPE_CHECKING:
    from ..interpolation import Key, Settings
    from ..interpolation.side_by_side import Timed


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="Model: mini, or a folder.")] = "mini",
    between: Annotated[int, typer.Option(min=1, max=100, help="In-betweens per gap.")] = 5,
) -> None:
    """Draw the in-betweens of the shipped drawings.

    Draw them again with the model's own few-step adapter or smaller student, side by side.
    """
    from .. import interpolation
    from ..errors import UsageError
    from ..files import remove
    from ..interpolation import Output, Settings, side_by_side
    from ..interpolation.record import earlier_in
    from ..media import write_gif, write_image
    from ..variants import faster, has_faster

    check(variants=[model], output=output)
    target = Output.parse(output, None, overwrite=True)
    drawings = interpolation.read_keys([EXAMPLES])
    target.check([key.path for key in drawings])
    sheet, film = output / "side-by-side.png", output / "side-by-side.gif"
    if others := set(earlier_in(output).strangers()) - {sheet.name, film.name}:
        raise UsageError(f"{output} holds other files ({min(others)}); give another output folder.")
    settings = Settings(interpolation.gap_counts((between,), len(drawings), loop=False), parts=False)
    names = [model, faster(model)] if has_faster(model) else [model]
    rows = [_timed(name, drawings, settings) for name in names]
    interpolation.write_result(target, rows[0].drawn, drawings, settings, interpolation.Made(model))
    for path in (sheet, film):
        remove(path)
    typer.echo(f"{output}/contact-sheet.png and {output}/in-betweens.gif; the frames begin with {output}/0001.png.")
    if len(rows) == 1:
        typer.echo(f"{model} has no few-step adapter and no smaller student to compare with.")
        return
    write_image(sheet, side_by_side.sheet(rows))
    write_gif(film, side_by_side.film(rows), interpolation.PLAYBACK_FPS)
    for row in rows:
        typer.echo(f"  {side_by_side.label(row)}")
    typer.echo(f"{sheet} and {film}: the student is {rows[0].seconds / rows[1].seconds:.1f} times as fast.")


def _timed(name: str, drawings: list[Key], settings: Settings) -> Timed:
    """Load a variant, draw one in-between to warm up, then time the drawing of all."""
    from ..evaluation.efficiency import counted
    from ..interpolation import Settings, draw
    from ..interpolation.side_by_side import Timed
    from ..variants import load

    pipeline = load(name).pipeline
    draw(drawings[:2], Settings((1,), parts=False), pipeline)
    with Bar(name, "frame") as bar, counted(pipeline.denoiser) as evaluations:
        began = time.perf_counter()
        drawn = draw(drawings, settings, pipeline, bar.show)
        seconds = time.perf_counter() - began
    return Timed(name, drawn, seconds, evaluations[0])
