"""`nakawari interpolate` for footage: a video, or a folder of all frames of a film."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .early import check
from .memory_options import Memory, show_way
from .progress import Bar

if TYPE_CHECKING:
    from ..footage.slots import Spread
    from .drawing_options import Drawing
    from .timing_options import Times


@dataclass(frozen=True)
class Asked:
    """The options about the footage itself, as given."""

    path: Path
    output: Path
    between: str | None
    times: Times
    fps: float | None
    overwrite: bool
    as_json: bool


def run(
    asked: Asked,
    others: Mapping[str, Any],
    model: str,
    settings: Mapping[str, Any],
    drawing: Drawing,
    memory: Memory,
) -> None:
    """Draw the in-betweens of footage.

    Args:
        others: options that do not apply to footage, with their values.
        settings: fields of `interpolation.Settings`.
        drawing, memory: the model and memory options; the memory plan may choose other settings that fit.
    """
    check(variants=[model], files=[asked.path], output=asked.output)
    spread = _spread(asked, others)
    from ..footage.source import Source
    from ..footage.work import check_target, in_between
    from ..interpolation import Settings
    from ..variants import fingerprint

    source = Source.of(asked.path, asked.fps)
    check_target(asked.output, source, overwrite=asked.overwrite)
    way = memory.way(
        model, drawing.place(), source.size(), [spread.most], drawing.steps, drawing.guidance, **drawing.cached()
    )
    if way is not None:
        show_way(way)
        model = way.model
    options = {**settings["options"], **memory.options(model, way)}
    expected = source.expected()
    started = time.monotonic()
    with Bar("footage", "frame") as bar:
        tally = in_between(
            source,
            asked.output,
            spread,
            Settings((), size=memory.size, **{**settings, "options": options}),
            fingerprint(model),
            partial(drawing.load, model, way),
            lambda so_far: bar.show(so_far.frames, max(expected, so_far.frames), f"{so_far.drawn} drawn"),
        )
    seconds = time.monotonic() - started
    for note in tally.notes:
        typer.echo(f"nakawari: {note}", err=True)
    summary = {
        "frames_in": tally.frames,
        "drawings": tally.drawings,
        "cuts": tally.cuts,
        "drawn": tally.drawn,
        "frames_out": tally.written,
    }
    if asked.as_json:
        typer.echo(json.dumps(summary | {"seconds": round(seconds, 3), "files": [str(asked.output)]}))
        return
    typer.echo(
        f"{tally.frames} frames in, {tally.drawings} drawings, {tally.cuts} cuts; {tally.drawn} in-betweens drawn now, "
        f"{tally.written} frames out in {seconds:.1f} s"
    )
    typer.echo(f"  {asked.output}")


def _spread(asked: Asked, others: Mapping[str, Any]) -> Spread:
    from ..errors import UsageError
    from ..footage.slots import Spread
    from ..interpolation import parse_counts

    timing = asked.times.timing
    given = {"--spacing": asked.times.spacings != ("even",), "--hold": timing.hold, "--start": timing.start is not None}
    given |= {
        "--name": timing.name,
        "--copies": timing.copies,
        "a number as --exposure": timing.exposure != 1,
        **others,
    }
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} does not apply to {asked.path}, which is footage; leave it out.")
    keep = asked.times.spread == "keep"
    counts = parse_counts(asked.between or ("1" if keep else "0"))
    if len(counts) != 1 or counts[0] > 15:
        raise UsageError(f"--between {asked.between} is not a single count; give 0 to 15 for footage.")
    return Spread(counts[0], keep)
