"""The contact sheet of an evaluation: its samples by motion, every row's frame side by side, from the saved frames."""

from __future__ import annotations

import io

import numpy as np

from ..errors import NakawariError
from ..evaluation.floors import dis_flows
from ..media import contact_sheet
from .filmstrips import Picture, kept_frame, kept_reference
from .results import Evidence, Row
from .tables import number

WIDTH = 1800
CHANGED = 8
"""8-bit levels from which a pixel counts as changed between the keys."""
_TOO_MANY = 500


def sheet(evidence: Evidence, count: int) -> bytes:
    """The `count` samples with the most motion, fastest first, as PNG: keys, baselines, peers, models, truth.

    Raises:
        NakawariError: too many samples for one picture, or no saved frames.
    """
    if count > _TOO_MANY:
        raise NakawariError(f"A sheet holds at most {_TOO_MANY} samples, not {count}; give a smaller number.")
    rows = _shown(evidence)
    references = {name: kept_reference(evidence, name) for name in evidence.sample_names}
    motions = {name: motion(found.keys) for name, found in references.items() if found is not None}
    fastest = sorted(motions, key=lambda name: -motions[name])[:count]
    pictures, captions, labels = [], [], []
    for name in fastest:
        index, reference = evidence.sample_names.index(name), references[name]
        assert reference is not None
        drawn = [(row, frame) for row in rows if (frame := kept_frame(evidence, row, name, reference.time)) is not None]
        pictures.append([reference.keys[0], *(frame.picture for _, frame in drawn), reference.truth, reference.keys[1]])
        captions.append(["start key", *(_caption(evidence, row, index) for row, _ in drawn), "truth", "end key"])
        level = evidence.rows[0].samples.levels[index]
        labels.append(f"{name}{level and ', '}{level}: {motions[name]:.1f} px")
    if not pictures:
        raise NakawariError(
            "There are no pictures for a sheet, as the evaluation saved no frames; evaluate with keep_frames."
        )
    keys = [[True, *[False] * (len(row) - 2), True] for row in pictures]
    return _png(contact_sheet(pictures, labels, captions, keys, width=WIDTH))


def motion(keys: tuple[Picture, Picture]) -> float:
    """Mean length of the DIS flow between two keys (H, W, 3), in pixels, over the pixels that change; 0 if none do."""
    start, end = keys
    changed = np.abs(start.astype(np.int16) - end).max(-1) > CHANGED
    forward, _ = dis_flows(start, end)
    return float(np.hypot(forward[..., 0], forward[..., 1])[changed].mean()) if changed.any() else 0.0


def _shown(evidence: Evidence) -> list[Row]:
    """All rows except the copy of a key, the guides and the autoencoders."""
    wanted = [row for row in evidence.rows if row.entry.role != "ceiling" and not row.name.endswith(": guide alone")]
    return [row for row in wanted if not row.name.startswith("copy of")]


def _caption(evidence: Evidence, row: Row, index: int) -> str:
    metric = evidence.metrics[0]
    values = row.samples.first.get(metric.name)
    score = "" if values is None else number(float(values[index]), evidence.decimals(metric.name))
    return f"{score} {row.label}".strip()


def _png(picture: Picture) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
