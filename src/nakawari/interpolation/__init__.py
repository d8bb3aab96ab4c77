"""From key drawings to a sequence with in-betweens: the plan, the drawing, the files."""

from .comparison import Entry, compare, write_comparison
from .draw import Drawn, Settings, draw, seed_of
from .keys import Key, read_keys
from .options import check_settings
from .output import FORMATS, PLAYBACK_FPS, Output, write_result
from .plan import MAX_BETWEEN, Pass, gap_counts, parse_counts, plan_gap
from .tracks import parse_tracks

__all__ = [
    "FORMATS",
    "MAX_BETWEEN",
    "PLAYBACK_FPS",
    "Drawn",
    "Entry",
    "Key",
    "Output",
    "Pass",
    "Settings",
    "check_settings",
    "compare",
    "draw",
    "gap_counts",
    "parse_counts",
    "parse_tracks",
    "plan_gap",
    "read_keys",
    "seed_of",
    "write_comparison",
    "write_result",
]
