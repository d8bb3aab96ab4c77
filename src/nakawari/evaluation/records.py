"""Per-sample records: one CSV per row and seed, written line by line.

Every process appends to its own part file, so a killed run keeps every finished sample; at the
end the parts are joined in the order of the data set, independent of the distribution and of interruptions.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.samples import Sample
from ..errors import NakawariError
from ..files import write_json, write_text
from .metrics import Metric
from .reading import FIXED, read_lines
from .samples import Prepared, Scores


class Records:
    """The samples of one row and seed.

    Args:
        path: the final CSV; parts lie beside it as `<stem>.part-<rank>.csv`.
        columns: metric columns, after `name` and `level`.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, (*FIXED, *columns)

    @property
    def failed_path(self) -> Path:
        """File of the failures of an unfinished row: sample name -> reason."""
        return self.path.with_suffix(".failed.json")

    def _parts(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}.part-*.csv"))

    def done(self) -> dict[str, list[str]]:
        """Finished samples by name, as written fields; an incomplete line is ignored."""
        found: dict[str, list[str]] = {}
        for file in [self.path, *self._parts()]:
            if file.is_file():
                found.update({fields[0]: fields for fields in self._read(file)})
        return found

    def _read(self, file: Path) -> list[list[str]]:
        header, *body = read_lines(file, cut=True) or [[]]
        if header and tuple(header) != self.columns:
            raise NakawariError(f"{file} has other columns than this run; use another output folder or delete it.")
        return body

    def append(self, rank: int, name: str, level: str, values: Mapping[str, float | None]) -> None:
        """Append one finished sample to this process's part, and flush it to disk."""
        part = self.path.with_name(f"{self.path.stem}.part-{rank}.csv")
        part.parent.mkdir(parents=True, exist_ok=True)
        fields = [name, level, *(_text(values[column]) for column in self.columns[len(FIXED) :])]
        try:
            lead = _repair(part)
            with part.open("a", encoding="utf-8", newline="") as file:
                file.write((lines([self.columns]) if lead else "") + lines([fields]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NakawariError(f"Could not write {part}: {error.strerror}; finished samples stay.") from error

    def finish(self, names: Sequence[str], failures: Mapping[str, str]) -> bool:
        """Join the parts in the order of `names`; if samples are missing, write `failed_path` instead and return
        False."""
        done = self.done()
        missing = {name: failures.get(name, "not run") for name in names if name not in done}
        if missing:
            write_json(self.failed_path, missing)
            return False
        write_text(self.path, lines([self.columns, *(done[name] for name in names)]))
        for leftover in [*self._parts(), self.failed_path]:
            leftover.unlink(missing_ok=True)
        return True


class FrameRecords:
    """The frames of the samples of one row and seed, if samples have several: one line for each.

    Written before the sample itself, so that a finished sample has its frames; if a killed sample is repeated, the
    last line counts.

    Args:
        path: the final CSV.
        metrics: of the protocol; those that need a pair are per frame.
    """

    def __init__(self, path: Path, metrics: Sequence[Metric]) -> None:
        self._records = Records(path, [metric.name for metric in metrics if metric.needs == "pair"])

    def add(self, rank: int, prepared: Prepared, scores: Scores) -> None:
        """Write the frames of one finished sample."""
        for index, time in enumerate(prepared.task.times):
            values = {name: each[index] for name, each in scores.frames.items()}
            self._records.append(rank, frame_name(prepared.task.name, time), prepared.level, values)

    def finish(self, samples: Sequence[Sample]) -> None:
        """Join the parts in the order of the samples, if every frame exists."""
        names = [frame_name(one.name, time) for one in samples if len(one.times) > 1 for time in one.times]
        if names and not set(names) - self._records.done().keys():
            self._records.finish(names, {})


def frame_name(sample: str, time: float) -> str:
    """The name of a true frame of a sample at a time in (0, 1)."""
    return f"{sample}@{time:.4f}"


def _repair(part: Path) -> bool:
    """Remove an incomplete last line; True if the file is new or empty and needs its header."""
    if not part.exists():
        return True
    data = part.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        part.write_bytes(whole)
    return not whole


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows as CSV text with Unix line ends."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
