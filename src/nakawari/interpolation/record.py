"""The record beside a sequence: model, settings and frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .drawn import OF_GAP, OF_MODEL, is_by_model
from .folder import Earlier, file_hash

if TYPE_CHECKING:
    from .drawn import Drawn
    from .keys import Key
    from .settings import Settings
    from .timeline import Timeline

RECORD = "interpolation.json"
TOOL = "nakawari interpolate"


@dataclass(frozen=True)
class Made:
    """The model of a sequence.

    Args:
        model: the variant's name.
        model_hash: its fingerprint, "" if none was needed.
        keys: per gap the hash of everything that determines its frames (`gap_key`), "" if unknown.
    """

    model: str
    model_hash: str = ""
    keys: tuple[str, ...] = ()


def record_of(
    drawn: Drawn, keys: Sequence[Key], settings: Settings, made: Made, fps: float, timeline: Timeline, *, files: bool
) -> dict[str, Any]:
    """The record, without the names and hashes of files; `files`: whether the output is a sequence of files."""
    height, width, channels = drawn.frames[0].shape
    names, sure = timeline.files(), drawn.confidence
    return {
        "tool": TOOL,
        "model": made.model,
        "model_hash": made.model_hash,
        "size": [width, height],
        "channels": "RGBA" if channels == 4 else "RGB",
        "between": list(settings.counts),
        "loop": settings.loop,
        **_used(drawn),
        "notes": drawn.notes,
        "prompt": settings.prompt,
        "auto_tracks": settings.auto_tracks,
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.options.items()},
        "tracks": {str(gap + 1): rows.tolist() for gap, rows in drawn.tracks.items()},
        "fps": fps,
        "keys": [{"path": str(key.path), "sha256": file_hash(key.path)} for key in keys],
        "frames": [
            {
                "number": timeline.begins[index],
                "length": timeline.lengths[index],
                "file": names[index][0] if files else None,
                "seconds": round((timeline.begins[index] - timeline.begins[0]) / fps, 6),
                "key": None if key is None else keys[key].path.name,
                "confidence": sure[index],
            }
            for index, key in enumerate(drawn.keys)
        ],
        "gaps": _gaps(drawn, settings, made, names if files else None),
        "versions": {"nakawari": __version__}
        | {name: metadata.version(name) for name in ("torch", "diffusers", "numpy", "pillow")},
    }


def _used(drawn: Drawn) -> dict[str, Any]:
    """The model's settings in effect; all None if it drew nothing."""
    return {name: drawn.by_model.get(name) for name in OF_MODEL}


def _gaps(drawn: Drawn, settings: Settings, made: Made, names: Sequence[Sequence[str]] | None) -> list[dict[str, Any]]:
    places = [index for index, key in enumerate(drawn.keys) if key is not None]
    gaps = []
    for gap, (count, shares) in enumerate(zip(settings.counts, drawn.shares, strict=True)):
        asked = settings.shares[gap] if settings.shares else None
        first, used = places[gap] + 1, drawn.used[gap]
        gaps.append(
            {
                "shares": list(shares),
                "asked": None if asked is None else list(asked),
                **{name: used.get(name) for name in OF_GAP},
                "model": used.get("model", made.model) if is_by_model(used) else None,
                "key": made.keys[gap] if made.keys else "",
                "files": [files[0] for files in names[first : first + count]] if names else [],
            }
        )
    return gaps


def earlier_in(folder: Path) -> Earlier:
    """The record of an earlier `nakawari interpolate` in a folder."""
    return Earlier.of(folder, RECORD, TOOL)
