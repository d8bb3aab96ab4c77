"""The schema of an evaluation's files: `record.json`, `row.json` and `aggregates.json`.

Format 2 records the weights of every row, and has verdicts. Format 1 is read but cannot be resumed.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from .protocol import Protocol
from .statistics import Interval, Paired
from .verdicts import Verdict

FORMAT = 2
DRAWN = "frames of "
"""Prefix of the name of a part that holds the drawn pictures of one sample instead of a network."""
Role = Literal["model", "floor", "anchor", "ceiling", "peer"]


class Made(BaseModel):
    """Versions, commit and machine of a result."""

    packages: dict[str, str] = Field(default_factory=dict)
    git: str | None = None
    machine: dict[str, Any] = Field(default_factory=dict)


class Adapter(BaseModel):
    """One active adapter: SHA-256 of its tensors, and the distinct scales."""

    sha256: str
    scale: list[float]


class Identity(BaseModel):
    """The identity of a row.

    Args:
        parts: SHA-256 of the tensors of each part (names, formats, shapes, bytes), without adapters; for drawn
            pictures those of each sample.
        adapters: by name.
        precision: as named by the variant.
        plan: SHA-256 of the `quantization.json` of a quantized folder.
        settings: SHA-256 of the configurations of the parts.
        drawing: `interpolate` for the output of `nakawari interpolate`; None for the model's call.
    """

    parts: dict[str, str]
    adapters: dict[str, Adapter] = Field(default_factory=dict)
    precision: str | None = None
    plan: str | None = None
    settings: str | None = None
    drawing: str | None = None

    def unlike(self, other: Identity) -> str | None:
        """The first difference of two identities as text; None if they are equal."""
        for name in sorted({*self.parts, *other.parts}):
            drawn = name.startswith(DRAWN)
            there = name in self.parts and name in other.parts
            if self.parts.get(name) != other.parts.get(name) and (there or not drawn):
                return name if drawn else f"the weights of {name}"
        for name in sorted({*self.adapters, *other.adapters}):
            if self.adapters.get(name) != other.adapters.get(name):
                return f"adapter {name}"
        named = {
            "precision": "the precision",
            "plan": "the plan of precisions",
            "settings": "the configuration",
            "drawing": "the drawing method",
        }
        return next((word for key, word in named.items() if getattr(self, key) != getattr(other, key)), None)


class Record(Made):
    """`record.json`: origin and samples of an evaluation.

    Args:
        samples, films: every sample in order, and the film of each.
        data: SHA-256 over all pictures.
        pictures: sample -> SHA-256 of its pictures.
        tags: sample -> style, kind of motion and region, if annotated.
        unreadable: excluded samples -> reason.
        left_out: metrics of the protocol that were not computed -> reason.
        bootstrap: settings of the intervals.
    """

    format: int = 1
    samples: list[str]
    films: list[str] | None = None
    data: str | None = None
    pictures: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, list[str]] = Field(default_factory=dict)
    unreadable: dict[str, str] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    bootstrap: dict[str, Any] | None = None

    @property
    def scored(self) -> list[str]:
        """The readable samples, in order."""
        return [name for name in self.samples if name not in self.unreadable]

    @property
    def film_of(self) -> dict[str, str]:
        """Sample -> film; its own name if the record has none."""
        return dict(zip(self.samples, self.films or self.samples, strict=True))


class RowRecord(BaseModel):
    """`row.json` in a row's folder: its kind and identity.

    Args:
        name, role, parent: see `nakawari.evaluation.contestants.Contestant`.
        folder: the row's folder below the results and below `frames`; None in older results.
        files: generation -> its CSV files, one a seed, below the results.
        identity: None for rows of code only, and in older results.
        made: all distinct versions, commits and machines.
        seen_in_training: samples that the model was trained on.
    """

    name: str
    role: Role
    parent: str | None = None
    folder: str | None = None
    files: dict[str, list[str]]
    identity: Identity | None = None
    made: list[Made] = Field(default_factory=list)
    seen_in_training: list[str] = Field(default_factory=list)


class MetricInfo(BaseModel):
    """A column of the table; `matters`: the equivalence margin (None: unknown)."""

    name: str
    title: str
    higher_is_better: bool
    matters: float | None = None

    @property
    def sense(self) -> int:
        """1 if higher is better, -1 if lower is better."""
        return 1 if self.higher_is_better else -1


class Fidelity(BaseModel):
    """Fidelity of a row to its parent at the same seed: a mean with its interval."""

    metric: str = "psnr"
    title: str
    parent: str
    mean: float
    low: float | None
    high: float | None
    count: int
    level: float
    films: int | None = None

    @property
    def interval(self) -> Interval:
        """The numbers."""
        return Interval(self.mean, self.low, self.high, self.count, self.level, self.films)


class Difference(BaseModel):
    """One row minus another on the same samples, under the protocol or one of its rows, at one level."""

    entry: str
    against: str
    row: str
    metric: str
    level: str
    difference: Interval
    wins: int
    losses: int
    ties: int
    p: float | None = None
    p_equal: float | None = None
    verdict: Verdict | None = None

    @property
    def pair(self) -> Paired:
        """The numbers."""
        return Paired(self.difference, self.wins, self.losses, self.ties, self.p, self.p_equal)


Results = dict[str, dict[str, dict[str, Interval]]]
"""Protocol row -> metric -> level -> mean."""


class Entry(RowRecord):
    """A row of the table; `costs` are those of departures that draw or time differently."""

    status: Literal["ok", "failed"]
    failures: dict[str, str] = Field(default_factory=dict)
    results: Results = Field(default_factory=dict)
    cost: dict[str, Any] | None = None
    costs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fidelity: Fidelity | None = None


class Aggregates(BaseModel):
    """`aggregates.json`; `rule`: the rule of the verdicts (`verdicts.RULE`)."""

    format: Literal[1, 2]
    rule: int = 1
    protocol: Protocol
    record: Record
    levels: dict[str, int] = Field(default_factory=dict)
    metrics: list[MetricInfo]
    reference: str
    entries: list[Entry]
    paired: list[Difference]
