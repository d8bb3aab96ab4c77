"""`nakawari interpolate`: key drawings in, in-betweens out."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import footage
from .early import check
from .framer_options import Framer, framer
from .memory_options import Memory, memory
from .option_groups import with_options
from .progress import Bar
from .timing_options import Times, timing

if TYPE_CHECKING:
    from ..interpolation import Done, Entry, Key, Output, Settings
    from ..resources.ways import Way


class Device(StrEnum):
    """Where a model can run; auto takes the GPU where there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Family(StrEnum):
    """The families of models."""

    mini = "mini"
    tooncrafter = "tooncrafter"
    framer = "framer"


class Cache(StrEnum):
    """`families.cache.LEVELS`, which needs torch."""

    none = "none"
    low = "low"
    medium = "medium"
    high = "high"


@with_options("framer", framer)
@with_options("times", timing)
@with_options("memory", memory)
def command(
    keys: Annotated[list[Path], typer.Argument(metavar="KEY", help="Key drawings, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or one .gif or .mp4 file.")],
    between: Annotated[
        str | None,
        typer.Option(
            help="In-betweens per gap: one count (7), or one for each (3,7,5).  [default: what the frame numbers in "
            "the keys' names leave room for, else 7]"
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Draw from the last key back to the first, too.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Which model draws: mini, or a folder; +ADAPTER@SCALE and :PRECISION may follow.  [default: mini]"
        ),
    ] = None,
    family: Annotated[
        Family | None, typer.Option(help="What the model must be; --model is then asked for where none ships.")
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER[@SCALE]", help="An adapter on the model; repeated, they add up."),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="With the model's own adapter for few steps, or its own smaller student.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Sampling steps; default: the model's.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=100, help="Guidance scale; default: the model's.")
    ] = None,
    eta: Annotated[
        float | None, typer.Option(min=0, max=1, help="Noise of each step, 0 to 1, for a ToonCrafter.")
    ] = None,
    guidance_rescale: Annotated[
        float | None, typer.Option(min=0, max=1, help="How far guidance keeps the contrast, 0 to 1, for a ToonCrafter.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, max=60, help="Frame stride told to a ToonCrafter, 5 to 30."),
    ] = None,
    cache: Annotated[
        Cache, typer.Option(help="Compute what changes slowly at some steps only: faster, not quite the same.")
    ] = Cache.none,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another drawing.")] = 0,
    fps: Annotated[
        float | None, typer.Option(min=1, max=120, help="Frames per second of GIF, MP4 and motion; default: 12.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Words, for models that read them.")] = "",
    parts: Annotated[
        bool, typer.Option("--parts/--no-parts", help="Flat-colour drawings by their parts, where these are clear.")
    ] = True,
    batch: Annotated[int, typer.Option(min=1, help="Gaps drawn together on a GPU: faster, more memory.")] = 1,
    formats: Annotated[
        str | None, typer.Option("--format", help="Some of png,gif,mp4,sheet; default: png,gif,sheet.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into an output that holds other files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    *,
    times: Times,
    framer: Framer,
    memory: Memory,
) -> None:
    """In-betweens as PNG sequence, GIF, MP4, contact sheet."""
    from .. import interpolation
    from ..interpolation import Output

    model = model or _shipped(family)
    if adapter:
        from ..variants import with_adapters

        model = with_adapters(model, adapter)
    if fast:
        from ..variants import faster

        model = faster(model)
    if memory.precision is not None:
        from ..variants import with_precision

        model = with_precision(model, memory.precision)
    _check_numbers(guidance=guidance, fps=fps)
    framer.check(guidance, formats)
    load = partial(load_pipeline, model, device, family)
    kept = {} if cache is Cache.none else {"cache": cache.value}
    if times.is_footage(keys):
        given = {"--loop": loop, "--format": formats, "--only": times.only, "--compare": framer.compared}
        given |= {"--track or --auto-tracks": framer.tracks or framer.auto_tracks, **memory.given()}
        numbers = {"--eta": eta, "--guidance-rescale": guidance_rescale, "--stride": stride}
        given |= {name: value is not None for name, value in numbers.items()}
        words = {"steps": steps, "guidance": guidance, "seed": seed, "prompt": prompt, "parts": parts}
        words |= {"scheduler": framer.scheduler, "options": {**framer.options, **kept}}
        footage.run(footage.Asked(keys[0], output, between, times, fps, overwrite, as_json), given, model, words, load)
        return
    target = replace(Output.parse(output, formats, overwrite), overlay=framer.overlay)
    drawings = interpolation.read_keys(keys)
    paths = [key.path for key in drawings]
    asked = interpolation.ask(paths, between, times.spacings, times.timing, loop=loop)
    counts = asked.counts
    check(variants=[model] if any(counts) else [], output=target.path)
    if prompt:
        from ..variants import check_prompt

        check_prompt(model)
    words = framer.settings(len(counts))
    way = memory.way(model, place_of(device), drawings[0].pixels.shape[:2], counts, steps, guidance)
    if way is not None:
        _show_way(way)
        model = way.model
    sampling = {"eta": eta, "guidance_rescale": guidance_rescale, "fps": _stride(model, stride)}
    more = {name: value for name, value in sampling.items() if value is not None}
    words["options"] = {**words["options"], **more, **kept, **memory.options(model, way)}
    settings = interpolation.Settings(
        counts,
        loop,
        steps,
        guidance,
        seed,
        fps,
        prompt,
        batch,
        shares=asked.shares,
        size=memory.size,
        parts=parts,
        **words,
    )
    timeline = interpolation.timeline_of(interpolation.key_places(counts, len(drawings)), asked, times.timing)
    load = partial(load_pipeline, model, device, family, way)
    if framer.compared:
        target.check(paths)
        _compare(framer.compared, target, drawings, settings, load() if any(counts) else None, model, as_json)
        return
    job = interpolation.Job(drawings, settings, target, timeline, model, only=times.only_of(timeline, counts))
    target.check(paths, timeline, job.redrawn_files())
    if any(counts):
        from ..variants import fingerprint

        job = replace(job, fingerprint=fingerprint(model))
    started = time.monotonic()
    with Bar("in-betweens", "frame") as bar:
        done = interpolation.carry_out(
            job, load, bar.show, lambda gap, gaps: bar.note(f"gap {gap} of {gaps} done"), bar.show
        )
    _report(done, time.monotonic() - started, as_json)


def _shipped(family: Family | None) -> str:
    """The model of a family that ships with the package; `UsageError` where none does."""
    if family is Family.tooncrafter:
        from ..errors import UsageError

        raise UsageError("No model of the family tooncrafter ships; give --model with the folder of a converted one.")
    return "framer-tiny" if family is Family.framer else "mini"


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
        raise UsageError("--compare needs a folder as output and in-betweens to draw; see nakawari interpolate --help.")
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


def _stride(model: str, stride: int | None) -> int | None:
    """What a ToonCrafter calls fps."""
    if stride is not None:
        from ..errors import UsageError
        from ..resources.jobs import is_framer

        if is_framer(model):
            raise UsageError("A framer model knows no stride; it is told --fps.")
    return stride


def place_of(device: Device) -> str:
    """cpu or cuda; `UsageError` where no GPU is there."""
    import torch

    from ..errors import UsageError

    if device is Device.cuda and not torch.cuda.is_available():
        raise UsageError("--device cuda needs a CUDA GPU that PyTorch can see; use --device cpu.")
    return "cuda" if device is not Device.cpu and torch.cuda.is_available() else "cpu"


def _show_way(way: Way) -> None:
    from ..memory import words
    from .plan import describe

    typer.echo(f"nakawari: {describe(way)[0]}; needs {words(way.need)}", err=True)


def load_pipeline(model: str, device: Device, family: Family | None = None, way: Way | None = None) -> Any:
    """The pipeline of a variant where it shall run, in the way that was chosen; `UsageError` where it is not of the
    family, or no GPU is there."""
    from ..errors import UsageError
    from ..variants import load

    place = place_of(device)
    if way is None:
        pipeline = load(model, place).pipeline
    else:
        from ..resources.applying import apply

        pipeline = load(model, place, place=False).pipeline
        apply(pipeline, place, way.offload, together=way.together)
    if family is not None and pipeline.family != family.value:
        raise UsageError(f"{model} is of the family {pipeline.family}, not {family.value}; give another --model.")
    return pipeline


def _report(done: Done, seconds: float, as_json: bool) -> None:
    keys, total, gaps = (
        sum(key is not None for key in done.drawn.keys),
        len(done.drawn.frames),
        len(done.record["gaps"]),
    )
    files, record = done.files, done.record
    if as_json:
        summary = {"frames": total, "keys": keys, "in_betweens": total - keys, "seconds": round(seconds, 3)}
        summary |= {"gaps_drawn": [gap + 1 for gap in done.gaps], "size": record["size"]}
        typer.echo(json.dumps(summary | {"files": [str(file) for file in files]}))
        return
    width, height = record["size"]
    typer.echo(f"{total} frames ({keys} keys, {total - keys} in-betweens) of {width}x{height} in {seconds:.1f} s")
    gaps = sum(map(bool, record["between"]))
    if len(done.gaps) < gaps:
        typer.echo(f"  {len(done.gaps)} of {gaps} gaps were drawn now; the others were there already")
    by_parts = sum(gap["drawn_by"] == "parts" for gap in record["gaps"])
    if by_parts:
        typer.echo(f"  {by_parts} of {gaps} gaps drawn by their parts, not by the model (--no-parts: all by the model)")
    frames = {frame["file"] for frame in record["frames"]}
    sequence = [file for file in files if file.name in frames]
    if sequence:
        typer.echo(f"  {sequence[0]} ... {sequence[-1].name}")
    for file in files:
        if file.suffix != ".png" or file.name in ("contact-sheet.png",):
            typer.echo(f"  {file}")
