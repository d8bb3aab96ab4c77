"""Generate the page of all recipe keys from the schema.

python -m nakawari.training.recipe_keys > docs/recipe-keys.md
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .objectives import OBJECTIVES, ObjectiveParams, params_class
from .recipe import Recipe

HEAD = """# Recipe keys

Every key of a training recipe, generated from the schema by `python -m nakawari.training.recipe_keys`. A key is written
with its parents, as in `--set optim.lr=1e-4`; missing keys have their defaults. [Train](train.md) runs a recipe.
"""


class Key(NamedTuple):
    """One row: dotted name, type, default ("required" without one), allowed range, description."""

    name: str
    type: str
    default: str
    range: str
    line: str


def tables() -> dict[str, list[Key]]:
    """Heading -> keys: of a recipe, and of each kind of objective."""
    found = {"Recipe": list(keys_of(Recipe, ""))}
    own = [
        kind for kind, module in OBJECTIVES.items() if module.startswith(f"{__package__}.")
    ]  # not those of benchmarks
    for kind in sorted(own):
        found[f"Objective {kind}"] = list(keys_of(params_class(kind), "objective."))
    return found


def keys_of(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    """The keys of a part of a recipe, and of the parts in it."""
    lines = _lines(model)
    for name, field in model.model_fields.items():
        parts = [part for part in _parts(field.annotation) if not issubclass(part, ObjectiveParams)]
        line = "selects the kind." if name == "kind" else lines.get(name, "")
        yield Key(prefix + name, _type(field.annotation), _default(field), _range(field), line)
        for part in parts:
            kind = part.model_fields["kind"].annotation if "kind" in part.model_fields else None
            inside = f"[{typing.get_args(kind)[0]}]" if kind is not None else ""
            yield from keys_of(part, f"{prefix}{name}{inside}.")


def page() -> str:
    """The page in Markdown."""
    pieces = [HEAD]
    for heading, keys in tables().items():
        pieces.append(f"## {heading}\n\n| key | type | default | range | meaning |\n| --- | --- | --- | --- | --- |")
        pieces.extend("| " + " | ".join(_cell(text) for text in (f"`{key.name}`", *key[1:])) + " |" for key in keys)
        pieces.append("")
    return "\n".join(pieces)


def _lines(model: type[BaseModel]) -> dict[str, str]:
    """Key -> its description in the `Args:` of the class and its bases."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        _, _, text = inspect.cleandoc(cls.__dict__.get("__doc__") or "").partition("Args:\n")
        for match in re.finditer(r"^ *([a-z][\w, ]*): (.*(?:\n(?! *[a-z][\w, ]*: ).+)*)", text, re.M):
            line = " ".join(match[2].split())
            found |= dict.fromkeys((name.strip() for name in match[1].split(",")), line)
    return found


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def _type(annotation: Any) -> str:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(json.dumps(value).strip('"') for value in inside)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys("null" if part is NoneType else _type(part) for part in inside))
    if origin is typing.Annotated:
        return _type(inside[0])
    if origin in (list, tuple):
        return "list of " + " and ".join(dict.fromkeys(_type(part) for part in inside if part is not Ellipsis))
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys below"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true, false", "Path": "path"}.get(
        getattr(annotation, "__name__", ""), "any"
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return str(value) if not isinstance(value, (bool, NoneType, tuple, list, dict)) else json.dumps(value)


_SIGNS = {
    "Ge": ("ge", "≥"),
    "Gt": ("gt", ">"),
    "Le": ("le", "≤"),
    "Lt": ("lt", "<"),
    "MinLen": ("min_length", "length ≥"),
}


def _range(field: FieldInfo) -> str:
    limits = list(field.metadata)
    for part in typing.get_args(field.annotation):
        limits += getattr(part, "__metadata__", ())
    for limit in list(limits):
        limits += getattr(limit, "metadata", ())
    said = []
    for limit in limits:
        if type(limit).__name__ in _SIGNS:
            attribute, sign = _SIGNS[type(limit).__name__]
            said.append(f"{sign} {getattr(limit, attribute):g}")
    return ", ".join(dict.fromkeys(said))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
