"""The Teach page: train an adapter on clips."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ...errors import UsageError
from .. import models, orders, status, teaching
from ..jobs import Ticket
from ..parts import part
from ..site import Site
from ..work import Work, json_of
from .events import Changes, answers, quiet
from .following import follow

TICK = 1.0
DONE = {
    "check": "Checked.",
    "plan": "Planned; nothing is trained yet.",
    "teach": "Trained; Try it uses the adapter on the Draw page.",
}


class Teach:
    """The components of the page and their handlers."""

    def __init__(self, site: Site, user: gr.BrowserState) -> None:
        self.site, self.user = site, user
        with gr.Column(elem_classes="nk-page"):
            self.clips = part("clips", elem_id="clips")
            with gr.Row(elem_classes="nk-two"):
                with gr.Column(scale=1, min_width=280, elem_classes="nk-side"):
                    self._settings()
                with gr.Column(scale=3, min_width=300):
                    self.rows = part("rows", elem_id="teach-rows")
                    self.run = part("run", elem_id="run")
            with gr.Row(elem_classes="nk-act"):
                self.go = gr.Button("Teach", variant="primary", scale=0, elem_id="teach")
                self.check = gr.Button("Check", scale=0, elem_id="check")
                self.plan = gr.Button("Plan", scale=0, elem_id="plan")
                self.stop = gr.Button("Stop", scale=0, elem_id="teach-stop")
                self.use = gr.Button("Try it", scale=0, elem_id="try")
                self.status = part("status", elem_id="teach-status", scale=1, min_width=120)
        self.timer = gr.Timer(TICK, active=False)
        self.outputs = [self.clips, self.model, self.rows, self.run, self.status, self.timer]
        self._listen()

    def _settings(self) -> None:
        self.name = gr.Textbox("show", label="The adapter's name", max_lines=1, elem_id="adapter-name")
        self.model = gr.Dropdown(["mini"], value="mini", label="Model")
        with gr.Row():
            self.steps = _number(200, 1, "Steps", "teach-steps")
            self.rank = _number(16, 1, "Rank", "rank")
        self.windows = _number(400, 0, "Motion windows (0: none)", "windows")

    def _listen(self) -> None:
        lesson = [self.user, self.name, self.model, self.steps, self.rank, self.windows]
        self.clips.act(self.on_clips, [self.user], [self.clips, self.rows, self.status], **quiet)
        self.go.click(self.on_teach, lesson, self.outputs, **quiet)
        self.plan.click(self.on_plan, lesson, self.outputs, **quiet)
        self.check.click(self.on_check, [self.user], self.outputs, **quiet)
        self.stop.click(self.on_stop, [self.user], [self.status, self.timer], **quiet)
        self.timer.tick(self.on_tick, [self.user, self.name], [self.rows, self.run, self.status, self.timer], **quiet)
        self.name.input(self.on_name, [self.user, self.name], [self.run], **quiet)

    def everything(self, work: Work) -> Changes:
        """The whole content of the work folder."""
        ticket = self._ticket(work)
        name = ticket.about.get("name", "show") if ticket else "show"
        return {
            self.clips: teaching.clips_value(work),
            self.model: gr.Dropdown(models.model_choices(work)),
            self.rows: rows_of(ticket),
            self.run: teaching.run_value(work, name),
        } | self._follow(work)

    def _ticket(self, work: Work) -> Ticket | None:
        return self.site.queue.latest(work.token, orders.TEACH)

    def _follow(self, work: Work) -> Changes:
        ticket = self._ticket(work)
        return follow(self, work, ticket, DONE[ticket.about["what"]] if ticket else "")

    @answers
    def on_clips(self, work: Work, event: gr.EventData) -> Changes:
        data, complaints = event._data, []
        if data.get("action") == "add":
            complaints = teaching.take_clips(work, data.get("files"))
        else:
            teaching.remove_clips(work, str(data.get("name") or ""))
        said = status.words(complaints[0], "failed") | {"notes": complaints[1:4]} if complaints else status.words()
        return {self.clips: teaching.clips_value(work), self.rows: None, self.status: said}

    @answers
    def on_check(self, work: Work) -> Changes:
        orders.check(self.site, work)
        return {self.rows: None} | self._follow(work)

    @answers
    def on_plan(self, work: Work, *values: Any) -> Changes:
        orders.plan(self.site, work, lesson_of(*values))
        return {self.rows: None} | self._follow(work)

    @answers
    def on_teach(self, work: Work, *values: Any) -> Changes:
        orders.teach(self.site, work, lesson_of(*values))
        return {self.rows: None} | self._follow(work)

    @answers
    def on_stop(self, work: Work) -> Changes:
        self.site.queue.cancel(self._ticket(work))
        return self._follow(work)

    @answers
    def on_name(self, work: Work, name: str) -> Changes:
        return {self.run: teaching.run_value(work, name)}

    @answers
    def on_tick(self, work: Work, name: str) -> Changes:
        ticket = self._ticket(work)
        changes = self._follow(work)
        if ticket is not None and ticket.about["what"] == "teach":
            changes |= {self.run: teaching.run_value(work, ticket.about["name"])}
        return changes if ticket is not None and ticket.active else changes | {self.rows: rows_of(ticket)}

    @answers
    def on_try(self, work: Work, name: str) -> Changes:
        """Select the adapter on the Draw page."""
        run = teaching.run_folder(work, name)
        if not (run / "best").is_dir():
            raise UsageError(f"There is no finished adapter {name} yet; press Teach first.")
        with work.changing() as asked:
            asked.adapter, asked.scale = str(run.relative_to(work.folder)), 1.0
            asked.model = models.bases_of(work, asked.adapter)[0][1]
            asked.parts = False
        return {self.status: status.words("The Draw page draws with it now.", "done")}


def _number(value: int, least: int, label: str, name: str) -> gr.Number:
    return gr.Number(value, label=label, minimum=least, maximum=1_000_000, precision=0, min_width=100, elem_id=name)


def lesson_of(name: str, model: str, steps: float | None, rank: float | None, windows: float | None) -> teaching.Lesson:
    """Values of the fields; an empty number means the default."""
    numbers = {"steps": steps, "rank": rank, "windows": windows}
    given = {key: int(value) for key, value in numbers.items() if value is not None}
    return teaching.Lesson(name, model, **given)


def rows_of(ticket: Ticket | None) -> dict[str, Any] | None:
    """Results of a check or a plan, as rows."""
    found = json_of(ticket.said[-1]) if ticket is not None and ticket.state == "done" and ticket.said else None
    if found is None or ticket is None:
        return None
    rows = {"check": teaching.check_rows, "plan": teaching.plan_rows}.get(ticket.about["what"])
    return {"rows": rows(found)} if rows else None
