"""From key drawings to a sequence with in-betweens: the plan, the drawing, the files."""

from .draw import Drawn, Settings, draw, seed_of
from .keys import Key, read_keys
from .output import FORMATS, Output, write_result
from .plan import MAX_BETWEEN, Pass, gap_counts, parse_counts, plan_gap

__all__ = [
    "FORMATS",
    "MAX_BETWEEN",
    "Drawn",
    "Key",
    "Output",
    "Pass",
    "Settings",
    "draw",
    "gap_counts",
    "parse_counts",
    "plan_gap",
    "read_keys",
    "seed_of",
    "write_result",
]
