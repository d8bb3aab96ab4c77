"""Our own components over `gr.HTML`: the files in `static/`, and how one stands on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("base.js", "strip.js", "player.js", "ways.js", "slider.js", "teach.js")
STYLE = "style.css"
EVENT = "act"


def head() -> str:
    """The scripts, whole: files of their own could come in another order, or after what they are for."""
    return "".join(f"<script>{(STATIC / name).read_text('utf-8')}</script>" for name in SCRIPTS)


def part(kind: str, value: Any = None, **more: Any) -> gr.HTML:
    """A component of ours. Its value is plain JSON, which its script shows without making markup of it; what a user
    does with it comes as its event `act`, whose data have `action`. `more` as for `gr.HTML`."""
    mount = f"""(function ready() {{
        if (!window.nakawari?.components['{kind}']) return setTimeout(ready, 20);
        nakawari.mount('{kind}', {{element, props, watch, trigger, upload, event: '{EVENT}'}});
    }})()"""
    template = f'<div class="nk nk-is-{kind}"></div>'
    return gr.HTML(value, html_template=template, js_on_load=mount, apply_default_css=False, **more)
