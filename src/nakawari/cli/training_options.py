"""Options shared by the commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[
    Path | None,
    typer.Argument(metavar="[RECIPE]", help="A YAML file that describes the whole run; or give --data."),
]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimizer steps.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Clips per step.")]
LearningRate = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
Frames = Annotated[int | None, typer.Option(min=3, help="Frames per clip, both keys included; default of triplets 3.")]
Size = Annotated[str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Frame size in training.")]
Windows = Annotated[
    int | None,
    typer.Option(
        min=0, help="Windows of whole frames whose motion guide is computed once, for crops; 0 = a guide per crop."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of weights, data and noise.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one entry; may be repeated.")
]
RunFolder = Annotated[Path | None, typer.Option("-o", "--output", help="The run folder; default: runs/ and the name.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume from the last checkpoint of the run folder.")]
Memory = Annotated[
    str | None, typer.Option(metavar="AMOUNT", help="Memory that a large model must fit into, such as 16GB.")
]
LogWith = Annotated[
    list[str] | None,
    typer.Option(
        "--log-with", metavar="TRACKER", help="Also log to tensorboard or wandb (extra track); may be repeated."
    ),
]
ShowData = Annotated[
    Path | None,
    typer.Option(
        "--show-data",
        metavar="PICTURE",
        help="Write a sheet of twelve samples as training will see them, and stop.",
    ),
]
