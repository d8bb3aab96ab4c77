"""Run an evaluation: the single code path from data set and models to numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.samples import Sample
from ..errors import NakawariError, NakawariWarning, UsageError
from ..files import read_json, write_json
from ..trained_on import seen_samples
from ..variants import Variant, load, parent_of
from .aggregate import aggregate
from .contestants import Contestant, Interpolated, Model
from .efficiency import measure
from .floors import companions, standard_floors
from .folder import alone, beside_others, claim, entries, in_turn, open_row, row_folder, write_record
from .groups import Group, groups
from .identity import identity_of
from .peers import installed_peers
from .processes import Processes, processes
from .protocol import Protocol
from .records import FrameRecords, Records
from .samples import Prepared, chosen, keep_frames, keep_reference, prepare, score
from .schema import Entry, Identity, Record

Progress = Callable[[str, int, int], None]
"""Called with (row, finished samples, total samples)."""


@dataclass
class Run:
    """One evaluation in progress: its folder, its samples, and the unreadable ones."""

    output: Path
    samples: Sequence[Sample]
    protocol: Protocol
    workers: Processes
    record: Record
    progress: Progress | None = None
    unreadable: dict[str, str] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)
    _last: tuple[Any, Identity] | None = None

    def row(self, contestant: Contestant, *, cost: bool) -> dict[str, str]:
        """Run one row of the table: every generation, every seed; returns failures by sample name."""
        wanted = {group.name: (group, self._seeds(contestant, group)) for group in self._groups(contestant)}
        if self.workers.begins:
            names = {name: [self._file(group, seed) for seed in seeds] for name, (group, seeds) in wanted.items()}
            identity, seen = self._identity(contestant), self._seen(contestant)
            with in_turn(self.output):
                open_row(self.output, contestant, names, identity, seen)
        self.workers.wait()
        folder = self.output / row_folder(self.output, contestant.name)
        failures: dict[str, str] = {}
        for group, seeds in wanted.values():
            for seed in seeds:
                records = Records(folder / self._file(group, seed), group.columns)
                failures |= self._fill(contestant, folder, group, seed, records)
        if cost and not failures and isinstance(contestant, Model) and not self.workers.apart:
            self._costs(contestant, folder)
        self.rows.append(contestant.name)
        return failures

    def _seen(self, contestant: Contestant) -> list[str]:
        """Warn if a model was trained on samples of the evaluation; returns those samples."""
        source = getattr(contestant, "source", None)
        seen = seen_samples(source, self.samples) if isinstance(contestant, Model) and source is not None else []
        if seen and self.workers.begins:
            warnings.warn(
                f"{contestant.name} was trained on {len(seen)} of these {len(self.samples)} samples, such as "
                f"{seen[0]}: its scores say nothing about new drawings; evaluate on held-out data.",
                NakawariWarning,
                stacklevel=2,
            )
        return seen

    def _groups(self, contestant: Contestant) -> list[Group]:
        """The generations of this row, without those that change settings which it does not have."""
        return [
            group
            for group in groups(self.protocol, self.record.left_out)
            if group.name == self.protocol.name
            or contestant.settings_matter
            or (contestant.departs and not _same_scene(group.protocols[0], self.protocol))
        ]

    def _seeds(self, contestant: Contestant, group: Group) -> tuple[int, ...]:
        seeds = group.protocols[0].seeds
        return seeds if contestant.seeded else seeds[:1]

    def _file(self, group: Group, seed: int) -> str:
        lead = "" if group.name == self.protocol.name else f"{group.name}."
        return f"{lead}seed-{seed}.csv"

    def _identity(self, contestant: Contestant) -> Identity | None:
        """The identity, cached for consecutive rows that share a pipeline, as hashing takes seconds for a large
        model."""
        pipeline = getattr(contestant, "pipeline", None)
        if pipeline is None:
            return contestant.identity()
        source = getattr(contestant, "source", None)
        if self._last is None or self._last[0] is not pipeline:
            self._last = (pipeline, identity_of(pipeline, source))
        return self._last[1].model_copy(update={"drawing": getattr(contestant, "drawing", None)})

    def _fill(self, contestant: Contestant, folder: Path, group: Group, seed: int, records: Records) -> dict[str, str]:
        """Evaluate the missing samples; returns failures by sample name, on every process."""
        done = {**records.done(), **self.unreadable}
        mine = [
            sample
            for index, sample in enumerate(self.samples)
            if index % self.workers.count == self.workers.rank and sample.name not in done
        ]
        finished = len(self.samples) - len(mine)
        failures: dict[str, str] = {}
        unreadable: dict[str, str] = {}
        for batch in _batches(mine, group.protocols[0], contestant.batched, unreadable):
            failures |= self._batch(contestant, folder, group, seed, batch, records)
            finished += len(batch)
            if self.progress is not None:
                self.progress(contestant.name, finished, len(self.samples))
        everywhere = self.workers.gather(failures)
        self._leave_out(self.workers.gather(unreadable))
        if self.workers.ends:
            records.finish(self.record.scored, everywhere)
            if group.name == self.protocol.name:
                scored = [sample for sample in self.samples if sample.name not in self.unreadable]
                self._frame_records(folder, group, seed).finish(scored)
        self.workers.wait()
        return everywhere

    def _frame_records(self, folder: Path, group: Group, seed: int) -> FrameRecords:
        return FrameRecords(folder / f"frames-{seed}.csv", group.metrics[0])

    def _leave_out(self, unreadable: dict[str, str]) -> None:
        """Exclude unreadable samples from every row, by name."""
        if not unreadable:
            return
        self.unreadable |= unreadable
        known = {name: self.unreadable[name] for name in self.record.samples if name in self.unreadable}
        self.record = self.record.model_copy(update={"unreadable": known})
        if self.workers.ends:
            write_record(self.output, self.record)

    def _batch(
        self, contestant: Contestant, folder: Path, group: Group, seed: int, batch: list[Prepared], records: Records
    ) -> dict[str, str]:
        try:
            clips = contestant.draw([prepared.task for prepared in batch], group.protocols[0], seed)
        except UsageError:
            raise
        except Exception as error:
            if len(batch) == 1:
                return {batch[0].task.name: _reason(error)}
            # One bad sample must not fail its batch: try the samples one by one and name it.
            failures: dict[str, str] = {}
            for prepared in batch:
                failures |= self._batch(contestant, folder, group, seed, [prepared], records)
            return failures
        failures = {}
        for prepared, clip in zip(batch, clips, strict=True):
            try:
                self._score(contestant, folder, group, seed, prepared, clip, records)
            except UsageError:
                raise
            except NakawariError as error:
                failures[prepared.task.name] = _reason(error)
        return failures

    def _score(
        self,
        contestant: Contestant,
        folder: Path,
        group: Group,
        seed: int,
        prepared: Prepared,
        clip: Any,
        records: Records,
    ) -> None:
        values: dict[str, float | None] = {}
        for index, (protocol, metrics) in enumerate(zip(group.protocols, group.metrics, strict=True)):
            choices = chosen(prepared, contestant, protocol.scored)
            found = score(prepared, clip, choices, metrics)
            values |= {group.column(index, metric): found.values[metric.name] for metric in metrics}
            if index == 0 and group.name == self.protocol.name and len(prepared.task.times) > 1:
                self._frame_records(folder, group, seed).add(self.workers.rank, prepared, found)
        if self.protocol.keep_frames and group.name == self.protocol.name:
            frames = self.output / "frames"
            choices = chosen(prepared, contestant, self.protocol.scored)
            keep_frames(frames / folder.name / f"seed-{seed}", prepared, clip, choices)
            keep_reference(frames / "reference", prepared)
        records.append(self.workers.rank, prepared.task.name, prepared.level, values)

    def _costs(self, contestant: Model, folder: Path) -> None:
        """Cost under the protocol, and under its departures that draw or time differently."""
        main, *rows = self.protocol.variants()
        for protocol in [main, *(row for row in rows if not _same_cost(row, main))]:
            tail = "" if protocol.name == self.protocol.name else f".{protocol.name}"
            path = folder / f"cost{tail}.json"
            if self.workers.rank == 0 and not path.is_file():
                sample = next(sample for sample in self.samples if sample.name in self.record.scored)
                write_json(path, measure(contestant, prepare(sample, protocol).task, protocol))
        self.workers.wait()


def _same_cost(one: Protocol, other: Protocol) -> bool:
    return one.generation() == other.generation() and one.cost_guidance == other.cost_guidance


def _same_scene(row: Protocol, main: Protocol) -> bool:
    """Whether two protocols have the same pictures and times, regardless of sampler settings."""
    return all(getattr(row, name) == getattr(main, name) for name in ("size", "fit", "resample", "num_frames", "split"))


def _batches(
    samples: Sequence[Sample], protocol: Protocol, batched: bool, failures: dict[str, str]
) -> Iterator[list[Prepared]]:
    """Prepared samples in batches of one size and length, in order; unreadable ones go to `failures`."""
    batch: list[Prepared] = []
    limit = protocol.batch_size if batched else 1
    for sample in samples:
        try:
            prepared = prepare(sample, protocol)
        except (NakawariError, OSError) as error:
            failures[sample.name] = _reason(error)
            continue
        full = len(batch) == limit
        if batch and (full or _shape(prepared) != _shape(batch[0])):
            yield batch
            batch = []
        batch.append(prepared)
    if batch:
        yield batch


def _shape(prepared: Prepared) -> tuple[Any, ...]:
    return prepared.task.keys.shape, prepared.task.num_frames, len(prepared.task.truth)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def contestants(
    variants: Sequence[str | Variant | Contestant], protocol: Protocol, *, floors: bool = True, device: str = "cpu"
) -> Iterator[Contestant]:
    """The rows of the table in order: baselines, installed peers, then each variant, loaded on demand, with its
    baselines.

    Strings are variants in command-line notation. A variant with an adapter or a lower precision has its base
    in full precision as parent, if that is among the variants.
    """
    if floors:
        yield from standard_floors()
        yield from installed_peers(protocol, device)
    names = {_name(variant) for variant in variants}
    for variant in variants:
        if isinstance(variant, Contestant):
            yield variant
            continue
        loaded = load(variant, device) if isinstance(variant, str) else variant
        base = parent_of(loaded.spec.base)
        parent = base if base in names and base != loaded.name else None
        yield from _modes(loaded, protocol, parent)
        if floors and parent is None:
            yield from companions(loaded.name, loaded.pipeline)


def _name(variant: str | Variant | Contestant) -> str:
    return variant if isinstance(variant, str) else variant.name


def _modes(variant: Variant, protocol: Protocol, parent: str | None) -> Iterator[Contestant]:
    guideable = variant.pipeline.guide is not None

    def row(kind: type[Model], tag: str, *, guided: bool = True) -> Model:
        name, own = variant.name + tag, parent and parent + tag
        return kind(name, variant.pipeline, guided=guided, parent=own, source=variant.name)

    if protocol.guided in ("guided", "both") or not guideable:
        if protocol.drawing != "network":
            yield row(Interpolated, "")
        if protocol.drawing != "interpolate":
            yield row(Model, " (network)" if protocol.drawing == "both" else "")
    if protocol.guided in ("unguided", "both") and guideable:
        yield row(Model, " (unguided)", guided=False)


def evaluate(
    variants: Sequence[str | Variant | Contestant],
    dataset: Sequence[Sample],
    protocol: Protocol,
    output: Path | str,
    *,
    floors: bool = True,
    cost: bool = True,
    device: str = "cpu",
    progress: Progress | None = None,
    share: Processes | None = None,
) -> dict[str, Any]:
    """Measure every variant on every sample by one protocol; returns the contents of `aggregates.json`.

    Args:
        variants: rows; the first is the reference.
        dataset: samples in order (`nakawari.data.triplets.open_dataset`), each with at least one true frame.
        protocol: the protocol.
        output: folder for per-sample CSVs, kept frames, `protocol.yaml`, `record.json` and `aggregates.json`. Existing
            results of the same protocol are not repeated, existing rows stay in the table, and
            samples may be added.
        floors: include baselines, installed peers and autoencoder reconstructions.
        cost: measure time and memory of every model with the settings of the quality run.
        device: of variants given by name.
        progress: callback for finished samples.
        share: evaluate only this share (`processes.share_of`); nothing is joined
            and no cost is measured, which the same call without it does. Returns {}.

    Raises:
        UsageError: an empty data set, two rows or samples with one name, or an output folder of another protocol,
            other pictures or another model.
        NakawariError: samples failed or are unreadable; everything else is written, and the message
            names one.
    """
    names = [sample.name for sample in dataset]
    if not names or len(set(names)) != len(names):
        raise UsageError("The data set is empty or has two samples with one name; check the folder and the split.")
    output, workers = Path(output), share or processes()
    with _kept(output, workers):
        if workers.begins:
            with in_turn(output):
                claim(output, protocol, dataset)
        workers.wait()
        record = Record.model_validate(read_json(output / "record.json"))
        run = Run(output, dataset, protocol, workers, record, progress, dict(record.unreadable))
        for contestant in contestants(variants, protocol, floors=floors, device=device):
            if contestant.name in run.rows:
                raise UsageError(f"There are two rows named {contestant.name}; give every variant once.")
            failed = run.row(contestant, cost=cost)
            if failed and workers.apart:
                sample, reason = next(iter(failed.items()))
                raise NakawariError(
                    f"{contestant.name} failed on {len(failed)} samples of this share, such as {sample}: "
                    f"{reason.rstrip('.')}; finished samples are kept; the run that joins the shares retries the rest."
                )
        return {} if workers.apart else _conclude(run)


def _kept(output: Path, workers: Processes) -> AbstractContextManager[None]:
    """The lock of the folder, or of this share of it."""
    if workers.apart:
        return beside_others(output, workers.rank)
    return alone(output) if workers.rank == 0 else nullcontext()


def _conclude(run: Run) -> dict[str, Any]:
    """Write the table of every row in the folder, then report failures.

    Raises:
        NakawariError: samples failed or are unreadable.
    """
    path = run.output / "aggregates.json"
    rows: list[Entry] = []
    if run.workers.rank == 0:
        if not run.record.scored:
            name, reason = next(iter(run.record.unreadable.items()))
            raise NakawariError(f"No sample could be read ({name}: {reason.rstrip('.')}); check the data set.")
        rows = entries(run.output, run.record, run.rows)
        write_json(path, aggregate(run.output, run.protocol, run.record, rows).model_dump(mode="json"))
    run.workers.wait()
    failed = [(row.name, *next(iter(row.failures.items()))) for row in rows if row.failures and row.name in run.rows]
    if failed:
        row, sample, reason = failed[0]
        count = sum(len(entry.failures) for entry in rows if entry.name in run.rows)
        raise NakawariError(
            f"{row} failed on sample {sample}: {reason.rstrip('.')}; {count} failures in all, failed rows get no "
            "mean, and running again retries only the missing samples."
        )
    if run.record.unreadable:
        sample, reason = next(iter(run.record.unreadable.items()))
        raise NakawariError(
            f"{len(run.record.unreadable)} of {len(run.samples)} samples are unreadable and excluded from every row "
            f"(sample {sample}: {reason.rstrip('.')}); everything else is written; repair or remove them and run again."
        )
    return read_json(path)
