"""`nakawari interpolate`: key drawings in, in-betweens out."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .progress import Bar

if TYPE_CHECKING:
    from ..interpolation import Drawn


class Device(StrEnum):
    """Where a model can run; auto takes the GPU where there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def command(
    keys: Annotated[list[Path], typer.Argument(metavar="KEY", help="Key drawings, or a folder of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder, or one .gif or .mp4 file.")],
    between: Annotated[str, typer.Option(help="In-betweens per gap: one count (7), or one for each (3,7,5).")] = "7",
    loop: Annotated[bool, typer.Option("--loop", help="Draw from the last key back to the first, too.")] = False,
    model: Annotated[
        str, typer.Option(help="Which model draws: mini, or a folder; +ADAPTER@SCALE and :PRECISION may follow.")
    ] = "mini",
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER[@SCALE]", help="An adapter on the model; repeated, they add up."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Sampling steps; default: the model's.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=100, help="Guidance scale; default: the model's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another drawing.")] = 0,
    fps: Annotated[
        float | None, typer.Option(min=1, max=120, help="Frames per second of GIF, MP4 and motion; default: 12.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Words, for models that read them.")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Gaps drawn together on a GPU: faster, more memory.")] = 1,
    formats: Annotated[
        str | None, typer.Option("--format", help="Some of png,gif,mp4,sheet; default: png,gif,sheet.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where the model runs.")] = Device.auto,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into an output that holds other files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """In-betweens as PNG sequence, GIF, MP4, contact sheet."""
    from .. import interpolation
    from ..interpolation import Output, Settings

    if adapter:
        from ..variants import with_adapters

        model = with_adapters(model, adapter)
    _check_numbers(guidance=guidance, fps=fps)
    counts = interpolation.parse_counts(between)
    target = Output.parse(output, formats, overwrite)
    drawings = interpolation.read_keys(keys)
    counts = interpolation.gap_counts(counts, len(drawings), loop=loop)
    target.check([key.path for key in drawings])
    settings = Settings(counts, loop, steps, guidance, seed, fps, prompt, batch)
    pipeline = _pipeline(model, device) if any(counts) else None
    started = time.monotonic()
    with Bar("in-betweens", "frame") as bar:
        drawn = interpolation.draw(drawings, settings, pipeline, bar.show)
    seconds = time.monotonic() - started
    files, record = interpolation.write_result(target, drawn, drawings, settings, model)
    _report(drawn, files, record, seconds, as_json)


def _check_numbers(**values: float | None) -> None:
    from ..errors import UsageError

    for name, value in values.items():
        if value is not None and value != value:
            raise UsageError(f"--{name} must be a number, not {value}.")


def _pipeline(model: str, device: Device) -> Any:
    import torch

    from ..errors import UsageError
    from ..variants import load

    if device is Device.cuda and not torch.cuda.is_available():
        raise UsageError("--device cuda needs a CUDA GPU that PyTorch can see; use --device cpu.")
    chosen = "cuda" if device is not Device.cpu and torch.cuda.is_available() else "cpu"
    return load(model, chosen).pipeline


def _report(drawn: Drawn, files: list[Path], record: dict[str, Any], seconds: float, as_json: bool) -> None:
    keys = sum(key is not None for key in drawn.keys)
    total = len(drawn.frames)
    if as_json:
        summary = {"frames": total, "keys": keys, "in_betweens": total - keys, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(summary | {"size": record["size"], "files": [str(file) for file in files]}))
        return
    width, height = record["size"]
    typer.echo(f"{total} frames ({keys} keys, {total - keys} in-betweens) of {width}x{height} in {seconds:.1f} s")
    sequence = [file for file in files if file.suffix == ".png" and file.stem.isdigit()]
    if sequence:
        typer.echo(f"  {sequence[0]} ... {sequence[-1].name}")
    for file in files:
        if file not in sequence:
            typer.echo(f"  {file}")
