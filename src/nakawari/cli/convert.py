"""`nakawari convert`: an upstream checkpoint becomes safetensors in the diffusers layout."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Precision(StrEnum):
    """Number formats that a converted checkpoint may be written in."""

    fp16 = "fp16"
    bf16 = "bf16"
    fp32 = "fp32"


def command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="An upstream model.ckpt.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")],
    dtype: Annotated[Precision | None, typer.Option(help="Number format to write; default: the checkpoint's.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of CLIP's tokenizer (vocab.json, merges.txt); prompts need it.")
    ] = None,
) -> None:
    """Upstream checkpoint to safetensors."""
    import torch

    from ..families.tooncrafter.convert import convert_checkpoint

    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
    report = convert_checkpoint(checkpoint, output, dtypes[dtype.value] if dtype else None, tokenizer)
    typer.echo(f"{'component':<20}{'tensors':>9}{'parameters':>16}")
    for name, tensors in report.keys.items():
        parameters = report.parameters.get(name)
        typer.echo(f"{name:<20}{tensors:>9}{'-' if parameters is None else format(parameters, ','):>16}")
    typer.echo(f"{'all':<20}{sum(report.keys.values()):>9}{sum(report.parameters.values()):>16,}")
    if report.schedule_matches is False:
        typer.echo("The checkpoint's noise schedule is not the one that this family computes; results may differ.")
    typer.echo(f"written to {report.output_dir}")
