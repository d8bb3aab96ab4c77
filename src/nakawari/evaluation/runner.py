"""The one code path from a data set and some models to numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..data.samples import Sample
from ..errors import NakawariError, NakawariWarning, UsageError
from ..files import read_json, write_json, write_text
from ..trained_on import seen_samples
from ..training.provenance import git_revision, machine, packages
from ..variants import Variant, load, parent_of
from .aggregate import aggregate
from .contestants import Contestant, Model
from .efficiency import measure
from .floors import companions, standard_floors
from .groups import Group, groups
from .peers import installed_peers
from .processes import Processes, processes
from .protocol import Protocol
from .records import Records
from .samples import Prepared, chosen, data_fingerprint, folder_name, keep_frames, keep_reference, prepare, score
from .statistics import LEVEL, RESAMPLES

Progress = Callable[[str, int, int], None]
"""Called with (row, finished samples, all samples)."""


@dataclass
class Run:
    """One evaluation in progress: its folder, its samples and what it has found so far."""

    output: Path
    samples: Sequence[Sample]
    protocol: Protocol
    workers: Processes
    progress: Progress | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)

    def row(self, contestant: Contestant, *, cost: bool) -> None:
        """Run one row of the table: every generation, every seed."""
        files: dict[str, list[str]] = {}
        failures: dict[str, str] = {}
        for group in groups(self.protocol):
            protocol = group.protocols[0]
            if (
                group.name != self.protocol.name
                and not contestant.settings_matter
                and _same_scene(protocol, self.protocol)
            ):
                continue
            for seed in protocol.seeds if contestant.seeded else protocol.seeds[:1]:
                path = self._path(contestant, group, seed)
                failures |= self._fill(contestant, group, seed, Records(path, group.columns))
                files.setdefault(group.name, []).append(path.relative_to(self.output).as_posix())
        entry = {
            "name": contestant.name,
            "role": contestant.role,
            "parent": contestant.parent,
            "status": "failed" if failures else "ok",
            "failures": failures,
            "files": files,
        }
        if isinstance(contestant, Model) and contestant.source is not None:
            self._say_what_was_seen(contestant, entry)
        if cost and not failures and isinstance(contestant, Model):
            entry["cost"], entry["costs"] = self._costs(contestant)
        self.entries.append(entry)

    def _say_what_was_seen(self, contestant: Model, entry: dict[str, Any]) -> None:
        """Warn where a model was trained on what it is scored on, and write down on which samples."""
        seen = seen_samples(contestant.source, self.samples)
        if not seen:
            return
        entry["seen_in_training"] = seen
        if self.workers.rank == 0:
            warnings.warn(
                f"{contestant.name} was trained on {len(seen)} of these {len(self.samples)} samples, such as "
                f"{seen[0]}: its scores say nothing about new drawings; evaluate on data that were kept out.",
                NakawariWarning,
                stacklevel=2,
            )

    def _path(self, contestant: Contestant, group: Group, seed: int) -> Path:
        lead = "" if group.name == self.protocol.name else f"{group.name}."
        return self.output / folder_name(contestant.name) / f"{lead}seed-{seed}.csv"

    def _fill(self, contestant: Contestant, group: Group, seed: int, records: Records) -> dict[str, str]:
        """Do the samples that are not done; returns failures by sample name, on every process."""
        done = records.done()
        mine = [
            sample
            for index, sample in enumerate(self.samples)
            if index % self.workers.count == self.workers.rank and sample.name not in done
        ]
        finished = len(self.samples) - len(mine)
        failures: dict[str, str] = {}
        for batch in _batches(mine, group.protocols[0], contestant.batched, failures):
            failures |= self._batch(contestant, group, seed, batch, records)
            finished += len(batch)
            if self.progress is not None:
                self.progress(contestant.name, finished, len(self.samples))
        everywhere = self.workers.gather(failures)
        if self.workers.rank == 0:
            records.finish([sample.name for sample in self.samples], everywhere)
        self.workers.wait()
        return everywhere

    def _batch(
        self, contestant: Contestant, group: Group, seed: int, batch: list[Prepared], records: Records
    ) -> dict[str, str]:
        try:
            clips = contestant.draw([prepared.task for prepared in batch], group.protocols[0], seed)
        except UsageError:
            raise
        except Exception as error:
            if len(batch) == 1:
                return {batch[0].task.name: _reason(error)}
            # One bad sample must not take its batch with it: try them one by one and name it.
            failures: dict[str, str] = {}
            for prepared in batch:
                failures |= self._batch(contestant, group, seed, [prepared], records)
            return failures
        failures = {}
        for prepared, clip in zip(batch, clips, strict=True):
            try:
                self._score(contestant, group, seed, prepared, clip, records)
            except UsageError:
                raise
            except NakawariError as error:
                failures[prepared.task.name] = _reason(error)
        return failures

    def _score(
        self, contestant: Contestant, group: Group, seed: int, prepared: Prepared, clip: Any, records: Records
    ) -> None:
        values: dict[str, float | None] = {}
        for index, (protocol, metrics) in enumerate(zip(group.protocols, group.metrics, strict=True)):
            choices = chosen(prepared, contestant, protocol.scored)
            found = score(prepared, clip, choices, metrics)
            values |= {group.column(index, metric): found[metric.name] for metric in metrics}
        if self.protocol.keep_frames and group.name == self.protocol.name:
            frames = self.output / "frames"
            choices = chosen(prepared, contestant, self.protocol.scored)
            keep_frames(frames / folder_name(contestant.name) / f"seed-{seed}", prepared, clip, choices)
            keep_reference(frames / "reference", prepared)
        records.append(self.workers.rank, prepared.task.name, prepared.level, values)

    def _costs(self, contestant: Model) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Cost under the protocol, and under those of its rows that draw or time in another way."""
        main, *rows = self.protocol.variants()
        others = [row for row in rows if not _same_cost(row, main)]
        return self._cost(contestant, main), {row.name: self._cost(contestant, row) for row in others}

    def _cost(self, contestant: Model, protocol: Protocol) -> dict[str, Any]:
        tail = "" if protocol.name == self.protocol.name else f".{protocol.name}"
        path = self.output / folder_name(contestant.name) / f"cost{tail}.json"
        if self.workers.rank == 0 and not path.is_file():
            task = prepare(self.samples[0], protocol).task
            write_json(path, measure(contestant, task, protocol))
        self.workers.wait()
        return read_json(path)


def _same_cost(one: Protocol, other: Protocol) -> bool:
    return one.generation() == other.generation() and one.cost_guidance == other.cost_guidance


def _same_scene(row: Protocol, main: Protocol) -> bool:
    """Whether two protocols show the same pictures at the same times, whatever the sampler does."""
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
    """The rows of the table in order: floors, installed peers, then each variant, loaded when its turn comes, and what
    stands beside it.

    Strings are variants as the command line writes them. A variant with an adapter or a lower precision has its base
    in full precision as parent, where that is among the variants.
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
    guideable = getattr(variant.pipeline, "guide", None) is not None
    if protocol.guided in ("guided", "both") or not guideable:
        yield Model(variant.name, variant.pipeline, guided=True, parent=parent, source=variant.name)
    if protocol.guided in ("unguided", "both") and guideable:
        tag = " (unguided)"
        yield Model(
            variant.name + tag, variant.pipeline, guided=False, parent=parent and parent + tag, source=variant.name
        )


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
) -> dict[str, Any]:
    """Measure every variant on every sample by one protocol; returns what `aggregates.json` holds.

    Args:
        variants: rows; the first is what the others are compared with.
        dataset: samples in order (`nakawari.data.triplets.open_dataset`), each with at least one true frame.
        protocol: how.
        output: folder for per-sample CSVs, kept frames, `protocol.yaml`, `record.json` and `aggregates.json`. Work
            already there under the same protocol is not done again.
        floors: put floors, anchors, installed peers and ceilings beside the variants.
        cost: measure time and memory of every model with the settings of the quality run.
        device: where variants given by name are loaded.
        progress: told about finished samples.

    Raises:
        UsageError: an empty data set, two rows or samples of one name, or an output folder of another protocol.
        NakawariError: samples failed; everything else is finished and written, and the message names one.
    """
    names = [sample.name for sample in dataset]
    if not names or len(set(names)) != len(names):
        raise UsageError("The data set is empty or has two samples of one name; check the folder and the split.")
    run = Run(Path(output), dataset, protocol, processes(), progress)
    _open(run, names)
    seen: set[str] = set()
    for contestant in contestants(variants, protocol, floors=floors, device=device):
        if folder_name(contestant.name) in seen:
            raise UsageError(f"There are two rows named {contestant.name}; give every variant once.")
        seen.add(folder_name(contestant.name))
        run.row(contestant, cost=cost)
    first = next((entry["name"] for entry in run.entries if entry["role"] == "model"), run.entries[0]["name"])
    result: dict[str, Any] = {}
    if run.workers.rank == 0:
        result = aggregate(run.output, protocol, groups(protocol), run.entries, names, reference=first)
        write_json(run.output / "aggregates.json", result)
    run.workers.wait()
    failed = [(entry["name"], *next(iter(entry["failures"].items()))) for entry in run.entries if entry["failures"]]
    if failed:
        row, sample, reason = failed[0]
        count = sum(len(entry["failures"]) for entry in run.entries)
        raise NakawariError(
            f"{row} failed on sample {sample}: {reason.rstrip('.')}; {count} failures in all, failed rows get no "
            "mean, and running again tries only what is missing."
        )
    return result or read_json(run.output / "aggregates.json")


def _open(run: Run, names: list[str]) -> None:
    """Claim the output folder for this protocol and these samples, and write down where the numbers come from."""
    path = run.output / "protocol.yaml"
    record = run.output / "record.json"
    data = data_fingerprint(run.samples) if run.workers.rank == 0 else None
    if path.is_file():
        with suppress(yaml.YAMLError):
            kept = yaml.safe_load(path.read_text(encoding="utf-8"))
            asked = run.protocol.model_dump(mode="json")
            free = {"batch_size", "description"}
            if {**kept, **dict.fromkeys(free)} != {**asked, **dict.fromkeys(free)} or (
                record.is_file() and read_json(record)["samples"] != names
            ):
                raise UsageError(
                    f"{run.output} holds an evaluation by another protocol or of other samples; use another folder."
                )
        if data and record.is_file() and read_json(record).get("data", data) != data:
            raise UsageError(f"The pictures are no longer those that {run.output} was made of; use another folder.")
    elif run.workers.rank == 0:
        write_text(path, run.protocol.to_yaml())
        write_json(
            record,
            {
                "packages": packages(),
                "git": git_revision(),
                "machine": machine(),
                "data": data,
                "bootstrap": {"resamples": RESAMPLES, "level": LEVEL},
                "samples": names,
                "films": [sample.group or sample.name for sample in run.samples],
            },
        )
    run.workers.wait()
