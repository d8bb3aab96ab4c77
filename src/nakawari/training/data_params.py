"""The `data` of a recipe: sources, sizes and augmentation of the samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..data.augmentation import ALL, NONE, Augmentation
from .objectives import RecipePart

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class SyntheticParams(RecipePart):
    """Synthetic scenes; see `nakawari.data.training_data.SyntheticSource`.

    Args:
        weight: relative frequency of samples from this source.
        reach: smallest and largest displacement of moving objects, in frame widths.
    """

    kind: Literal["synthetic"]
    weight: float = Field(1.0, ge=0)
    reach: tuple[float, float] = (0.015, 0.32)


class ClipsParams(RecipePart):
    """Windows of the clips below `path`; see `nakawari.data.training_data.ClipSource`. A `captions.csv` in that folder
    (columns name, caption) gives prompts.

    Args:
        path: the folder.
        weight: relative frequency of samples from this source.
        span: fewest and most source frames from key to key.
        min_change: mean change between the keys, of 255, below which a window is resampled.
        decode_size: height and width at which clips are decoded once and cached on disk; None = in memory, at their
            size.
        held_out: share of the clips' sources held out for validation, or of the longest clip's frames if there are
            fewer than four sources; ignored if the data have a part named val.
        balance: sample the folders directly below `path` (shows) equally often, regardless of their number of clips.
        uneven: share of windows whose inner frames are at random instead of even times, so that the keys do not
            determine the positions in them; for training point control.
    """

    kind: Literal["clips"]
    path: Path
    weight: float = Field(1.0, ge=0)
    span: tuple[Positive, Positive] = (2, 30)
    min_change: float = Field(0.4, ge=0)
    decode_size: tuple[Positive, Positive] | None = None
    held_out: float = Field(0.05, ge=0, lt=1)
    balance: bool = False
    uneven: float = Field(0.0, ge=0, le=1)


class TripletsParams(RecipePart):
    """A data set with true drawings between its keys; see `nakawari.data.triplets.open_dataset` for its layouts.

    With as many `data.frames` as a sample has, every frame is true. With more, the true drawings are at their times
    (on both neighbours of a time between two frames); the others are cross-fades and excluded from the loss.

    Args:
        path: the folder.
        weight: relative frequency of samples from this source.
        split: train or val, if the layout has splits; None = train, and val for validation. Test is never read.
        held_out: share of the films or clips held out for validation.
    """

    kind: Literal["triplets"]
    path: Path
    weight: float = Field(1.0, ge=0)
    split: Literal["train", "val"] | None = None
    held_out: float = Field(0.05, ge=0, lt=1)


class DragsParams(RecipePart):
    """Scenes with tracks, for a family with point control; see `nakawari.data.drag_scenes`. With several sources, each
    batch comes from one of them.

    Args:
        weight: relative frequency of batches from this source.
        look: plain, or target, the look of another show.
        window: height and width of a crop around the sprite, without tracks: cheaper training of an autoencoder.
            None = the whole scene.
    """

    kind: Literal["drags"]
    weight: float = Field(1.0, ge=0)
    look: Literal["plain", "target"] = "plain"
    window: tuple[Positive, Positive] | None = None


class CurriculumParams(RecipePart):
    """Motion grows from `start` to its full reach over the first `samples` samples.

    Args:
        start: initial share of the reach.
        samples: number of samples over which it grows; 0 = the full reach from the beginning.
    """

    start: float = Field(0.3, gt=0, le=1)
    samples: Count = 0


class WindowsParams(RecipePart):
    """Windows of whole frames, computed once with the model's guide and kept below `data.cache`; training crops
    are cut from them. Validation uses whole frames of this size.

    Args:
        count: number of windows.
        size: height and width of a window.
    """

    count: Positive
    size: tuple[Positive, Positive]


class AugmentParams(RecipePart):
    """Data augmentation; see `nakawari.data.augmentation`.

    Args:
        mirror: share of the samples that are flipped horizontally.
        flip: share of the samples that are flipped vertically.
        reverse: share of the samples that are reversed in time.
        channels: share of the samples whose colour channels are permuted.
        inversion: share of the samples that are inverted in brightness.
        crop: a random crop of a frame instead of the largest centred one.
    """

    mirror: float = Field(0.0, ge=0, le=1)
    flip: float = Field(0.0, ge=0, le=1)
    reverse: float = Field(0.0, ge=0, le=1)
    channels: float = Field(0.0, ge=0, le=1)
    inversion: float = Field(0.0, ge=0, le=1)
    crop: bool = True

    @model_validator(mode="before")
    @classmethod
    def _all_or_none(cls, given: Any) -> Any:
        if isinstance(given, bool):
            return asdict(ALL if given else NONE) | {"crop": given}
        return given

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> Any:
        """All and none in the form of earlier revisions, so that data fingerprints do not change."""
        whole = {ALL: True, NONE: False}.get(self.shares())
        return whole if whole is not None and whole == self.crop else dump(self)

    def shares(self) -> Augmentation:
        """The shares, without `crop`."""
        return Augmentation(**{name: getattr(self, name) for name in asdict(NONE)})


class DataParams(RecipePart):
    """Training data: sources mixed by weight.

    Args:
        sources: the sources of samples.
        size: height and width of a sample.
        frames: frames of a sample, both keys included; of several counts one is chosen at random for each batch.
        augment: data augmentation; true = all, as for mini, false = none and no random crops.
        curriculum: growing motion.
        cache: the folder for decoded clips and windows.
        buckets: sizes that replace `size` in training, one for each batch, with the clips of the nearest
            aspect ratio; validation uses `size`.
        distinct: number of different samples, which are repeated in another order, so that a cache pays;
            0 = always new ones.
        tracks: most points that are tracked through a clip, to train point control; 0 = none, unless a source has
            its own tracks.
        windows: windows of whole frames whose guides are computed once; None = computed for every sample.
    """

    sources: list[
        Annotated[SyntheticParams | ClipsParams | TripletsParams | DragsParams, Field(discriminator="kind")]
    ] = Field(min_length=1)
    size: tuple[Positive, Positive]
    frames: list[Annotated[int, Field(ge=2)]] = Field(min_length=1)
    augment: AugmentParams = AugmentParams()
    curriculum: CurriculumParams = CurriculumParams()
    cache: Path = Path("~/.cache/nakawari/pools")
    buckets: tuple[tuple[Positive, Positive], ...] = ()
    distinct: Count = 0
    tracks: Count = 0
    windows: WindowsParams | None = None

    @model_validator(mode="after")
    def _windows_alone(self) -> Self:
        if self.windows is None:
            return self
        if any(source.kind not in ("clips", "synthetic") for source in self.sources):
            raise ValueError("data.windows works only with clips and synthetic scenes")
        if self.tracks:
            raise ValueError("data.windows and data.tracks exclude each other; set only one of them")
        if self.buckets or self.distinct or len(self.frames) > 1:
            raise ValueError("data.windows needs a single frame count, no buckets and no distinct")
        if any(want > have for want, have in zip(self.size, self.windows.size, strict=True)):
            raise ValueError(f"data.size {self.size} is larger than data.windows.size {self.windows.size}")
        return self
