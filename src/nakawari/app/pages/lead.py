"""The Lead page: point tracks from key to key."""

from __future__ import annotations

from threading import Lock
from typing import Any

import gradio as gr

from .. import orders, status
from ..parts import part
from ..site import Site
from ..unfinished import shown_value
from ..ways import gap_choices, take_ways, ways_value
from ..work import Work
from .events import Changes, answers, quiet
from .following import TICK, follow


class Lead:
    """The components of the page and their handlers."""

    def __init__(self, site: Site, user: gr.BrowserState) -> None:
        self.site, self.user = site, user
        self._turn, self._newest = Lock(), dict[tuple[str, Any], float]()
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
        self.ways.act(self.on_ways, [self.user], [self.status], trigger_mode="multiple", **quiet)
        for button, act in {self.go: self.on_draw, self.match: self.on_match, self.stop: self.on_cancel}.items():
            button.click(act, wanted, self.outputs, **quiet)
        self.timer.tick(self.on_tick, wanted, self.outputs, **quiet)

    def everything(self, work: Work, gap: int | None = None) -> Changes:
        """The whole content of the work folder."""
        choices = gap_choices(work.asked())
        chosen = gap if gap in [own for _, own in choices] else (choices[0][1] if choices else None)
        shown = {self.gap: gr.Dropdown(choices, value=chosen), self.ways: ways_value(work, chosen or 0)}
        return shown | {self.player: shown_value(work)} | self._follow(work)

    def _follow(self, work: Work) -> Changes:
        tickets = [self.site.queue.latest(work.token, page) for page in (orders.MATCH, orders.DRAW)]
        latest = max((one for one in tickets if one), key=lambda one: one.number, default=None)
        done = "Matched; the points can be moved." if latest and latest.page == orders.MATCH else "Drawn."
        return follow(self, work, latest, done)

    @answers
    def on_gap(self, work: Work, gap: int) -> Changes:
        return {self.ways: ways_value(work, gap or 0), self.status: status.words()}

    @answers
    def on_ways(self, work: Work, event: gr.EventData) -> Changes:
        gap, at = event._data.get("gap"), event._data.get("at")
        with self._turn:  # quick edits are sent together, and may arrive in another order
            if isinstance(at, int | float) and at < self._newest.get((work.token, gap), 0):
                return {self.status: status.words()}
            take_ways(work, {"gap": gap, "ways": event._data.get("ways")})
            self._newest[work.token, gap] = at if isinstance(at, int | float) else 0
        return {self.status: status.words()}

    @answers
    def on_draw(self, work: Work, gap: int) -> Changes:
        orders.draw(self.site, work)
        return self._follow(work)

    @answers
    def on_match(self, work: Work, gap: int) -> Changes:
        orders.match(self.site, work, gap)
        return self._follow(work)

    @answers
    def on_cancel(self, work: Work, gap: int) -> Changes:
        for page in (orders.MATCH, orders.DRAW):
            self.site.queue.cancel(self.site.queue.latest(work.token, page))
        return self._follow(work)

    @answers
    def on_tick(self, work: Work, gap: int) -> Changes:
        changes = self._follow(work)
        if not changes[self.timer].active:
            changes |= {self.ways: ways_value(work, gap or 0)}
        changes |= {self.player: shown_value(work)}
        return changes
