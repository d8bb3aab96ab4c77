"""Whether a model knows the settings that a job asks for: what it does not know is refused, never dropped."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from .settings import Settings


def check_settings(pipeline: Any, settings: Settings) -> None:
    """Hold the settings that are a family's own against the signature of the pipeline's call.

    Raises:
        UsageError: the first setting that this pipeline does not know.
    """
    if pipeline is None:
        return
    parameters = inspect.signature(pipeline.__call__).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    family = getattr(pipeline, "family", type(pipeline).__name__)
    wanted = [*settings.options, *["tracks"] * bool(settings.drags or settings.auto_tracks)]
    for name in wanted:
        if name not in parameters:
            raise UsageError(
                f"A {family} model knows no {name.replace('_', ' ')}; leave it out, or take another model."
            )
    if settings.size and (settings.drags or settings.auto_tracks):
        raise UsageError("Tracks are in pixels of the keys, which --size changes; leave one of the two out.")
    if settings.scheduler and not hasattr(pipeline, "scheduled"):
        raise UsageError(f"A {family} model has one scheduler; leave the scheduler out, or take another model.")
    components = getattr(pipeline, "components", {})
    if settings.guidance not in (None, 1.0) and not _is_guided(pipeline):
        raise UsageError("This model has nothing that guidance could weigh; leave --guidance out.")
    if settings.prompt and components.get("text_encoder") is None:
        raise UsageError("This model reads no words; leave the prompt out, or take a model with a text tower.")


def _is_guided(pipeline: Any) -> bool:
    """Whether a condition can be taken away from the model: it has an image tower, as every Framer has."""
    return getattr(pipeline, "components", {"image_encoder": True}).get("image_encoder") is not None
