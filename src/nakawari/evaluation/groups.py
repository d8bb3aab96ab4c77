"""Group a protocol and its rows by generated frames: rows that only change the scoring share one generation."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from .metrics import Metric, available
from .protocol import Protocol


@dataclass(frozen=True)
class Group:
    """Protocols that share their frames: the protocol itself or one of its rows, with the rows that only change the
    scoring."""

    name: str
    protocols: tuple[Protocol, ...]
    metrics: tuple[tuple[Metric, ...], ...]

    @property
    def columns(self) -> list[str]:
        """Names of the CSV's metric columns: `psnr` for the first protocol, `row/psnr` for the others."""
        return [self.column(i, metric) for i, metrics in enumerate(self.metrics) for metric in metrics]

    def column(self, index: int, metric: Metric) -> str:
        """The column of a metric under the protocol number `index` of this group."""
        return f"{self.protocols[index].name}/{metric.name}" if index else metric.name


def groups(protocol: Protocol, left_out: Container[str] = ()) -> list[Group]:
    """The generations of a protocol, its own first; `left_out` metrics have no column."""
    sets: list[list[Protocol]] = []
    for variant in protocol.variants():
        mates = next((mates for mates in sets if mates[0].generation() == variant.generation()), None)
        if mates is None:
            sets.append([variant])
        else:
            mates.append(variant)
    return [Group(mates[0].name, tuple(mates), tuple(_metrics(mate, left_out) for mate in mates)) for mates in sets]


def _metrics(protocol: Protocol, left_out: Container[str]) -> tuple[Metric, ...]:
    needed = [*protocol.metrics]
    if protocol.pool > 1:
        needed.append("mse")
    if protocol.drop_worst > 0 or protocol.pool > 1:
        needed.append("psnr")
    return tuple(available(tuple(dict.fromkeys(needed)), left_out))
