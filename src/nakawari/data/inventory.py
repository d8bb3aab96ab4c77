"""List the contents of a data folder: clips, triplets, pairs, and faults of the layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NakawariError
from ..media import flatten, is_clip, is_image, is_unreadable_drawing, iter_frames, pair_role, read_rgb
from .clips import Frames, clip_name
from .pairs import find_pairs
from .triplets import frame_images, open_dataset, read_captions


@dataclass(frozen=True)
class Fault:
    """`kind`: identifier (see `check.KINDS`); `path`: the file or folder; `sentence`: the message."""

    kind: str
    path: str
    sentence: str


@dataclass(frozen=True)
class Item:
    """One clip or pair. `kind`: "video", "sequence" or "pair"; `files`: one video, or images in order."""

    name: str
    kind: str
    path: Path
    files: tuple[Path, ...]

    def frames(self) -> Iterator[Frames]:
        """Its frames (H, W, 3) in order. Raises `NakawariError` with the file's name if one cannot be read."""
        if self.kind == "video":
            yield from (flatten(frame) for frame in iter_frames(self.path))
        else:
            yield from (read_rgb(file) for file in self.files)


@dataclass(frozen=True)
class Inventory:
    """`layout`: that of `open_dataset`, or "clips"; `faults`: found without opening a picture."""

    root: Path
    layout: str
    items: tuple[Item, ...]
    faults: tuple[Fault, ...]

    @property
    def is_dataset(self) -> bool:
        """Whether the items are samples with two keys instead of clips."""
        return self.layout != "clips"


def take_inventory(root: Path | str) -> Inventory:
    """Walk a folder. Hidden files and single pictures beside folders are ignored.

    Raises:
        NakawariError: `root` is not a folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise NakawariError(f"{root} is not a folder; give a folder of clips, triplets or pairs.")
    items: list[Item] = []
    faults: list[Fault] = []
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir() and not _hidden(path, root))]:
        _look_into(folder, root, items, faults)
    items.sort(key=lambda item: item.path)
    faults += _captions(root, items) + _index(root, items)
    return Inventory(root, _layout(root), tuple(items), tuple(faults))


def evenly(count: int, wanted: int) -> list[int]:
    """Up to `wanted` indices spread over `count`, first and last included."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(int)).tolist()


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _layout(root: Path) -> str:
    try:
        return open_dataset(root).layout
    except NakawariError:
        return "clips"


def _look_into(folder: Path, root: Path, items: list[Item], faults: list[Fault]) -> None:
    children = [child for child in sorted(folder.iterdir()) if not child.name.startswith(".")]
    where = folder.relative_to(root).as_posix()
    if not children:
        faults.append(Fault("empty-folder", where, f"{folder} is empty; remove it, or put its frames back."))
        return
    files = [child for child in children if child.is_file()]
    videos = [file for file in files if is_clip(file)]
    items += [Item(clip_name(video, root), "video", video, (video,)) for video in videos]
    images = [file for file in files if is_image(file) and file not in videos]
    closed = [file for file in files if is_unreadable_drawing(file)]
    faults += [
        Fault("unreadable", file.relative_to(root).as_posix(), f"{file} is in a format that cannot be read; export it.")
        for file in closed
    ]
    if any(pair_role(image.stem) for image in images):
        _pairs(folder, root, items, faults)
    elif len(images) > 1 or (images and not any(child.is_dir() for child in children) and not videos):
        items.append(Item(clip_name(folder, root), "sequence", folder, tuple(frame_images(folder, images))))


def _pairs(folder: Path, root: Path, items: list[Item], faults: list[Fault]) -> None:
    samples, skipped = find_pairs(folder, {})
    inside = folder.relative_to(root).as_posix()
    for sample in samples:
        name = sample.name if inside == "." else f"{inside}/{sample.name}"
        items.append(Item(name, "pair", sample.keys[0], sample.keys))
    for sentence in skipped:
        path = Path(sentence.split(" has no ")[0]).relative_to(root).as_posix()
        faults.append(Fault("lone-key", path, f"{sentence}; add it, or remove this one."))


def _names(items: list[Item]) -> set[str]:
    return {Path(item.name).name for item in items} | {file.stem for item in items for file in item.files}


def _captions(root: Path, items: list[Item]) -> list[Fault]:
    try:
        captions = read_captions(root)
    except NakawariError as error:
        return [Fault("caption", "captions.csv", str(error))]
    absent = sorted(set(captions) - _names(items))
    return [
        Fault(
            "caption",
            "captions.csv",
            f"{root / 'captions.csv'} describes {name}, which does not exist; correct the name.",
        )
        for name in absent
    ]


def _index(root: Path, items: list[Item]) -> list[Fault]:
    path = root / "index.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [Fault("index", "index.json", f"{path} is not readable JSON ({error}); restore it or remove it.")]
    rows = entries if isinstance(entries, list) else []
    files = [str(entry["file"]) for entry in rows if isinstance(entry, dict) and "file" in entry]
    there = {item.path.stem for item in items} | {Path(item.name).name for item in items}
    return [
        Fault("index", "index.json", f"{path} lists {file}, which does not exist; restore it, or remove the entry.")
        for file in files
        if Path(file).stem not in there
    ]
