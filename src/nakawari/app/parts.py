"""Custom components over `gr.HTML`: the files in `static/`, and how a component is put on a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("base.js", "strip.js", "player.js", "ways.js", "slider.js", "teach.js")
STYLE = "style.css"
EVENT = "act"


def head() -> str:
    """The scripts, inline: separate files could load in another order, or after the components that need them."""
    return "".join(f"<script>{(STATIC / name).read_text('utf-8')}</script>" for name in SCRIPTS)


def part(kind: str, value: Any = None, **more: Any) -> gr.HTML:
    """A custom component. Its value is plain JSON, which its script shows without creating markup from it; user
    actions arrive as its event `act` with a field `action`. `more`: arguments of `gr.HTML`."""
    mount = f"""(function ready() {{
        if (!window.nakawari?.components['{kind}']) return setTimeout(ready, 20);
        nakawari.mount('{kind}', {{element, props, watch, trigger, upload, event: '{EVENT}'}});
    }})()"""
    template = f'<div class="nk nk-is-{kind}"></div>'
    return gr.HTML(value, html_template=template, js_on_load=mount, apply_default_css=False, **more)
