"""Check that a model supports the settings of a job; unsupported ones are refused, never ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..families.abilities import Abilities
    from .settings import Settings


def check_settings(pipeline: Abilities | None, settings: Settings) -> None:
    """Check family-specific settings against the abilities of a pipeline.

    Raises:
        UsageError: the first setting that this pipeline does not support.
    """
    if pipeline is None:
        return
    family = pipeline.family
    wanted = [*settings.options, *["tracks"] * bool(settings.drags or settings.auto_tracks)]
    for name in wanted:
        if name not in pipeline.call_settings:
            raise UsageError(f"A {family} model has no {name.replace('_', ' ')}; leave it out, or use another model.")
    if settings.auto_tracks and pipeline.tracks == "matches":
        raise UsageError(
            f"A {family} model matches its keys itself; leave --auto-tracks out, or give points with --track."
        )
    if settings.size and (settings.drags or settings.auto_tracks):
        raise UsageError("Tracks are in pixels of the keys, which --size changes; leave one of the two out.")
    if settings.scheduler and not pipeline.schedulers:
        raise UsageError(f"A {family} model has one scheduler; leave the scheduler out, or use another model.")
    if settings.guidance not in (None, 1.0) and not pipeline.is_guided:
        raise UsageError("This model has no guidance; leave --guidance out.")
    if settings.prompt and not pipeline.reads_words:
        raise UsageError("This model reads no text; leave the prompt out, or use a model with a text encoder.")


def notes_of(pipeline: Abilities, settings: Settings, between: int) -> list[str]:
    """Notes about settings with an unexpected effect, a sentence each.

    Args:
        between: number of in-betweens of the shortest pass.
    """
    family = pipeline.family
    notes = []
    if settings.seed and not pipeline.reads_noise(settings.steps):
        notes.append(f"A {family} model draws the same for every seed, so --seed {settings.seed} has no effect.")
    if settings.guidance is not None and not pipeline.is_guided:
        notes.append(f"A {family} model has no guidance, so --guidance {settings.guidance:g} has no effect.")
    learnt = pipeline.frames_learnt
    if learnt is not None and 0 < between < learnt - 2:
        notes.append(
            f"This {family} model was trained on clips of {learnt} frames and draws {between + 2} here, with lower "
            f"quality; --between {learnt - 2} suits it best."
        )
    return notes
