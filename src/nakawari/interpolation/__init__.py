"""From key drawings to a sequence with in-betweens: planning, drawing, writing files.

Names are imported on first use, so that keys, counts and targets are checked before the slow import of PyTorch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .by_model import seed_of
    from .comparison import Entry, compare, write_comparison
    from .draw import draw
    from .drawn import Drawn
    from .job import Done, Job, Only, carry_out
    from .keys import Key, read_keys
    from .options import check_settings
    from .output import FORMATS, PLAYBACK_FPS, Output, write_result
    from .plan import MAX_BETWEEN, Pass, gap_counts, parse_counts, plan_gap
    from .record import Made
    from .settings import Settings
    from .spacing import SPACINGS, parse_spacing
    from .timeline import Timing, ask, key_places, timeline_of
    from .tracks import parse_tracks

__all__ = [
    "FORMATS",
    "MAX_BETWEEN",
    "PLAYBACK_FPS",
    "SPACINGS",
    "Done",
    "Drawn",
    "Entry",
    "Job",
    "Key",
    "Made",
    "Only",
    "Output",
    "Pass",
    "Settings",
    "Timing",
    "ask",
    "carry_out",
    "check_settings",
    "compare",
    "draw",
    "gap_counts",
    "key_places",
    "parse_counts",
    "parse_spacing",
    "parse_tracks",
    "plan_gap",
    "read_keys",
    "seed_of",
    "timeline_of",
    "write_comparison",
    "write_result",
]

_HOMES = {
    "comparison": ("Entry", "compare", "write_comparison"),
    "by_model": ("seed_of",),
    "draw": ("draw",),
    "drawn": ("Drawn",),
    "job": ("Done", "Job", "Only", "carry_out"),
    "keys": ("Key", "read_keys"),
    "options": ("check_settings",),
    "output": ("FORMATS", "PLAYBACK_FPS", "Output", "write_result"),
    "plan": ("MAX_BETWEEN", "Pass", "gap_counts", "parse_counts", "plan_gap"),
    "record": ("Made",),
    "settings": ("Settings",),
    "spacing": ("SPACINGS", "parse_spacing"),
    "timeline": ("Timing", "ask", "key_places", "timeline_of"),
    "tracks": ("parse_tracks",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(f".{_HOME[name]}", __name__)
    # Importing the module `draw` shadows the function of that name, so all names are set again.
    for module, names in _HOMES.items():
        if loaded := sys.modules.get(f"{__name__}.{module}"):
            globals().update({one: getattr(loaded, one) for one in names})
    return globals()[name]
