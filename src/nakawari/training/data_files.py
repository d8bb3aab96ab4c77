"""The files of a recipe's `data`: their split into training and validation, and their fingerprint.

If a data set has parts, training uses the part named train and validation the part named val. A part named test is
never opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from ..data.clips import (
    FEW_SOURCES,
    Clip,
    Split,
    clip_files,
    clip_name,
    find_clips,
    folder_fingerprint,
    in_split,
    load_clips,
    open_pool,
    prepare_pool,
    sources_of,
    split_of,
)
from ..data.samples import Dataset, Sample
from ..data.splits import for_training, part_of
from ..data.triplets import open_for_training, parts_of, read_captions
from ..errors import NakawariError, UsageError
from ..files import fingerprint
from ..media import is_image, is_video
from ..trained_on import fingerprints
from .data_params import ClipsParams, DataParams, TripletsParams

CAPTIONS = "captions.csv"
Preparing = Callable[[str, int, int], None]


class DataFiles:
    """The contents of the sources of a recipe's `data`, found and decoded once.

    Args:
        preparing: progress callback for long work, (what, done, total).
    """

    def __init__(self, data: DataParams, preparing: Preparing | None = None) -> None:
        self.data, self.preparing = data, preparing or (lambda what, done, total: None)
        self._decoded = cache(self._decode)

    def clips(self, number: int, split: Split) -> list[Clip]:
        """The clips of source `number` for one split. Raises `UsageError` if there are none."""
        params = self.data.sources[number]
        decoded = self._decoded(number)
        parts = [part_of(Path(clip.name) / "_", Path()) for clip in decoded]
        if "val" in parts:
            found = [clip for clip, part in zip(decoded, parts, strict=True) if (part == "val") == (split != "train")]
        else:
            found = in_split(decoded, split, params.held_out)
        if not found:
            raise _nothing(number, split, params.path)
        return found

    def samples(self, number: int, split: Split) -> list[Sample]:
        """The samples of source `number` for one split, each with truth. Raises `UsageError` if there are none."""
        params = self.data.sources[number]
        found = triplets_in_split(params, split)
        if not found:
            raise _nothing(number, split, params.path)
        return found

    def captions(self, number: int) -> dict[str, str]:
        """Clip name -> caption, from `captions.csv` in the source's folder, which names clips by their file names."""
        params = self.data.sources[number]
        captions = read_captions(folder_of(params))
        if not captions:
            return {}
        names = {Path(name).name: name for name in (clip_name(path, folder_of(params)) for path in _paths(params))}
        bare = {name: _without_suffix(name) for name in captions}
        if absent := sorted(name for name in captions if bare[name] not in names):
            raise NakawariError(
                f"{params.path / CAPTIONS} names {len(absent)} missing clips, such as {absent[0]}; "
                "correct the names, or remove the lines."
            )
        return {names[bare[name]]: caption for name, caption in captions.items()}

    def _decode(self, number: int) -> list[Clip]:
        params = self.data.sources[number]
        folder, paths = folder_of(params), _paths(params)
        if params.decode_size is None:
            return load_clips(folder, paths=paths)
        show = partial(self.preparing, "decoding clips")
        return open_pool(prepare_pool(folder, self.data.cache.expanduser(), params.decode_size, paths, show))


def folder_of(params: ClipsParams | TripletsParams) -> Path:
    """The folder of a source. Raises `UsageError` where it does not exist."""
    path = params.path.expanduser()
    if not path.is_dir():
        raise UsageError(f"The data folder {path} does not exist; set data.sources.N.path to a folder of clips.")
    return path


def triplets_in_split(params: TripletsParams, split: Split) -> list[Sample]:
    """The samples with truth of a source in one split."""
    root = folder_of(params)
    if split == "validation" and params.split is None and {"train", "val"} <= parts_of(root):
        return _with_truth(open_for_training(root, "val"))
    samples = _with_truth(open_for_training(root, params.split))
    if params.split is None and {"train", "val"} <= parts_of(root):
        return samples
    if sources_of(sample.group or sample.name for sample in samples) >= FEW_SOURCES:
        return [s for s in samples if split_of(s.group or s.name, params.held_out) == split]
    first = len(samples) - round(params.held_out * len(samples))
    return samples[first:] if split == "validation" else samples[:first]


def data_fingerprint(data: DataParams) -> str:
    """SHA-256 over the training files of a recipe and their sampling settings."""
    digest = hashlib.sha256(data.model_dump_json(exclude=_not_counted(data)).encode())
    for source in data.sources:
        if isinstance(source, ClipsParams):
            digest.update(folder_fingerprint(folder_of(source), source.decode_size, _paths(source)).encode())
        elif isinstance(source, TripletsParams):
            digest.update(fingerprint(open_for_training(folder_of(source), source.split).files()).encode())
        if isinstance(source, ClipsParams | TripletsParams) and (source.path.expanduser() / CAPTIONS).is_file():
            digest.update(fingerprint([source.path.expanduser() / CAPTIONS]).encode())
    return digest.hexdigest()


def files_seen(data: DataParams) -> set[str]:
    """Fingerprints of all pictures and videos that a run reads, for training or for validation."""
    paths: set[Path] = set()
    for source in data.sources:
        if isinstance(source, ClipsParams):
            paths |= {file for path in _paths(source) for file in clip_files(path)}
        elif isinstance(source, TripletsParams):
            samples = [sample for split in ("train", "validation") for sample in triplets_in_split(source, split)]
            paths |= {path for sample in samples for path in (*sample.keys, *sample.truth)}
    return fingerprints(paths)


def _paths(params: ClipsParams) -> list[Path]:
    root = folder_of(params)
    return for_training(find_clips(root), root)


def _with_truth(dataset: Dataset) -> list[Sample]:
    return [sample for sample in dataset if sample.truth]


def _not_counted(data: DataParams) -> Any:
    """Unused keys of later revisions, left out of the fingerprint so that older runs can be resumed."""
    unused = {name for name in ("buckets", "distinct", "tracks", "windows") if not getattr(data, name)}
    plain = {}
    for number, source in enumerate(data.sources):
        if unset := {name for name in ("balance", "uneven") if not getattr(source, name, False)}:
            plain[number] = unset
    return dict.fromkeys(unused | {"cache"}, True) | ({"sources": plain} if plain else {})


def _nothing(number: int, split: Split, path: Path) -> UsageError:
    return UsageError(
        f"data.sources.{number} has no clips for {split} below {path}; give more clips, or change held_out."
    )


def _without_suffix(name: str) -> str:
    return Path(name).stem if is_video(name) or is_image(name) else name
