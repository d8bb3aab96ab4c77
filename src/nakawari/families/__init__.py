"""The model families: architectures, samplers, pipelines. Nothing here knows about training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import NakawariError, UsageError

if TYPE_CHECKING:
    from .base import InterpolationPipeline

FAMILIES = ("tooncrafter", "framer")


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


def pipeline_class(name: str) -> type[InterpolationPipeline]:
    """The pipeline class that a saved folder's model_index.json names."""
    for family in FAMILIES:
        candidate = getattr(import_module(f".{family}.pipeline", __name__), name, None)
        if candidate is not None:
            return candidate
    raise NakawariError(f"{name} is not a pipeline of nakawari; known families are {', '.join(FAMILIES)}.")
