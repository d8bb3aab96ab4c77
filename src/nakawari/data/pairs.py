"""Image pairs without true in-betweens: `<id>_start.*` and `<id>_end.*` in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..media import is_image, pair_role
from .samples import Sample


def find_pairs(folder: Path, captions: Mapping[str, str]) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """The pairs of a folder sorted by id, and one sentence for each image whose partner is missing."""
    ends: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        if is_image(path) and (role := pair_role(path.stem)):
            ends.setdefault(role[0], {})[role[1]] = path
    samples: list[Sample] = []
    skipped: list[str] = []
    for name, found in sorted(ends.items()):
        if len(found) == 2:
            keys = (found["start"], found["end"])
            samples.append(Sample(name, keys, caption=captions.get(name, ""), group=name))
        else:
            role = "end" if "start" in found else "start"
            skipped.append(f"{next(iter(found.values()))} has no {name}_{role} in its folder")
    return tuple(samples), tuple(skipped)
