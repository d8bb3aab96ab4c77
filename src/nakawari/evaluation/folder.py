"""The folder of an evaluation: its protocol and samples, permitted additions, and existing rows.

A resumed run must have the same protocol, pictures and models. Samples may be added (a larger
`--limit`) and rows may be added; an unreadable sample may be repaired or removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from ..data.samples import Sample
from ..errors import NakawariError, UsageError
from ..files import fcntl, read_json, remove, write_json, write_text
from ..provenance import git_revision, machine, packages
from .aggregate import described
from .contestants import Contestant
from .metrics import METRICS, missing
from .protocol import Protocol
from .reading import read_lines
from .samples import films_of, folder_name, picture_hashes, prepare
from .schema import DRAWN, FORMAT, Entry, Identity, Made, Record, RowRecord
from .statistics import LEVEL, RESAMPLES

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}(\.[a-z]+)?")
_FREE = ("batch_size", "description")


def made_here() -> Made:
    """The current versions, commit and machine."""
    return Made(packages=packages(), git=git_revision(), machine=machine())


@contextmanager
def alone(output: Path) -> Iterator[None]:
    """Lock a folder against other evaluations inside the block, and remove temporaries of a killed one.

    Raises:
        UsageError: another process is writing there.
    """
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output / ".lock", output):
        for path in [path for path in output.rglob(".*") if _LEFTOVER.fullmatch(path.name)]:
            remove(path)
        for path in output.glob(".share-*.lock"):
            path.unlink()
        yield


@contextmanager
def beside_others(output: Path, number: int) -> Iterator[None]:
    """Lock one share of a folder; other shares may be worked on, but not joined.

    Raises:
        UsageError: another process works on this share, or is joining them.
    """
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output / ".lock", output, together=True), _locked(output / f".share-{number}.lock", output):
        yield


@contextmanager
def in_turn(output: Path) -> Iterator[None]:
    """Lock the files that all shares write: the identity of the folder and its rows."""
    with (output / ".turn.lock").open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _locked(path: Path, output: Path, *, together: bool = False) -> Iterator[None]:
    with path.open("w") as lock:
        if fcntl is not None:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"Another evaluation is writing to {output}; wait for it, or use another folder."
                ) from error
        yield


def claim(output: Path, protocol: Protocol, samples: Sequence[Sample]) -> Record:
    """Create a folder for this protocol and these samples, or check an existing one.

    Raises:
        UsageError: it is of another protocol, of other samples or pictures, or written by an earlier version.
    """
    _claim_protocol(output / "protocol.yaml", protocol)
    path = output / "record.json"
    kept = Record.model_validate(read_json(path)) if path.is_file() else None
    if kept is not None and kept.format < FORMAT:
        raise UsageError(
            f"{output} was written by an earlier version, which did not record the weights; reports read it, "
            "but to evaluate give another folder."
        )
    each, data = picture_hashes(samples)
    if kept is not None:
        _check_samples(output, kept, each)
    wanted = {name for one in protocol.variants() for name in one.metrics}
    left_out = missing(wanted)
    if kept is not None:
        lost = sorted(set(left_out) - set(kept.left_out))
        if lost:
            raise UsageError(f"{output} holds {lost[0]}, but {left_out[lost[0]]}; install it, or use another folder.")
        left_out = kept.left_out
    unreadable = {} if kept is None else {name: kept.unreadable[name] for name in kept.unreadable if name in each}
    begun = dict(kept or made_here())
    record = Record(
        **{name: begun[name] for name in Made.model_fields},
        format=FORMAT,
        samples=list(each),
        films=films_of(samples),
        data=data,
        pictures=each,
        tags={sample.name: list(sample.tags) for sample in samples if sample.tags},
        unreadable=still_unreadable(samples, protocol, unreadable),
        left_out={name: left_out[name] for name in METRICS if name in left_out},
        bootstrap={"resamples": RESAMPLES, "level": LEVEL},
    )
    write_record(output, record)
    return record


def write_record(output: Path, record: Record) -> None:
    """Write `record.json`."""
    write_json(output / "record.json", record.model_dump(mode="json"))


def _claim_protocol(path: Path, protocol: Protocol) -> None:
    if not path.is_file():
        write_text(path, protocol.to_yaml())
        return
    kept: Any = {}
    with suppress(yaml.YAMLError):
        kept = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        kept.setdefault("drawing", "network")  # the method of earlier revisions, which did not record it
    asked = protocol.model_dump(mode="json")
    if {**kept, **dict.fromkeys(_FREE)} != {**asked, **dict.fromkeys(_FREE)}:
        raise UsageError(f"{path.parent} holds an evaluation by another protocol; use another folder.")


def _check_samples(output: Path, kept: Record, each: dict[str, str]) -> None:
    """Check that all scored samples are still requested, with the same pictures."""
    gone = [name for name in kept.samples if name not in each]
    changed = [name for name in kept.samples if name in each and each[name] != kept.pictures.get(name)]
    if not gone and not changed:
        return
    scored = scored_samples(output)
    for name in gone:
        if name in scored:
            raise UsageError(
                f"{output} holds sample {name}, which is not requested now; samples can be added but not removed, "
                "so use another folder."
            )
    for name in changed:
        if name in scored:
            raise UsageError(f"The pictures of sample {name} have changed since {output} was made; use another folder.")


def scored_samples(output: Path) -> set[str]:
    """The samples with numbers in any row."""
    return _samples_in(output.glob("*/*seed-*.csv"))


def _samples_in(files: Iterable[Path]) -> set[str]:
    shown = (file for file in files if not file.name.startswith("."))
    return {line[0] for file in shown for line in read_lines(file, cut=True)[1:]}


def still_unreadable(samples: Sequence[Sample], protocol: Protocol, known: dict[str, str]) -> dict[str, str]:
    """The samples in `known` that are still unreadable."""
    found = {}
    for sample in (sample for sample in samples if sample.name in known):
        try:
            prepare(sample, protocol)
        except (NakawariError, OSError):
            found[sample.name] = known[sample.name]
    return found


def open_row(
    output: Path, contestant: Contestant, files: dict[str, list[str]], identity: Identity | None, seen: list[str]
) -> RowRecord:
    """Create or resume a row in its own folder.

    Args:
        output: the results.
        contestant: the row.
        files: generation -> names of its CSV files in the row's folder.
        identity: its current identity.
        seen: samples that it was trained on.

    Raises:
        UsageError: the row belongs to another model.
    """
    place = row_folder(output, contestant.name)
    path = output / place / "row.json"
    here = made_here()
    made = [here]
    if path.is_file():
        kept = RowRecord.model_validate(read_json(path))
        unlike = _unlike(_of_scored(kept.identity, output / place), identity)
        if unlike:
            raise UsageError(
                f"{contestant.name} differs from the row in {output}: {unlike} changed; use another folder."
            )
        made = kept.made if here in kept.made else [*kept.made, here]
    row = RowRecord(
        name=contestant.name,
        role=contestant.role,
        parent=contestant.parent,
        folder=place,
        files={group: [f"{place}/{name}" for name in names] for group, names in files.items()},
        identity=identity,
        made=made,
        seen_in_training=seen,
    )
    write_json(path, row.model_dump(mode="json"))
    return row


def _of_scored(kept: Identity | None, row: Path) -> Identity | None:
    """An identity without the pictures of samples without numbers, which may still be repaired."""
    if kept is None or not any(name.startswith(DRAWN) for name in kept.parts):
        return kept
    done = _samples_in(row.glob("*seed-*.csv"))
    parts = {name: sha for name, sha in kept.parts.items() if name.removeprefix(DRAWN) in done}
    return kept.model_copy(update={"parts": parts})


def _unlike(kept: Identity | None, now: Identity | None) -> str | None:
    if kept is None or now is None:
        return None if kept is now else "its kind"
    return kept.unlike(now)


def row_folder(output: Path, name: str) -> str:
    """The row's folder: its name, with a hash if another row has that folder."""
    folder = folder_name(name)
    record = output / folder / "row.json"
    if not record.is_file() or read_json(record).get("name") == name:
        return folder
    return f"{folder}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def entries(output: Path, record: Record, now: Sequence[str]) -> list[Entry]:
    """Every row in the folder with its status: in the order of the last table, then of this evaluation, then by
    name."""
    found = {}
    for path in sorted(output.glob("*/row.json")):
        row = RowRecord.model_validate(read_json(path))
        found[row.name] = described(output, row, record.scored)
    table = output / "aggregates.json"
    earlier = [entry["name"] for entry in read_json(table)["entries"]] if table.is_file() else []
    order = dict.fromkeys(name for name in (*earlier, *now, *found) if name in found)
    return [found[name] for name in order]
