"""Flat-colour drawings by their parts: regions between lines, matched, moved about their joints, laid one over another.

Where both keys are of flat areas and lines, and each follows from the other by the parts found, `draw` makes the
in-betweens without any network. Else it returns None, and whoever asked draws in another way.
"""

from .drawing import PartsDrawing, draw

__all__ = ["PartsDrawing", "draw"]
