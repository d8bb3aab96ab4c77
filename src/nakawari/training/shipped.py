"""The recipes that ship: in a wheel below the package, in a clone in its folder `recipes`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from ..errors import NakawariError, UsageError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def recipes_folder() -> Path:
    """Where they are. Raises `NakawariError` where the installation lacks them."""
    for place in _PLACES:
        if place.is_dir():
            return place
    raise NakawariError("This installation of nakawari has no recipes; install it again from a wheel or a clone.")


def shipped_recipes() -> dict[str, Path]:
    """Name, such as adapt/show, -> file; files that are no recipes (launchers' settings) are left out."""
    root = recipes_folder()
    paths = sorted(root.rglob("*.yaml"))
    return {
        str(path.relative_to(root).with_suffix("").as_posix()): path for path in paths if path.parent.name != "cluster"
    }


def summary(path: Path) -> str:
    """What a recipe's first comment says, its first sentence."""
    text = " ".join(_comment(path))
    first, dot, _ = text.partition(". ")
    return first + "." if dot else text


def _comment(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ").rstrip()


def recipe_file(word: Path) -> Path:
    """The file that a command's word for a recipe means: the path, or else the shipped recipe of that name.

    Raises:
        UsageError: neither is there.
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
        f"The recipe {word} cannot be read: neither a file nor a recipe that ships has that name{hint}; see nakawari "
        "recipes list."
    )
