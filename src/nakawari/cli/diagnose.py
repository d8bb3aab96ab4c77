"""`nakawari diagnose`: latent collapse, training logs, components of a variant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .early import check
from .progress import Bar

if TYPE_CHECKING:
    from ..diagnosis.latents import Clip

app = typer.Typer(
    help="Find latent collapse, read training logs, describe a variant.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def latents(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="BASE[+ADAPTER@SCALE][:PRECISION].")],
    keys: Annotated[list[Path] | None, typer.Argument(metavar="[KEY KEY]", help="Two key drawings.")] = None,
    parent: Annotated[
        str | None,
        typer.Option(help="Variant to compare with; default: the base of a variant with adapters or a cast."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A data set, instead of two keys.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of samples of --data, evenly chosen.")] = 4,
    frames: Annotated[
        int | None,
        typer.Option(min=2, help="Frames of a clip, keys included; default: as in the data, 8 for two keys."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, max=1000, help="Sampling steps; default: the model's.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="Guidance scale; default: the model's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Sample i uses this seed plus i, in both variants.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")] = Path("diagnosis"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the finding as JSON.")] = False,
) -> None:
    """Plot x0 and x_t over the denoising steps; exit status 1 if their variance collapses or explodes."""
    from ..errors import UsageError

    if bool(keys) == bool(data) or (keys and len(keys) != 2):
        raise UsageError("Give either two key drawings or --data DIR.")
    check(variants=[variant, parent], files=keys or [], folders=[data], output=output)
    from ..diagnosis.latent_plot import write_plot
    from ..diagnosis.latents import diagnose
    from ..files import write_json
    from ..variants import load, parse

    spec = parse(variant)
    adds = bool(spec.adapters) or spec.precision is not None
    reference = parent or (spec.base if adds else None)
    clips = _from_data(data, samples, frames) if data else _from_keys(keys or [], frames or 8)
    settings = {"num_inference_steps": steps, "guidance_scale": guidance}
    with Bar("denoising", "call") as bar:
        found = diagnose(
            load(variant, device).pipeline,
            clips,
            load(reference, device).pipeline if reference else None,
            seed=seed,
            progress=bar.show,
            **{name: value for name, value in settings.items() if value is not None},
        )
    about = {"variant": variant, "reference": reference, "samples": [clip.name for clip in clips], "seed": seed}
    record = about | settings | found.to_json()
    write_json(output / "latents.json", record)
    write_plot(output / "latents.png", found, f"{variant} against {reference or 'the true clips'}")
    if as_json:
        typer.echo(json.dumps(record))
    else:
        _show_latents(record)
        typer.echo(f"  {output / 'latents.png'}\n  {output / 'latents.json'}")
    if not found.healthy:
        raise typer.Exit(1)


def _from_data(data: Path, samples: int, frames: int | None) -> list[Clip]:
    import numpy as np

    from ..data.triplets import open_dataset
    from ..diagnosis.latents import Clip
    from ..media import to_tensor

    dataset = open_dataset(data)
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(samples, len(dataset))).round().astype(int))
    clips = []
    for sample in (dataset[int(index)] for index in chosen):
        pictures = to_tensor(sample.read())
        known = bool(sample.truth) and frames in (None, len(pictures))
        shown = pictures if known else _stretched(pictures, frames or 8)
        clips.append(Clip(sample.name, shown, known, sample.caption))
    return clips


def _from_keys(keys: list[Path], frames: int) -> list[Clip]:
    import numpy as np

    from ..diagnosis.latents import Clip
    from ..errors import UsageError
    from ..media import flatten, read_image, to_tensor

    first, last = (flatten(read_image(key)) for key in keys)
    if first.shape != last.shape:
        raise UsageError(
            f"{keys[0]} is {first.shape[1]}x{first.shape[0]} but {keys[1]} is {last.shape[1]}x{last.shape[0]}; export "
            "both keys at one size."
        )
    return [Clip(f"{keys[0].stem}-{keys[1].stem}", _stretched(to_tensor(np.stack([first, last])), frames), False)]


def _stretched(pictures: Any, frames: int) -> Any:
    """A clip of `frames` frames of which only the keys are real."""
    import torch

    return torch.cat([pictures[:1], torch.zeros(frames - 2, *pictures.shape[1:]), pictures[-1:]])


def _show_latents(record: dict[str, Any]) -> None:
    typer.echo(f"{'step':>5}{'time':>9}{'std x0':>10}{'ratio':>8}{'std x_t':>10}{'ratio':>8}")
    for index, row in enumerate(record["variant"]):
        x0, x_t = (_number(row[name]["std"]) for name in ("x0", "x_t"))
        own, mixed = (_number(record["ratios"][name][index]) for name in ("x0", "x_t"))
        typer.echo(f"{row['step']:>5}{row['time']:>9.4g}{x0:>10}{own:>8}{x_t:>10}{mixed:>8}")
    for sentence in record["sentences"] or ["No collapse, no explosion."]:
        typer.echo(sentence)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


PICTURES = (".png", ".jpg", ".pdf", ".svg")
"""File suffixes of a plot."""


@app.command()
def log(
    run: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, its log.jsonl, or a text log.")],
    baseline: Annotated[float | None, typer.Option(help="Loss of a zero prediction; default: as logged, or 1.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The picture; default: beside the log, LOG.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Print configuration, losses and warnings of a training run, and plot its curves."""
    from ..diagnosis.log import diagnose_log
    from ..diagnosis.log_plot import write_log_plot
    from ..errors import UsageError

    if output is not None and output.suffix.lower() not in PICTURES:
        raise UsageError(f"-o {output} is not a picture; give a name that ends in {', '.join(PICTURES)}.")
    found = diagnose_log(run, baseline)
    picture = output or found.log.path.with_name(f"{found.log.path.name}.png")
    write_log_plot(picture, found)
    record = found.to_json()
    if as_json:
        typer.echo(json.dumps(record | {"picture": str(picture)}))
        return
    _show_log(record)
    typer.echo(f"  {picture}")


def _show_log(record: dict[str, Any]) -> None:
    for key, value in record["config"].items():
        typer.echo(f"{key:<34} {value}")
    if record["trainable_parameters"]:
        share, whole = record["trainable_share"], record["parameters"]
        of = f" of {whole:,} ({100 * share:.4g} %)" if share else ""
        typer.echo(f"{'trainable parameters':<34} {record['trainable_parameters']:,}{of}")
    steps, rate = record["steps"], record["learning_rate"]
    planned = f" of {steps['planned']}" if steps["planned"] else ""
    typer.echo(f"{'steps':<34} {steps['logged']} logged, last step {steps['last']}{planned}")
    typer.echo(f"{'learning rate':<34} highest {_number(rate['highest'])}, last {_number(rate['last'])}")
    typer.echo(f"{'loss':<12}{'steps':>14}{'mean':>10}{'std':>10}{'lowest':>10}")
    for part in record["loss"]:
        span = f"{part['first']}-{part['last']}"
        typer.echo(f"{part['name']:<12}{span:>14}{part['mean']:>10.4g}{part['std']:>10.3g}{part['minimum']:>10.4g}")
    assumed = " (assumed)" if record["baseline_assumed"] else ""
    typer.echo(f"loss of a zero prediction: {record['baseline']:.4g}{assumed}")
    for warning in record["warnings"]:
        typer.echo(f"warning ({warning['kind']}): {warning['sentence']}")
    if not record["warnings"]:
        typer.echo("no warnings")


@app.command()
def variant(
    name: Annotated[str, typer.Argument(metavar="VARIANT", help="BASE[+ADAPTER@SCALE][:PRECISION].")],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Print components, parameters, precisions, adapters and their norms."""
    from ..diagnosis.variant import describe
    from ..variants import load

    report = describe(load(name, runs=False).pipeline, name)
    record = report.to_json()
    if as_json:
        typer.echo(json.dumps(record))
        return
    typer.echo(f"{name}: {report.family}")
    typer.echo(f"{'part':<16}{'class':<28}{'parameters':>15}{'MiB':>10}  precision")
    for part in report.parts:
        formats = ", ".join(part.dtypes) or "-"
        formats += "".join(f", {count} x {kind}" for kind, count in part.quantized.items())
        typer.echo(f"{part.name:<16}{part.kind:<28}{part.parameters:>15,}{part.bytes / 2**20:>10.2f}  {formats}")
    typer.echo(f"{'all':<44}{record['parameters']:>15,}{record['bytes'] / 2**20:>10.2f}")
    for adapter in report.adapters:
        scale = ", ".join(f"{value:g}" for value in adapter.scale)
        rank = ", ".join(str(value) for value in adapter.ranks)
        typer.echo(
            f"{adapter.name}{'' if adapter.active else ' (off)'}: {adapter.layers} layers, rank {rank}, "
            f"{adapter.parameters:,} parameters, scale {scale}; norm of the change {adapter.norm:.4g}, of the layers' "
            f"weights {100 * adapter.relative_mean:.3g} % on average, at most {100 * adapter.relative_max:.3g} % "
            f"({adapter.largest})"
        )
