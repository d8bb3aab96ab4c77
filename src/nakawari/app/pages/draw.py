"""The Draw page: keys, timing, model; the player; redrawing gaps, turning frames into keys; downloads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ...errors import NakawariError
from .. import models, orders, status, strip
from ..parts import part
from ..sequence import links_of, make_key
from ..settings import SETTINGS, put_settings
from ..site import Site
from ..unfinished import shown_value
from ..words import OUT, interpolate_words, shown
from ..work import Asked, Work
from .events import Changes, answers, quiet
from .following import TICK, follow

CUTS = [("draw anyway", "draw"), ("hold the nearer key", "hold"), ("fade", "fade")]
KEYED = "is a key now; press Draw to draw the remaining in-betweens."


class Draw:
    """The components of the page and their handlers."""

    def __init__(self, site: Site, user: gr.BrowserState) -> None:
        self.site, self.user = site, user
        with gr.Column(elem_classes="nk-page"):
            self.strip = part("strip", elem_id="strip")
            with gr.Row(elem_classes="nk-two"):
                with gr.Column(scale=3, min_width=320):
                    self.player = part("player", elem_id="player")
                    self.picked = gr.State("")
                    with gr.Row(elem_id="frame-tools"):
                        self.again = gr.Button("Draw this gap again", size="sm", min_width=140)
                        self.keyed = gr.Button("Make this frame a key", size="sm", min_width=140)
                        self.mend = gr.UploadButton("Put my drawing here", size="sm", min_width=140)
                with gr.Column(scale=1, min_width=300, elem_classes="nk-side"):
                    self._settings()
            with gr.Row(elem_classes="nk-act"):
                self.go = gr.Button("Draw", variant="primary", scale=0, elem_id="draw")
                self.stop = gr.Button("Cancel", scale=0, elem_id="cancel")
                self.status = part("status", elem_id="status", scale=1, min_width=160)
        self.timer = gr.Timer(TICK, active=False)
        self.outputs = [self.strip, self.player, self.links, self.status, self.command, *self.settings, self.timer]
        self._listen()

    def _settings(self) -> None:
        stands = [("on ones", 1), ("on twos", 2), ("on threes", 3), ("on fours", 4)]
        with gr.Row():
            exposure = gr.Dropdown(stands, label="Exposure", min_width=120)
            fps = gr.Number(label="FPS", minimum=1, maximum=120, min_width=120)
        with gr.Row():
            loop = gr.Checkbox(label="Loop", info="back to the first key", min_width=120)
            parts = gr.Checkbox(label="Parts", info="flat-coloured drawings part by part", min_width=120)
        with gr.Row():
            model = gr.Dropdown(["mini"], label="Model", min_width=120)
            precision = gr.Dropdown(models.precision_choices(), label="Precision", min_width=120)
        with gr.Row():
            adapter = gr.Dropdown([("none", "")], label="Adapter", min_width=120)
            scale = gr.Number(label="Scale, 0 to 4", minimum=0, maximum=4, step=0.05, min_width=120)
        with gr.Row():
            steps = gr.Number(label="Steps (0: auto)", minimum=0, maximum=1000, precision=0, min_width=120)
            seed = gr.Number(label="Seed", minimum=0, maximum=2**31, precision=0, min_width=120)
        on_cut = gr.Dropdown(CUTS, label="Between keys of two scenes", min_width=120)
        prompt = gr.Textbox(label="Prompt", visible=False)
        own = locals()
        self.settings = [own[name] for name in SETTINGS]
        self.prompt = prompt
        self.links = part("links", elem_id="downloads")
        label = "The same on the command line, in the work folder"
        self.command = gr.Textbox(label=label, lines=2, max_lines=6, interactive=False, buttons=["copy"])

    def _listen(self) -> None:
        everything = [*self.outputs]
        self.strip.act(self.on_strip, [self.user], everything, **quiet)
        self.player.act(self.on_player, None, [self.picked], **quiet)
        for one in self.settings:
            # Not `change`: it also fires when a page is loaded, with fields that are not filled yet.
            one.input(
                self.on_settings,
                [self.user, *self.settings],
                [self.strip, self.status, self.command, self.prompt],
                **quiet,
            )
        for button, act in {self.stop: self.on_cancel, self.keyed: self.on_key}.items():
            button.click(act, [self.user, self.picked], everything, **quiet)
        for button, act in {self.go: self.on_draw, self.again: self.on_again}.items():
            # With the settings: the event of a field that was just changed may arrive after the click.
            button.click(act, [self.user, self.picked, *self.settings], everything, **quiet)
        self.mend.upload(self.on_mended, [self.user, self.picked, self.mend], everything, **quiet)
        self.timer.tick(self.on_tick, [self.user], [self.status, self.player, self.links, self.timer], **quiet)

    # --- content of the page ---------------------------------------------------------------------------------------

    def everything(self, work: Work) -> Changes:
        """The whole content of the work folder."""
        asked = work.asked()
        changes = {self.strip: strip.strip_value(work)} | self._result(work)
        changes |= {self.command: command_of(asked)} | self._follow(work)
        return changes | dict(zip(self.settings, settings_of(work, asked), strict=True))

    def _result(self, work: Work) -> Changes:
        return {self.player: shown_value(work), self.links: links_of(work)}

    def _keys(self, work: Work) -> Changes:
        return {self.strip: strip.strip_value(work), self.command: command_of(work.asked())}

    def _follow(self, work: Work) -> Changes:
        return follow(self, work, self.site.queue.latest(work.token, orders.DRAW), "Drawn.")

    def _take_settings(self, work: Work, values: Sequence[Any]) -> Asked:
        """Write the values of the fields into the work folder; returns all settings."""
        with work.changing() as asked:
            put_settings(work, asked, dict(zip(SETTINGS, values, strict=True)))
        return asked

    def _fields_changed_since(self, work: Work, before: Asked) -> Changes:
        """Fields whose setting an action changed, such as a time sheet's FPS; a later event would undo it."""
        pairs = [(getattr(before, name), getattr(work.asked(), name)) for name in SETTINGS]
        return {field: new for field, (old, new) in zip(self.settings, pairs, strict=True) if new != old}

    # --- user actions -----------------------------------------------------------------------------------------------

    @answers
    def on_strip(self, work: Work, event: gr.EventData) -> Changes:
        before = work.asked()
        complaints = strip.act(work, event._data)
        said = status.words(complaints[0], "failed") | {"notes": complaints[1:]} if complaints else status.words()
        return self._keys(work) | self._fields_changed_since(work, before) | {self.status: said}

    def on_player(self, event: gr.EventData) -> str:
        return str(event._data.get("file", ""))

    @answers
    def on_settings(self, work: Work, *values: Any) -> Changes:
        before = work.asked()
        asked = self._take_settings(work, values)
        if asked == before:
            return {self.command: command_of(asked)}
        reads = models.reads_words(asked.model)
        return self._keys(work) | {self.prompt: gr.Textbox(visible=reads), self.status: status.words()}

    @answers
    def on_draw(self, work: Work, picked: str, *values: Any) -> Changes:
        asked = self._take_settings(work, values)
        orders.draw(self.site, work)
        return {self.command: command_of(asked)} | self._follow(work)

    @answers
    def on_again(self, work: Work, picked: str, *values: Any) -> Changes:
        asked = self._take_settings(work, values)
        orders.draw_again(self.site, work, picked)
        return {self.command: command_of(asked)} | self._follow(work)

    @answers
    def on_cancel(self, work: Work, picked: str) -> Changes:
        ticket = self.site.queue.latest(work.token, orders.DRAW)
        if ticket is None or not ticket.active:
            return {self.status: status.words("Nothing is being drawn.")}
        self.site.queue.cancel(ticket)
        return {self.timer: gr.Timer(active=True)}

    @answers
    def on_key(self, work: Work, picked: str) -> Changes:
        make_key(work, picked)
        return self._keys(work) | {self.status: status.words(f"The frame {KEYED}")}

    @answers
    def on_mended(self, work: Work, picked: str, file: str) -> Changes:
        make_key(work, picked, (work.works.uploaded(file), Path(file).name))
        return self._keys(work) | {self.status: status.words(f"Your drawing {KEYED}")}

    @answers
    def on_tick(self, work: Work) -> Changes:
        changes = self._follow(work)
        return changes | {self.player: shown_value(work), self.links: links_of(work)}


def command_of(asked: Asked) -> str:
    """The command that Draw runs, as a shell command; empty if there is none."""
    try:
        return shown(interpolate_words(asked, output=OUT))
    except NakawariError:
        return ""


def settings_of(work: Work, asked: Asked) -> list[Any]:
    """Values of the fields of `SETTINGS`."""
    return [
        gr.Dropdown(models.model_choices(work), value=asked.model),
        gr.Dropdown(models.adapter_choices(work), value=asked.adapter),
        asked.scale,
        asked.precision,
        asked.steps or 0,
        asked.seed,
        gr.Textbox(value=asked.prompt, visible=models.reads_words(asked.model)),
        asked.exposure,
        asked.fps,
        asked.loop,
        asked.parts,
        asked.on_cut,
    ]
