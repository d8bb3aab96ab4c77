"""From a recipe's `data` to samples: the training stream, the held-out samples, and the data's fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..data.arranged import Bucketed, Described, Repeated, Stream, TripletSource, nearest_size
from ..data.clips import (
    VIDEO_SUFFIXES,
    Clip,
    Split,
    folder_fingerprint,
    in_split,
    load_clips,
    open_pool,
    prepare_pool,
    split_of,
)
from ..data.drag_scenes import DragSamples
from ..data.samples import Sample
from ..data.training_data import ClipSource, Curriculum, MixedSource, SampleSource, SyntheticSource, TrainingSamples
from ..data.triplets import open_dataset, read_captions
from ..errors import NakawariError, UsageError
from ..files import fingerprint
from .recipe import ClipsParams, DataParams, DragsParams, Recipe, SyntheticParams, TripletsParams, WindowsParams
from .windows import Windows, prepare_windows

CAPTIONS = "captions.csv"
_HELD_OUT_SEED = 2**31 - 1
Size = tuple[int, int]


def training_samples(recipe: Recipe, guide: nn.Module | None = None) -> Stream:
    """The endless training stream of a recipe; `guide` is the model's, which `data.windows` needs."""
    data, batch_size = recipe.data, recipe.optim.batch_size
    if data.windows is not None:
        return _windows(recipe, data.windows, guide)
    sizes = data.buckets or [data.size]
    streams, weights = [], []
    for size in sizes:
        parts = _parts(data, range(len(data.sources)), "train", size, sizes)
        if parts:
            streams.append(_stream(recipe, parts, size))
            weights.append(sum(weight for _, weight in parts))
        for source in data.sources:
            if isinstance(source, DragsParams) and source.weight:
                streams.append(DragSamples(data.frames, size, batch_size, recipe.seed, source.look, source.window))
                weights.append(source.weight)
    stream = _by_batch(streams, weights, batch_size, recipe.seed)
    if data.distinct:
        stream = Repeated(stream, data.distinct, batch_size, recipe.seed)
    return _described(stream, data)


def _windows(recipe: Recipe, params: WindowsParams, guide: nn.Module | None) -> Stream:
    data = recipe.data
    if guide is None:
        raise UsageError("data.windows needs a model with a motion guide; this one has none.")
    whole = TrainingSamples(
        source=MixedSource(_parts(data, range(len(data.sources)), "train", params.size, [params.size], augment=False)),
        num_frames=data.frames,
        size=params.size,
        seed=recipe.seed,
        augment=False,
    )
    for source in data.sources:
        if isinstance(source, ClipsParams):
            _captions(source, data.cache)  # wrong ones are said before any window is made
    key = data_fingerprint(data.model_copy(update={"size": params.size}))
    folder = prepare_windows(whole, params.count, guide, f"{key} {recipe.seed}", data.cache, recipe.workers)
    return _described(Windows(folder, data.size, recipe.seed, data.augment), data)


def _by_batch(streams: Sequence[Stream], weights: Sequence[float], batch_size: int, seed: int) -> Stream:
    return streams[0] if len(streams) == 1 else Bucketed(streams, weights, batch_size, seed)


def _stream(recipe: Recipe, parts: Sequence[tuple[SampleSource, float]], size: Size) -> TrainingSamples:
    data = recipe.data
    return TrainingSamples(
        source=MixedSource(parts),
        num_frames=data.frames,
        size=size,
        batch_size=recipe.optim.batch_size,
        seed=recipe.seed,
        augment=data.augment,
        curriculum=Curriculum(data.curriculum.start, data.curriculum.samples),
    )


def held_out_samples(recipe: Recipe) -> list[dict[str, Any]]:
    """The validation samples: from held-out clips where the recipe has clips, else from scenes with tracks, else
    synthetic; always the same ones."""
    if not recipe.validation.samples:
        return []
    data = recipe.data
    real = [number for number, source in enumerate(data.sources) if source.kind not in ("synthetic", "drags")]
    drags = [source for source in data.sources if isinstance(source, DragsParams) and source.weight]
    frames = [max(data.frames)]
    size = data.size if data.windows is None else data.windows.size
    if drags and not real:
        streams = [DragSamples(frames, size, 1, _HELD_OUT_SEED, source.look, source.window) for source in drags]
        described = _by_batch(streams, [source.weight for source in drags], 1, _HELD_OUT_SEED)
    else:
        samples = TrainingSamples(
            source=MixedSource(_parts(data, real or range(len(data.sources)), "validation", size, [size])),
            num_frames=frames,
            size=size,
            batch_size=1,
            seed=_HELD_OUT_SEED,
            augment=False,
        )
        described = _described(samples, data)
    return [described.sample(index) for index in range(recipe.validation.samples)]


def data_fingerprint(data: DataParams) -> str:
    """SHA-256 over the files that a recipe trains on and how they are drawn."""
    digest = hashlib.sha256(data.model_dump_json(exclude=_not_counted(data)).encode())
    for source in data.sources:
        if isinstance(source, ClipsParams):
            digest.update(folder_fingerprint(_folder(source.path), source.decode_size).encode())
        elif isinstance(source, TripletsParams):
            digest.update(fingerprint(open_dataset(_folder(source.path), source.split).files()).encode())
        if isinstance(source, ClipsParams | TripletsParams) and (source.path.expanduser() / CAPTIONS).is_file():
            digest.update(fingerprint([source.path.expanduser() / CAPTIONS]).encode())
    return digest.hexdigest()


def _not_counted(data: DataParams) -> Any:
    """Keys that came later count only where they are used, so that a run begun before them can be resumed."""
    unused = {name for name in ("buckets", "distinct", "windows") if not getattr(data, name)}
    plain = {number: {"balance"} for number, s in enumerate(data.sources) if not getattr(s, "balance", False)}
    return dict.fromkeys(unused | {"cache"}, True) | ({"sources": plain} if plain else {})


def _parts(
    data: DataParams, numbers: Sequence[int], split: Split, size: Size, sizes: Sequence[Size], augment: bool = True
) -> list[tuple[SampleSource, float]]:
    """The sources that have something for frames of `size`, with their weights; cropped at random in training, where
    `augment` and the recipe say so."""
    augment = augment and split == "train" and data.augment
    found = []
    for number in numbers:
        params = data.sources[number]
        if isinstance(params, ClipsParams):
            source, share = _clip_source(data, number, split, size, sizes, augment)
        elif isinstance(params, TripletsParams):
            source, share = TripletSource(_split(params, number, split), augment), 1.0
        elif isinstance(params, SyntheticParams):
            source, share = SyntheticSource(params.reach), 1.0
        else:
            continue
        if source is not None:
            found.append((source, params.weight * share))
    return found


def _clip_source(
    data: DataParams, number: int, split: Split, size: Size, sizes: Sequence[Size], augment: bool
) -> tuple[SampleSource | None, float]:
    """The clips nearest to `size` of all `sizes`, and what share of the source's clips they are."""
    params = data.sources[number]
    clips = in_split(_clips(params, data.cache), split, params.held_out)
    if not clips:
        raise _nothing(number, split, params.path)
    chosen = [clip for clip in clips if nearest_size(clip.frames, sizes) == size]
    if not chosen:
        return None, 0.0
    groups = _shows(chosen) if params.balance else [chosen]
    sources = [ClipSource(group, params.span, params.min_change, augment) for group in groups]
    return sources[0] if len(sources) == 1 else MixedSource([(s, 1.0) for s in sources]), len(chosen) / len(clips)


def _shows(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips by the first folder in their names."""
    shows: dict[str, list[Clip]] = {}
    for clip in clips:
        shows.setdefault(clip.name.partition("/")[0], []).append(clip)
    return [shows[name] for name in sorted(shows)]


def _split(params: TripletsParams, number: int, split: Split) -> list[Sample]:
    samples = [
        sample
        for sample in open_dataset(_folder(params.path), params.split)
        if sample.truth and split_of(sample.group or sample.name, params.held_out) == split
    ]
    if not samples:
        raise _nothing(number, split, params.path)
    return samples


def _nothing(number: int, split: Split, path: Path) -> UsageError:
    return UsageError(
        f"data.sources.{number} has no clips for {split} below {path}; give more clips, or change held_out."
    )


def _described(stream: Stream, data: DataParams) -> Stream:
    """`stream` with prompts where there are captions, and with the truth marked where frames are made up."""
    captions: dict[str, str] = {}
    times: dict[str, Sequence[float]] = {}
    for params in data.sources:
        if isinstance(params, ClipsParams):
            captions |= _captions(params, data.cache)
        elif isinstance(params, TripletsParams):
            samples = open_dataset(_folder(params.path), params.split)
            captions |= {sample.name: sample.caption for sample in samples if sample.caption}
            times |= {sample.name: sample.times for sample in samples}
    made_up = any(len(known) + 2 < max(data.frames) for known in times.values())
    if not captions and not made_up:
        return stream
    return Described(stream, captions or None, times if made_up else None)


def _captions(params: ClipsParams, cache: Path) -> dict[str, str]:
    """Clip name -> caption, from `captions.csv` in the source's folder, which names clips by their file names."""
    captions = read_captions(_folder(params.path))
    if not captions:
        return {}
    names = {Path(clip.name).name: clip.name for clip in _clips(params, cache)}
    bare = {name: _without_suffix(name) for name in captions}
    if absent := sorted(name for name in captions if bare[name] not in names):
        raise NakawariError(
            f"{params.path / CAPTIONS} names {len(absent)} clips that are not there, such as {absent[0]}; "
            "correct the names, or take the lines out."
        )
    return {names[bare[name]]: caption for name, caption in captions.items()}


def _without_suffix(name: str) -> str:
    return Path(name).stem if Path(name).suffix.lower() in VIDEO_SUFFIXES else name


def _clips(params: ClipsParams, cache: Path) -> list[Clip]:
    folder = _folder(params.path)
    if params.decode_size is None:
        return load_clips(folder)
    return open_pool(prepare_pool(folder, cache.expanduser(), params.decode_size))


def _folder(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_dir():
        raise UsageError(f"The data folder {path} does not exist; set data.sources.N.path to a folder of clips.")
    return path
