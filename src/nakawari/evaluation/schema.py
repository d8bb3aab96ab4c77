"""What an evaluation writes and a report reads: one schema for `record.json`, `row.json` and `aggregates.json`.

Format 2 says in every row which weights made it, and gives verdicts. Format 1 is read, not continued.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from .protocol import Protocol
from .statistics import Interval, Paired
from .verdicts import Verdict

FORMAT = 2
DRAWN = "frames of "
"""Begins the name of a part that is no network but the drawn pictures of one sample."""
Role = Literal["model", "floor", "anchor", "ceiling", "peer"]


class Made(BaseModel):
    """By which versions, which commit and on which machine something was made."""

    packages: dict[str, str] = Field(default_factory=dict)
    git: str | None = None
    machine: dict[str, Any] = Field(default_factory=dict)


class Adapter(BaseModel):
    """One adapter at work: SHA-256 of its tensors, and the distinct factors on them."""

    sha256: str
    scale: list[float]


class Identity(BaseModel):
    """What made a row.

    Args:
        parts: SHA-256 of the tensors of each part (names, formats, shapes, bytes), adapters left out; for drawn
            pictures those of each sample.
        adapters: by name.
        precision: as the variant names it.
        plan: SHA-256 of the `quantization.json` of a quantized folder.
        settings: SHA-256 of what the configurations of the parts say.
        drawing: `interpolate` where the row was drawn as `nakawari interpolate` draws; None for the model's call alone.
    """

    parts: dict[str, str]
    adapters: dict[str, Adapter] = Field(default_factory=dict)
    precision: str | None = None
    plan: str | None = None
    settings: str | None = None
    drawing: str | None = None

    def unlike(self, other: Identity) -> str | None:
        """The first thing in which two differ, in words; None where they are equal."""
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
            "drawing": "the way of drawing",
        }
        return next((word for key, word in named.items() if getattr(self, key) != getattr(other, key)), None)


class Record(Made):
    """`record.json`: where an evaluation was begun, and of which samples.

    Args:
        samples, films: every sample in order, and the film of each.
        data: SHA-256 over all pictures.
        pictures: sample -> SHA-256 of its pictures.
        tags: sample -> style, kind of motion and region, where annotated.
        unreadable: samples left out of every row -> why.
        left_out: metrics of the protocol that were not computed -> why.
        bootstrap: how intervals are made.
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
        """The samples that count, in order."""
        return [name for name in self.samples if name not in self.unreadable]

    @property
    def film_of(self) -> dict[str, str]:
        """Sample -> film; its own name where the record does not say."""
        return dict(zip(self.samples, self.films or self.samples, strict=True))


class RowRecord(BaseModel):
    """`row.json` in a row's folder: what the row is, and what made it.

    Args:
        name, role, parent: see `nakawari.evaluation.contestants.Contestant`.
        folder: the row's folder below the results and below `frames`; None in older results.
        files: generation -> its CSV files, one a seed, below the results.
        identity: None for rows that are nothing but code, and in older results.
        made: every different version, commit and machine that worked on it.
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
    """A column of the table; `matters`: the smallest difference that does (None: not said)."""

    name: str
    title: str
    higher_is_better: bool
    matters: float | None = None

    @property
    def sense(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1


class Fidelity(BaseModel):
    """How close a row stays to its parent at the same seed: a mean with its interval."""

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
        """The numbers alone."""
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
        """The numbers alone."""
        return Paired(self.difference, self.wins, self.losses, self.ties, self.p, self.p_equal)


Results = dict[str, dict[str, dict[str, Interval]]]
"""Protocol row -> metric -> level -> mean."""


class Entry(RowRecord):
    """A row of the table; `costs` are those of protocol rows that draw or time otherwise."""

    status: Literal["ok", "failed"]
    failures: dict[str, str] = Field(default_factory=dict)
    results: Results = Field(default_factory=dict)
    cost: dict[str, Any] | None = None
    costs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    fidelity: Fidelity | None = None


class Aggregates(BaseModel):
    """`aggregates.json`; `rule`: by which verdicts were given (`verdicts.RULE`)."""

    format: Literal[1, 2]
    rule: int = 1
    protocol: Protocol
    record: Record
    levels: dict[str, int] = Field(default_factory=dict)
    metrics: list[MetricInfo]
    reference: str
    entries: list[Entry]
    paired: list[Difference]
