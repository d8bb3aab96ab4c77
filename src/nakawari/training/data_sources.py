"""From a recipe's `data` to samples: the training stream, the held-out samples, and the data's fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..data.clips import Clip, Split, folder_fingerprint, in_split, load_clips, open_pool, prepare_pool
from ..data.training_data import ClipSource, Curriculum, MixedSource, SampleSource, SyntheticSource, TrainingSamples
from ..errors import UsageError
from .recipe import ClipsParams, DataParams, Recipe

_HELD_OUT_SEED = 2**31 - 1


def training_samples(recipe: Recipe) -> TrainingSamples:
    """The endless training stream of a recipe."""
    data = recipe.data
    parts = [(_source(data, number, "train"), source.weight) for number, source in enumerate(data.sources)]
    return TrainingSamples(
        source=MixedSource(parts),
        num_frames=data.frames,
        size=data.size,
        batch_size=recipe.optim.batch_size,
        seed=recipe.seed,
        augment=data.augment,
        curriculum=Curriculum(data.curriculum.start, data.curriculum.samples),
    )


def held_out_samples(recipe: Recipe) -> list[dict[str, Any]]:
    """The validation samples: from held-out clips where the recipe has clips, else synthetic; always the same ones."""
    if not recipe.validation.samples:
        return []
    data = recipe.data
    clips = [number for number, source in enumerate(data.sources) if source.kind == "clips"]
    chosen = clips or range(len(data.sources))
    parts = [(_source(data, number, "validation"), data.sources[number].weight) for number in chosen]
    samples = TrainingSamples(
        source=MixedSource(parts),
        num_frames=[max(data.frames)],
        size=data.size,
        batch_size=1,
        seed=_HELD_OUT_SEED,
        augment=False,
    )
    return [samples.sample(index) for index in range(recipe.validation.samples)]


def data_fingerprint(data: DataParams) -> str:
    """SHA-256 over the files that a recipe trains on and how they are drawn."""
    digest = hashlib.sha256(data.model_dump_json(exclude={"cache"}).encode())
    for source in data.sources:
        if isinstance(source, ClipsParams):
            digest.update(folder_fingerprint(_folder(source.path), source.decode_size).encode())
    return digest.hexdigest()


def _source(data: DataParams, number: int, split: Split) -> SampleSource:
    params = data.sources[number]
    if not isinstance(params, ClipsParams):
        return SyntheticSource(params.reach)
    clips = in_split(_clips(params, data.cache), split, params.held_out)
    if not clips:
        raise UsageError(
            f"data.sources.{number} has no clips for {split} below {params.path}; give more clips, or change held_out."
        )
    return ClipSource(clips, params.span, params.min_change, augment=split == "train" and data.augment)


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
