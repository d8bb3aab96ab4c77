"""Protocols: everything that determines a number in the table except the model, in one YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import UsageError
from .fitting import Filter, Fit
from .metrics import METRICS

SHIPPED = Path(__file__).parent / "protocols"

Scored = Literal["middle", "mid-pair", "lower", "upper", "all"]

# Keys that do not change the frames: rows that differ only in these share one generation.
_SCORING = frozenset({"name", "description", "scored", "metrics", "pool", "drop_worst", "cost_guidance", "rows"})


class Row(BaseModel):
    """One named departure from a protocol, to measure its effect on the same model's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    note: str
    change: dict[str, Any] = Field(default_factory=dict)


class Protocol(BaseModel):
    """The rules of an evaluation; unknown keys are refused.

    Args:
        name, description: for the table's caption.
        split: part of a data set; None = a folder without parts.
        width, height: size at which models work and are scored; both None = the pictures' own size.
        fit: fitting of a picture with another aspect ratio: `pad` (whole picture, border not scored), `crop`
            (centre, edges cut), `stretch` (aspect changed).
        resample: `lanczos` or `area`.
        num_frames: frames of a generated clip, keys included; None = that of the true clip.
        steps, guidance: None = the pipeline's own default.
        spacing, eta, guidance_rescale: sampler settings; None = the pipeline's own default.
        precision: `as-loaded`, or autocast to a lower one on top of it.
        seeds: an entry of the table averages over these; a sample's own seed depends only on this and its name.
        batch_size: clips at once on a GPU; noise does not depend on it. A CPU always draws one at a time, so
            that the numbers do not depend on it.
        scored: the generated frame that is compared with a true one at time t. `middle`: the frame exactly there, for
            samples with one true frame; `all`: the same for every true frame; if no frame is there, `lower` and `upper`
            use the neighbour before and after, and `mid-pair` scores both and averages.
        metrics: names of `nakawari.evaluation.metrics.METRICS`; those whose library is missing are left out.
        captions: pass a sample's caption to models that read text.
        guided: models with motion guidance run `guided`, `unguided` or `both` (two entries).
        drawing: `interpolate`: the output of `nakawari interpolate`, by parts if these explain the keys, with
            post-processing; `network`: the output of the model's call; `both`: two entries.
        keep_frames: keep the scored frames as PNG (filmstrips and fidelity to the parent need them).
        pool: PSNR of the pooled error of this many consecutive samples instead of the mean of PSNRs; 1 = off.
        drop_worst: exclude this share of the samples with the lowest PSNR, like a run that drops failures.
        cost_guidance: guidance in the cost measurement; None = as for quality.
        rows: departures that are measured in addition.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    description: str = ""
    split: str | None = None
    width: int | None = Field(default=None, ge=32)
    height: int | None = Field(default=None, ge=32)
    fit: Fit = "pad"
    resample: Filter = "lanczos"
    num_frames: int | None = Field(default=3, ge=3)
    steps: int | None = Field(default=None, ge=1)
    spacing: str | None = None
    eta: float | None = Field(default=None, ge=0, le=1)
    guidance: float | None = Field(default=None, ge=0)
    guidance_rescale: float | None = Field(default=None, ge=0, le=1)
    precision: Literal["as-loaded", "autocast-bfloat16", "autocast-float16"] = "as-loaded"
    seeds: tuple[int, ...] = (0,)
    batch_size: int = Field(default=1, ge=1)
    scored: Scored = "middle"
    metrics: tuple[str, ...] = ("psnr", "ssim", "st-lpips")
    captions: bool = True
    guided: Literal["both", "guided", "unguided"] = "guided"
    drawing: Literal["network", "interpolate", "both"] = "network"
    keep_frames: bool = True
    pool: int = Field(default=1, ge=1)
    drop_worst: float = Field(default=0.0, ge=0, lt=1)
    cost_guidance: float | None = Field(default=None, ge=0)
    rows: tuple[Row, ...] = ()

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in METRICS]
        if unknown or not names:
            raise ValueError(f"unknown metric {unknown[:1]}; choose from {', '.join(METRICS)}")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.width is None) != (self.height is None):
            raise ValueError("give width and height together, or neither for the pictures' own size")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds must be a list of distinct numbers, 0 or more")
        if self.scored == "middle" and self.num_frames is not None and self.num_frames % 2 == 0:
            raise ValueError(
                f"{self.num_frames} frames have none at t = 0.5; use an odd num_frames, or scored: mid-pair"
            )
        if len({row.name for row in self.rows}) != len(self.rows):
            raise ValueError("rows need different names")
        for row in self.rows:
            self._changed(row)
        return self

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height, or None for the pictures' own."""
        return None if self.width is None or self.height is None else (self.width, self.height)

    def _changed(self, row: Row) -> Protocol:
        if "rows" in row.change or "name" in row.change:
            raise ValueError(f"row {row.name} may not change the name or the rows")
        base = self.model_dump(exclude={"rows"})
        try:
            return Protocol.model_validate({**base, **row.change, "name": row.name, "description": row.note})
        except ValidationError as error:
            raise ValueError(f"row {row.name}: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}") from error

    def variants(self) -> list[Protocol]:
        """The protocol itself, without its rows, then every row as a separate protocol."""
        return [self.model_copy(update={"rows": ()}), *(self._changed(row) for row in self.rows)]

    def generation(self) -> dict[str, Any]:
        """The keys that determine the frames; protocols with equal ones share them."""
        return self.model_dump(mode="json", exclude=set(_SCORING))

    def to_yaml(self) -> str:
        """The protocol in full, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def selection(times: Sequence[float], num_frames: int, scored: Scored, name: str = "sample") -> list[list[int]]:
    """The generated frames to compare with the true ones at `times` (in (0, 1), start key 0, end key 1).

    Generated frame k is at k / (num_frames - 1). Returns one list of frame numbers, or two for `mid-pair` if a
    truth is between two generated frames: each list has one number for every time.

    Raises:
        UsageError: there is no generated frame at a required time; `name` is the sample in the message.
    """
    if scored == "middle" and len(times) != 1:
        raise UsageError(f"{name} has {len(times)} true in-betweens; 'scored: middle' is for triplets, use 'all'.")
    lower, upper = [], []
    for time in times:
        place = time * (num_frames - 1)
        exact = abs(place - round(place)) < 1e-4
        if not exact and scored in ("middle", "all"):
            raise UsageError(
                f"{name} has a true frame at t = {time:.4g} where {num_frames} frames have none; "
                "change num_frames or use scored: mid-pair, lower or upper."
            )
        lower.append(round(place) if exact else int(place))
        upper.append(round(place) if exact else int(place) + 1)
    if scored == "upper":
        return [upper]
    return [lower] if scored != "mid-pair" or lower == upper else [lower, upper]


def load_protocol(source: str | Path) -> Protocol:
    """A shipped protocol by name (such as `quick` or `atd12k`), or a YAML file by path.

    Raises:
        UsageError: the protocol does not exist or is invalid.
    """
    path = SHIPPED / f"{source}.yaml"
    if not path.is_file():
        path = Path(source)
    if not path.is_file():
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
        raise UsageError(f"There is no protocol {str(source)!r}; give one of {shipped}, or a YAML file.")
    try:
        return Protocol.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not readable YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the protocol"
        known = f"; known keys are {', '.join(Protocol.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise UsageError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}{known}.") from error
