"""The shipped recipes: below the package in a wheel, in the folder `recipes` of a clone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from ..errors import NakawariError, UsageError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def recipes_folder() -> Path:
    """The folder of the recipes. Raises `NakawariError` if the installation has none."""
    for place in _PLACES:
        if place.is_dir():
            return place
    raise NakawariError("This installation of nakawari has no recipes; install it again from a wheel or a clone.")


def shipped_recipes() -> dict[str, Path]:
    """Name, such as adapt/show, -> file; without files that are not recipes (launchers' settings)."""
    root = recipes_folder()
    paths = sorted(root.rglob("*.yaml"))
    return {
        str(path.relative_to(root).with_suffix("").as_posix()): path for path in paths if path.parent.name != "cluster"
    }


def summary(path: Path) -> str:
    """The first sentence of a recipe's first comment."""
    text = " ".join(_comment(path))
    first, dot, _ = text.partition(". ")
    return first + "." if dot else text


def _comment(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ").rstrip()


def recipe_file(word: Path) -> Path:
    """The file of a recipe argument: the path, or the shipped recipe of that name.

    Raises:
        UsageError: neither exists.
    """
    if word.exists():
        return word
    names = shipped_recipes()
    name = word.as_posix().removeprefix("recipes/").removesuffix(".yaml")
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(
        f"The recipe {word} cannot be read: neither a file nor a shipped recipe has that name{hint}; see nakawari "
        "recipes list."
    )
