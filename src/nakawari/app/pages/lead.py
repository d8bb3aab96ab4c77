"""The Lead page: points led from key to key."""

from __future__ import annotations

import gradio as gr

from ...errors import UsageError
from .. import status
from ..jobs import Ticket
from ..parts import part
from ..sequence import player_value
from ..site import Site
from ..ways import gap_choices, take_ways, ways_value
from ..words import interpolate_words
from ..work import Work, json_of
from .drawing import TICK, follow, put_drawing
from .events import Changes, answers, quiet

PAGE = "match"


class Lead:
    """The components of the page and what they do."""

    def __init__(self, site: Site, user: gr.BrowserState) -> None:
        self.site, self.user = site, user
        with gr.Column(elem_classes="nk-page"):
            self.gap = gr.Dropdown([], label="Gap", elem_id="lead-gap")
            self.ways = part("ways", elem_id="ways")
            self.player = part("player", elem_id="lead-player")
            with gr.Row(elem_classes="nk-act"):
                self.go = gr.Button("Draw", variant="primary", scale=0, elem_id="lead-draw")
                self.match = gr.Button("Match for me", scale=0, elem_id="match")
                self.stop = gr.Button("Cancel", scale=0, elem_id="lead-cancel")
                self.status = part("status", elem_id="lead-status", scale=1, min_width=120)
        self.timer = gr.Timer(TICK, active=False)
        self.outputs = [self.gap, self.ways, self.player, self.status, self.timer]
        self._listen()

    def _listen(self) -> None:
        wanted = [self.user, self.gap]
        self.gap.input(self.on_gap, wanted, [self.ways, self.status], **quiet)
        self.ways.act(self.on_ways, [self.user], [self.status], **quiet)
        for button, act in {self.go: self.on_draw, self.match: self.on_match, self.stop: self.on_cancel}.items():
            button.click(act, wanted, self.outputs, **quiet)
        self.timer.tick(self.on_tick, wanted, self.outputs, **quiet)

    def everything(self, work: Work, gap: int | None = None) -> Changes:
        """All that the work folder holds."""
        choices = gap_choices(work.asked())
        chosen = gap if gap in [own for _, own in choices] else (choices[0][1] if choices else None)
        shown = {self.gap: gr.Dropdown(choices, value=chosen), self.ways: ways_value(work, chosen or 0)}
        return shown | {self.player: player_value(work, work.output)} | self._follow(work)

    def _follow(self, work: Work) -> Changes:
        tickets = [self.site.queue.latest(work.token, page) for page in (PAGE, "draw")]
        latest = max((one for one in tickets if one), key=lambda one: one.number, default=None)
        done = "Matched; the points can be moved." if latest and latest.page == PAGE else "Drawn."
        return follow(self, work, latest, done)

    @answers
    def on_gap(self, work: Work, gap: int) -> Changes:
        return {self.ways: ways_value(work, gap or 0), self.status: status.words()}

    @answers
    def on_ways(self, work: Work, event: gr.EventData) -> Changes:
        take_ways(work, {name: event._data.get(name) for name in ("gap", "ways")})
        return {self.status: status.words()}

    @answers
    def on_draw(self, work: Work, gap: int) -> Changes:
        put_drawing(self.site, work, interpolate_words(work.asked()))
        return self._follow(work)

    @answers
    def on_match(self, work: Work, gap: int) -> Changes:
        asked = work.asked()
        if not gap or gap > asked.gaps():
            raise UsageError("Add two key drawings on the Draw page first; then points can be matched between them.")
        ends = asked.keys[gap - 1], asked.keys[gap % len(asked.keys)]
        values = {"first": f"keys/{ends[0].name}", "second": f"keys/{ends[1].name}", "seed": asked.seed}
        self.site.queue.put(work.token, PAGE, work.folder, [{"task": "match", "values": values}], {"gap": gap})
        return self._follow(work)

    @answers
    def on_cancel(self, work: Work, gap: int) -> Changes:
        for page in (PAGE, "draw"):
            self.site.queue.cancel(self.site.queue.latest(work.token, page))
        return self._follow(work)

    @answers
    def on_tick(self, work: Work, gap: int) -> Changes:
        changes = self._follow(work)
        ticket = self.site.queue.latest(work.token, PAGE)
        if ticket is not None and ticket.state == "done":
            self._take(work, ticket)
        if not changes[self.timer].active:
            changes |= {self.player: player_value(work, work.output), self.ways: ways_value(work, gap or 0)}
        return changes

    def _take(self, work: Work, ticket: Ticket) -> None:
        """Put matched points among the ways, once."""
        found = json_of(ticket.said.pop()) if ticket.said else None
        if found is not None:
            gap = ticket.about["gap"]
            take_ways(work, {"gap": gap, "ways": work.asked().tracks.get(str(gap), []) + found})
