"""`nakawari merge`: merge adapters into the weights of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .early import check


def command(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="BASE+ADAPTER@SCALE, with one or more adapters.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the model; a new one.")],
) -> None:
    """Merge adapters into a model.

    The result is as fast as the base, and usable wherever the base is.
    """
    from ..files import check_new

    check(variants=[variant], output=output)
    check_new(output)
    from .. import trained_on
    from ..adapters import bake_all
    from ..errors import UsageError
    from ..families.cards import add_section
    from ..training.tensors import whole_folder
    from ..variants import load, parse

    if not parse(variant).adapters:
        raise UsageError(f"{variant!r} has no adapter to merge; write BASE+ADAPTER@SCALE.")
    pipeline = load(variant, runs=False).pipeline
    bake_all(pipeline)
    with whole_folder(output) as folder:
        pipeline.save_pretrained(folder)
        add_section(folder, "Made from", f"`{variant}`, its adapters merged into the weights.")
        if seen := trained_on.of_variant(variant):
            trained_on.write(folder, seen)
    typer.echo(f"{variant} merged: {output}")
