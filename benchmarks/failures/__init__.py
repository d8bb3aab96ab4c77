"""Failing objectives of published trainers, to reproduce their failures: do not train models with them."""

from __future__ import annotations

from nakawari.training.objectives import OBJECTIVES

KINDS = {
    "answer-noise": "failures.answer_noise",
    "answer-is-noise": "failures.answer_is_noise",
    "dead-latents": "failures.dead_latents",
}


def register() -> None:
    """Register these kinds for recipes."""
    OBJECTIVES.update(KINDS)
