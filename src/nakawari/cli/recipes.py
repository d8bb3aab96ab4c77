"""`nakawari recipes`: list, show, copy and check the shipped training recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show, copy and check the shipped training recipes.", no_args_is_help=True)

Name = Annotated[Path, typer.Argument(metavar="RECIPE", help="A name of the list, or a file.")]


@app.command("list")
def list_recipes() -> None:
    """List the shipped recipes with their purpose."""
    from ..training.shipped import shipped_recipes, summary

    found = shipped_recipes()
    width = max(map(len, found))
    for name, path in found.items():
        typer.echo(f"{name:<{width}}  {summary(path)}")


@app.command()
def show(recipe: Name) -> None:
    """Print a recipe."""
    from ..training.shipped import recipe_file

    typer.echo(recipe_file(recipe).read_text(encoding="utf-8"), nl=False)


@app.command()
def copy(
    recipe: Name,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The new file; default: its own name.")] = None,
) -> None:
    """Copy a recipe to a file, to be changed."""
    from ..errors import UsageError
    from ..files import write_text
    from ..training.shipped import recipe_file

    source = recipe_file(recipe)
    target = output or Path(source.name)
    if target.exists():
        raise UsageError(f"{target} exists already; give another file with -o.")
    write_text(target, source.read_text(encoding="utf-8"))
    typer.echo(target)


@app.command()
def check(
    recipe: Name,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one entry; may be repeated.")
    ] = None,
) -> None:
    """Check the keys, the model and the data of a recipe; nothing is loaded or trained."""
    from ..errors import NakawariError
    from ..training.recipe import load_recipe
    from ..training.shipped import recipe_file

    path = recipe_file(recipe)
    whole = load_recipe(path, changes or [])
    from ..training.checking import problems
    from ..training.plan import described

    typer.echo(f"{path}: {whole.objective.kind}, {whole.optim.steps} steps of {whole.optim.batch_size} samples")
    typer.echo(f"samples: {described(whole.data)}")
    found = problems(whole)
    for sentence in found:
        typer.echo(f"wrong: {sentence}")
    if found:
        raise NakawariError(f"{path} cannot run yet: {len(found)} of its entries are wrong, see above.")
    typer.echo("keys, model and data are valid")
