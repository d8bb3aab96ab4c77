"""Command lines built from the settings of a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import write_json
from ..variants import with_adapters, with_precision
from .work import Asked, Work

OUT, TRACKS = "out", "tracks.json"
FORMATS = "png,gif,mp4,sheet"


def variant_of(asked: Asked) -> str:
    """The variant name for the command line. Raises `UsageError` for an unknown precision."""
    name = with_adapters(asked.model, [f"{asked.adapter}@{asked.scale:g}"] if asked.adapter else [])
    return with_precision(name, asked.precision or None)


def interpolate_words(asked: Asked, *, output: str = OUT, only: str = "", seed: int | None = None) -> list[str]:
    """Arguments of `nakawari interpolate` for all keys, to be run in the user's folder.

    Args:
        only: the gap or frame to draw again, as for `--only`.
        seed: replaces the seed of the settings.
    """
    if len(asked.keys) < 2:
        raise UsageError("In-betweens need two or more key drawings; add key drawings.")
    words = ["interpolate", *(f"keys/{key.name}" for key in asked.keys), "-o", output]
    every = 2 if asked.pairs() and not asked.loop else 1  # every second gap is drawn, and the command counts only these
    between, spacing = asked.between[::every], asked.spacing[::every]
    words += ["--between", ",".join(map(str, between)), "--format", FORMATS]
    for one in [spacing[0]] if _alike(spacing) else spacing:
        words += ["--spacing", spacing_word(one)]
    words += ["--model", variant_of(asked), "--seed", str(asked.seed if seed is None else seed)]
    words += ["--fps", f"{asked.fps:g}"]
    if asked.exposure != 1:
        words += ["--exposure", str(asked.exposure)]
    if asked.steps:
        words += ["--steps", str(asked.steps)]
    if asked.prompt:
        words += ["--prompt", asked.prompt]
    words += ["--loop"] * asked.loop + ["--no-parts"] * (not asked.parts)
    words += ["--on-cut", asked.on_cut] if asked.on_cut != "draw" else []
    words += ["--track", TRACKS] if asked.tracks else []
    return words + (["--only", only] if only else [])


def _alike(spacing: Sequence[str | list[float]]) -> bool:
    return all(isinstance(one, str) and one == spacing[0] for one in spacing)


def spacing_word(spacing: str | Sequence[float]) -> str:
    """The name of a curve, or fractions."""
    return spacing if isinstance(spacing, str) else ",".join(f"{share:.4g}" for share in spacing)


def write_tracks(work: Work, asked: Asked) -> None:
    """Write the tracks of all gaps as the file that `--track` reads."""
    path: Path = work.folder / TRACKS
    if asked.tracks:
        write_json(path, asked.tracks)
    else:
        path.unlink(missing_ok=True)


def shown(words: Sequence[Any]) -> str:
    """A command, quoted for a shell."""
    return "nakawari " + shlex.join(str(word) for word in words)
