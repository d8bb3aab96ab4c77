"""Progress of drawing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

Progress = Callable[[int, int], None]
"""Called with (drawn, total) in-betweens after every batch."""
Watch = Callable[[float, int, str], None]
"""Called with (drawn, total, words) after every sampling step; `drawn` includes a share of those in progress."""


class Counter:
    """Counts drawn frames for a progress display of in-betweens.

    Args:
        total: frames to draw; a transparent gap is drawn twice.
        wanted: in-betweens in the result.
    """

    def __init__(self, total: int, wanted: int, progress: Progress | None, watch: Watch | None) -> None:
        self.drawn, self.total, self.wanted, self.progress, self.watch = 0, total, wanted, progress, watch

    def add(self, frames: int) -> None:
        self.drawn += frames
        if self.progress:
            self.progress(int(self._done(0)), self.wanted)

    def _done(self, more: float) -> float:
        """In-betweens done if `more` frames were drawn, too."""
        return (self.drawn + more) * self.wanted / max(self.total, 1)

    def telling(self, pipeline: Any, frames: int) -> dict[str, Any]:
        """Arguments for a pipeline's call that draws `frames` frames, to report its steps; decoding counts
        as one more step."""
        watch = self.watch
        if watch is None or "callback_on_step_end" not in inspect.signature(pipeline.__call__).parameters:
            return {}

        def tell(model: Any, index: int, time: Any, values: Mapping[str, Any]) -> dict[str, Any]:
            steps = len(model.scheduler.timesteps)
            words = f"step {index + 1} of {steps}" if index + 1 < steps else f"{steps} of {steps} steps, decoding"
            watch(self._done(frames * (index + 1) / (steps + 1)), self.wanted, words)
            return {}

        return {"callback_on_step_end": tell}
