"""The pages as a web application: routes and security headers."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from mimetypes import guess_type
from pathlib import Path

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse

from ..errors import NakawariError
from ..media import is_image
from .pages import blocks
from .parts import STATIC, STYLE, head
from .sequence import download
from .site import Site

# Nothing is fetched from, sent to, or framed by another host. Gradio's scripts need 'unsafe-eval'.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
PAGE = "index.html"
"""File name of a report's page."""
SANDBOX = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
"""For user files and reports: they are shown, their scripts never run."""


def application(site: Site) -> FastAPI:
    """The web application: static files, the users' images, and the pages."""
    os.environ["GRADIO_TEMP_DIR"] = str(site.works.uploads)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/own/{token}/{path:path}")
    def own(token: str, path: str) -> Response:
        return _file(lambda: site.works.open(token).inside(path))

    @app.get("/common/{path:path}")
    def common(path: str) -> Response:
        return _file(lambda: site.works.shared(path))

    @app.get("/take/{token}/{kind}")
    def take(token: str, kind: str) -> Response:
        try:
            file = download(site.works.open(token), kind)
        except NakawariError as error:
            return PlainTextResponse(str(error), 404)
        return FileResponse(file, filename=file.name)

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif"]
    theme = gr.themes.Base(primary_hue="blue", font=fonts, font_mono=["ui-monospace", "monospace"])
    # Gradio's default grey has a contrast of 2.6 : 1 on white; small text needs 4.5.
    theme.set(block_info_text_color="*neutral_600", block_info_text_color_dark="*neutral_300")
    return gr.mount_gradio_app(
        app,
        blocks(site),
        path="/",
        theme=theme,
        css_paths=STATIC / STYLE,
        head=head(),
        show_error=True,
        footer_links=[],
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        max_file_size="2gb",
        allowed_paths=[],
    )


def _file(find: Callable[[], Path]) -> Response:
    """An image or report; the same 404 for files that are not allowed and files that do not exist."""
    try:
        file = find()
    except NakawariError:
        return PlainTextResponse("File not found.", 404)
    if not file.is_file() or not (is_image(file) or file.name == PAGE):
        return PlainTextResponse("File not found.", 404)
    try:
        whole = file.read_bytes()  # read at once: a file that a job replaces meanwhile would be truncated
    except FileNotFoundError:
        return PlainTextResponse("File not found.", 404)
    headers = {"Content-Security-Policy": SANDBOX, "Cache-Control": "private, max-age=86400"}
    return Response(whole, media_type=guess_type(file.name)[0] or "application/octet-stream", headers=headers)
