"""The progress of an episode, read from its manifests and the records of its cuts."""

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
    """A row of the table: one cut.

    Args:
        manifest: its state.
        confidence: the lowest confidence of its in-betweens on record, 0 to 1; None if there is none.
        sheets: its contact sheets, relative to the episode's folder.
        drawings: its number of in-betweens.
    """

    manifest: Manifest
    confidence: float | None = None
    sheets: tuple[str, ...] = ()
    drawings: int = 0

    def plain(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self.manifest) | {"confidence": self.confidence, "drawings": self.drawings}


def rows_of(episode: Episode) -> list[Row]:
    """Every cut, those that need attention first: failed ones, then finished ones by confidence, lowest first, then
    finished ones without a confidence, then the rest."""
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
        sentence = f"{folder} was complete but can no longer be read ({error}); retry it."
        return Row(Manifest(unit.name, FAILED, sentence, manifest.worker))
    known = [one["confidence"] for one in drawn if one.get("confidence") is not None]
    sheets = sorted(path.relative_to(episode.folder).as_posix() for path in folder.glob("contact-*.png"))
    return Row(manifest, min(known, default=None), tuple(sheets), len(drawn))


def counts_of(rows: Sequence[Row]) -> dict[str, int]:
    """State -> number of cuts."""
    states = [row.manifest.state for row in rows]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def lines_of(rows: Sequence[Row]) -> Iterator[str]:
    """The table, line by line: totals, then one line per cut."""
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
    """Write the page with a contact sheet for each level of each cut; returns its path.

    `price`: of one worker hour, in any currency, for the cost of each cut; None leaves costs out.
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
    """Reset failed cuts to `waiting`, all or the named ones; returns their names.

    Raises `UsageError` for a name that is not a cut, or a cut that has not failed.
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
    """Collect the drawings and sheets of all finished cuts in one folder, `target/CUT/…`; returns the number of cuts
    collected and of cuts missing. Files are hard-linked if the disk allows it, else copied.

    Raises `NakawariError` if nothing is finished, `UsageError` if the folder exists.
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
