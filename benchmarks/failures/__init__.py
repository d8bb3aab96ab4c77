"""Objectives of published trainers that fail, kept to show what they do: never train with them to get a model."""

from __future__ import annotations

from nakawari.training.objectives import OBJECTIVES

KINDS = {
    "answer-noise": "failures.answer_noise",
    "answer-is-noise": "failures.answer_is_noise",
    "dead-latents": "failures.dead_latents",
}


def register() -> None:
    """Make these kinds known to recipes."""
    OBJECTIVES.update(KINDS)
