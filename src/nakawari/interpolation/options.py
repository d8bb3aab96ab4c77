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
    if settings.auto_tracks and "control_scale" not in parameters:
        raise UsageError(
            f"A {family} model matches its keys by itself; leave --auto-tracks out, or lead points by --track."
        )
    if settings.size and (settings.drags or settings.auto_tracks):
        raise UsageError("Tracks are in pixels of the keys, which --size changes; leave one of the two out.")
    if settings.scheduler and not hasattr(pipeline, "scheduled"):
        raise UsageError(f"A {family} model has one scheduler; leave the scheduler out, or take another model.")
    components = getattr(pipeline, "components", {})
    if settings.guidance not in (None, 1.0) and not is_guided(pipeline):
        raise UsageError("This model has nothing that guidance could weigh; leave --guidance out.")
    if settings.prompt and components.get("text_encoder") is None:
        raise UsageError("This model reads no words; leave the prompt out, or take a model with a text tower.")


def notes_of(pipeline: Any, settings: Settings, between: int) -> list[str]:
    """What the model makes of the settings that whoever gave them may not expect, a sentence each.

    Args:
        between: how many in-betweens the shortest pass has.
    """
    family = getattr(pipeline, "family", type(pipeline).__name__)
    notes = []
    if settings.seed and not reads_noise(pipeline, settings):
        notes.append(
            f"A {family} model draws the same whatever the seed is, so --seed {settings.seed} changes nothing."
        )
    if settings.guidance is not None and not is_guided(pipeline):
        notes.append(f"A {family} model has no guidance, so --guidance {settings.guidance:g} changes nothing.")
    learnt = getattr(pipeline, "frames_learnt", None)
    if learnt is not None and 0 < between < learnt - 2:
        notes.append(
            f"This {family} model learnt from clips of {learnt} frames and draws {between + 2} here, which it is less "
            f"good at; --between {learnt - 2} is what it knows best."
        )
    return notes


def reads_noise(pipeline: Any, settings: Settings) -> bool:
    """Whether the seed changes what the model draws."""
    ask = getattr(pipeline, "reads_noise", None)
    return ask is None or ask(settings.steps)


def is_guided(pipeline: Any) -> bool:
    """Whether a condition can be taken away from the model: it has an image tower, as every Framer has."""
    return getattr(pipeline, "components", {"image_encoder": True}).get("image_encoder") is not None
