"""The drawings of a cut in a folder, in both naming conventions: `LEVEL/NAME.png`, and `LEVEL0001.png` in one
folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NakawariError, UsageError
from ..media import LAYERED, is_image, is_unreadable_drawing, layer_names
from .sheet import Level, Mark, Sheet, written

_NUMBER = re.compile(r"0*(\d+)(.*)", re.DOTALL)


def find_drawings(folder: Path, sheet: Sheet) -> list[dict[str, Path]]:
    """For every level, the files of its drawings by their names in the sheet.

    Searches for `LEVEL/NAME`, and for `LEVEL` and the name joined by nothing, a dot, a dash or an underscore, in
    the level's folder and in `folder` itself; and for layers named as the level in the layered files `NAME.psd` and
    `NAME.ora` there. Leading zeros are ignored: 0001 is drawing 1.

    Raises:
        NakawariError: not a folder, two files for one drawing, a drawing in an unsupported format, or a level
            without any drawing.
        UsageError: names that cannot be file names, or two levels of one name with drawings.
    """
    if not folder.is_dir():
        raise NakawariError(f"{folder} is not a folder; give the folder of the drawings.")
    _check_names(sheet)
    layers = _Layers.of(folder, sheet)
    return [_of_level(folder, level, _wanted(level, sheet.duration), layers) for level in sheet.levels]


def _wanted(level: Level, duration: int) -> set[str]:
    """The names of the drawings that a level shows."""
    return {cell.name for _, cell in written(level, duration) if cell.mark is Mark.DRAWING}


def _check_names(sheet: Sheet) -> None:
    seen: dict[str, str] = {}
    for level in sheet.levels:
        names = _wanted(level, sheet.duration)
        for name in {level.name, *names} if names else ():
            if re.search(r'[/\\:*?"<>|\x00-\x1f]', name) or name in (".", ".."):
                raise UsageError(f"Level {level.name}: {name!r} cannot be the name of a file; rename it in the sheet.")
        if names and level.name.casefold() in seen:
            raise UsageError(f"Two levels with drawings are named {level.name}; rename one of them in the sheet.")
        seen |= {level.name.casefold(): level.name} if names else {}


def _of_level(folder: Path, level: Level, wanted: set[str], layers: _Layers) -> dict[str, Path]:
    found = layers.of_level(level.name)
    closed: list[Path] = []
    for path in _candidates(folder, level.name):
        name = _name_of(path, level.name, in_own=path.parent != folder)
        if name is None:
            continue
        if is_unreadable_drawing(path):
            closed.append(path)
        elif is_image(path):
            found.setdefault(name, []).append(path)
    for name, paths in found.items():
        if len(paths) > 1 and name in {_plain(one) for one in wanted}:
            raise NakawariError(
                f"Level {level.name}: {paths[0]} and {paths[1]} are both drawing {name}; remove one of them."
            )
    for path in closed:
        if _name_of(path, level.name, in_own=path.parent != folder) not in found:
            raise NakawariError(
                f"{path} is a drawing in an unsupported format; export it as PNG, TIFF or PSD, or remove it."
            )
    if wanted and not any(_plain(name) in found for name in wanted):
        raise NakawariError(
            f"Level {level.name} has no drawings in {folder}; searched for {level.name}/{min(wanted)}.png, "
            f"{level.name}0001.png and {min(wanted)}.psd or .ora with a layer {level.name}; put its keys there, or "
            "remove the level from the sheet."
        )
    return _Names({name: paths[0] for name, paths in found.items()})


@dataclass(frozen=True)
class _Layers:
    """The layers of the layered files in a folder: lower-case level -> layers by file name."""

    named: Mapping[str, Mapping[str, list[Path]]]

    @classmethod
    def of(cls, folder: Path, sheet: Sheet) -> _Layers:
        """Of the files that are named as drawings of the sheet without a level's name."""
        wanted = {_plain(name) for level in sheet.levels for name in _wanted(level, sheet.duration)}
        named: dict[str, dict[str, list[Path]]] = {}
        for path in sorted(folder.iterdir()):
            layered = path.suffix.lower() in LAYERED and _plain(path.stem) in wanted and path.is_file()
            if layered and not any(_name_of(path, level.name, in_own=False) for level in sheet.levels):
                for name in layer_names(path):
                    if "/" not in name:
                        named.setdefault(name.casefold(), {}).setdefault(_plain(path.stem), []).append(path / name)
        return cls(named)

    def of_level(self, level: str) -> dict[str, list[Path]]:
        return {name: list(paths) for name, paths in self.named.get(level.casefold(), {}).items()}


class _Names(dict[str, Path]):
    """Files by name, ignoring leading zeros."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(_plain(str(name)))

    def __getitem__(self, name: str) -> Path:
        return super().__getitem__(_plain(name))


def _candidates(folder: Path, level: str) -> Sequence[Path]:
    own = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name.casefold() == level.casefold()]
    files = [path for place in (folder, *own) for path in place.iterdir() if path.is_file()]
    return sorted(path for path in files if not path.name.startswith("."))


def _name_of(path: Path, level: str, *, in_own: bool) -> str | None:
    """The drawing's name from its file name; None if it does not belong to this level."""
    stem, head = path.stem, path.stem[: len(level)]
    if head.casefold() == level.casefold():
        rest = stem[len(level) :].lstrip("._- ")
        if re.match(r"\d", rest):
            return _plain(rest)
    return _plain(stem) if in_own else None


def _plain(name: str) -> str:
    match = _NUMBER.fullmatch(name)
    return "".join(match.groups()) if match else name
