"""Whether a model knows the settings that a job asks for: what it does not know is refused, never dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..families.abilities import Abilities
    from .settings import Settings


def check_settings(pipeline: Abilities | None, settings: Settings) -> None:
    """Hold the settings that are a family's own against what the pipeline says that it can do.

    Raises:
        UsageError: the first setting that this pipeline does not know.
    """
    if pipeline is None:
        return
    family = pipeline.family
    wanted = [*settings.options, *["tracks"] * bool(settings.drags or settings.auto_tracks)]
    for name in wanted:
        if name not in pipeline.call_settings:
            raise UsageError(
                f"A {family} model knows no {name.replace('_', ' ')}; leave it out, or take another model."
            )
    if settings.auto_tracks and pipeline.tracks == "matches":
        raise UsageError(
            f"A {family} model matches its keys by itself; leave --auto-tracks out, or lead points by --track."
        )
    if settings.size and (settings.drags or settings.auto_tracks):
        raise UsageError("Tracks are in pixels of the keys, which --size changes; leave one of the two out.")
    if settings.scheduler and not pipeline.schedulers:
        raise UsageError(f"A {family} model has one scheduler; leave the scheduler out, or take another model.")
    if settings.guidance not in (None, 1.0) and not pipeline.is_guided:
        raise UsageError("This model has nothing that guidance could weigh; leave --guidance out.")
    if settings.prompt and not pipeline.reads_words:
        raise UsageError("This model reads no words; leave the prompt out, or take a model with a text tower.")


def notes_of(pipeline: Abilities, settings: Settings, between: int) -> list[str]:
    """What the model makes of the settings that whoever gave them may not expect, a sentence each.

    Args:
        between: how many in-betweens the shortest pass has.
    """
    family = pipeline.family
    notes = []
    if settings.seed and not pipeline.reads_noise(settings.steps):
        notes.append(
            f"A {family} model draws the same whatever the seed is, so --seed {settings.seed} changes nothing."
        )
    if settings.guidance is not None and not pipeline.is_guided:
        notes.append(f"A {family} model has no guidance, so --guidance {settings.guidance:g} changes nothing.")
    learnt = pipeline.frames_learnt
    if learnt is not None and 0 < between < learnt - 2:
        notes.append(
            f"This {family} model learnt from clips of {learnt} frames and draws {between + 2} here, which it is less "
            f"good at; --between {learnt - 2} is what it knows best."
        )
    return notes
