"""The Compare page: two sequences overlaid in sync, scored if true frames are given; a report."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ...errors import UsageError
from ...files import remove
from .. import orders, sides, status
from ..jobs import Ticket
from ..parts import part
from ..sequence import url_of
from ..site import Site
from ..work import Work, json_of
from .events import Changes, answers, quiet
from .following import TICK, follow

NO_TRUTH = "True frames, if you have them: one for each in-between, or for each frame. Both sides then get scores."


class Compare:
    """The components of the page and their handlers."""

    def __init__(self, site: Site, user: gr.BrowserState) -> None:
        self.site, self.user = site, user
        with gr.Column(elem_classes="nk-page"):
            with gr.Row():
                self.left = gr.Dropdown([], label="Left", elem_id="left", allow_custom_value=True)
                self.right = gr.Dropdown([], label="Right", elem_id="right", allow_custom_value=True)
            self.slider = part("slider", elem_id="slider")
            self.truth = part("clips", elem_id="truth")
            self.report = gr.Dropdown([], label="Open a report", elem_id="report-name", allow_custom_value=True)
            self.page = part("report", elem_id="report")
            with gr.Row(elem_classes="nk-act"):
                self.go = gr.Button("Compare", variant="primary", scale=0, elem_id="compare")
                self.stop = gr.Button("Cancel", scale=0, elem_id="compare-cancel")
                self.status = part("status", elem_id="compare-status", scale=1, min_width=120)
        self.timer = gr.Timer(TICK, active=False)
        self.outputs = [self.left, self.right, self.slider, self.truth, self.report, self.status, self.timer]
        self._listen()

    def _listen(self) -> None:
        chosen = [self.user, self.left, self.right]
        self.go.click(self.on_compare, chosen, self.outputs, **quiet)
        self.stop.click(self.on_cancel, [self.user], [self.status, self.timer], **quiet)
        self.timer.tick(self.on_tick, [self.user], [self.slider, self.status, self.timer], **quiet)
        self.truth.act(self.on_truth, [self.user], [self.truth, self.status], **quiet)
        self.report.input(self.on_report, [self.user, self.report], [self.page, self.status], **quiet)

    def everything(self, work: Work) -> Changes:
        """The whole content of the work folder."""
        ticket = self._ticket(work)
        names = ticket.about["names"] if ticket else [None, None]
        offered = sides.choices(work)
        fallback = [offered[0][1], offered[min(1, len(offered) - 1)][1]]
        left, right = (name or other for name, other in zip(names, fallback, strict=True))
        return {
            self.left: gr.Dropdown(offered, value=left),
            self.right: gr.Dropdown(offered, value=right),
            self.report: gr.Dropdown(sides.reports(work)),
            self.truth: truth_value(work),
            self.slider: self._shown(work, ticket),
        } | self._follow(work)

    def _ticket(self, work: Work) -> Ticket | None:
        return self.site.queue.latest(work.token, orders.COMPARE)

    def _follow(self, work: Work) -> Changes:
        return follow(self, work, self._ticket(work), "Compared.")

    def _shown(self, work: Work, ticket: Ticket | None) -> dict[str, Any] | None:
        if ticket is None or ticket.state != "done":
            return None
        both = zip(ticket.about["names"], ticket.about["folders"], strict=True)
        shown = [sides.shown_side(work, name, folder) for name, folder in both]
        if None in shown:
            return None
        scores = json_of(ticket.said[-1]) if ticket.about["scored"] else None
        for one, own in zip(shown, scores or [], strict=False):
            one["scores"] = own
        return {"sides": shown, "fps": shown[0]["fps"], "size": shown[0]["size"]}

    @answers
    def on_compare(self, work: Work, left: Any, right: Any) -> Changes:
        orders.compare(self.site, work, left, right)
        return self._follow(work)

    @answers
    def on_cancel(self, work: Work) -> Changes:
        self.site.queue.cancel(self._ticket(work))
        return self._follow(work)

    @answers
    def on_tick(self, work: Work) -> Changes:
        changes = self._follow(work)
        ticket = self._ticket(work)
        return changes | ({} if ticket and ticket.active else {self.slider: self._shown(work, ticket)})

    @answers
    def on_truth(self, work: Work, event: gr.EventData) -> Changes:
        data = event._data
        if data.get("action") == "add":
            sides.take_truth(work, data.get("files"))
        elif data.get("action") == "remove":
            remove(work.inside(f"{sides.TRUTH}/{data.get('name')}"))
        else:
            remove(work.folder / sides.TRUTH)
        return {self.truth: truth_value(work), self.status: status.words()}

    @answers
    def on_report(self, work: Work, name: Any) -> Changes:
        if not name:
            return {self.page: None}
        file = work.visible(str(name)) / "index.html"
        if not file.is_file():
            raise UsageError(f"{str(name)[:80]} has no report; give a folder that nakawari report wrote.")
        return {self.page: url_of(work, file), self.status: status.words()}


def truth_value(work: Work) -> dict[str, Any]:
    """The true frames for the component."""
    return {"words": NO_TRUTH, "files": [{"name": name, "text": name} for name in sides.truth_names(work)]}
