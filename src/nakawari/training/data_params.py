"""The `data` of a recipe: where samples come from, how large they are, and what is changed about them."""

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
        weight: how often a sample comes from this source, beside the others.
        reach: smallest and largest travel of what moves, in frame widths.
    """

    kind: Literal["synthetic"]
    weight: float = Field(1.0, ge=0)
    reach: tuple[float, float] = (0.015, 0.32)


class ClipsParams(RecipePart):
    """Windows of the clips below `path`; see `nakawari.data.training_data.ClipSource`. A `captions.csv` in that folder
    (columns name, caption) gives prompts.

    Args:
        path: the folder.
        weight: how often a sample comes from this source, beside the others.
        span: fewest and most source frames from key to key.
        min_change: mean change between the keys, of 255, below which a window is drawn again.
        decode_size: height and width at which clips are kept on disk, decoded once; None = in memory, as they are.
        held_out: share of the clips' sources that training leaves to validation, or of the longest clip's frames where
            there are fewer than four sources; without meaning where the data have a part named val.
        balance: the folders directly below `path` (shows) count alike, however many clips each has.
        uneven: share of windows whose inner frames stand at random times instead of even ones, so that the keys do not
            say where things are in them: for point control, which learns from what only its tracks tell.
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

    With as many `data.frames` as a sample has, every frame is true. With more, the true drawings stand at their times
    (on both neighbours of a time between two frames), the others are cross-fades, and no loss sees them.

    Args:
        path: the folder.
        weight: how often a sample comes from this source, beside the others.
        split: train or val, where the layout has splits; None = train, and val to validate. Test is never read.
        held_out: share of the films or clips that training leaves to validation.
    """

    kind: Literal["triplets"]
    path: Path
    weight: float = Field(1.0, ge=0)
    split: Literal["train", "val"] | None = None
    held_out: float = Field(0.05, ge=0, lt=1)


class DragsParams(RecipePart):
    """Scenes with tracks, for a family with point control; see `nakawari.data.drag_scenes`. Beside other sources, each
    batch comes from one of them.

    Args:
        weight: how often a batch comes from this source, beside the others.
        look: plain, or target, the look of another show.
        window: height and width of a window about the sprite that is cut from each scene: for an autoencoder, which
            learns from it at a fraction of the cost; without tracks. None = the whole scene.
    """

    kind: Literal["drags"]
    weight: float = Field(1.0, ge=0)
    look: Literal["plain", "target"] = "plain"
    window: tuple[Positive, Positive] | None = None


class CurriculumParams(RecipePart):
    """Motion grows from `start` to its full reach over the first `samples` samples.

    Args:
        start: the share of the reach at the beginning.
        samples: over how many samples it grows; 0 = none, the full reach from the beginning.
    """

    start: float = Field(0.3, gt=0, le=1)
    samples: Count = 0


class WindowsParams(RecipePart):
    """Windows of whole frames, made once with the model's guide and kept below `data.cache`; training cuts its crops
    from these. Validation draws whole frames of this size.

    Args:
        count: how many.
        size: height and width of a window.
    """

    count: Positive
    size: tuple[Positive, Positive]


class AugmentParams(RecipePart):
    """Changes that make more samples of the same clips; see `nakawari.data.augmentation`.

    Args:
        mirror: share of the samples in which left and right change places.
        flip: share in which above and below do.
        reverse: share that runs backwards in time.
        channels: share whose colour channels change places.
        inversion: share in which light becomes dark.
        crop: a random window of a frame instead of the largest one at its centre.
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
        """All and none as earlier revisions wrote them, so that the fingerprints of their data stay the same."""
        whole = {ALL: True, NONE: False}.get(self.shares())
        return whole if whole is not None and whole == self.crop else dump(self)

    def shares(self) -> Augmentation:
        """The shares alone."""
        return Augmentation(**{name: getattr(self, name) for name in asdict(NONE)})


class DataParams(RecipePart):
    """Training data: sources mixed by weight.

    Args:
        sources: where samples come from.
        size: height and width of a sample.
        frames: how many frames a sample has, both keys included; of several counts one is drawn for each batch.
        augment: changes that make more samples of the same clips; true = all, as mini was trained, false = none and
            no random crops.
        curriculum: motion that grows.
        cache: the folder for decoded clips and windows.
        buckets: sizes that take the place of `size` in training, one for each batch, clips in the one nearest their
            own aspect; validation keeps to `size`.
        distinct: so many samples, then the same ones again in another order, which makes a cache worth its while;
            0 = always new ones.
        tracks: so many points at most of each clip are followed through it, for point control to be learnt from; 0 =
            none, where a source has no tracks of its own.
        windows: whole frames whose guides are made once; None = frames and guides are made anew for every sample.
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
            raise ValueError("data.windows takes clips and synthetic scenes alone")
        if self.tracks:
            raise ValueError("data.windows goes without data.tracks; set one of them alone")
        if self.buckets or self.distinct or len(self.frames) > 1:
            raise ValueError("data.windows goes with one frame count, without buckets and distinct")
        if any(want > have for want, have in zip(self.size, self.windows.size, strict=True)):
            raise ValueError(f"data.size {self.size} is larger than data.windows.size {self.windows.size}")
        return self
