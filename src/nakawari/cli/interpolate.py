"""`nakawari interpolate`: draw the in-betweens of key drawings or of footage."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import footage
from .doubts import doubts
from .drawing_options import Drawing, drawing
from .early import check
from .framer_options import Framer, framer
from .memory_options import Memory, memory, show_way
from .option_groups import with_options
from .progress import Bar
from .timing_options import Times, timing

if TYPE_CHECKING:
    from ..interpolation import Done, Entry, Key, Output, Settings


@with_options("framer", framer)
@with_options("times", timing)
@with_options("memory", memory)
@with_options("drawing", drawing)
def command(
    keys: Annotated[list[Path], typer.Argument(metavar="KEY", help="Key drawings, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or one .gif, .mp4 or .mov file.")],
    between: Annotated[
        str | None,
        typer.Option(
            help="In-betweens per gap: one count (7), or one for each (3,7,5).  [default: from the frame numbers in "
            "the keys' names, else 7]"
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Add a last gap back to the first key.")] = False,
    fps: Annotated[
        float | None,
        typer.Option(min=1, max=120, help="Frame rate of GIF, MP4 and the model's condition; default: 12."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Gaps drawn together on a GPU: faster, more memory.")] = 1,
    formats: Annotated[
        str | None,
        typer.Option("--format", help="Output formats, of png,exr,gif,mp4,mov,mov-png,sheet; default: png,gif,sheet."),
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Write a confidence map beside each in-between.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the model first: takes minutes, then steps are faster; for many gaps on a GPU."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into an output that holds other files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    times: Times,
    framer: Framer,
    memory: Memory,
    drawing: Drawing,
) -> None:
    """Draw the in-betweens of key drawings or of a video."""
    from .. import interpolation
    from ..interpolation import Output

    drawing = replace(drawing, compiled=compiled)
    model, words = drawing.variant(memory), dict(drawing.words)
    _check_numbers(fps=fps)
    framer.check(drawing.guidance, formats)
    if times.is_footage(keys):
        given = {"--loop": loop, "--format": formats, "--only": times.only, "--compare": framer.compared}
        given |= {"--confidence": confidence}
        given |= {"--track or --auto-tracks": framer.tracks or framer.auto_tracks, **drawing.given()}
        words |= {"scheduler": framer.scheduler, "options": {**framer.options, **drawing.cached()}}
        asked_for = footage.Asked(keys[0], output, between, times, fps, overwrite, as_json)
        footage.run(asked_for, given, model, words, drawing, memory)
        return
    target = replace(Output.parse(output, formats, overwrite), overlay=framer.overlay, maps=confidence)
    drawings = interpolation.read_keys(keys)
    paths = [key.path for key in drawings]
    asked = interpolation.ask(paths, between, times.spacings, times.timing, loop=loop)
    counts = asked.counts
    check(variants=[model] if any(counts) else [], output=target.path)
    if words["prompt"]:
        from ..variants import check_prompt

        check_prompt(model)
    words |= framer.settings(len(counts))
    size = drawings[0].pixels.shape[:2]
    place = drawing.place()
    more = {"tracks": bool(framer.tracks or framer.auto_tracks), "clips": batch if place == "cuda" else 1}
    way = memory.way(model, place, size, counts, drawing.steps, drawing.guidance, **more, **drawing.cached())
    if way is not None:
        show_way(way)
        model = way.model
    words["options"] = {**words["options"], **drawing.options(model), **memory.options(model, way)}
    settings = interpolation.Settings(
        counts, loop, fps=fps, batch=batch, shares=asked.shares, size=memory.size, **words
    )
    timeline = interpolation.timeline_of(interpolation.key_places(counts, len(drawings)), asked, times.timing)
    load = partial(drawing.load, model, way)
    if framer.compared:
        target.check(paths)
        _compare(framer.compared, target, drawings, settings, load() if any(counts) else None, model, as_json)
        return
    job = interpolation.Job(drawings, settings, target, timeline, model, only=times.only_of(timeline, asked))
    target.check(paths, timeline, job.redrawn_files())
    if any(counts):
        from ..variants import fingerprint

        job = replace(job, fingerprint=fingerprint(model))
    started = time.monotonic()
    with Bar("in-betweens", "frame") as bar:
        done = interpolation.carry_out(
            job, load, bar.show, lambda gap, gaps: bar.note(f"gap {gap} of {gaps} done"), bar.show
        )
    _report(done, time.monotonic() - started, as_json, 2 if asked.pairs else 1)


def _compare(
    schedulers: Sequence[str],
    target: Output,
    keys: Sequence[Key],
    settings: Settings,
    pipeline: Any,
    model: str,
    as_json: bool,
) -> None:
    from .. import interpolation
    from ..errors import UsageError

    if pipeline is None or target.single:
        raise UsageError("--compare needs an output folder and in-betweens to draw; see nakawari interpolate --help.")
    with ExitStack() as bars:
        entries = interpolation.compare(
            keys,
            settings,
            pipeline,
            schedulers,
            lambda name: bars.enter_context(Bar(name, "frame")).show,
        )
    files, _ = interpolation.write_comparison(target, entries, keys, settings, model)
    _show_comparison(entries, files, as_json)


def _show_comparison(entries: Sequence[Entry], files: Sequence[Path], as_json: bool) -> None:
    if as_json:
        rows = [{"scheduler": e.scheduler, "steps": e.steps, "seconds": e.seconds, "psnr": e.psnr} for e in entries]
        typer.echo(json.dumps({"comparison": rows, "files": [str(file) for file in files]}))
        return
    first = entries[0]
    count = sum(key is None for key in first.drawn.keys)
    typer.echo(f"{'scheduler':<16}{'steps':>6}{'seconds':>9}{'ms/frame':>10}{'dB to ' + first.scheduler:>14}")
    for entry in entries:
        near = "-" if entry is first else "equal" if entry.psnr is None else f"{entry.psnr:.2f}"
        each = 1000 * entry.seconds / count
        typer.echo(f"{entry.scheduler:<16}{entry.steps:>6}{entry.seconds:>9.1f}{each:>10.0f}{near:>14}")
    for file in files:
        typer.echo(f"  {file}")


def _check_numbers(**values: float | None) -> None:
    from ..errors import UsageError

    for name, value in values.items():
        if value is not None and value != value:
            raise UsageError(f"--{name} must be a number, not {value}.")


def _report(done: Done, seconds: float, as_json: bool, every: int) -> None:
    """Print the summary; `every`: step between the gaps to report, 2 for keys in pairs."""
    keys, total, gaps = (
        sum(key is not None for key in done.drawn.keys),
        len(done.drawn.frames),
        len(done.record["gaps"]),
    )
    files, record = done.files, done.record
    for note in [*record["notes"], *doubts(_named(done, every))]:
        typer.echo(f"nakawari: {note}", err=True)
    if as_json:
        summary = {"frames": total, "keys": keys, "in_betweens": total - keys, "seconds": round(seconds, 3)}
        summary |= {"gaps_drawn": [gap // every + 1 for gap in done.gaps]}
        summary |= {"size": record["size"], "notes": record["notes"]}
        cuts = [gap // every + 1 for gap in done.drawn.cuts]
        summary |= {"cuts": cuts, "confidence": done.drawn.confidence}
        typer.echo(json.dumps(summary | {"files": [str(file) for file in files]}))
        return
    width, height = record["size"]
    typer.echo(f"{total} frames ({keys} keys, {total - keys} in-betweens) of {width}x{height} in {seconds:.1f} s")
    gaps = sum(map(bool, record["between"]))
    if len(done.gaps) < gaps:
        typer.echo(f"  {len(done.gaps)} of {gaps} gaps were drawn now; the others existed")
    by_parts = sum(gap["drawn_by"] == "parts" for gap in record["gaps"])
    if by_parts:
        typer.echo(f"  {by_parts} of {gaps} gaps drawn by their parts, not by the model (--no-parts: all by the model)")
    both = sum(gap["drawn_by"] == "both" for gap in record["gaps"])
    if both:
        typer.echo(
            f"  {both} of {gaps} gaps drawn in two layers: flat figures by their parts, the background by the model"
        )
    frames = {frame["file"] for frame in record["frames"]}
    sequence = [file for file in files if file.name in frames and file.parent == files[-1].parent]
    if sequence:
        typer.echo(f"  {sequence[0]} ... {sequence[-1].name}")
    for file in files:
        if file.suffix != ".png" or file.name in ("contact-sheet.png",):
            typer.echo(f"  {file}")


def _named(done: Done, every: int) -> list[tuple[str, dict[str, Any]]]:
    return [(f"gap {place // every + 1}", gap) for place, gap in enumerate(done.record["gaps"])]
