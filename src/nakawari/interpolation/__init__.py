"""From key drawings to a sequence with in-betweens: the plan, the drawing, the files."""

from .comparison import Entry, compare, write_comparison
from .draw import Drawn, Settings, draw, seed_of
from .job import Done, Job, Only, carry_out
from .keys import Key, read_keys
from .options import check_settings
from .output import FORMATS, PLAYBACK_FPS, Output, write_result
from .plan import MAX_BETWEEN, Pass, gap_counts, parse_counts, plan_gap
from .record import Made
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
