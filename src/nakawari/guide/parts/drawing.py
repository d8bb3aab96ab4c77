"""Draw the in-betweens of two keys by their parts, and decide whether to use them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .check import explained, over_grey, right_share
from .compose import Stage
from .filters import MEAN, calmed
from .finer import fineness_for, finer, is_aliased, is_magnified
from .flat import is_clean, is_flat, is_line_drawing, shaded
from .graph import Graph, Region, graph_of
from .held import held_of
from .layers import Layers, layers_of
from .match import match
from .motion import parts_of
from .noise import noise_of, repainted
from .pairing import ALIKE, MOST_ALIKE, alike, in_place
from .redrawn import is_redrawn, redraw
from .refine import refine
from .regions import Cel, cut_up, premultiplied
from .shades import with_shades
from .softness import softness
from .wheels import turn_wheels, with_wheels

FINENESS = ((100_000, 4), (280_000, 3))
"""Number of pixels of a picture -> subpixels per pixel along each side."""
SMALL = 65_000
"""A larger picture is downscaled below this number of pixels before segmentation, by an integer factor, so
that a drawing is matched equally at every size and its edges are not blurred twice."""
FLAT = 0.97
"""Minimum share of a picture that areas and lines explain."""
MOST_AREAS = 160
MOST_PAIRS = 500
"""Drawings with more areas, or more pairs of one colour to compare, are rejected: matching them takes too long."""
STANDS = 0.42
"""Share of an outline that must agree in place for what lies at the border to stand still."""
COVERED = 0.4
"""Weight of an outline point that another region may cover."""
EXPLAINED = 0.8
"""Minimum share of the moved pixels that must be correct in each key drawn from the other."""
NOISY_EXPLAINED = 0.7
"""The same for keys compressed with losses, whose edges differ from each other by the noise."""
REDRAWN_EXPLAINED = 0.7
"""The same of figures that are drawn anew in each key. Of unrelated figures of one kind, .63 at most is explained."""
FLOW_FAILS = 0.45
"""Share of the moved pixels below which optical flow, and with it the network, leaves ghosts of such figures."""
LINES_EXPLAINED = 0.7
"""The same for line drawings: only lines move there, and a line is wrong that is off by half its width."""
FLOW_HELPS = 0.6
"""Minimum share of the moved pixels that optical flow must explain to draw regions of the in-between; with less it
erases things."""
SURE = 0.9
"""Share from which no other reading of the keys is looked for."""
BETTER = 0.05
"""By how much more a less likely reading must explain."""
FLOW_BEHIND = 0.04
"""Margin by which optical flow may explain more: it warps freely, so it explains more than it draws correctly
half-way."""

FLOW_ENOUGH = 0.8
"""Share of the moved pixels from which optical flow draws film, scans and JPEG better than parts do: there colours
vary within an area, and edges are blurred."""
SHADED = 0.05
"""Share of what changes inside areas that is not of the area's colour, from which a drawing counts as shaded: a part is
drawn in one colour."""
FLOW_SHADES = 0.5
"""Share of the moved pixels from which optical flow draws shaded areas better than parts do."""


@dataclass(frozen=True)
class PartsDrawing:
    """The part-based drawing of one gap.

    Args:
        frames: uint8 (H, W, 3 or 4) each, as the keys.
        times: the time of each frame, in (0, 1).
        flow: share of the moved pixels that optical flow explains, 0 ... 1.
        stage: the parts. Its keys are smaller copies if the frames are large.
    """

    frames: list[np.ndarray]
    times: Sequence[float]
    flow: float
    stage: Stage

    def alone(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame `place` drawn from each key alone, over grey, (h, w, 3) float32 of the size of the stage's keys. Where
        they differ, the parts are wrong. Of hand-drawn keys each keeps its own shapes, so that what is torn shows."""
        boards = (self.stage.board_at(self.times[place], only=side, redrawn=False) for side in (0, 1))
        first, last = (over_grey(self.stage.painted(board)) for board in boards)
        return first, last


def draw(start: np.ndarray, end: np.ndarray, times: Sequence[float]) -> PartsDrawing | None:
    """In-betweens of two keys, uint8 (H, W, 3 or 4), at times in (0, 1); None if the method does not apply.

    It does not apply if a picture does not consist of flat areas, if the parts do not map one key to the other, or if
    optical flow does that better, as it does in film where little is hidden.
    """
    if min(start.shape[:2]) < 16 or not (is_flat(start) and is_flat(end)):
        return None
    keys = [_smaller(key) for key in (start, end)]
    flow = flow_explains(*(premultiplied(key) for key in keys))
    if flow >= FLOW_ENOUGH and not all(is_clean(key, _reduction(key)) for key in (start, end)):
        return None
    levels = max(map(noise_of, keys))
    small = [as_key(calmed(premultiplied(key), levels), key) for key in keys] if levels else keys
    cels = cut_up(small, fineness(small[0]))
    if levels:
        cels = [repainted(cel, premultiplied(key)) for cel, key in zip(cels, keys, strict=True)]
    if not _readable(cels):
        return None
    if flow >= FLOW_SHADES and shaded([premultiplied(key) for key in small], cels) > SHADED:
        return None
    least = NOISY_EXPLAINED if levels else LINES_EXPLAINED if all(map(is_line_drawing, cels)) else EXPLAINED
    cels = with_shades(cels)
    may_redraw = not levels and not any(cel.hard for cel in cels)
    stage = _stage(small, with_wheels(small, cels), least, flow, may_redraw)
    if stage is None:
        return None
    large = stage if small[0] is start else _enlarged(stage, start, end)
    if not stage.hard and (large.large is not None or stage.way == MEAN):
        large.soft = softness(large.drawn_from_themselves(), large.large or large.keys)
    frames = [as_key(large.frame(large.board_at(time)), start) for time in times]
    return PartsDrawing(frames, times, flow, stage)


def _enlarged(stage: Stage, start: np.ndarray, end: np.ndarray) -> Stage:
    """The stage of calmed or small copies with the edges of the keys themselves, uint8 (H, W, 3 or 4) each.

    Aliased keys are drawn from the copies: lines that are thin there come out whole.
    """
    height, width = stage.keys[0].shape[:2]
    large = premultiplied(start), premultiplied(end)
    both = list(zip(large, stage.keys, strict=True))
    same = large[0].shape == stage.keys[0].shape
    if same or any(is_magnified(*one) or is_aliased(*one) for one in both):
        return Stage(stage.cels, stage.parts, stage.layers, stage.keys, large, detailed=False)
    clean = not (noise_of(start) or noise_of(end))
    fine = fineness_for((height, width), round(large[0].shape[1] / width))
    found = zip(stage.cels, stage.layers.owners, large, strict=True)
    cels, owners = zip(*(finer(cel, owner, key, fine) for cel, owner, key in found), strict=True)
    return Stage(cels, stage.parts, Layers(stage.layers.rank, owners), stage.keys, large, detailed=clean)


def _readable(cels: Sequence[Cel]) -> bool:
    """Whether keys consist of areas and lines, and of not too many."""
    flat = min(float(cel.known.mean()) for cel in cels)
    return flat >= FLAT and max(cel.areas for cel in cels) <= MOST_AREAS and _pairs(cels) <= MOST_PAIRS


def _stage(small: list[np.ndarray], cels: list[Cel], least: float, flow: float, may_redraw: bool) -> Stage | None:
    """The reading of two keys that explains most of what moved; None if each explains less than `least`, or
    clearly less than `flow`.

    `may_redraw`: whether figures may be drawn anew in each key, which need not explain as much; noise and stairs of
    pixels look as if they were.
    """
    first, last = (graph_of(cel) for cel in cels)
    best, most = None, 0.0
    for ground in grounds_of(first, last):
        stage = stage_of(*small, first, last, ground, may_redraw=may_redraw)
        share = explained(stage)
        anew = flow < FLOW_FAILS and any(part.redrawn is not None for part in stage.parts)
        if share >= max(min(least, REDRAWN_EXPLAINED) if anew else least, flow - FLOW_BEHIND, most):
            best, most = stage, share + BETTER
        if share >= SURE:
            break
    return best


def _smaller(key: np.ndarray) -> np.ndarray:
    """A key, downscaled if it is too large for segmentation."""
    times = _reduction(key)
    if times == 1:
        return key
    size = round(key.shape[1] / times), round(key.shape[0] / times)
    return as_key(cv2.resize(premultiplied(key), size, interpolation=cv2.INTER_AREA), key)


def _reduction(key: np.ndarray) -> int:
    """By which factor a key is downscaled for segmentation, 1 if it is not."""
    pixels = key.shape[0] * key.shape[1]
    return 1 if pixels <= FINENESS[-1][0] else math.ceil((pixels / SMALL) ** 0.5)


def _pairs(cels: Sequence[Cel]) -> int:
    """Number of pairs of areas, one from each key, of equal colour, that are compared."""
    first, last = (cel.paints[: cel.areas] for cel in cels)
    return int((np.abs(first[:, None] - last).max(2) <= ALIKE).sum(1).clip(max=MOST_ALIKE).sum())


def fineness(picture: np.ndarray) -> int:
    """Subpixels per pixel along each side for a picture of at most 280,000 pixels."""
    pixels = picture.shape[0] * picture.shape[1]
    return next(fine for most, fine in FINENESS if pixels <= most)


Ground = tuple[set[int], set[int]]
"""Labels, per key, of what stands still behind all."""


def stage_of(
    start: np.ndarray, end: np.ndarray, first: Graph, last: Graph, ground: Ground, *, may_redraw: bool = True
) -> Stage:
    """Match two keys, and find how their parts move and lie; they may be drawn anew in each (`_stage`)."""
    held = held_of(first, last, ground)
    first, last = (_weighed(graph, still) for graph, still in zip((first, last), held.behind(ground), strict=True))
    parts = parts_of(first, last, ground, match(first, last, ground, held), held)
    matched = [part.motion for part in parts]
    refine(first, last, parts)
    anew = may_redraw and is_redrawn(first, last, parts)
    if anew:
        for part, motion in zip(parts, matched, strict=True):
            part.motion = motion
        refine(first, last, parts, redrawn=True)
    turn_wheels((start, end), first, last, parts)
    keys = premultiplied(start), premultiplied(end)
    layers = layers_of(first, last, parts)
    if anew:
        redraw(first, last, parts, layers.rank)
        layers = layers_of(first, last, parts)
    return Stage((first.cel, last.cel), parts, layers, keys)


def grounds_of(first: Graph, last: Graph) -> Iterator[Ground]:
    """What may stand still behind all, the likeliest first: what lies at the picture's border and stays; of that only
    the colour that takes most of the border, as where the camera moves; each with its colour seen through holes, and
    without, as in line drawings. A figure that the border cuts and that moves is likely none of it.
    """
    found: list[Ground] = []
    staying = _staying(first, last), _staying(last, first)
    widest = _widest(first, staying[0]), _widest(last, staying[1])
    held = held_of(first, last, widest).pairs
    moves = any(_moves(first.regions[k], last, staying[1]) for k in sorted(staying[0] - widest[0] - held.keys()))
    for labels in (widest, staying) if moves else (staying, widest):
        for ground in (_with_holes(first, last, labels), labels):
            if ground not in found:
                found.append(ground)
                yield ground


def _staying(own: Graph, other: Graph) -> set[int]:
    return {r.label for r in own.regions if r.paint[3] < 4 or (r.rim > 0.05 and _stays(own, other, r.label))}


def _widest(graph: Graph, labels: set[int]) -> set[int]:
    """Of some regions those of the colour that takes most of the picture's border."""
    groups = [{n for n in labels if alike(graph.regions[n], graph.regions[k])} for k in sorted(labels)]
    return max(groups, key=lambda group: sum(graph.regions[k].rim for k in group), default=set())


def _moves(region: Region, last: Graph, labels: set[int]) -> bool:
    """Whether the outline of a region agrees in place with none of some regions of its colour in the other key."""
    others = [last.regions[k].outline for k in sorted(labels) if alike(region, last.regions[k])]
    return len(region.outline.points) > 0 and not any(in_place(region.outline, two) >= STANDS for two in others)


def _with_holes(first: Graph, last: Graph, ground: Ground) -> Ground:
    still = [graph.regions[k] for graph, labels in zip((first, last), ground, strict=True) for k in sorted(labels)]
    one, two = (
        {r.label for r in graph.regions if any(alike(r, region) for region in still)} for graph in (first, last)
    )
    return one, two


def _weighed(graph: Graph, ground: set[int]) -> Graph:
    """The graph with reduced weights of outline points that face another region, which may cover them."""
    regions = []
    for region in graph.regions:
        faced = graph.faced(region.outline)
        sure = np.isin(faced, [*ground, region.label])
        weights = np.where(sure, 1.0, COVERED if sure.mean() > 0.2 else 1.0) if len(sure) else region.outline.weights
        regions.append(replace(region, outline=replace(region.outline, weights=weights)))
    return replace(graph, regions=regions)


def _stays(own: Graph, other: Graph, label: int) -> bool:
    region = own.regions[label]
    landed = other.labels_at(region.inside)
    same = [0 <= k < other.cel.areas and alike(other.regions[k], region) for k in landed]
    return float(np.mean(same)) > 0.5


def flow_explains(first: np.ndarray, last: np.ndarray) -> float:
    """The share of moved pixels that are correct when each key is drawn from the other by optical flow (DIS)."""
    keys = [over_grey(key) for key in (first, last)]
    grey = [cv2.cvtColor(np.rint(key).astype(np.uint8), cv2.COLOR_RGB2GRAY) for key in keys]
    height, width = grey[0].shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    shares = []
    for source, target in ((0, 1), (1, 0)):
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey[target], grey[source], None)
        warped = cv2.remap(keys[source], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        shares.append(right_share(warped, keys[target], keys[source]))
    return float(np.mean(shares))


def as_key(frame: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Premultiplied (H, W, 4) float as uint8 with the channels of the key."""
    alpha = frame[..., 3:]
    colour = frame[..., :3] * 255 / np.maximum(alpha, 1e-3)
    both = np.concatenate([colour, alpha], 2)[..., : key.shape[2]]
    return np.rint(both).clip(0, 255).astype(np.uint8)
