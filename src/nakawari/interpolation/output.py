"""The files of a finished sequence: whole or absent, and nobody else's work overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .. import __version__
from ..errors import NakawariError, UsageError
from ..files import atomic_path, read_json, write_json
from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, write_gif, write_image, write_sequence, write_video
from .colour import as_shown, as_written
from .draw import Drawn, Settings
from .keys import Key
from .sheet import playing, sheet

FORMATS = ("png", "gif", "mp4", "sheet")
RECORD = "interpolation.json"
NAMES = {"gif": "in-betweens.gif", "mp4": "in-betweens.mp4", "sheet": "contact-sheet.png"}
SINGLE = {".gif": "gif", ".mp4": "mp4"}
PLAYBACK_FPS = 12.0
"""Frames per second of GIF and MP4 where the job does not say: animation "on twos"."""
TOOL = "nakawari interpolate"


@dataclass(frozen=True)
class Output:
    """Where the results go: a folder, or one .gif or .mp4 file.

    Args:
        path: absolute path.
        formats: which of `FORMATS` are written.
        overwrite: whether files that stand in the way are replaced. A folder that an earlier job made, with nothing
            else in it, is always replaced.
        overlay: whether tracks are drawn over GIF and contact sheet; other files never show them.
    """

    path: Path
    formats: tuple[str, ...]
    overwrite: bool = False
    overlay: bool = True

    @classmethod
    def parse(cls, path: Path, formats: str | None, overwrite: bool = False) -> Output:
        """From the words of a command; `formats` is comma-separated. Raises `UsageError`."""
        suffix = path.suffix.lower()
        if suffix in SINGLE:
            if formats is not None:
                raise UsageError(
                    f"{path} is one {suffix} file, so --format says nothing; give a folder, or no --format."
                )
            return cls(path.absolute(), (SINGLE[suffix],), overwrite)
        if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise UsageError(f"{path} cannot be written as {suffix}; give a folder, a .gif or an .mp4.")
        chosen = tuple(dict.fromkeys(("png,gif,sheet" if formats is None else formats).replace(" ", "").split(",")))
        for name in chosen:
            if name not in FORMATS:
                raise UsageError(f"The format {name!r} is not known; give some of {', '.join(FORMATS)}.")
        return cls(path.absolute(), chosen, overwrite)

    @property
    def single(self) -> bool:
        """Whether `path` is one file and not a folder."""
        return self.path.suffix.lower() in SINGLE

    def check(self, keys: Sequence[Path]) -> None:
        """Raise one sentence where writing would destroy a key drawing or somebody's work."""
        path = self.path.resolve()
        for key in keys:
            if path in (key.resolve(), *key.resolve().parents[:1]):
                raise UsageError(f"{self.path} holds the key drawing {key.name}; give another output path.")
        if not path.exists() or (self.overwrite and path.is_dir() != self.single):
            return
        if path.is_dir() == self.single:
            raise UsageError(f"{self.path} is {'a folder' if self.single else 'a file'}; give another output path.")
        if self.single:
            raise UsageError(f"{self.path} exists already; give another output path, or --overwrite.")
        strangers = sorted(_names(path) - _ours(path))
        if strangers:
            raise UsageError(
                f"{self.path} holds files of others ({strangers[0]}); give another output folder, or --overwrite, "
                "which leaves them beside the new ones."
            )


def write_result(
    output: Output, drawn: Drawn, keys: Sequence[Key], settings: Settings, model: str
) -> tuple[list[Path], dict[str, Any]]:
    """Write what `output` asks for, all or nothing. Returns the files and the record kept as `interpolation.json`."""
    fps = settings.fps or PLAYBACK_FPS
    shown = as_shown(drawn, keys)
    if output.single:
        if output.formats == ("gif",):
            write_gif(output.path, playing(shown, loop=settings.loop, overlay=output.overlay), fps)
        else:
            write_video(output.path, shown.frames, fps)
        return [output.path], record_of(drawn, keys, settings, model, fps, [])
    with filling(output) as folder:
        record = _write_all(folder, output, drawn, keys, settings, model, fps)
    return [output.path / name for name in record["files"]], record


@contextmanager
def filling(output: Output) -> Iterator[Path]:
    """A folder to write into, which takes the place of `output.path` when the block ends well."""
    path = output.path.resolve()
    if path.is_dir() and _names(path) - _ours(path):
        # Beside files of others, files are swapped one by one; otherwise the folder is swapped as a whole.
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as staging:
            yield Path(staging)
            _merge(Path(staging), path)
    else:
        with atomic_path(path) as temporary:
            temporary.mkdir()
            yield temporary


def _write_all(
    folder: Path,
    output: Output,
    drawn: Drawn,
    keys: Sequence[Key],
    settings: Settings,
    model: str,
    fps: float,
) -> dict[str, Any]:
    formats, sequence, shown = output.formats, list[str](), as_shown(drawn, keys)
    if "png" in formats:
        sequence = [path.name for path in write_sequence(folder, as_written(drawn, keys))]
    if "gif" in formats:
        write_gif(folder / NAMES["gif"], playing(shown, loop=settings.loop, overlay=output.overlay), fps)
    if "mp4" in formats:
        write_video(folder / NAMES["mp4"], shown.frames, fps)
    if "sheet" in formats:
        names = [key.path.name for key in keys]
        write_image(folder / NAMES["sheet"], sheet(shown, names, loop=settings.loop, overlay=output.overlay))
    record = record_of(drawn, keys, settings, model, fps, sequence)
    record["files"] = [*sequence, *(NAMES[name] for name in formats if name in NAMES), RECORD]
    write_json(folder / RECORD, record)
    return record


def record_of(
    drawn: Drawn, keys: Sequence[Key], settings: Settings, model: str, fps: float, sequence: Sequence[str]
) -> dict[str, Any]:
    """What was drawn, with what and how, as kept beside it; `sequence` are the names of the frames' own files."""
    height, width, channels = drawn.frames[0].shape
    frames = [
        {
            "number": index + 1,
            "file": sequence[index] if sequence else None,
            "seconds": round(index / fps, 6),
            "key": None if key is None else keys[key].path.name,
        }
        for index, key in enumerate(drawn.keys)
    ]
    return {
        "tool": TOOL,
        "model": model,
        "size": [width, height],
        "channels": "RGBA" if channels == 4 else "RGB",
        "between": list(settings.counts),
        "loop": settings.loop,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "seed": settings.seed,
        "prompt": settings.prompt,
        "scheduler": settings.scheduler,
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.options.items()},
        "tracks": {str(gap + 1): np.round(rows, 2).tolist() for gap, rows in drawn.tracks.items()},
        "fps": fps,
        "frames": frames,
        "versions": {"nakawari": __version__}
        | {name: metadata.version(name) for name in ("torch", "diffusers", "numpy", "pillow")},
    }


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def _ours(folder: Path) -> set[str]:
    """The files in `folder` that an earlier job recorded as its own."""
    if not (folder / RECORD).is_file():
        return set()
    try:
        record = read_json(folder / RECORD)
        return set(record["files"]) if record["tool"] == TOOL else set()
    except (NakawariError, KeyError, TypeError):
        return set()


def _merge(made: Path, folder: Path) -> None:
    """Move the files of `made` into `folder`; what an earlier job left there goes, what others put there stays."""
    names = _names(made)
    for stale in (_ours(folder) & _names(folder)) - names:
        (folder / stale).unlink()
    for name in sorted(names):
        (made / name).replace(folder / name)
