"""The pages: Draw, Lead, Compare, Teach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..interface import add_endpoints
from ..site import Site
from .compare import Compare
from .draw import Draw
from .events import Changes, answers, quiet
from .lead import Lead
from .teach import Teach

Page = Draw | Lead | Compare | Teach
PAGES: dict[str, type[Page]] = {"draw": Draw, "lead": Lead, "compare": Compare, "teach": Teach}


def blocks(site: Site) -> gr.Blocks:
    """All pages, with the browser state that holds the token of the work folder."""
    with gr.Blocks(title="nakawari", analytics_enabled=False, fill_width=True) as made:
        user = gr.BrowserState("", storage_key="nakawari", secret="nakawari-browser")
        gr.HTML('<div class="nk-head"><b>nakawari</b><span>in-betweens on this machine</span></div>', padding=False)
        pages: dict[str, Page] = {}
        with gr.Tabs() as tabs:
            for name, page in PAGES.items():
                with gr.Tab(name.capitalize(), id=name) as tab:
                    pages[name] = page(site, user)
                tab.select(seen(pages[name]), [user], pages[name].outputs, **quiet)
        draw, teach = pages["draw"], pages["teach"]
        tried = teach.use.click(teach.on_try, [user, teach.name], [teach.status], **quiet)
        tried.success(lambda said: turned(said), [teach.status], [tabs], **quiet)
        tried.success(seen(draw), [user], draw.outputs, **quiet)

        def loaded(token: Any) -> Changes:
            token = token if site.works.is_token(token) else site.works.new_token()
            work = site.works.open(token)
            changes: Changes = {user: token}
            for page in pages.values():
                changes |= page.everything(work)
            return changes

        add_endpoints(site)
        outputs = [user, *(one for page in pages.values() for one in page.outputs)]
        made.load(loaded, [user], outputs, show_progress="hidden", queue=False, api_visibility="private")
    return made


def seen(page: Page) -> Callable[[Any], Changes]:
    """Refresh a page when it is selected: another page may have changed its folder."""
    method = answers(lambda self, work: self.everything(work))
    return lambda token: method(page, token)


def turned(said: Any) -> Any:
    """Switch to the Draw page if trying an adapter succeeded."""
    return gr.Tabs(selected="draw") if isinstance(said, dict) and said.get("state") == "done" else gr.skip()
