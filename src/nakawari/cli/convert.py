"""`nakawari convert`: published weights become safetensors in the diffusers layout."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .early import check

if TYPE_CHECKING:
    from ..families.conversion import ConversionReport


class Precision(StrEnum):
    """Number formats of converted weights."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"


def command(
    published: Annotated[
        Path, typer.Argument(metavar="PUBLISHED", help="ToonCrafter's model.ckpt, or Framer's folder.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    dtype: Annotated[Precision | None, typer.Option(help="Number format to write; default: as published.")] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="ToonCrafter: folder of CLIP's tokenizer (vocab.json, merges.txt); prompts need it."),
    ] = None,
    svd: Annotated[Path | None, typer.Option(help="Framer: folder of Stable Video Diffusion XT, its base.")] = None,
) -> None:
    """Convert published weights to a model folder."""
    check(files=[published, svd, tokenizer], output=output)
    import torch

    from ..errors import UsageError

    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    chosen = dtypes[dtype.value] if dtype else None
    if published.is_dir():
        if tokenizer is not None:
            raise UsageError(f"{published} is a folder, so Framer's, which reads no prompt; leave --tokenizer out.")
        if svd is None:
            raise UsageError(
                f"{published} is a folder, so Framer's; give the folder of Stable Video Diffusion XT with --svd."
            )
        from ..families.framer.convert import convert

        report = convert(published, svd, output, chosen)
    else:
        if svd is not None:
            raise UsageError(f"--svd is for Framer, but {published} is not a folder; give Framer's folder.")
        from ..families.tooncrafter.convert import convert_checkpoint

        report = convert_checkpoint(published, output, chosen, tokenizer)
    _show(report)


def _show(report: ConversionReport) -> None:
    typer.echo(f"{'component':<20}{'tensors':>9}{'parameters':>16}")
    for name, tensors in report.keys.items():
        parameters = report.parameters.get(name)
        typer.echo(f"{name:<20}{tensors:>9}{'-' if parameters is None else format(parameters, ','):>16}")
    typer.echo(f"{'all':<20}{sum(report.keys.values()):>9}{sum(report.parameters.values()):>16,}")
    if report.schedule_matches is False:
        typer.echo("The checkpoint's noise schedule differs from the one of this family; results may differ.")
    typer.echo(f"written to {report.output_dir}")
