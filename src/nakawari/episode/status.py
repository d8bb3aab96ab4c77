"""How far an episode is, from its manifests and the records of its cuts alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import NakawariError, UsageError
from ..files import atomic_path, read_json, write_text
from .manifest import DONE, FAILED, RUNNING, STARTING, Manifest, Manifests
from .plan import Episode, Unit
from .unit import folder_of

PAGE = "status.html"


@dataclass(frozen=True)
class Row:
    """A cut in the table.

    Args:
        manifest: what became of it.
        confidence: the least that the record gives any of its in-betweens, 0 to 1; None where it gives none.
        sheets: its contact sheets, by their place in the folder of the episode.
        drawings: all in-betweens of it.
    """

    manifest: Manifest
    confidence: float | None = None
    sheets: tuple[str, ...] = ()
    drawings: int = 0

    def plain(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self.manifest) | {"confidence": self.confidence, "drawings": self.drawings}


def rows_of(episode: Episode) -> list[Row]:
    """Every cut; those first that need somebody: failed ones, then finished ones by their confidence, least first, then
    finished ones without one, then the rest."""
    manifests = Manifests(episode.folder)
    rows = [_row(episode, unit, manifests.get(unit.name)) for unit in episode.units]
    order = {FAILED: 0, DONE: 1, RUNNING: 2, STARTING: 2}
    return sorted(
        rows,
        key=lambda row: (order.get(row.manifest.state, 3), 2.0 if row.confidence is None else row.confidence),
    )


def _row(episode: Episode, unit: Unit, manifest: Manifest) -> Row:
    if manifest.state != DONE:
        return Row(manifest)
    folder = folder_of(episode, unit)
    try:
        record = read_json(folder / "cut.json")
        drawn = [one for level in record["levels"] for one in level["drawings"] if "share" in one]
    except (NakawariError, KeyError, TypeError) as error:
        sentence = f"{folder} was whole and is not any more ({error}); retry it."
        return Row(Manifest(unit.name, FAILED, sentence, manifest.worker))
    known = [one["confidence"] for one in drawn if one.get("confidence") is not None]
    sheets = sorted(path.relative_to(episode.folder).as_posix() for path in folder.glob("contact-*.png"))
    return Row(manifest, min(known, default=None), tuple(sheets), len(drawn))


def counts_of(rows: Sequence[Row]) -> dict[str, int]:
    """State -> cuts."""
    states = [row.manifest.state for row in rows]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """The table, line by line: the sums, then a line for each cut."""
    seconds = sum(row.manifest.seconds for row in rows)
    counted = ", ".join(f"{count} {state}" for state, count in counts_of(rows).items())
    yield f"{len(rows)} cuts: {counted}; {sum(row.drawings for row in rows)} drawings, {seconds:.1f} s of work"
    width = max(map(len, [row.manifest.name for row in rows]), default=0)
    for row in rows:
        one = row.manifest
        sure = "" if row.confidence is None else f"{row.confidence:.2f}"
        numbers = f"{one.seconds:>8.1f} s{row.drawings:>6} drawn{sure:>6}"
        yield f"{one.name:<{width}}  {one.state:<8}{numbers}  {one.sentence}".rstrip()


def write_page(episode: Episode, rows: Sequence[Row], price: float | None) -> Path:
    """Write the page with a contact sheet for each level of each cut; returns where it is.

    `price`: of one hour of a worker, in whatever currency, for the cost of each cut; None leaves costs out.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nakawari.episode", "templates"), autoescape=True, undefined=StrictUndefined
    )
    path = episode.folder / PAGE
    text = environment.get_template("status.html").render(
        title=episode.folder.resolve().name, rows=rows, lines=next(lines_of(rows)), price=price, model=episode.model
    )
    write_text(path, text)
    return path


def retry(episode: Episode, names: Sequence[str]) -> list[str]:
    """Let failed cuts wait again, all of them or those named; returns their names.

    Raises `UsageError` for a name that is no cut, or one that has not failed.
    """
    units = [episode.unit(name) for name in names] or list(episode.units)
    failed = {row.manifest.name for row in rows_of(episode) if row.manifest.state == FAILED}
    for unit in units if names else ():
        if unit.name not in failed:
            raise UsageError(f"{unit.name} has not failed; see nakawari episode status.")
    chosen = [unit.name for unit in units if unit.name in failed]
    for name in chosen:
        Manifests(episode.folder).forget(name)
    return chosen


def collect(episode: Episode, target: Path) -> tuple[int, int]:
    """Put the drawings and sheets of all finished cuts into one folder, `target/CUT/…`; returns how many cuts there
    are, and how many are lacking. Files are linked where the disk allows it, else copied.

    Raises `NakawariError` where nothing is finished, `UsageError` where the folder is there already.
    """
    if target.exists():
        raise UsageError(f"{target} exists already; give another output folder.")
    done = [row.manifest.name for row in rows_of(episode) if row.manifest.state == DONE]
    if not done:
        raise NakawariError(f"No cut of {episode.folder} is finished; see nakawari episode status.")
    with atomic_path(target) as temporary:
        for name in done:
            shutil.copytree(folder_of(episode, episode.unit(name)), temporary / name, copy_function=_link)
    return len(done), len(episode.units) - len(done)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
