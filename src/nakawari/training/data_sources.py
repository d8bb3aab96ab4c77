"""Build the training stream and the held-out samples from a recipe's `data`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from ..data.arranged import Bucketed, Described, Repeated, Stream, TripletSource, nearest_size
from ..data.clips import Clip, Split
from ..data.drag_scenes import DragSamples
from ..data.footage_tracks import Tracked
from ..data.training_data import ClipSource, Curriculum, MixedSource, SampleSource, SyntheticSource, TrainingSamples
from ..errors import UsageError
from .data_files import DataFiles, data_fingerprint, triplets_in_split
from .data_params import ClipsParams, DragsParams, SyntheticParams, TripletsParams, WindowsParams
from .recipe import Recipe
from .windows import Windows, prepare_windows

_HELD_OUT_SEED = 2**31 - 1
Size = tuple[int, int]


def training_samples(recipe: Recipe, guide: nn.Module | None = None, files: DataFiles | None = None) -> Stream:
    """The endless training stream of a recipe.

    Args:
        guide: the model's guide, needed by `data.windows`.
        files: of `recipe.data`, shared with validation so that clips are decoded once; None = opened here.
    """
    data, batch_size = recipe.data, recipe.optim.batch_size
    files = files or DataFiles(data)
    if data.windows is not None:
        return _windows(recipe, data.windows, guide, files)
    sizes = data.buckets or [data.size]
    streams, weights = [], []
    for size in sizes:
        parts = _parts(files, range(len(data.sources)), "train", size, sizes)
        if parts:
            streams.append(_stream(recipe, parts, size))
            weights.append(sum(weight for _, weight in parts))
        for source in data.sources:
            if isinstance(source, DragsParams) and source.weight:
                streams.append(DragSamples(data.frames, size, batch_size, recipe.seed, source.look, source.window))
                weights.append(source.weight)
    stream = _tracked(_by_batch(streams, weights, batch_size, recipe.seed), recipe)
    if data.distinct:
        stream = Repeated(stream, data.distinct, batch_size, recipe.seed)
    return _described(stream, files)


def _tracked(stream: Stream, recipe: Recipe) -> Stream:
    """`stream` with tracks found by optical flow, if the recipe sets `data.tracks`."""
    return Tracked(stream, recipe.data.tracks, recipe.seed) if recipe.data.tracks else stream


def _windows(recipe: Recipe, params: WindowsParams, guide: nn.Module | None, files: DataFiles) -> Stream:
    data = recipe.data
    if guide is None:
        raise UsageError("data.windows needs a model with a motion guide; this one has none.")
    whole = TrainingSamples(
        source=MixedSource(
            _parts(files, range(len(data.sources)), "train", params.size, [params.size], random_crop=False)
        ),
        num_frames=data.frames,
        size=params.size,
        seed=recipe.seed,
    )
    _captions(files)  # report wrong captions before any window is computed
    key = data_fingerprint(data.model_copy(update={"size": params.size}))
    show = partial(files.preparing, "making windows")
    folder = prepare_windows(whole, params.count, guide, f"{key} {recipe.seed}", data.cache, recipe.workers, show)
    return _described(Windows(folder, data.size, recipe.seed, data.augment.shares()), files)


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
        augmentation=data.augment.shares(),
        curriculum=Curriculum(data.curriculum.start, data.curriculum.samples),
    )


def held_out_samples(recipe: Recipe, files: DataFiles | None = None) -> list[dict[str, Any]]:
    """The validation samples: from held-out clips if the recipe has clips, otherwise from scenes with tracks, otherwise
    synthetic; always the same. `files` as in `training_samples`."""
    if not recipe.validation.samples:
        return []
    data, files = recipe.data, files or DataFiles(recipe.data)
    real = [number for number, source in enumerate(data.sources) if source.kind not in ("synthetic", "drags")]
    drags = [source for source in data.sources if isinstance(source, DragsParams) and source.weight]
    frames = [max(data.frames)]
    size = data.size if data.windows is None else data.windows.size
    if drags and not real:
        streams = [DragSamples(frames, size, 1, _HELD_OUT_SEED, source.look, source.window) for source in drags]
        described = _by_batch(streams, [source.weight for source in drags], 1, _HELD_OUT_SEED)
    else:
        samples = TrainingSamples(
            source=MixedSource(_parts(files, real or range(len(data.sources)), "validation", size, [size])),
            num_frames=frames,
            size=size,
            batch_size=1,
            seed=_HELD_OUT_SEED,
        )
        described = _tracked(_described(samples, files), recipe)
    return [described.sample(index) for index in range(recipe.validation.samples)]


def _parts(
    files: DataFiles, numbers: Sequence[int], split: Split, size: Size, sizes: Sequence[Size], random_crop: bool = True
) -> list[tuple[SampleSource, float]]:
    """The sources with samples for frames of `size`, with their weights; cropped at random in training if
    `random_crop` and the recipe allow it."""
    random_crop = random_crop and split == "train" and files.data.augment.crop
    found = []
    for number in numbers:
        params = files.data.sources[number]
        if isinstance(params, ClipsParams):
            source, share = _clip_source(files, number, split, size, sizes, random_crop)
        elif isinstance(params, TripletsParams):
            source, share = TripletSource(files.samples(number, split), random_crop), 1.0
        elif isinstance(params, SyntheticParams):
            source, share = SyntheticSource(params.reach), 1.0
        else:
            continue
        if source is not None:
            found.append((source, params.weight * share))
    return found


def _clip_source(
    files: DataFiles, number: int, split: Split, size: Size, sizes: Sequence[Size], random_crop: bool
) -> tuple[SampleSource | None, float]:
    """The clips for which `size` is the nearest of all `sizes`, and their share of the source's clips."""
    params, clips = files.data.sources[number], files.clips(number, split)
    chosen = [clip for clip in clips if nearest_size(clip.frames, sizes) == size]
    if not chosen:
        return None, 0.0
    groups = _shows(chosen) if params.balance else [chosen]
    sources = [ClipSource(group, params.span, params.min_change, random_crop, params.uneven) for group in groups]
    return sources[0] if len(sources) == 1 else MixedSource([(s, 1.0) for s in sources]), len(chosen) / len(clips)


def _shows(clips: Sequence[Clip]) -> list[list[Clip]]:
    """Clips by the first folder in their names."""
    shows: dict[str, list[Clip]] = {}
    for clip in clips:
        shows.setdefault(clip.name.partition("/")[0], []).append(clip)
    return [shows[name] for name in sorted(shows)]


def _described(stream: Stream, files: DataFiles) -> Stream:
    """`stream` with prompts from captions, and with true frames marked if others are cross-fades."""
    captions = _captions(files)
    times: dict[str, Sequence[float]] = {}
    for params in files.data.sources:
        if isinstance(params, TripletsParams):
            samples = [s for split in ("train", "validation") for s in triplets_in_split(params, split)]
            captions |= {sample.name: sample.caption for sample in samples if sample.caption}
            times |= {sample.name: sample.times for sample in samples}
    made_up = any(len(known) + 2 < max(files.data.frames) for known in times.values())
    if not captions and not made_up:
        return stream
    return Described(stream, captions or None, times if made_up else None)


def _captions(files: DataFiles) -> dict[str, str]:
    """Clip name -> caption, of all sources of clips."""
    found: dict[str, str] = {}
    for number, params in enumerate(files.data.sources):
        if isinstance(params, ClipsParams):
            found |= files.captions(number)
    return found
