"""A whole job: reuse finished gaps, draw the others one by one, write the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import Interrupted, NakawariError, UsageError
from .counting import Progress, Watch
from .draw import draw
from .drawn import OF_MODEL, Drawn, Gap, is_by_model
from .folder import Earlier, file_hash
from .gaps import GapStore, gap_key
from .keys import Key
from .output import PLAYBACK_FPS, Output, write_result
from .record import Made, earlier_in
from .settings import Settings
from .timeline import Timeline

GapProgress = Callable[[int, int], None]
"""Called with (finished, total) gaps to draw, after each gap."""


@dataclass(frozen=True)
class Only:
    """The gap, numbered from 0, to redraw, or the number of its single frame to redraw."""

    gap: int
    frame: int | None = None


@dataclass(frozen=True)
class Done:
    """The result of a job.

    Args:
        drawn: the sequence.
        files: the written files.
        record: the record beside them.
        gaps: the gaps drawn now, numbered from 0; others existed.
    """

    drawn: Drawn
    files: list[Path]
    record: dict[str, Any]
    gaps: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """A sequence to draw.

    Args:
        keys: see `draw`.
        settings: see `draw`.
        output: the output; `Output.check` has passed.
        timeline: the frames of the drawings.
        model: the variant's name.
        fingerprint: of the model, "" if nothing is drawn.
        only: redraw only this, in the existing sequence.
    """

    keys: Sequence[Key]
    settings: Settings
    output: Output
    timeline: Timeline
    model: str
    fingerprint: str = ""
    only: Only | None = None

    def redrawn_files(self) -> list[str] | None:
        """The files of the redrawn frames, if not all are redrawn."""
        if self.only is None:
            return None
        files, first = self.timeline.files(), sum(self.settings.counts[: self.only.gap]) + self.only.gap + 1
        places = range(first, first + self.settings.counts[self.only.gap])
        numbers = self.timeline.begins
        return [name for p in places if self.only.frame in (None, numbers[p]) for name in files[p]]

    def gap_keys(self) -> tuple[str, ...]:
        """Per gap the hash of everything that determines its frames."""
        pixels = [key.pixels for key in self.keys]
        pairs = zip(pixels, pixels[1:] + pixels[:1] * self.settings.loop, strict=False)
        return tuple(gap_key(pair, self.settings.of_gap(gap), self.fingerprint) for gap, pair in enumerate(pairs))

    def plan(self) -> dict[str, Any]:
        """The plan of the job, for `GapStore.put_plan`."""
        height, width, channels = self.keys[0].pixels.shape
        return {
            "gaps": list(self.gap_keys()),
            "between": list(self.settings.counts),
            "keys": [key.path.name for key in self.keys],
            "begins": list(self.timeline.begins),
            "lengths": list(self.timeline.lengths),
            "size": [width, height],
            "channels": "RGBA" if channels == 4 else "RGB",
            "fps": self.settings.fps or PLAYBACK_FPS,
            "loop": self.settings.loop,
            "model": self.model,
            "seed": self.settings.seed,
        }


def carry_out(
    job: Job,
    load: Callable[[], Any],
    progress: Progress | None = None,
    gap_done: GapProgress | None = None,
    watch: Watch | None = None,
) -> Done:
    """Draw the missing gaps, and write the files atomically. Finished gaps are stored until then, so that the same
    job, started again after an interruption, resumes and ends with the same bytes.

    Args:
        load: returns the pipeline; called only if something must be drawn.
        progress, watch: as for `draw`.
        gap_done: called after every gap.

    Raises:
        NakawariError: as `draw`, or files cannot be written; finished gaps are kept.
        Interrupted: by the user; its message gives the number of kept gaps.
    """
    store, earlier, keys = GapStore(job.output.path), earlier_in(job.output.path), job.gap_keys()
    if job.only:
        known = {g: gap for g, gap in _as_they_are(job, earlier).items() if g != job.only.gap}
    else:
        found = {gap: store.get(key) or earlier.gap(key) for gap, key in enumerate(keys) if job.settings.counts[gap]}
        known = {number: gap for number, gap in found.items() if gap is not None}
    todo = [gap for gap, count in enumerate(job.settings.counts) if count and gap not in known]
    count = Count(len(known), len(known) + len(todo))

    def keep(gap: int, own: Gap) -> None:
        if not job.only:
            store.put(keys[gap], own)
            if count.finished == len(known):
                store.put_plan(job.plan())
        count.finished += 1
        if gap_done:
            gap_done(count.finished - len(known), len(todo))

    with keeping(count):
        pipeline = load() if todo else None
        drawn = draw(job.keys, job.settings, pipeline, progress, known, keep, watch)
        if job.only and job.only.frame is not None:
            drawn = _with_one_frame(job, drawn, earlier)
        untouched = _untouched(job, earlier) if job.only else {}
        made = Made(job.model, job.fingerprint, _keys_after(job, keys, earlier))
        files, record = write_result(job.output, drawn, job.keys, job.settings, made, job.timeline, untouched)
    store.clear()
    return Done(drawn, files, record, tuple(todo))


@dataclass
class Count:
    """Number of finished gaps."""

    finished: int
    gaps: int


@contextmanager
def keeping(count: Count) -> Iterator[None]:
    """Add the number of kept gaps to the message of an interruption or an error."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        raise Interrupted(f"interrupted; {_kept(count)}") from interruption
    except NakawariError as error:
        if not count.finished or isinstance(error, UsageError):
            raise
        raise type(error)(f"{str(error).rstrip('.')}; {_kept(count)}") from error


def _kept(count: Count) -> str:
    return f"{count.finished} of {count.gaps} gaps are kept; run the same command to resume."


def _as_they_are(job: Job, earlier: Earlier) -> dict[int, Gap]:
    """The gaps of the finished sequence, including edited frames."""
    record, folder = earlier.record, earlier.folder
    hashes = [key["sha256"] for key in record.get("keys", ())]
    same = record.get("between") == list(job.settings.counts) and hashes == [file_hash(key.path) for key in job.keys]
    gaps = record.get("gaps", ())
    if not same or any(len(own["files"]) != count for own, count in zip(gaps, job.settings.counts, strict=True)):
        raise UsageError(f"{folder} holds no finished sequence of these keys; draw it without --only first.")
    return {number: earlier.read_gap(number) for number in range(len(gaps))}


def _with_one_frame(job: Job, drawn: Drawn, earlier: Earlier) -> Drawn:
    """The sequence with one redrawn frame; the others, and what the record says of them, are unchanged."""
    assert job.only is not None
    gap, before = job.only.gap, _as_they_are(job, earlier)[job.only.gap]
    first = sum(job.settings.counts[:gap]) + gap + 1
    frames, now = list(drawn.frames), drawn.used[gap]
    new = now.get("confidence") or ()
    sure = list(before.used.get("confidence") or new)
    for place, frame in enumerate(before.frames):
        if job.timeline.begins[first + place] != job.only.frame:
            frames[first + place] = frame
        elif new:
            sure[place] = new[place]
    own = {"number": job.only.frame} | {name: now.get(name) for name in ("drawn_by", *OF_MODEL)}
    own |= {"model": job.model if is_by_model(now) else None}
    kept = [one for one in before.used.get("redrawn", ()) if one["number"] != job.only.frame]
    used = list(drawn.used)
    used[gap] = {**before.used, "notes": now.get("notes", []), "confidence": sure, "redrawn": [*kept, own]}
    return replace(drawn, frames=frames, used=tuple(used))


def _untouched(job: Job, earlier: Earlier) -> dict[str, str]:
    """The frames that are not redrawn, with their recorded hashes."""
    redrawn = set(job.redrawn_files())
    names = [name for files in job.timeline.files() for name in files]
    hashes = earlier.record.get("hashes", {})
    return {name: hashes[name] for name in names if name in hashes and name not in redrawn}


def _keys_after(job: Job, keys: tuple[str, ...], earlier: Earlier) -> tuple[str, ...]:
    """The keys of all gaps; a gap with a single redrawn frame has none."""
    if not job.only:
        return keys
    old = [own["key"] for own in earlier.record["gaps"]]
    old[job.only.gap] = keys[job.only.gap] if job.only.frame is None else ""
    return tuple(old)
