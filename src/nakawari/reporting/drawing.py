"""Style and output of the report's plots.

Colours are those of Okabe & Ito 2008, distinguishable by colour-blind readers; labels are next to their points.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
INK, GREY, PALE = "#222222", "#767676", "#d0d0d0"
WIDTH = 4.3
FORMATS = ("svg", "png", "pdf")
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "pdf.fonttype": 42,
    "svg.hashsalt": "nakawari",
    "svg.fonttype": "path",
    "path.simplify": False,
}


@dataclass(frozen=True)
class Plot:
    """A finished figure: its alternative text, its caption, and its files by suffix."""

    name: str
    alt: str
    caption: str
    files: dict[str, bytes]


@contextmanager
def drawing() -> Iterator[Any]:
    """Matplotlib in the report's style, without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_STYLE):
        yield pyplot


def finish(name: str, alt: str, caption: str, figure: Figure, suffixes: Sequence[str] | None = None) -> Plot:
    """Write a figure without dates, so that the same records give the same bytes, and close it.

    Args:
        suffixes: of the written formats; default: all of `FORMATS`.
    """
    from matplotlib import pyplot

    dates: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    files = {}
    for suffix in FORMATS if suffixes is None else suffixes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=200, metadata=dates[suffix], facecolor="white")
        files[suffix] = buffer.getvalue()
    pyplot.close(figure)
    return Plot(name, alt, caption, files)


def wrapped(name: str, width: int) -> str:
    """A name in lines of at most `width` characters, broken after spaces and before separators."""
    parts = re.sub(r"([+@:/])", r" \1", name) if len(name) > width else name
    lines = wrap(parts, width, break_on_hyphens=False)
    return "\n".join(re.sub(r" ([+@:/])", r"\1", line) for line in lines)
