"""`nakawari episode`: draw many cuts, on one machine or a farm."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..cut.filling import Naming
from .drawing_options import Drawing, drawing
from .early import check
from .memory_options import Memory, memory, show_way
from .option_groups import GroupedCommand, with_options
from .progress import Bar

if TYPE_CHECKING:
    from ..episode.plan import Episode

app = typer.Typer(no_args_is_help=True, help="Draw many cuts, on one machine or a farm.")
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the episode's results.")]


class Engine(StrEnum):
    """The keys of `engines.ENGINES`."""

    local = "local"
    ray = "ray"
    openjd = "openjd"
    slurm = "slurm"
    opencue = "opencue"
    deadline = "deadline"


EngineOption = Annotated[
    Engine, typer.Option(help="Engine that starts workers. For opencue and deadline only files are written, untested.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=10000, help="Number of workers; default: one for each GPU, otherwise the engine's."),
]
Chunk = Annotated[int, typer.Option(min=1, help="Cuts in one task of openjd, opencue and deadline.")]
Address = Annotated[str | None, typer.Option(help="Address of a Ray cluster; default: start a new local one.")]
Emit = Annotated[bool, typer.Option("--emit", help="Only write the files of the engine, start nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.command("submit", cls=GroupedCommand)
@with_options("memory", memory)
@with_options("drawing", drawing)
def submit(
    source: Annotated[Path, typer.Argument(metavar="EPISODE.yaml|FOLDER", help="A list of cuts, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the episode's results.")],
    engine: EngineOption = Engine.local,
    workers: Workers = None,
    chunk: Chunk = 10,
    address: Address = None,
    emit: Emit = False,
    names: Annotated[Naming, typer.Option(help="As for nakawari cut.")] = Naming.beside,
    preview: Annotated[str, typer.Option(help="Some of mp4,gif, or none.")] = "mp4",
    as_json: Json = False,
    *,
    memory: Memory,
    drawing: Drawing,
) -> None:
    """Draw all cuts of an episode; finished cuts are not drawn again."""
    from .cut import previews

    kinds, model = previews(preview), drawing.variant(memory)
    if drawing.family is not None:
        from ..errors import UsageError

        raise UsageError("--family does not apply to an episode; give --model.")
    _check_engine(engine, address, emit)
    check(files=[source], output=output)
    from ..episode.plan import Episode, units_of

    units = units_of(source)
    check(variants=[model])
    words = {**drawing.words, "size": memory.size}
    episode = Episode(output, units, model, drawing.device.value, words, names.value, kinds)
    _check_folder(episode)
    episode = _planned(episode, memory, drawing)
    episode.save()
    _run(episode, engine, workers, chunk, address, emit, as_json)


def _check_engine(engine: Engine, address: str | None, emit: bool = False) -> None:
    """Refuse options that the engine would ignore."""
    from ..errors import UsageError

    if emit and engine in (Engine.local, Engine.ray):
        raise UsageError(f"The engine {engine} writes no files; leave out --emit, or give another engine.")
    if address is not None and engine is not Engine.ray:
        raise UsageError("--address is for a Ray cluster; give --engine ray, or leave it out.")


def _planned(episode: Episode, memory: Memory, drawing: Drawing) -> Episode:
    """The episode with the memory settings of its workers, planned for the largest cut if memory is given.

    The plan is made here for workers elsewhere: it counts the memory that is given, not what is free here.
    """
    from dataclasses import replace

    from ..episode.unit import largest
    from ..errors import UsageError

    if drawing.device.value == "cpu" and memory.offload not in (None, "none"):
        raise UsageError("--offload moves networks from a GPU to CPU memory and needs a GPU; leave it out here.")
    way = None
    if memory.budget is not None:
        place = drawing.place() if drawing.device.value == "auto" else drawing.device.value
        size, counts = largest(episode)
        way = memory.way(episode.model, place, size, counts, drawing.steps, drawing.guidance, **drawing.cached())
    if way is not None:
        show_way(way)
        episode = replace(episode, model=way.model, offload=way.offload, together=way.together)
    elif memory.offload is not None:
        episode = replace(episode, offload=memory.offload)
    options = {**drawing.options(episode.model), **memory.options(episode.model, way)}
    return replace(episode, words={**episode.words, "options": options})


def _check_folder(episode: Episode) -> None:
    """Refuse a folder with other files; in a folder of an episode, mark every cut for checking again."""
    from ..episode.plan import PLAN
    from ..episode.unit import refresh
    from ..errors import UsageError

    if (episode.folder / PLAN).exists():
        refresh(episode)
    elif episode.folder.exists() and any(episode.folder.iterdir()):
        raise UsageError(f"{episode.folder} holds other files; give another output folder.")


def _run(
    episode: Episode, engine: Engine, workers: int | None, chunk: int, address: str | None, emit: bool, as_json: bool
) -> None:
    from ..engines import Wish
    from ..engines import submit as start
    from ..episode.status import counts_of, rows_of
    from ..episode.worker import job_of

    wish = Wish(workers or 0, chunk, address, emit)
    with Bar("episode", "cut") as bar:
        said = start(engine.value, job_of(episode), wish, bar.show)
    rows = rows_of(episode)
    counts = counts_of(rows)
    if as_json:
        typer.echo(json.dumps({"engine": engine.value, "said": said, "cuts": counts, "folder": str(episode.folder)}))
    else:
        typer.echo(f"{said}: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
        if engine is Engine.slurm:  # does not wait
            typer.echo(f"  nakawari episode status {episode.folder} shows the progress")
        for row in rows:
            if row.manifest.sentence:
                typer.echo(f"  {row.manifest.name}: {row.manifest.sentence}")
    if counts.get("failed"):
        raise typer.Exit(1)


@app.command("status")
def status(
    folder: Folder,
    page: Annotated[bool, typer.Option("--page", help="Also write a page with all contact sheets.")] = False,
    price: Annotated[float | None, typer.Option(min=0, help="Price of a worker hour: adds costs to the page.")] = None,
    as_json: Json = False,
) -> None:
    """Show the progress of an episode, failed and doubtful cuts first."""
    from ..episode.plan import Episode
    from ..episode.status import lines_of, rows_of, write_page

    episode = Episode.load(folder)
    rows = rows_of(episode)
    written = write_page(episode, rows, price) if page or price is not None else None
    if as_json:
        typer.echo(json.dumps({"cuts": [row.plain() for row in rows], "page": str(written) if written else None}))
        return
    for line in lines_of(rows):
        typer.echo(line)
    if written:
        typer.echo(f"  {written}")


@app.command("retry")
def retry(
    folder: Folder,
    cuts: Annotated[list[str] | None, typer.Argument(metavar="CUT", help="Failed cuts; default: all of them.")] = None,
    engine: EngineOption = Engine.local,
    workers: Workers = None,
    chunk: Chunk = 10,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Draw failed and remaining cuts."""
    from ..episode.plan import Episode
    from ..episode.status import retry as let_wait

    _check_engine(engine, address)
    episode = Episode.load(folder)
    let_wait(episode, cuts or [])
    _run(episode, engine, workers, chunk, address, False, as_json)


@app.command("collect")
def collect(
    folder: Folder,
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Copy all finished cuts to one folder."""
    from ..episode.plan import Episode
    from ..episode.status import collect as put

    cuts, lacking = put(Episode.load(folder), output)
    if as_json:
        typer.echo(json.dumps({"cuts": cuts, "lacking": lacking, "folder": str(output)}))
    else:
        typer.echo(f"{cuts} cuts in {output}" + (f"; {lacking} are not finished" if lacking else ""))


@app.command("work")
def work(
    folder: Folder,
    share: Annotated[
        str, typer.Option(metavar="NUMBER/WORKERS", help="Number of this worker, from 0, and of all workers.")
    ] = "0/1",
    cuts: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Only these cuts, by their index in the plan: 0-9, 12.")
    ] = None,
) -> None:
    """Run as a worker: draw cuts until none is left. Started by engines."""
    from ..episode.plan import Episode
    from ..episode.worker import Share, numbers_of, take

    Share.parse(share)  # before the plan is read
    names = None
    if cuts is not None:
        units = Episode.load(folder).units
        names = [units[number].name for number in numbers_of(cuts, len(units))]
    take(folder, share, names)
