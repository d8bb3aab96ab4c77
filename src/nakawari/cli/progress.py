"""The progress bar of long commands: how far, and how long still."""

from __future__ import annotations


class Bar:
    """A bar with the time left, on stderr, when that is a terminal; otherwise nothing. Use as a context manager."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit, self.bar = what, unit, None

    def __enter__(self) -> Bar:
        return self

    def show(self, done: int, total: int, note: str = "") -> None:
        """Set the bar to `done` of `total`, with a few words behind it."""
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, unit=self.unit, desc=self.what, disable=None)
        if note:
            self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
