"""Run an evaluation in this process, as one share, or by an engine with a worker for each share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .progress import Bar

if TYPE_CHECKING:
    from ..data.samples import Sample
    from ..evaluation.protocol import Protocol

ENGINE_FILES = "engine"
"""Folder of the engines' files, within the results."""


class Engine(StrEnum):
    """The tested engines of `engines.ENGINES`."""

    local = "local"
    ray = "ray"
    openjd = "openjd"
    slurm = "slurm"


@dataclass(frozen=True)
class Evaluation:
    """The options of the command; `output` is None for the default."""

    variants: tuple[str, ...]
    data: Path
    protocol: str
    output: Path | None
    limit: int | None
    frames: tuple[str, ...]
    floors: bool
    device: str

    @cached_property
    def asked(self) -> tuple[Protocol, list[Sample], Path]:
        """The protocol, the samples and the results folder. Raises the errors of their readers."""
        from ..data.samples import spread
        from ..data.triplets import open_dataset
        from ..evaluation.protocol import load_protocol

        how = load_protocol(self.protocol)
        samples = spread(open_dataset(self.data, how.split), self.limit)
        return how, samples, self.output or Path("results") / how.name

    def run(
        self, *, cost: bool = False, share: str | None = None, progress: Callable[[str, int, int], None] | None = None
    ) -> dict[str, Any]:
        """Evaluate here, all of it or a share `NUMBER/WORKERS`; returns and raises as `evaluation.runner.evaluate`."""
        from ..evaluation.drawn import Drawn, parse_frames
        from ..evaluation.processes import share_of
        from ..evaluation.runner import evaluate

        own = None if share is None else share_of(share)
        how, samples, results = self.asked
        drawn = parse_frames(list(self.frames))
        rows = [*self.variants, *(Drawn(name, folder, samples, how) for name, folder in drawn.items())]
        return evaluate(
            rows, samples, how, results, floors=self.floors, cost=cost, device=self.device, progress=progress, share=own
        )

    def by_engine(self, engine: Engine, workers: int | None) -> str:
        """Evaluate all shares by an engine; returns a one-line summary. Raises the engine's errors.

        A failed share is reported; its missing samples are left to the run that joins the shares.
        """
        from ..engines import Job, Wish, submit

        output = self.asked[2].resolve()
        here = replace(self, data=self.data.resolve(), output=output)
        job = Job(
            output.name,
            output / ENGINE_FILES,
            tuple(here.words()),
            call=partial(_share, here),
            done=partial(_size, output),
            device=self.device,
        )
        with Bar("evaluation", "share") as bar:
            return submit(engine.value, job, Wish(workers or 0), bar.show)

    def words(self) -> list[str]:
        """Arguments of the command, without the program name."""
        protocol = Path(self.protocol)
        words = ["evaluate", *self.variants, "--data", str(self.data), "-o", str(self.output), "--device", self.device]
        words += ["--protocol", str(protocol.resolve()) if protocol.is_file() else self.protocol]
        words += [] if self.limit is None else ["--limit", str(self.limit)]
        words += [word for one in self.frames for word in ("--frames", one)]
        return words if self.floors else [*words, "--no-floors"]


def _share(evaluation: Evaluation, share: str) -> None:
    evaluation.run(share=share)


def _size(results: Path) -> int:
    """Bytes in the CSV files, as a measure of progress."""
    size = 0
    for path in results.glob("*/*seed-*.csv"):
        with suppress(OSError):
            size += path.stat().st_size
    return size
