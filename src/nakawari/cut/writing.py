"""Write the files of a finished cut: drawings, the sheet, contact sheets, previews, and their record."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..interpolation import Key
from ..interpolation.drawn import OF_GAP, Gap, first_by_model
from ..interpolation.folder import file_hash
from ..media import Picture, read_image, read_picture, write_image
from .files import write_sheet
from .filling import filled
from .pictures import composed, level_sheet, write_preview
from .placing import Drawing
from .plan import RECORD, TOOL, Cut, CutLevel, Target

if TYPE_CHECKING:
    from .gaps import LevelGap


@dataclass(frozen=True)
class WrittenLevel:
    """A level in its folder.

    Args:
        level: the level.
        entry: its entry in the record.
        gaps: the entries of its gaps in the record.
        shown: its drawings by index, sRGB (H, W, 3 or 4).
        used: the model's settings in effect, empty if it drew nothing.
    """

    level: CutLevel
    entry: dict[str, Any]
    gaps: list[dict[str, Any]]
    shown: dict[int, np.ndarray]
    used: Mapping[str, Any]


def write_level(
    folder: Path,
    level: CutLevel,
    keys: Mapping[str, Key],
    pictures: Mapping[str, Picture],
    gaps: Sequence[tuple[LevelGap, Gap]],
) -> WrittenLevel:
    """Write the drawings of a level and their contact sheet.

    Args:
        keys: the existing drawings, by their names in the sheet.
        pictures: the new drawings.
        gaps: the gaps in which they were drawn.
    """
    entries, shown, files = [], {}, {}
    sure = {
        drawing.name: how_sure
        for gap, found in gaps
        for drawing, how_sure in zip(gap.drawings, found.used.get("confidence") or (), strict=False)
    }
    for number, (drawing, name) in enumerate(zip(level.exposures.drawings, level.names, strict=True)):
        files[drawing.name] = f"{level.level.name}/{name}.png"
        source = None if drawing.way else level.files[drawing.name]
        _write_drawing(folder / files[drawing.name], source, pictures.get(drawing.name))
        key = keys.get(drawing.name)
        picture = pictures[drawing.name] if key is None else key.picture or Picture(key.pixels)
        shown[number] = picture.srgb()
        entries.append(_entry(drawing, name, files[drawing.name], source, sure.get(drawing.name)))
    if shown:
        title = f"{level.level.name}: {len(shown)} drawings, {len(pictures)} of them drawn"
        captions, there = [entry["name"] for entry in entries], [not d.way for d in level.exposures.drawings]
        sheet = level_sheet(title, list(shown.values()), captions, there)
        write_image(folder / f"contact-{level.level.name}.png", sheet)
    entry = {"name": level.level.name, "drawings": entries}
    used = first_by_model(found.used for _, found in gaps)
    return WrittenLevel(level, entry, [_gap_entry(gap, found, files) for gap, found in gaps], shown, used)


def _write_drawing(path: Path, source: Path | None, picture: Picture | None) -> None:
    """Write an existing drawing as a copy of its file if that is a PNG, else from its pixels."""
    if source is None:
        assert picture is not None
        write_image(path, picture)
    elif source.suffix.lower() == ".png":
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    else:
        write_image(path, read_picture(source))


def _entry(drawing: Drawing, name: str, file: str, source: Path | None, sure: float | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "in_sheet": drawing.name if drawing.numbered else None, "file": file}
    if drawing.way:
        way = drawing.way
        return entry | {"between": [way.start, way.end], "share": round(way.share, 6), "confidence": sure}
    return entry | {"source": str(source), "sha256": file_hash(source) if source else None}


def _gap_entry(gap: LevelGap, found: Gap, files: Mapping[str, str]) -> dict[str, Any]:
    asked = [drawing.way.share for drawing in gap.drawings if drawing.way]
    names = [files[drawing.name] for drawing in gap.drawings]
    said = {name: found.used[name] for name in OF_GAP if name in found.used}
    return {"key": gap.key, "asked": asked, "shares": list(found.shares), "files": names} | said


def write_cut(folder: Path, cut: Cut, target: Target, levels: Sequence[WrittenLevel]) -> dict[str, Any]:
    """Write the sheet and the previews of a cut after its levels; returns the record without the used settings."""
    sheet = filled(cut.sheet, [level.exposures for level in cut.levels], cut.naming)
    write_sheet(folder / cut.file_name, sheet)
    ground = read_image(target.ground) if target.ground else None
    shown = [(one.level.exposures.shown(sheet.duration), one.shown) for one in levels]
    for kind in target.previews:
        write_preview(folder / f"preview.{kind}", composed(ground, shown, sheet.duration), sheet.rate)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {
        "tool": TOOL,
        "sheet": str(cut.path),
        "naming": cut.naming.value,
        "ground": str(target.ground) if target.ground else None,
        "levels": [one.entry for one in levels],
        "gaps": [gap for one in levels for gap in one.gaps],
        "files": [*names, RECORD],
        "hashes": {name: file_hash(folder / name) for name in names},
        "version": __version__,
    }
