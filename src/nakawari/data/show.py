"""A contact sheet of a data folder."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NakawariError
from ..media import contact_sheet
from .clips import Frames
from .inventory import Item, evenly, take_inventory


@dataclass(frozen=True)
class Shown:
    """`sheet`: (H, W, 3) uint8; `shown`, `total`: number of items on it and in total; `skipped`: one
    sentence for each unreadable item."""

    sheet: Frames
    shown: int
    total: int
    skipped: tuple[str, ...]


def show(root: Path | str, *, rows: int = 12, columns: int = 6, width: int = 1600) -> Shown:
    """A contact sheet of clips, triplets or pairs: `rows` of them, evenly chosen, in up to `columns` frames each.

    The keys of a sample, first and last, are framed. Raises `NakawariError` if nothing can be read.
    """
    inventory = take_inventory(root)
    chosen = [inventory.items[index] for index in evenly(len(inventory.items), rows)] if inventory.items else []
    pictures, labels, captions, keys, skipped = [], [], [], [], []
    for item in chosen:
        try:
            places, frames, count = _some(item, columns)
        except NakawariError as error:
            skipped.append(str(error))
            continue
        height, across = frames[0].shape[:2]
        pictures.append(frames)
        labels.append(f"{item.name}   {count} frames, {across}x{height}")
        captions.append([str(place + 1) for place in places])
        sample = inventory.is_dataset or item.kind == "pair"
        keys.append([sample and place in (0, count - 1) for place in places])
    if not pictures:
        reason = f" ({skipped[0].rstrip('.')})" if skipped else ""
        raise NakawariError(f"{root} holds no clip, triplet or pair that can be shown{reason}.")
    sheet = contact_sheet(pictures, labels, captions, keys, width=width)
    return Shown(np.asarray(sheet), len(pictures), len(inventory.items), tuple(skipped))


def _some(item: Item, columns: int) -> tuple[list[int], list[Frames], int]:
    """Evenly chosen frames of a clip, their indices, and the total number; decoded twice, not held in memory."""
    count = len(item.files) if item.kind != "video" else _length(item)
    places = evenly(count, columns)
    wanted = set(places)
    return places, [frame for place, frame in enumerate(item.frames()) if place in wanted], count


def _length(item: Item) -> int:
    last = deque(enumerate(item.frames(), 1), maxlen=1)
    return last[0][0]
