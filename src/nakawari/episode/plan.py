"""The plan of an episode: its cuts and the settings for all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..cut.files import SUFFIXES
from ..errors import NakawariError, UsageError
from ..files import read_json, write_json
from ..media import is_image

PLAN = "episode.json"
TOOL = "nakawari episode"
_NAME = re.compile(r"[\w][\w. -]*")


@dataclass(frozen=True)
class Unit:
    """One cut of an episode.

    Args:
        name: name of its folder in the result.
        source: its time sheet, or its folder of keys.
        drawings: for a sheet, the folder of the drawings.
        ground: a background image below all levels, or None.
        between, exposure: for a folder of keys, as for `nakawari cut`.
    """

    name: str
    source: Path
    drawings: Path | None = None
    ground: Path | None = None
    between: str | None = None
    exposure: int = 1


@dataclass(frozen=True)
class Episode:
    """An episode.

    Args:
        folder: output folder.
        units: its cuts, with unique names.
        model: the variant.
        device: auto, cpu or cuda.
        words: fields of `interpolation.Settings`, the same for all cuts.
        naming: see `cut.filling.Naming`.
        previews: some of `cut.sheet.PREVIEWS`.
        offload: what is offloaded to CPU memory on a worker with a GPU; None: nothing changed after loading.
        together: whether guidance runs in one batch; used only with `offload`.
    """

    folder: Path
    units: tuple[Unit, ...]
    model: str = "mini"
    device: str = "auto"
    words: Mapping[str, Any] = field(default_factory=dict)
    naming: str = "beside"
    previews: tuple[str, ...] = ("mp4",)
    offload: str | None = None
    together: bool = True

    def unit(self, name: str) -> Unit:
        """The cut of this name; `UsageError` if there is none."""
        for unit in self.units:
            if unit.name == name:
                return unit
        raise UsageError(f"{self.folder} has no cut named {name}; see nakawari episode status.")

    def save(self) -> None:
        """Write the plan into the folder."""
        write_json(self.folder / PLAN, {"tool": TOOL} | _plain(asdict(self)) | {"folder": str(self.folder.resolve())})

    @classmethod
    def load(cls, folder: Path) -> Episode:
        """Read the plan in a folder; `NakawariError` if there is none."""
        value = read_json(folder / PLAN)
        if not isinstance(value, dict) or value.pop("tool", None) != TOOL:
            raise NakawariError(f"{folder / PLAN} is not an episode plan; submit the episode again.")
        units = tuple(_unit(one) for one in value.pop("units"))
        value |= {"folder": folder, "units": units, "previews": tuple(value["previews"])}
        if value["words"].get("size"):
            value["words"]["size"] = tuple(value["words"]["size"])
        return cls(**value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _unit(value: dict[str, Any]) -> Unit:
    paths = {name: Path(value[name]) for name in ("source", "drawings", "ground") if value[name] is not None}
    return Unit(**{**value, **paths})


class _CutWords(BaseModel):
    """One cut in an episode file."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None
    sheet: Path | None = None
    drawings: Path | None = None
    keys: Path | None = None
    ground: Path | None = None
    between: int | str | None = None
    exposure: int = Field(default=1, ge=1, le=100)


class _EpisodeWords(BaseModel):
    model_config = ConfigDict(extra="forbid")
    cuts: list[_CutWords] = Field(min_length=1)


def units_of(source: Path) -> tuple[Unit, ...]:
    """The cuts of an episode, listed in a YAML file or found in the subfolders of a folder.

    In a folder, each subfolder with one time sheet is a cut with its drawings beside the sheet, and each with
    images is a cut of keys; others are skipped.

    Raises:
        NakawariError, UsageError: no cuts, unknown or conflicting fields, or two cuts of one name.
    """
    units = tuple(_in_folder(source) if source.is_dir() else _in_file(source))
    if not units:
        raise UsageError(f"{source} holds no cuts: a cut is a folder with a time sheet, or with key drawings.")
    seen: dict[str, Unit] = {}
    for unit in units:
        if not _NAME.fullmatch(unit.name):
            raise UsageError(
                f"{unit.name!r} cannot be the name of a cut; use letters, digits, dots, dashes and spaces."
            )
        if unit.name.casefold() in seen:
            raise UsageError(f"Two cuts are named {unit.name}; name one of them differently.")
        seen[unit.name.casefold()] = unit
    return units


def _in_folder(folder: Path) -> Iterator[Unit]:
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        sheets = [file for file in files if file.suffix.lower() in SUFFIXES]
        if len(sheets) > 1:
            raise UsageError(f"{path} holds two time sheets, {sheets[0].name} and {sheets[1].name}; keep only one.")
        if sheets:
            yield Unit(path.name, sheets[0].resolve(), path.resolve())
        elif any(is_image(file) for file in files):
            yield Unit(path.name, path.resolve())


def _in_file(path: Path) -> Iterator[Unit]:
    import yaml

    try:
        words = _EpisodeWords.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise NakawariError(f"{path} does not exist; check the path.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NakawariError(f"{path} cannot be read as YAML ({' '.join(str(error).split())}); mend it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the episode"
        raise UsageError(f"{path}: {place}: {first['msg'].lower()}; see docs/episode.md.") from error
    for number, one in enumerate(words.cuts, 1):
        yield _listed(path, number, one)


def _listed(path: Path, number: int, one: _CutWords) -> Unit:
    if (one.sheet is None) == (one.keys is None):
        raise UsageError(f"{path}: cut {number} needs either a sheet and drawings, or keys.")
    if one.sheet is not None and (one.between is not None or one.exposure != 1):
        raise UsageError(f"{path}: cut {number} has a sheet, which sets the timing; leave out between and exposure.")
    here = path.resolve().parent
    source = here / (one.sheet or one.keys or "")
    drawings = None if one.sheet is None else here / (one.drawings or one.sheet.parent)
    ground = None if one.ground is None else here / one.ground
    between = None if one.between is None else str(one.between)
    return Unit(one.name or source.stem, source, drawings, ground, between, one.exposure)
