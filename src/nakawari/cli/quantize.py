"""`nakawari quantize`: write a quantized variant, or a plan of precisions per layer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .early import check
from .progress import Bar

DEFAULT = "int8"
"""Default precision: a quarter of fp32, and of those below 16 bits the closest to it, for all families."""

if TYPE_CHECKING:
    from ..families.base import InterpolationPipeline
    from ..quantization.planning import Planned


def command(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="BASE[+ADAPTER@SCALE]; adapters are merged.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    precision: Annotated[
        str | None,
        typer.Option(help="fp16, bf16, int8 (the default), int8-dynamic, fp8, fp8-dynamic or int4, for every layer."),
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Components that fp16 and bf16 cast: denoiser, or all (except the motion guide).")
    ] = "denoiser",
    export_checkpoint: Annotated[
        bool, typer.Option("--export-checkpoint", help="With fp16 or bf16: -o is one file in the upstream layout.")
    ] = False,
    plan_file: Annotated[Path | None, typer.Option(help="A plan: layer pattern -> precision, YAML.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Measure, and write a plan instead of a variant.")] = False,
    budget: Annotated[
        str | None,
        typer.Option(help="With --plan: target size of the denoiser, such as 0.35x (of its fp16 size) or 12-MB."),
    ] = None,
    min_psnr: Annotated[
        float | None, typer.Option("--min-psnr-to-parent", min=1, help="With --plan: minimum PSNR to the parent in dB.")
    ] = None,
    candidates: Annotated[str, typer.Option(help="With --plan: precisions to choose from.")] = "int4,int8,fp16",
    calibrate: Annotated[
        Path | None, typer.Option(help="With --plan: a folder of clips to measure on; default: synthetic scenes.")
    ] = None,
    clips: Annotated[
        int | None, typer.Option(min=1, help="With --plan: clips to measure on; default: the model's.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=3, help="With --plan: frames per clip, both keys included; default: the model's."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="With --plan: their size; default: the model's.")
    ] = None,
    times: Annotated[int, typer.Option(min=1, help="With --plan: noise levels per clip.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="With --plan: seed of the choice of clips.")] = 0,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Write a variant with fewer bits per weight."""
    from ..errors import UsageError
    from ..files import check_new

    if sum([precision is not None, plan_file is not None, plan]) > 1:
        raise UsageError("nakawari quantize takes one of --precision, --plan-file and --plan.")
    if not plan and (budget is not None or min_psnr is not None or calibrate is not None):
        raise UsageError("--budget, --min-psnr-to-parent and --calibrate need --plan.")
    if export_checkpoint and precision is None:
        raise UsageError("--export-checkpoint needs --precision fp16 or bf16.")
    if parts not in ("denoiser", "all"):
        raise UsageError(f"{parts!r} is not a value of --parts; give denoiser or all.")
    check(variants=[variant], settings={"plan": plan_file}, folders=[calibrate], output=output)
    check_new(output)
    if plan_file is None and not plan:
        precision = precision or DEFAULT
        from ..quantization.precisions import check_name

        check_name(precision)
    if plan:
        from ..quantization.sensitivity import Settings

        own_clips, own_frames, own_size = _measured(variant)
        shape = own_size if size is None else _size(size)
        settings = Settings(clips or own_clips, frames or own_frames, shape, times, seed, calibrate)
        _plan(
            _load(variant, device, runs=True), variant, output, budget, min_psnr, _names(candidates), settings, as_json
        )
        return
    from ..quantization import make

    pipeline = _load(variant, device, runs=False)
    if export_checkpoint:
        from ..variants import model_folder, parse

        tensors = make.export(pipeline, variant, model_folder(parse(variant).base), str(precision), output)
        written = {"tensors": tensors, "bytes": output.stat().st_size, "output": str(output)}
        typer.echo(json.dumps(written) if as_json else f"{tensors} tensors, {written['bytes'] / 1e6:.2f} MB: {output}")
        return
    if plan_file is not None:
        record = make.quantize_by_plan(pipeline, variant, plan_file, output)
    else:
        record = make.quantize(pipeline, variant, str(precision), output, parts)  # type: ignore[arg-type]
    show_record(record, output, as_json)


def _load(variant: str, device: str, *, runs: bool) -> InterpolationPipeline:
    from ..variants import load

    return load(variant, device, runs=runs).pipeline


def _measured(variant: str) -> tuple[int, int, tuple[int, int]]:
    """Default clips, frames and (height, width) of the measurement, by family and size."""
    from ..training.defaults import defaults_of

    return defaults_of(variant).measured


def _size(text: str) -> tuple[int, int]:
    """Height and width from WIDTHxHEIGHT."""
    from ..errors import UsageError

    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size; give --size WIDTHxHEIGHT, such as 96x64.")
    return int(match[2]), int(match[1])


def _names(text: str) -> list[str]:
    from ..quantization.precisions import check_name

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [""]:
        check_name(name, "--candidates")
    return names


def show_record(record: dict[str, Any], output: Path, as_json: bool) -> None:
    """Print the record as a few lines or as JSON."""
    if as_json:
        typer.echo(json.dumps(record))
        return
    before, after = record["source"]["bytes"], record["bytes"]
    layers = ", ".join(f"{count} layers {name}" for name, count in sorted(record["layers"].items()))
    formats = ", ".join(f"{part} {dtype}" for part, dtype in record["dtypes"].items())
    typer.echo(f"denoiser {before / 1e6:.2f} MB -> {after / 1e6:.2f} MB ({after / before:.1%})")
    typer.echo(f"{layers}; the rest: {formats}" if layers else formats)
    typer.echo(f"written to {output}")


def _plan(
    pipeline: InterpolationPipeline,
    variant: str,
    output: Path,
    budget: str | None,
    min_psnr: float | None,
    candidates: list[str],
    settings: Any,
    as_json: bool,
) -> None:
    from ..files import atomic_path, write_json
    from ..quantization import plans
    from ..quantization.figure import write_figure
    from ..quantization.make import prepare
    from ..quantization.planning import make_plan

    prepare(pipeline, variant)
    with Bar("measuring", "layer") as bar:
        planned = make_plan(
            pipeline,
            budget=budget,
            min_psnr=min_psnr,
            candidates=candidates,
            settings=settings,
            progress=bar.show,
        )
    with atomic_path(output) as temporary:
        temporary.mkdir()
        plans.write(temporary / "plan.yaml", planned.plan)
        write_json(temporary / "sensitivity.json", sensitivity_json(planned))
        write_figure(temporary / "plan.png", planned, f"{variant}: sensitivity of each layer, and the plan")
    if as_json:
        typer.echo(json.dumps(planned.plan.about | {"output": str(output)}))
        return
    for line in plan_table(planned):
        typer.echo(line)
    typer.echo(f"written to {output}: plan.yaml, plan.png, sensitivity.json")


def sensitivity_json(planned: Planned) -> dict[str, Any]:
    """All measured numbers and the chosen precision of each layer."""
    found = planned.sensitivity
    layers = {
        name: {
            "kind": found.kinds[name],
            "plan": planned.precisions[name],
            "costs": {key: {"bytes": cost.bytes, "error": min(cost.error, 1e300)} for key, cost in costs.items()},
        }
        for name, costs in found.costs.items()
    }
    return {"x0_variance": found.spread, "layers": layers}


def plan_table(planned: Planned) -> list[str]:
    """Size and fidelity of the plan and of each precision for all layers, then layer counts by precision."""
    lines = [f"{'':<16}{'MB':>10}{'dB to the parent':>20}"]
    for name, trial in planned.trials.items():
        lines.append(f"{name:<16}{trial.bytes / 1e6:>10.3f}{trial.psnr:>20.2f}")
    kinds = dict.fromkeys(planned.sensitivity.kinds.values())
    for kind in kinds:
        got = [value for name, value in planned.precisions.items() if planned.sensitivity.kinds[name] == kind]
        shares = ", ".join(f"{got.count(value)} {value}" for value in sorted(set(got)))
        lines.append(f"{kind:<16}{shares}")
    return lines
