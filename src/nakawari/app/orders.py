"""Commands that the pages and the HTTP interface put into the queue."""

from __future__ import annotations

import secrets
from typing import Any

from ..errors import UsageError
from . import sides, teaching
from .jobs import Ticket, words_job
from .sequence import player_value
from .site import Site
from .ways import take_ways
from .words import interpolate_words, write_tracks
from .work import Work, json_of

DRAW, MATCH, COMPARE, TEACH = KINDS = ("draw", "match", "compare", "teach")
"""Kinds of jobs; a user has at most one unfinished job of each."""
AGAIN = 10_000
"""Upper limit of the seeds of redrawn gaps."""


def draw(site: Site, work: Work) -> Ticket:
    """Draw all gaps; finished ones are kept."""
    return _draw(site, work, interpolate_words(work.asked()))


def draw_again(site: Site, work: Work, file: str) -> Ticket:
    """Draw a frame's gap again with another seed. Raises `UsageError` unless the frame is an in-between."""
    frames = (player_value(work, work.output) or {"frames": []})["frames"]
    frame = next((one for one in frames if one["file"] == file), None)
    if frame is None or frame["key"] is not None:
        raise UsageError("Choose an in-between in the player first; its gap is drawn again.")
    seed = secrets.randbelow(AGAIN)
    asked = work.asked()
    number = (frame["gap"] + 1) // 2 if asked.pairs() else frame["gap"]
    return _draw(site, work, interpolate_words(asked, only=f"gap:{number}", seed=seed))


def _draw(site: Site, work: Work, words: list[str]) -> Ticket:
    write_tracks(work, work.asked())
    return site.queue.put(work.token, DRAW, work.folder, [words_job(*words)])


def match(site: Site, work: Work, gap: Any) -> Ticket:
    """Match points between the keys of a gap, and add them to its tracks."""
    asked = work.asked()
    if type(gap) is not int or not 1 <= gap <= asked.gaps():
        raise UsageError("Add two key drawings on the Draw page first; then points can be matched between them.")
    ends = asked.keys[gap - 1], asked.keys[gap % len(asked.keys)]
    values = {"first": f"keys/{ends[0].name}", "second": f"keys/{ends[1].name}", "seed": asked.seed}

    def finish(ticket: Ticket) -> None:
        there = work.asked().tracks.get(str(gap), [])
        take_ways(work, {"gap": gap, "ways": there + json_of(ticket.said[-1])})

    return site.queue.put(work.token, MATCH, work.folder, [{"task": "match", "values": values}], finish=finish)


def compare(site: Site, work: Work, left: Any, right: Any) -> Ticket:
    """Draw the sides that are not drawn yet, and score both if true frames are given."""
    found = [sides.side(work, name) for name in (left, right)]
    folders = [folder for folder, _ in found]
    commands = [job for _, job in found if job is not None]
    scored = bool(sides.truth_names(work))
    if scored:
        values = {"sides": [str(folder) for folder in folders], "truth": sides.TRUTH}
        commands.append({"task": "score", "values": values})
    write_tracks(work, work.asked())
    about = {"names": [left, right], "folders": folders, "scored": scored}
    return site.queue.put(work.token, COMPARE, work.folder, commands, about)


def check(site: Site, work: Work) -> Ticket:
    """Check the clips for faults."""
    if not teaching.clips_value(work)["files"]:
        raise UsageError("There are no clips yet; add some first.")
    job = words_job("data", "check", teaching.CLIPS, "--json") | {"faults_are_results": True}
    return site.queue.put(work.token, TEACH, work.folder, [job], {"what": "check"})


def plan(site: Site, work: Work, lesson: teaching.Lesson) -> Ticket:
    """Measure the cost of a training run."""
    words = [word for word in teaching.adapt_words(work, lesson) if word != "--resume"]
    return site.queue.put(work.token, TEACH, work.folder, [words_job(*words, "--plan", "--json")], {"what": "plan"})


def teach(site: Site, work: Work, lesson: teaching.Lesson) -> Ticket:
    """Train an adapter, or resume a stopped run."""
    words = teaching.adapt_words(work, lesson)
    about = {"what": "teach", "name": lesson.name}
    return site.queue.put(work.token, TEACH, work.folder, [words_job(*words)], about)
