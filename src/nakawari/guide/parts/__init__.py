"""Part-based in-betweens of flat-colour drawings: regions between lines, matched, moved about joints, composited.

If both keys consist of flat areas and lines, and each can be drawn from the other by the matched parts, `draw` makes
the in-betweens without a network. Otherwise it returns None, and the caller uses another method.
"""

from .drawing import PartsDrawing, draw

__all__ = ["PartsDrawing", "draw"]
