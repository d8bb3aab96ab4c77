"""Clips: videos and image sequences, decoded once into memory-mapped pools for training."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import NakawariError, UsageError
from ..files import atomic_path, file_digest, mapped_array, only_one, read_json, write_json
from ..media import (
    VIDEO_SUFFIXES,
    flatten,
    frame_rate,
    is_clip,
    is_image,
    is_video,
    iter_frames,
    pair_role,
    refuse_unreadable,
)

Frames = NDArray[np.uint8]
Split = Literal["train", "validation"]
FEW_SOURCES = 4
_SHORTEST = 3  # minimum frames of a clip: two keys and an in-between
_FINGERPRINT_VERSION = 1
_DECODED_VERSION = 2
"""Incremented when the same files decode to other pixels, so that existing pools are rebuilt."""


@dataclass(frozen=True)
class Clip:
    """Frames in order. `frames`: (N, H, W, 3) uint8 RGB, possibly memory-mapped (read-only). `fps`: frames per second,
    0 when unknown. `source` and `licence`: from the folder's `index.json`, empty without one."""

    name: str
    frames: Frames
    fps: float = 0.0
    source: str = ""
    licence: str = ""

    @property
    def group(self) -> str:
        return group_of(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a mapped clip as its position in the file instead of its bytes."""
        about = (self.fps, self.source, self.licence)
        if not isinstance(self.frames, np.memmap):
            return Clip, (self.name, self.frames, *about)
        return _mapped, (self.name, str(self.frames.filename), self.frames.offset, self.frames.shape, *about)

    def part(self, first: int, last: int) -> Clip:
        """The frames from `first` to `last` (exclusive), mapped if the clip is."""
        if not isinstance(self.frames, np.memmap):
            return replace(self, frames=self.frames[first:last])
        _, (name, path, offset, shape, *about) = self.__reduce__()
        frame = int(np.prod(shape[1:]))
        return _mapped(name, path, offset + first * frame, (last - first, *shape[1:]), *about)

    def sample_window(self, rng: np.random.Generator, num_frames: int, stride: int, even: bool = True) -> Frames | None:
        """`num_frames` frames, `stride` apart, from a random position (F, H, W, 3); None if the clip is too short.
        If not `even`, the inner frames are random ones between the first and the last, in order."""
        span = (num_frames - 1) * stride + 1
        if span > len(self.frames):
            return None
        start = int(rng.integers(len(self.frames) - span + 1))
        if even:
            return self.frames[start : start + span : stride]
        inner = 1 + np.sort(rng.choice(span - 2, num_frames - 2, replace=False))
        return self.frames[start + np.concatenate([[0], inner, [span - 1]])]


def group_of(name: str) -> str:
    """The source a clip was cut from: its name without a trailing cut number if a longer number precedes it
    (`ua_019_1` -> `ua_019`; `em_044` is unchanged: 044 is the source)."""
    match = re.fullmatch(r"(.*\d)_\d+|(.*[^\W\d_])_\d", name)
    return name if match is None else match.group(1) or match.group(2)


def split_of(name: str, validation_share: float = 0.05) -> Split:
    """The split of a clip: a stable function of only its source, so cuts of one source stay together."""
    return "validation" if _place(name) < validation_share else "train"


def _place(name: str) -> float:
    """A number in [0, 1) that depends only on the source of a clip."""
    digest = hashlib.sha256(group_of(Path(name).name).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def sources_of(names: Iterable[str]) -> int:
    """Number of sources of clips of these names."""
    return len({_place(name) for name in names})


def share_of_sources(names: Iterable[str], wanted: float = 0.1) -> float:
    """The `validation_share` that holds out about `wanted` of the sources of these names, and at least one."""
    places = sorted({_place(name) for name in names})
    count = max(1, round(wanted * len(places)))
    return (places[count - 1] + places[count]) / 2


def in_split(clips: Sequence[Clip], split: Split, validation_share: float = 0.05) -> list[Clip]:
    """The clips of one split. With fewer than `FEW_SOURCES` sources validation has the end of the longest clip,
    `validation_share` of its frames, if these are enough for a clip."""
    if sources_of(clip.name for clip in clips) >= FEW_SOURCES:
        return [clip for clip in clips if split_of(clip.name, validation_share) == split]
    longest = max(clips, key=lambda clip: len(clip.frames), default=None)
    tail = 0 if longest is None else round(validation_share * len(longest.frames))
    if longest is None or tail < _SHORTEST:
        return list(clips) if split == "train" else []
    end = len(longest.frames)
    if split == "validation":
        return [longest.part(end - tail, end)]
    return [clip.part(0, end - tail) if clip is longest else clip for clip in clips]


def find_clips(root: Path | str) -> list[Path]:
    """Videos, GIFs and other files of several pictures, and folders that hold at least two images, below `root`,
    sorted by path.

    Folders of pairs (`a_start.png`, `a_end.png`) are not clips: the frames between are unknown.
    Raises `NakawariError` if `root` is not a folder, holds no clip, or holds a drawing that cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise NakawariError(f"{root} is not a folder; give a folder of videos or of image-sequence folders.")
    files = sorted(path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file())
    refuse_unreadable(files)
    clips = {path for path in files if is_clip(path)}
    images: dict[Path, list[str]] = {}
    for path in files:
        if is_image(path) and path not in clips:
            images.setdefault(path.parent, []).append(path.stem)
    pairs = [folder for folder, names in images.items() if has_pair(names)]
    found = sorted([*clips, *(folder for folder, names in images.items() if len(names) > 1 and folder not in pairs)])
    if not found and pairs:
        raise NakawariError(
            f"{root} holds pairs (<name>_start, <name>_end) and no clips: the frames between are unknown; "
            "draw them with nakawari interpolate, or give clips or triplets."
        )
    if not found:
        kinds = ", ".join(sorted(VIDEO_SUFFIXES))
        raise NakawariError(f"{root} holds no clips; put videos ({kinds}) or folders of numbered images there.")
    return found


def has_pair(names: Iterable[str]) -> bool:
    """Whether there are `<name>_start` and `<name>_end` among the names (without suffixes) of one folder."""
    roles = {pair_role(name) for name in names}
    return any(role is not None and (role[0], "end") in roles for role in roles if role and role[1] == "start")


def clip_name(path: Path, root: Path) -> str:
    """A clip's name: its path below `root`, without suffix for a video; for `root` itself its own name."""
    relative = path.relative_to(root)
    name = (relative if path.is_dir() else relative.with_suffix("")).as_posix()
    return root.name if name == "." else name


def frame_count(path: Path) -> int:
    """Number of frames of a clip, without decoding it; 0 if it cannot be read."""
    if path.is_dir():
        return len(clip_files(path))
    import av

    try:
        with av.open(str(path)) as container:
            return sum(packet.size > 0 for packet in container.demux(video=0)) if container.streams.video else 0
    except (av.error.FFmpegError, OSError):
        return 0


def read_clip(path: Path, size: tuple[int, int] | None = None) -> tuple[Frames, float]:
    """Decode a video, a GIF, or a folder of images in natural order, transparency over white: frames (N, H, W, 3)
    uint8 and frames per second (0 if unknown). `size` (height, width): scaled to cover it and cropped around the
    centre, never stretched.

    Raises `NakawariError` if it cannot be decoded or its images differ in size.
    """
    pictures = _one_size((flatten(frame) for frame in iter_frames(path)), path)
    frames = [picture if size is None else cover(picture, size) for picture in pictures]
    if not frames:
        raise NakawariError(f"{path} holds no frames; remove it or export it again.")
    return np.stack(frames), 0.0 if path.is_dir() else frame_rate(path)


def _one_size(frames: Iterator[Frames], path: Path) -> Iterator[Frames]:
    shape: tuple[int, ...] | None = None
    for number, frame in enumerate(frames, 1):
        if shape not in (None, frame.shape):
            raise NakawariError(
                f"Frame {number} of {path} differs in size from the previous ones; export all at one size."
            )
        shape = frame.shape
        yield frame


def cover(frame: Frames, size: tuple[int, int]) -> Frames:
    """Scale (H, W, 3) evenly until it covers `size` (height, width), then crop around the centre."""
    import cv2

    height, width = frame.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    if scale != 1:
        target = (max(size[1], round(width * scale)), max(size[0], round(height * scale)))
        frame = cv2.resize(frame, target, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (frame.shape[0] - size[0]) // 2, (frame.shape[1] - size[1]) // 2
    return frame[top : top + size[0], left : left + size[1]]


def _records(root: Path) -> dict[str, dict[str, Any]]:
    """The folder's `index.json` (a list of objects with `file`, `source`, `license`), by clip name."""
    for path in (root / "index.json", root.parent / "index.json"):
        if path.is_file():
            entries = read_json(path)
            entries = entries if isinstance(entries, list) else []
            named = (entry for entry in entries if isinstance(entry, dict) and ("file" in entry or "name" in entry))
            return {Path(str(entry.get("file") or entry["name"])).stem: entry for entry in named}
    return {}


def load_clips(
    root: Path | str, size: tuple[int, int] | None = None, paths: Sequence[Path] | None = None
) -> list[Clip]:
    """Decode every clip below `root`, or those of `paths`, into memory; see `prepare_pool` for more than fits into
    it."""
    root = Path(root)
    records = _records(root)
    found = find_clips(root) if paths is None else paths
    return [_clip(path, root, records, *read_clip(path, size)) for path in found]


def _clip(path: Path, root: Path, records: dict[str, dict[str, Any]], frames: Frames, fps: float) -> Clip:
    name = clip_name(path, root)
    record = records.get(Path(name).name, {})
    licence = record.get("license", record.get("licence", ""))
    return Clip(name, frames, fps or float(record.get("fps") or 0), str(record.get("source", "")), str(licence))


def clip_files(path: Path) -> list[Path]:
    """The files of a clip that `find_clips` found, sorted by name."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if is_video(file) or is_image(file)]


def folder_fingerprint(root: Path, size: tuple[int, int] | None, paths: Sequence[Path] | None = None) -> str:
    """SHA-256 over names and contents of all clips below `root`, or of `paths`, and their target size."""
    digest = hashlib.sha256(repr((_FINGERPRINT_VERSION, size)).encode())
    for path in find_clips(root) if paths is None else paths:
        for file in clip_files(path):
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
            digest.update(file_digest(file))
    index = root / "index.json" if (root / "index.json").is_file() else root.parent / "index.json"
    if index.is_file():
        digest.update(index.read_bytes())
    return digest.hexdigest()


def prepare_pool(
    root: Path | str,
    cache_dir: Path | str,
    size: tuple[int, int],
    paths: Sequence[Path] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Decode every clip below `root`, or those of `paths`, once, at `size` (height, width), into
    `cache_dir/<fingerprint>-<version>`: `frames.npy` (all frames, uint8) and `index.json`. Returns that folder;
    an existing one is reused.

    Unreadable clips are skipped and named in the index under `skipped`. `progress` is called with clips done
    and total clips.
    """
    if size[0] < 1 or size[1] < 1:
        raise UsageError(f"A pool of size {size[0]}x{size[1]} is not possible; both sides must be positive.")
    root = Path(root)
    paths = find_clips(root) if paths is None else paths
    fingerprint = folder_fingerprint(root, size, paths)
    folder = Path(cache_dir) / f"{fingerprint[:16]}-{_DECODED_VERSION}"
    if (folder / "index.json").is_file():
        return folder
    with only_one(folder), atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        _write_pool(root, temporary, size, paths, fingerprint, progress)
    return folder


def _write_pool(
    root: Path,
    folder: Path,
    size: tuple[int, int],
    paths: Sequence[Path],
    fingerprint: str,
    progress: Callable[[int, int], None],
) -> None:
    records = _records(root)
    entries: list[dict[str, Any]] = []
    skipped: list[str] = []
    start = 0
    raw = folder / "frames.raw"
    with raw.open("wb") as stream:
        for done, path in enumerate(paths):
            progress(done, len(paths))
            try:
                clip = _clip(path, root, records, *read_clip(path, size))
            except NakawariError as error:
                skipped.append(str(error))
                continue
            stream.write(np.ascontiguousarray(clip.frames).tobytes())
            count = len(clip.frames)
            about = {"name": clip.name, "fps": clip.fps, "source": clip.source, "licence": clip.licence}
            entries.append(about | {"start": start, "count": count})
            start += count
    if not entries:
        raise NakawariError(f"{root} holds no readable clip ({skipped[0]}); nothing was prepared.")
    _as_npy(raw, folder / "frames.npy", (start, *size, 3))
    write_json(folder / "index.json", {"fingerprint": fingerprint, "clips": entries, "skipped": skipped})


def _as_npy(raw: Path, path: Path, shape: tuple[int, ...]) -> None:
    """Add the .npy header to bytes that were streamed before their number was known."""
    target = mapped_array(path, np.uint8, shape)
    source = np.memmap(raw, np.uint8, "r", shape=shape)
    for index in range(0, shape[0], 256):
        target[index : index + 256] = source[index : index + 256]
    target.flush()
    del source, target
    raw.unlink()


def open_pool(folder: Path | str) -> list[Clip]:
    """The clips of a prepared pool; frames are read from disk on access."""
    folder = Path(folder)
    index = read_json(folder / "index.json")
    path = folder / "frames.npy"
    try:
        pool = np.load(path, mmap_mode="r")
        each = int(np.prod(pool.shape[1:]))
        return [
            _mapped(
                entry["name"],
                str(path),
                pool.offset + entry["start"] * each,
                (entry["count"], *pool.shape[1:]),
                *(entry[key] for key in ("fps", "source", "licence")),
            )
            for entry in index["clips"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NakawariError(
            f"{folder} is not a complete pool of clips ({error}); delete it and prepare it again."
        ) from error


def _mapped(name: str, path: str, offset: int, shape: tuple[int, ...], fps: float, source: str, licence: str) -> Clip:
    return Clip(name, np.memmap(path, np.uint8, "r", offset, shape), fps, source, licence)
