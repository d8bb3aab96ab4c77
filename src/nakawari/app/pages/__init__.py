"""The pages: Draw, Lead, Compare, Teach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..site import Site
from .draw import Draw
from .events import Changes, answers, quiet
from .lead import Lead


def blocks(site: Site) -> gr.Blocks:
    """All pages over one browser's state: the token that names its work folder."""
    with gr.Blocks(title="nakawari", analytics_enabled=False, fill_width=True) as made:
        user = gr.BrowserState("", storage_key="nakawari", secret="nakawari-browser")
        gr.HTML('<div class="nk-head"><b>nakawari</b><span>in-betweens on this machine</span></div>', padding=False)
        with gr.Tabs():
            with gr.Tab("Draw", id="draw") as tab_draw:
                draw = Draw(site, user)
            with gr.Tab("Lead", id="lead") as tab_lead:
                lead = Lead(site, user)
        pages = {tab_draw: draw, tab_lead: lead}
        for tab, page in pages.items():
            tab.select(seen(page), [user], page.outputs, **quiet)

        def loaded(token: Any) -> Changes:
            token = token if site.works.is_token(token) else site.works.new_token()
            work = site.works.open(token)
            return {user: token} | {
                one: value for page in pages.values() for one, value in page.everything(work).items()
            }

        outputs = [user, *(one for page in pages.values() for one in page.outputs)]
        made.load(loaded, [user], outputs, show_progress="hidden", queue=False, api_visibility="private")
    return made


def seen(page: Draw | Lead) -> Callable[[Any], Changes]:
    """A page that is turned to shows what its folder holds now: another page may have changed it."""
    method = answers(lambda self, work: self.everything(work))
    return lambda token: method(page, token)
