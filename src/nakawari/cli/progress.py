"""Progress bars of long commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from ..processes import is_first

QUIET = 30.0
"""Seconds between printed lines if stderr is not a terminal."""
Listener = Callable[[str, float, int, str], None]
"""Called with (what, done, total, note)."""
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Send progress to `listener` from now on instead of drawing bars."""
    _listeners[:] = [listener]


class Bar:
    """A progress bar with the time left on stderr; lines at intervals if that is not a terminal. Use as a context
    manager."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit, self.bar = what, unit, None
        self._note = ""
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Bar:
        return self

    def show(self, done: float, total: int, note: str = "") -> None:
        """Set the bar to `done` of `total`, followed by a short note."""
        if _listeners:
            self._note = note or self._note
            _listeners[0](self.what, done, total, self._note)
            return
        if self.bar is None:
            from tqdm import tqdm

            form = "{desc}: {percentage:3.0f}%|{bar}| {n:.4g}/{total} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
            silent = None if is_first() else True  # None: silent without a terminal
            self.bar = tqdm(total=total, unit=self.unit, desc=self.what, disable=silent, bar_format=form)
        if note:
            self.note(note)
        self.bar.update(done - self.bar.n)
        if self.bar.disable:
            self.bar.n = done
            self._say(done, total)

    def note(self, note: str) -> None:
        """Set the note behind the bar."""
        self._note = note
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)

    def _say(self, done: float, total: int) -> None:
        now = time.monotonic()
        if now - self._said < QUIET or not done or not is_first():
            return
        self._said = now
        left = (now - self._began) / done * (total - done)
        words = [f"{self.what}: {done:.4g} of {total} {self.unit}s", *([self._note] if self._note else [])]
        print(f"{', '.join(words)}, {_spoken(left)} left", file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class Bars:
    """A sequence of bars, a new one for each piece of work; otherwise as `Bar`."""

    def __init__(self, unit: str) -> None:
        self.unit, self.bar = unit, None

    def __enter__(self) -> Bars:
        return self

    def show(self, what: str, done: int, total: int, note: str = "") -> None:
        """Set the bar of the work `what`, replacing the bar of any other work."""
        if self.bar is None or self.bar.what != what:
            self.__exit__()
            self.bar = Bar(what, self.unit)
        self.bar.show(done, total, note)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.__exit__(*error)
