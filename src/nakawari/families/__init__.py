"""The model families: architectures, samplers, pipelines. Independent of training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NakawariError, UsageError
from ..files import read_json
from .former_names import present

if TYPE_CHECKING:
    from .base import InterpolationPipeline

FAMILIES = {"tooncrafter": "ToonCrafterPipeline", "framer": "FramerPipeline", "mini": "MiniPipeline"}
"""Family name -> pipeline class."""


def build(config: Mapping[str, Any]) -> InterpolationPipeline:
    """A new, untrained model: `{"family": name, **parts}`, the parts as the family's `build` takes them."""
    family = config.get("family")
    if family not in FAMILIES:
        raise UsageError(f"family is {family!r}; it must be one of {', '.join(FAMILIES)}.")
    parts = {name: dict(value) for name, value in config.items() if name != "family"}
    module = import_module(f".{family}", __name__)
    try:
        return module.build(**parts)
    except TypeError as error:
        raise UsageError(f"The new model's configuration does not fit {family}: {error}.") from error


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a saved folder, with current names of classes and settings."""
    return present(read_json(folder / "model_index.json"))


def pipeline_class(name: str) -> type[InterpolationPipeline]:
    """The pipeline class that a saved folder's index names, see `read_index`."""
    for family, saved in FAMILIES.items():
        if name == saved:
            return getattr(import_module(f".{family}.pipeline", __name__), name)
    raise NakawariError(f"{name} is not a pipeline of nakawari; known families are {', '.join(FAMILIES)}.")
