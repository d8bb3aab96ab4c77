"""Write the files of a finished sequence, atomically and without overwriting other work."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..files import check_writable, write_json
from ..media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, write_gif, write_image, write_mov, write_video
from .colour import as_shown, as_written
from .confidence import Keys
from .folder import file_hash, filling
from .record import RECORD, Made, earlier_in, record_of
from .sheet import gaps_of, playing, sheet
from .timeline import Timeline, plain_timeline

if TYPE_CHECKING:
    from .drawn import Drawn
    from .keys import Key
    from .settings import Settings

FORMATS = ("png", "exr", "gif", "mp4", "mov", "mov-png", "sheet")
NAMES = {
    "gif": "in-betweens.gif",
    "mp4": "in-betweens.mp4",
    "sheet": "contact-sheet.png",
    "mov": "in-betweens.mov",
    "mov-png": "in-betweens-png.mov",
}
SINGLE = {".gif": ("gif",), ".mp4": ("mp4",), ".mov": ("mov", "mov-png")}
"""Formats of a single output file; the first is the default."""
EXR = "exr"
"""Folder of an EXR sequence, within the output."""
MAPS = "confidence"
"""Folder of the confidence maps."""
PLAYBACK_FPS = 12.0
"""Default frame rate of GIF and MP4: animation "on twos"."""


@dataclass(frozen=True)
class Output:
    """The output: a folder, or one .gif, .mp4 or .mov file.

    Args:
        path: absolute path.
        formats: the written formats, of `FORMATS`.
        overwrite: whether existing files are replaced. A folder of an earlier job without other
            files is always replaced.
        maps: whether a confidence map of each in-between is written to a separate folder.
        overlay: whether tracks are drawn over GIF and contact sheet; other files never show them.
    """

    path: Path
    formats: tuple[str, ...]
    overwrite: bool = False
    overlay: bool = True
    maps: bool = False

    @classmethod
    def parse(cls, path: Path, formats: str | None, overwrite: bool = False) -> Output:
        """Parse the options of a command; `formats` is comma-separated. Raises `UsageError`."""
        suffix = path.suffix.lower()
        if suffix in SINGLE:
            if formats not in (None, *SINGLE[suffix][1:]):
                raise UsageError(
                    f"{path} is one {suffix} file, so --format does not apply; give a folder, or no --format."
                )
            return cls(path.absolute(), (formats or SINGLE[suffix][0],), overwrite)
        if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            raise UsageError(f"{path} cannot be written as {suffix}; give a folder, a .gif, an .mp4 or a .mov.")
        chosen = tuple(dict.fromkeys(("png,gif,sheet" if formats is None else formats).replace(" ", "").split(",")))
        for name in chosen:
            if name not in FORMATS:
                raise UsageError(f"The format {name!r} is not known; give some of {', '.join(FORMATS)}.")
        return cls(path.absolute(), chosen, overwrite)

    @property
    def single(self) -> bool:
        """Whether `path` is one file and not a folder."""
        return self.path.suffix.lower() in SINGLE

    def check(
        self, keys: Sequence[Path], timeline: Timeline | None = None, replaced: Sequence[str] | None = None
    ) -> None:
        """Raise an error if writing would destroy a key drawing or other work, or is impossible.

        Args:
            keys: the key drawings' files.
            timeline: gives the names of the frames; other files with such names could be
                mistaken for frames of the sequence.
            replaced: the files of an earlier job that will be redrawn, if not all.
        """
        path = self.path.resolve()
        for key in keys:
            if path in (key.resolve(), *key.resolve().parents[:1]):
                raise UsageError(f"{self.path} holds the key drawing {key.name}; give another output path.")
        if path.exists():
            self._check_there(path, timeline, replaced)
        check_writable(path.parent)

    def _check_there(self, path: Path, timeline: Timeline | None, replaced: Sequence[str] | None) -> None:
        if path.is_dir() == self.single:
            raise UsageError(f"{self.path} is {'a folder' if self.single else 'a file'}; give another output path.")
        if self.single:
            if not self.overwrite:
                raise UsageError(f"{self.path} exists already; give another output path, or --overwrite.")
            return
        earlier = earlier_in(self.path)
        earlier.check(overwrite=self.overwrite, replaced=replaced)
        alike = [name for name in earlier.strangers() if timeline and timeline.looks_alike(name)]
        if timeline and set(alike) - {file for files in timeline.files() for file in files}:
            raise UsageError(
                f"{self.path} holds other frames ({alike[-1]}) that would be mistaken for frames of this sequence; "
                "remove them, or give another output folder."
            )


def write_result(
    output: Output,
    drawn: Drawn,
    keys: Sequence[Key],
    settings: Settings,
    made: Made,
    timeline: Timeline | None = None,
    untouched: Mapping[str, str] | None = None,
) -> tuple[list[Path], dict[str, Any]]:
    """Write the files of `output`, atomically. Returns the files and the record saved as `interpolation.json`.

    Without a timeline every drawing is exposed for one frame. `untouched`: files of the folder, with their recorded
    hashes, that are kept byte for byte.
    """
    fps = settings.fps or PLAYBACK_FPS
    timeline, shown = timeline or plain_timeline(len(drawn.frames)), as_shown(drawn, keys)
    if output.single:
        _write_playing(output.path, output.formats[0], shown, output, settings, fps, timeline)
        return [output.path], record_of(drawn, keys, settings, made, fps, timeline, files=False)
    with filling(earlier_in(output.path)) as folder:
        record = _write_all(folder, output, drawn, keys, settings, made, fps, timeline, untouched or {})
    return [output.path / name for name in record["files"]], record


def _write_all(
    folder: Path,
    output: Output,
    drawn: Drawn,
    keys: Sequence[Key],
    settings: Settings,
    made: Made,
    fps: float,
    timeline: Timeline,
    untouched: Mapping[str, str],
) -> dict[str, Any]:
    formats, sequence, beside, shown = output.formats, list[str](), list[str](), as_shown(drawn, keys)
    if "png" in formats:
        for picture, names in zip(as_written(drawn, keys), timeline.files(), strict=True):
            write_image(folder / names[0], picture)
            for copy in names[1:]:
                shutil.copyfile(folder / names[0], folder / copy)
            for name in untouched.keys() & set(names):
                shutil.copyfile(output.path / name, folder / name)
            sequence += names
    if "exr" in formats:
        for picture, names in zip(as_written(drawn, keys), timeline.files(), strict=True):
            beside += [f"{EXR}/{Path(name).with_suffix('.exr')}" for name in names]
            write_image(folder / beside[-len(names)], picture)
            for copy in beside[len(beside) - len(names) + 1 :]:
                shutil.copyfile(folder / beside[-len(names)], folder / copy)
    for kind in ("gif", "mp4", "mov", "mov-png"):
        if kind in formats:
            _write_playing(folder / NAMES[kind], kind, shown, output, settings, fps, timeline)
    if "sheet" in formats:
        names = [key.path.name for key in keys]
        picture = sheet(shown, names, timeline.begins, loop=settings.loop, overlay=output.overlay)
        write_image(folder / NAMES["sheet"], picture)
    maps = _write_maps(folder, drawn, timeline, loop=settings.loop) if output.maps else []
    record = record_of(drawn, keys, settings, made, fps, timeline, files=bool(sequence))
    written = [*sequence, *beside, *maps, *(NAMES[name] for name in formats if name in NAMES)]
    record["hashes"] = {name: file_hash(folder / name) for name in written} | dict(untouched)
    record["files"] = [*written, RECORD]
    write_json(folder / RECORD, record)
    return record


def _write_playing(
    path: Path, kind: str, shown: Drawn, output: Output, settings: Settings, fps: float, timeline: Timeline
) -> None:
    """Write the sequence as one GIF or video."""
    if kind == "gif":
        write_gif(path, timeline.held(playing(shown, loop=settings.loop, overlay=output.overlay)), fps)
    elif kind == "mp4":
        write_video(path, timeline.held(shown.frames), fps)
    else:
        write_mov(path, timeline.held(shown.frames), fps, lossless=kind == "mov-png")


def _write_maps(folder: Path, drawn: Drawn, timeline: Timeline, *, loop: bool) -> list[str]:
    """Write the confidence map of every in-between as a grey picture, white for confident; returns their names."""
    written = []
    for gap, numbers in enumerate(gaps_of(drawn, loop=loop)):
        keys = Keys((drawn.frames[numbers[0]], drawn.frames[numbers[-1]]))
        for number, share in zip(numbers[1:-1], drawn.shares[gap], strict=True):
            name = f"{MAPS}/{timeline.files()[number][0]}"
            write_image(folder / name, np.repeat(keys.judge(drawn.frames[number], share).pixels[..., None], 3, axis=2))
            written.append(name)
    return written
