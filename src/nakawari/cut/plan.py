"""A cut to draw: its sheet, its levels with existing and missing drawings, and its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import check_writable
from ..interpolation.folder import Earlier
from ..media import read_picture
from .drawings import find_drawings
from .filling import Naming, names_of
from .keys import sheet_of_keys
from .placing import Drawing, Exposures, Way, place
from .sheet import Level, Sheet

RECORD = "cut.json"
TOOL = "nakawari cut"


@dataclass(frozen=True)
class CutLevel:
    """A level of a cut.

    Args:
        level: the sheet's level.
        exposures: its exposures, with the positions of missing drawings.
        names: final names of the drawings.
        files: files of the existing drawings, by their names in the sheet.
    """

    level: Level
    exposures: Exposures
    names: list[str]
    files: Mapping[str, Path]

    @property
    def missing(self) -> list[Drawing]:
        """The drawings to draw."""
        return [drawing for drawing in self.exposures.drawings if drawing.way]

    def gaps(self) -> list[tuple[Way, list[Drawing]]]:
        """The missing drawings by gap, sorted by position."""
        found: dict[tuple[int, int], list[Drawing]] = {}
        for drawing in self.missing:
            assert drawing.way
            found.setdefault(drawing.way.rows, []).append(drawing)
        ordered = [sorted(own, key=lambda drawing: drawing.way.share if drawing.way else 0) for own in found.values()]
        return [(own[0].way, own) for own in ordered if own[0].way]


@dataclass(frozen=True)
class Cut:
    """A cut to draw.

    Args:
        path: the file of its sheet, or its folder of keys.
        sheet: as read from there.
        levels: bottom first.
        naming: final names of the drawings.
    """

    path: Path
    sheet: Sheet
    levels: tuple[CutLevel, ...]
    naming: Naming

    @property
    def file_name(self) -> str:
        """File name of its sheet."""
        return f"{self.path.name}.xdts" if self.path.is_dir() else self.path.name

    @property
    def missing(self) -> int:
        """Number of missing drawings."""
        return sum(len(level.missing) for level in self.levels)

    def largest(self) -> tuple[tuple[int, int], list[int]]:
        """The largest height and width of drawings in levels with missing drawings, and the number missing
        in each gap."""
        lacking = [level for level in self.levels if level.missing]
        sizes = [read_picture(next(iter(level.files.values()))).pixels.shape for level in lacking]
        counts = [len(drawings) for level in lacking for _, drawings in level.gaps()]
        return (max(shape[0] for shape in sizes), max(shape[1] for shape in sizes)), counts

    def sources(self) -> list[Path]:
        """The drawings that are used, and the sheet if it is a file."""
        used = [level.files[d.name] for level in self.levels for d in level.exposures.drawings if not d.way]
        return used if self.path.is_dir() else [self.path, *used]


def cut_of(source: Path, sheet: Sheet, drawings: Path, naming: Naming) -> Cut:
    """The cut of a sheet read from `source`, with its drawings in a folder; raises as `find_drawings` and `place`."""
    return _placed(source, sheet, find_drawings(drawings, sheet), naming)


def cut_of_keys(
    folder: Path, naming: Naming, between: str | None = None, exposure: int = 1, rate: float | None = None
) -> Cut:
    """The cut of a folder of keys; see `sheet_of_keys`."""
    sheet, files = sheet_of_keys(folder, between, exposure, rate)
    return _placed(folder.resolve(), sheet, [files], naming)


def _placed(source: Path, sheet: Sheet, files: Sequence[Mapping[str, Path]], naming: Naming) -> Cut:
    levels = []
    for level, own in zip(sheet.levels, files, strict=True):
        exposures = place(level, sheet.duration, own.__contains__)
        levels.append(CutLevel(level, exposures, names_of(exposures, naming), own))
    if not any(level.exposures.drawings for level in levels):
        raise UsageError(f"{source} shows no drawings; add drawings to the sheet.")
    return Cut(source, sheet, tuple(levels), naming)


@dataclass(frozen=True)
class Target:
    """The output of a cut.

    Args:
        folder: the output folder.
        ground: a background image below all levels, or None.
        previews: some of `sheet.PREVIEWS`.
        overwrite: whether edited files in the folder are replaced, and files of other programs may stay in it.
    """

    folder: Path
    ground: Path | None = None
    previews: tuple[str, ...] = ("mp4",)
    overwrite: bool = False

    def check(self, cut: Cut) -> None:
        """Raise `UsageError` if writing would overwrite other files or edited ones, or is not possible."""
        own = self.folder.resolve()
        for source in cut.sources():
            if own in source.resolve().parents:
                raise UsageError(f"{self.folder} holds {source.name}, an input of the cut; give another output folder.")
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{self.folder} is a file; give another output folder.")
        Earlier.of(self.folder, RECORD, TOOL).check(overwrite=self.overwrite)
        check_writable(own.parent)
