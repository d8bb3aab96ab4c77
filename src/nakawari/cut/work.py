"""Draw a cut from its sheet: every missing drawing once, level by level, saved gap by gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import write_json
from ..interpolation import Drawn, Settings, draw
from ..interpolation.colour import as_written
from ..interpolation.drawn import OF_MODEL, Gap
from ..interpolation.folder import Earlier, file_hash, filling
from ..interpolation.gaps import GapStore, hash_of
from ..interpolation.job import Count, keeping
from ..media import Picture
from .gaps import level_gaps, read_level
from .plan import RECORD, TOOL, Cut, CutLevel, Target
from .writing import WrittenLevel, write_cut, write_level

Progress = Callable[[int, int], None]
"""Called with the number of missing drawings drawn and in total."""


@dataclass(frozen=True)
class Done:
    """Result of drawing a cut: its record, and the number of new drawings."""

    record: Mapping[str, Any]
    drawn: int


def draw_cut(
    cut: Cut,
    target: Target,
    settings: Settings,
    model: str,
    fingerprint: str,
    load: Callable[[], Any],
    progress: Progress | None = None,
) -> Done:
    """Draw every missing drawing of a cut once, and write the folder atomically.

    Repeated with the same sheet, drawings, settings and model, nothing is drawn or written. Gaps with the same keys,
    settings and model are reused, also from an unfinished job.

    Args:
        settings: how gaps are drawn; its counts, fractions and loop are ignored.
        model: the variant's name, for the record.
        fingerprint: of the model, "" if nothing is missing.
        load: returns the pipeline; called only if something is to be drawn.

    Raises:
        NakawariError: as `draw`, and if files cannot be written; finished gaps are kept.
        Interrupted: by the user; the message says how much is kept.
    """
    earlier = Earlier.of(target.folder, RECORD, TOOL)
    key = _key_of(cut, target, settings, fingerprint)
    if earlier.record.get("key") == key and earlier.whole():
        return Done(earlier.record, 0)
    store = GapStore(target.folder)
    count = Count(0, sum(len(level.gaps()) for level in cut.levels))
    loaded = Loaded(load)
    said = {"key": key, "model": model, "model_hash": fingerprint, "prompt": settings.prompt}
    with keeping(count):
        drawn = done = 0
        for level in cut.levels:
            for gap in level_gaps(level, settings, fingerprint):
                if store.get(gap.key) is None and earlier.gap(gap.key) is None:
                    own = draw(gap.pair, gap.settings, loaded.pipeline)
                    store.put(gap.key, Gap(own.frames[1:-1], None, own.shares[0], own.used[0]))
                    drawn += len(gap.drawings)
                count.finished += 1
                done += len(gap.drawings)
                if progress:
                    progress(done, cut.missing)
        with filling(earlier) as folder:
            levels = [_write(folder, level, settings, fingerprint, store, earlier) for level in cut.levels]
            record = write_cut(folder, cut, target, levels) | said | _used(levels)
            write_json(folder / RECORD, record)
    store.clear()
    return Done(record, drawn)


class Loaded:
    """A pipeline that is loaded on first use."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load, self._pipeline = load, None

    @property
    def pipeline(self) -> Any:
        """The pipeline."""
        if self._pipeline is None:
            self._pipeline = self._load()
        return self._pipeline


def _write(
    folder: Path, level: CutLevel, settings: Settings, fingerprint: str, store: GapStore, earlier: Earlier
) -> WrittenLevel:
    pictures: dict[str, Picture] = {}
    gaps = []
    for gap in level_gaps(level, settings, fingerprint):
        found = store.get(gap.key) or earlier.gap(gap.key)
        assert found is not None
        frames = as_written(Drawn(found.frames, [None] * len(found.frames)), gap.pair)
        pictures |= {drawing.name: frame for drawing, frame in zip(gap.drawings, frames, strict=True)}
        gaps.append((gap, found))
    return write_level(folder, level, read_level(level), pictures, gaps)


def _key_of(cut: Cut, target: Target, settings: Settings, fingerprint: str) -> str:
    """Hash of everything that determines the result of a cut."""
    words = replace(settings, counts=(0,), shares=None, loop=False).of_gap(0)
    inputs = [file_hash(path) for path in (*cut.sources(), *([target.ground] if target.ground else []))]
    names = [[level.level.name, level.names] for level in cut.levels]
    said = [cut.naming, cut.file_name, target.previews, cut.sheet.rate, [one.exposures for one in cut.levels]]
    return hash_of([__version__, words, fingerprint, inputs, names, said])


def _used(levels: Sequence[WrittenLevel]) -> dict[str, Any]:
    """The model's settings in effect; all None if it drew nothing."""
    used = next((level.used for level in levels if level.used), {})
    return {name: used.get(name) for name in OF_MODEL}
