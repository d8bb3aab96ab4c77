"""`nakawari plan`: memory and time of drawing with a model, on this machine or for a given amount of memory."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from .drawing_options import Cache
from .memory_options import describe, duration

if TYPE_CHECKING:
    from ..resources.ways import Way


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A variant; its precision, if named, is kept.")],
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Size of the drawings; default: the model's training size."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=2, max=1000, help="Frames per clip, both keys included; default: the model's longest."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Sampling steps; default: the model's.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Clips drawn together.")] = 1,
    tracks: Annotated[bool, typer.Option("--tracks", help="Count the track control of a Framer.")] = False,
    cache: Annotated[Cache, typer.Option(help="As in interpolate.")] = Cache.none,
    memory: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="Memory to fit into, such as 8GB; default: what is free here.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; default: the GPU if there is one.")] = "auto",
    every: Annotated[bool, typer.Option("--all", help="Print all settings, not only the chosen one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print what fits into memory, and how long drawing takes.

    Nothing is loaded.
    """
    from ..families.cache import cache_level
    from ..memory import free, words
    from ..resources.ways import choose, parse_memory, seconds_of, ways

    budget = None if memory is None else parse_memory(memory)
    place, here = _device(device)
    wanted, steps = _job(model, size, frames, steps)
    wanted = replace(wanted, clips=batch, tracks=tracks, cache=cache_level(cache.value))
    if every:
        found = list(ways(model, wanted, steps, place))
        typer.echo(json.dumps([way.to_json() for way in found]) if as_json else _table(found, budget))
        return
    way = choose(model, wanted, steps, place, free(place) if budget is None else budget)
    seconds = seconds_of(way) if here else None
    if as_json:
        typer.echo(json.dumps(way.to_json() | {"seconds": seconds}))
        return
    typer.echo(f"{wanted.frames} frames of {wanted.width}x{wanted.height} in {steps} steps with {model} on {place}")
    for line in describe(way):
        typer.echo(line)
    if seconds is not None:
        typer.echo(f"takes roughly {duration(seconds)} on this machine when it is idle")
    typer.echo(f"needs {words(way.need)}" + (f" of {words(budget)}" if budget else f"; {words(free(place))} are free"))


def _table(found: list[Way], budget: int | None) -> str:
    lines = [f"{'model':<40}{'offload':<12}{'guidance':<12}{'decode':>8}{'GB':>8}"]
    for way in found:
        mark = "  fits" if budget is not None and way.need <= budget else ""
        lines.append(
            f"{way.model[-38:]:<40}{way.offload:<12}{'together' if way.together else 'apart':<12}"
            f"{way.decode_chunk or 'all':>8}{way.need / 1e9:>8.1f}{mark}"
        )
    return "\n".join(lines)


def _device(device: str) -> tuple[str, bool]:
    """The kind of device, and whether this machine has it."""
    import torch

    from ..errors import UsageError

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"{device!r} is not a device; --device takes cpu, cuda and auto.")
    has = torch.cuda.is_available()
    kind = ("cuda" if has else "cpu") if device == "auto" else device
    return kind, kind == "cpu" or has


def _job(model: str, size: str | None, frames: int | None, steps: int | None):  # type: ignore[no-untyped-def]
    from ..resources.jobs import job_of

    return job_of(model, size, frames, steps)
