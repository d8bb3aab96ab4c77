"""The frames of the drawings of a sequence, and their file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from ..errors import UsageError
from .pairs import are_pairs, between_pairs, pair_counts
from .plan import MAX_BETWEEN, gap_counts, parse_counts
from .spacing import Shares, even, spaced_gaps

DEFAULT_BETWEEN = "7"
DEFAULT_NAME = "####"
_NUMBERED = re.compile(r"(.*?)(\d{3,})")
_PLACE = re.compile(r"#+")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Timing:
    """Exposure of drawings and numbering of frames.

    Args:
        exposure: frames per drawing: 2 is "on twos".
        hold: exposure of the keys instead, one for all or one for each; empty for `exposure`.
        start: the number of the first frame; None for that in the first key's name, otherwise 1.
        name: file name pattern, with # for every digit of the number; None for the keys' names, otherwise "####".
        copies: whether there is a file for every frame; otherwise there is one file for each drawing, with
            the number of its first frame.
    """

    exposure: int = 1
    hold: tuple[int, ...] = ()
    start: int | None = None
    name: str | None = None
    copies: bool = False

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(r"[^/\\#]*#+[^/\\#]*", self.name):
            raise UsageError(
                f"The name {self.name!r} has no single place for the number; write # for each digit, as in A_####."
            )


@dataclass(frozen=True)
class Timeline:
    """The frames of a sequence.

    Args:
        begins: for every drawing the number of its first frame.
        lengths: its exposure in frames.
        name: the pattern of the files' names, # for each digit, without suffix.
        copies: see `Timing`.
    """

    begins: tuple[int, ...]
    lengths: tuple[int, ...]
    name: str = DEFAULT_NAME
    copies: bool = False

    def files(self) -> list[list[str]]:
        """For every drawing the names of its files, that of its first frame first."""
        return [
            [self.file(number) for number in range(begin, begin + (length if self.copies else 1))]
            for begin, length in zip(self.begins, self.lengths, strict=True)
        ]

    def file(self, number: int) -> str:
        """The file name of a frame; with more digits if the number needs them."""
        (hashes,) = _PLACE.findall(self.name)
        digits = max(len(hashes), len(str(max(self.begins) + self.lengths[-1] - 1)))
        return _PLACE.sub(f"{number:0{digits}d}", self.name) + ".png"

    def looks_alike(self, file: str) -> bool:
        """Whether `file` has the name pattern of a frame of this sequence."""
        before, after = (re.escape(part) for part in _PLACE.split(self.name))
        return re.fullmatch(rf"{before}\d+{after}\.png", file) is not None

    def held(self, drawings: Sequence[Item]) -> list[Item]:
        """All frames: each drawing repeated for its exposure."""
        return [one for one, length in zip(drawings, self.lengths, strict=True) for _ in range(length)]


@dataclass(frozen=True)
class Asked:
    """The requested in-betweens of every gap.

    Args:
        counts: in-betweens.
        shares: their fractions; None for even ones.
        numbers: for every key the frame number in its name; None if names are not used.
        name: the pattern of the keys' names; None as for `numbers`.
        pairs: whether the keys are pairs: every second gap then lies between two pairs and is not counted.
    """

    counts: tuple[int, ...]
    shares: tuple[Shares, ...] | None = None
    numbers: tuple[int, ...] | None = None
    name: str | None = None
    pairs: bool = False


def numbered_names(paths: Sequence[Path]) -> tuple[str, tuple[int, ...]] | None:
    """The pattern and the frame numbers of names such as `cut012_A_0001`: equal except for an increasing number of
    three digits or more at the end. None for other names."""
    found = [_NUMBERED.fullmatch(path.stem) for path in paths]
    parts = [match.groups() for match in found if match]
    if len(parts) < max(2, len(paths)) or len({(before, len(digits)) for before, digits in parts}) > 1:
        return None
    numbers = tuple(int(digits) for _, digits in parts)
    if any(low >= high for low, high in pairwise(numbers)) or "#" in parts[0][0]:
        return None
    return parts[0][0] + "#" * len(parts[0][1]), numbers


def ask(
    paths: Sequence[Path], between: str | None, spacings: Sequence[str | Shares], timing: Timing, *, loop: bool
) -> Asked:
    """The requested in-betweens between the keys in the files `paths`.

    Without a given count it follows from explicit fractions, then from the frame numbers in the keys' names
    if these leave room; otherwise it is `DEFAULT_BETWEEN`. The keys' numbers also number the sequence if its
    in-betweens fit between them. Keys that are pairs have one gap each.

    Raises:
        UsageError: counts, spacings, holds and names that do not fit each other.
    """
    gaps = pair_counts if are_pairs(paths) else gap_counts
    written = [spacing for spacing in spacings if not isinstance(spacing, str)]
    names = None if loop or timing.hold else numbered_names(paths)
    rooms = _rooms(names[1], timing.exposure) if names else ()
    if between is not None:
        counts = gaps(parse_counts(between), len(paths), loop=loop)
    elif written:
        lengths = [len(one) for one in written] if len(written) == len(spacings) else []
        if not lengths:
            raise UsageError("Some gaps have fractions and others a curve; give --between for the curves.")
        counts = gaps(tuple(lengths), len(paths), loop=loop)
    elif any(rooms):
        counts = _checked_rooms(rooms)
    else:
        counts = gaps(parse_counts(DEFAULT_BETWEEN), len(paths), loop=loop)
    if gaps is pair_counts:
        each = len(paths) // 2
        spacings = between_pairs(list(spacings) * (each if len(spacings) == 1 else 1), "even")
    fits = names is not None and counts == rooms
    numbers = names[1] if names is not None and fits else None
    shares, pairs = _shares(spacings, counts, numbers, timing.exposure), gaps is pair_counts
    return Asked(counts, shares, numbers, names[0] if names and fits else None, pairs)


def _rooms(numbers: Sequence[int], exposure: int) -> tuple[int, ...]:
    """Number of drawings that fit between two keys, each exposed for `exposure` frames."""
    return tuple(-(-(high - low) // exposure) - 1 for low, high in pairwise(numbers))


def _checked_rooms(rooms: tuple[int, ...]) -> tuple[int, ...]:
    if max(rooms) > MAX_BETWEEN:
        raise UsageError(
            f"The numbers in the keys' names leave room for {max(rooms)} in-betweens in one gap; give --between, at "
            f"most {MAX_BETWEEN}."
        )
    return rooms


def _shares(
    spacings: Sequence[str | Shares], counts: tuple[int, ...], numbers: tuple[int, ...] | None, exposure: int
) -> tuple[Shares, ...] | None:
    """The fractions of all gaps, None if all are even. A frame between two numbered keys is eased at its own time."""
    times = [even(count) for count in counts]
    if numbers is not None:
        lengths = [high - low for low, high in pairwise(numbers)]
        times = [
            tuple(exposure * place / length for place in range(1, count + 1))
            for count, length in zip(counts, lengths, strict=True)
        ]
    shares = spaced_gaps(spacings, times)
    return None if shares == tuple(even(count) for count in counts) else shares


def timeline_of(keys: Sequence[int | None], asked: Asked, timing: Timing) -> Timeline:
    """The frames of the drawings.

    Args:
        keys: for every drawing of the sequence the number of its key, None for an in-between.

    Raises:
        UsageError: the number of holds is not that of the keys.
    """
    count = sum(key is not None for key in keys)
    if len(timing.hold) not in (0, 1, count):
        raise UsageError(f"There are {count} keys but {len(timing.hold)} holds; give one, or one for each key.")
    if asked.numbers is not None:
        begins = _between_numbers(keys, asked.numbers, timing)
        lengths = [*(high - low for low, high in pairwise(begins)), timing.exposure]
    else:
        holds = timing.hold * (count if len(timing.hold) == 1 else 1) or (timing.exposure,) * count
        lengths = [timing.exposure if key is None else holds[key] for key in keys]
        first = 1 if timing.start is None else timing.start
        begins = [first + sum(lengths[:place]) for place in range(len(lengths))]
    return Timeline(tuple(begins), tuple(lengths), timing.name or asked.name or DEFAULT_NAME, timing.copies)


def _between_numbers(keys: Sequence[int | None], numbers: Sequence[int], timing: Timing) -> list[int]:
    shift = 0 if timing.start is None else timing.start - numbers[0]
    begins: list[int] = []
    for key in keys:
        begins.append(begins[-1] + timing.exposure if key is None else numbers[key] + shift)
    return begins


def key_places(counts: Sequence[int], keys: int) -> list[int | None]:
    """For every drawing of a sequence the number of its key, None for an in-between."""
    between = [*counts, 0] if len(counts) < keys else counts
    return [place for key in range(keys) for place in (key, *[None] * between[key])]


def plain_timeline(drawings: int) -> Timeline:
    """A timeline of `drawings` drawings, each for one frame, from frame 1 on."""
    return Timeline(tuple(range(1, drawings + 1)), (1,) * drawings)
