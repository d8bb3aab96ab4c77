"""Compose an in-between: every part at its pose, in depth order, from the key that shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .aliased import hardened
from .details import BESIDE, Detail, carried, detail_of, owners_at
from .filters import MEAN, in_range, scaled
from .insides import Inside, Mixed, inside_of, mixed, renamed
from .layers import Layers
from .motion import Part, poses
from .pairing import ALIKE
from .regions import Cel
from .shapes import FAR, TORN, UNKNOWN, Shape, blended, relined, seen_through, shape_of
from .softness import REACH, softened
from .standing import Pair, ground_of, standing_shape

LEAST = 0.01
"""Least share of a key in a part's shape: at the other key's time it still shows what that key hides."""
STILL = 0.1
"""Maximum motion in pixels of a part that counts as static."""


@dataclass
class Board:
    """An in-between at every subpixel, (H·fine, W·fine).

    Args:
        codes: int16, the paint.
        parts: int16, the visible part.
        colours: float32 (H·fine, W·fine, 4), premultiplied, with blended edges; None for an aliased drawing.
        time: of the in-between, 0 ... 1.
    """

    codes: np.ndarray
    parts: np.ndarray
    colours: np.ndarray | None
    time: float


class Stage:
    """The data for drawing the in-betweens of one gap.

    Args:
        cels: the keys' labels.
        parts: the moving parts.
        layers: their depth order.
        keys: the keys, premultiplied (H, W, 4) float32.
        large: the same at their size, if `keys` are copies.
        detailed: whether what parts do not draw of them is carried along; of compressed keys it is noise.
    """

    def __init__(
        self,
        cels: tuple[Cel, Cel],
        parts: list[Part],
        layers: Layers,
        keys: Pair,
        large: Pair | None = None,
        *,
        detailed: bool = True,
    ) -> None:
        first, last = cels
        self.cels, self.parts, self.layers = cels, parts, layers
        self.keys, self.large, self.detailed = keys, large, detailed
        self.soft: np.ndarray | None = None  # the keys' softness, once it is known
        self.fine = first.fine
        self.way = first.way
        self.hard = first.hard and last.hard
        self.paints = np.concatenate([first.paints, last.paints])
        shift = len(first.paints)
        self.lines = np.concatenate([np.arange(len(cel.paints)) >= cel.areas for cel in self.cels])
        self.codes = (first.shown.astype(np.int16), (last.shown + shift).astype(np.int16))
        self.line = (first.line, last.line)
        self._ranks = tuple(layers.rank.astype(np.int16)[owner] for owner in layers.owners)
        self._stray = tuple(
            own & (owner == 0) & ~other
            for own, other, owner in zip(self.line, self.line[::-1], layers.owners, strict=True)
        )
        self.still = np.array(
            [part.ground or ((layers.owners[0] == k).any() and _stands(part)) for k, part in enumerate(parts)]
        )
        for part, still in zip(parts, self.still, strict=True):
            if still:
                part.motion, part.parent = np.eye(3), -1
        first_still, last_still = (whole(self.still[owner], self.fine) for owner in layers.owners)
        self.quiet = first_still & last_still & (keys[0] == keys[1]).all(2)
        self.shapes = [[self._shape(side, k) for k in range(len(parts))] for side in (0, 1)]
        for k in np.flatnonzero(self.still[1:]) + 1:
            above = self._above(0, k), self._above(1, k)
            shape = standing_shape(k, layers.owners, self.line, above, self.codes, self.fine)
            self.shapes[0][k] = self.shapes[1][k] = shape
        self.paint_of = [[self._paint(side, k) for k in range(len(parts))] for side in (0, 1)]
        self.base = ground_of(self.codes, self.line, layers.owners)

    def _shape(self, side: int, k: int) -> Shape | None:
        if k == 0:
            return None
        line, mine = self.line[side], self.layers.owners[side] == k
        return shape_of(mine & ~line, mine & line, self._above(side, k), self.codes[side], self.fine)

    def _above(self, side: int, k: int) -> np.ndarray:
        """(H·fine, W·fine) bool: what may hide part k in a key: parts above it, and lines of no part."""
        return (self._ranks[side] > self.layers.rank[k]) | self._stray[side]

    def _paint(self, side: int, k: int) -> int:
        """The code of a part's area in a key, -1 if the key does not show it."""
        labels = self.parts[k].last if side else self.parts[k].first
        return min(labels) + side * len(self.cels[0].paints) if labels else -1

    @cached_property
    def _insides(self) -> dict[tuple[int, int], Inside | None]:
        """What is in wheels and shaded parts: of each key and part."""
        same = (np.abs(self.paints[:, None] - self.paints).max(2) <= ALIKE).argmax(1)
        found: dict[tuple[int, int], Inside | None] = {}
        for k, part in enumerate(self.parts):
            if not part.composed:
                continue
            one, two = (
                inside_of((owner == k) & (part.wheel | ~line), same[own], self.fine, rigid=part.wheel)
                for own, owner, line in zip(self.codes, self.layers.owners, self.line, strict=True)
            )
            found[0, k] = one
            found[1, k] = two if one is None or two is None or not part.wheel else renamed(two, one, self.paints)
        return found

    def board_at(self, time: float, only: int | None = None, *, redrawn: bool = True) -> Board:
        """The composition at a time, from both keys, or from `only` one; `redrawn`: half-way between the shapes that
        hand-drawn keys give its parts."""
        lead = int(time > 0.5)
        codes = (
            self.base.copy() if only is None else np.where(self.layers.owners[only] == 0, self.codes[only], self.base)
        )
        board = Board(codes, np.zeros(codes.shape, np.int16), None if self.hard else self.paints[codes], time)
        sources = self.sources(time)
        sides = (lead, 1 - lead) if only is None else (only,)
        for k in np.argsort(self.layers.rank):
            box = None if k == 0 else self._reach(k, *sources[k])
            if box is None:
                continue
            self._lay(board, box, k, *self._seen(k, time, sides, sources[k], box, redrawn))
        return board

    def _seen(
        self,
        k: int,
        time: float,
        sides: tuple[int, ...],
        sources: tuple[np.ndarray, np.ndarray],
        box: tuple[int, int, int, int],
        redrawn: bool,
    ) -> tuple[np.ndarray, np.ndarray | None, int | Mixed | None]:
        """Part k in a box at a time: its distances (h, w, 2) in subpixels, the inks of its line, its area's paint."""
        bend, views, bents = self.parts[k].bend, [], []
        left = self.parts[k].left if redrawn else bend
        bends = (
            None if left is None else left.field(np.linalg.inv(sources[0]), self.parts[k].motion, time, box, self.fine)
        )
        for side in sides:
            shape, back = self.shapes[side][k], sources[side]
            bent = None if bends is None else bends * (-time, 1 - time)[side]
            bents.append(bent)
            if shape is None:
                views.append(self._unseen(side, back, box, k))
            else:
                views.append(shape.seen(back, box, self.fine, bent))
        shares = [max((1 - time, time)[side], LEAST) for side in sides]
        if bend is not None:  # a shape that is magnified is coarse
            shares = [share * _least_stretch(sources[side]) ** 2 for share, side in zip(shares, sides, strict=True)]
        near = blended([field for field, _ in views], shares, TORN if bend is None else math.inf)
        if bend is not None:
            lines = [own[k].line for own in self.shapes if own[k] is not None]
            near = relined(near, float(np.mean(lines)), self.fine)
        inks = next((inks for _, inks in views if inks is not None), None)
        paint: int | Mixed | None
        if self.parts[k].composed:
            insides = [self._insides[side, k] for side in sides]
            paint = mixed(insides, shares, [sources[side] for side in sides], box, self.fine, bents)
        else:
            paint = next((self.paint_of[side][k] for side in sides if self.paint_of[side][k] >= 0), None)
        return near * self.fine, inks, paint

    def drawn_from_themselves(self) -> Iterator[np.ndarray]:
        """For each key the colours of the board on which it is drawn from itself alone; no aliased drawing."""
        for side in (0, 1):
            colours = self.board_at(float(side), only=side).colours
            assert colours is not None
            yield colours

    def _lay(
        self,
        board: Board,
        box: tuple[int, int, int, int],
        k: int,
        near: np.ndarray,
        inks: np.ndarray | None,
        paint: int | Mixed | None,
    ) -> None:
        """Composite part k over a box of the board; `near` are its distances (h, w, 2) in subpixels."""
        left, top, right, bottom = box
        spot = np.s_[top:bottom, left:right]
        if paint is None:
            near = np.stack([np.full_like(near[..., 1], np.inf), near[..., 1]], 2)
        if inks is None:
            near = near[..., :1].repeat(2, 2)
        area = near[..., 0] < 0
        line = (near[..., 1] < 0) & ~area
        for mask, code in ((line, inks), (area, paint.codes if isinstance(paint, Mixed) else paint)):
            if code is not None:
                board.codes[spot][mask] = code[mask] if isinstance(code, np.ndarray) else code
                board.parts[spot][mask] = k
        if board.colours is None:
            return
        share = (0.5 - near).clip(0, 1)
        inner = share[..., :1]
        outer = np.maximum(inner, share[..., 1:])
        colours = board.colours[spot] * (1 - outer)
        if inks is not None:
            colours += (outer - inner) * self.paints[inks]
        if paint is not None:
            colours += inner * (paint.colours(self.paints) if isinstance(paint, Mixed) else self.paints[paint])
        board.colours[spot] = colours

    def sources(self, time: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per part the motions (3, 3) from the in-between at a time to the first and to the last key, in pixels."""
        out = []
        for part, pose in zip(self.parts, poses(self.parts, time), strict=True):
            to_first = np.linalg.inv(pose)
            out.append((to_first, part.motion @ to_first))
        return out

    def _unseen(self, side: int, back: np.ndarray, box: tuple[int, int, int, int], k: int) -> tuple[np.ndarray, None]:
        """The field of a part that a key does not show: it may only be where another part covers it."""
        covered = seen_through(self._above(side, k).astype(np.float32), back, box, self.fine, cv2.INTER_NEAREST, 1.0)
        return np.stack([np.full_like(covered, FAR), np.full_like(covered, FAR), 1 - (1 - UNKNOWN) * covered], 2), None

    def _reach(self, k: int, to_first: np.ndarray, to_last: np.ndarray) -> tuple[int, int, int, int] | None:
        height, width = self.base.shape
        corners = []
        for side, back in enumerate((to_first, to_last)):
            shape = self.shapes[side][k]
            if shape is not None:
                box, forth = shape.box, np.linalg.inv(back)
                x0, y0, x1, y1 = (v / self.fine for v in box)
                quad = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
                corners.append(quad @ forth[:2, :2].T + forth[:2, 2])
        if not corners:
            return None
        bend = self.parts[k].left
        spread = np.concatenate(corners) * self.fine
        reach = 1 if bend is None else 1 + math.ceil(bend.reach * self.fine)
        left, top = np.floor(spread.min(0)).astype(int) - reach
        right, bottom = np.ceil(spread.max(0)).astype(int) + reach
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def painted(self, board: Board) -> np.ndarray:
        """A board as a picture of the keys' size, premultiplied (H, W, 4) float32."""
        if board.colours is None:
            return self.paints[hardened(board.codes, self.lines, self.fine)]
        height, width = board.codes.shape
        size = width // self.fine, height // self.fine
        # what a sharp filter made has its own edges
        fine = self._edged(board.colours) if self.way == MEAN else board.colours
        return scaled(fine, size, self.way)

    def _enlarged(self, board: Board) -> np.ndarray:
        """A board as a picture of the large keys' size, premultiplied (H, W, 4) float32; of the keys' without."""
        if self.large is None:
            return self.painted(board)
        fine = self.paints[board.codes] if board.colours is None else self._edged(board.colours)
        height, width = self.large[0].shape[:2]
        shrinks = width < fine.shape[1]
        return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

    def _detailed(self, board: Board) -> np.ndarray:
        """A board as a picture, with what the keys show and their drawings by parts miss."""
        made = self._enlarged(board)
        if board.colours is None or not self.detailed:
            return made
        shares = (1 - board.time, board.time)
        sources = [tuple(map(self._to_scale, ways)) for ways in self.sources(board.time)]
        return in_range(made + carried(self._details, self._owner(board), sources, shares))

    @cached_property
    def _details(self) -> list[Detail]:
        bent = [k for k, part in enumerate(self.parts) if part.left is not None]
        found = []
        for side, key in enumerate(self.large or self.keys):
            board = self.board_at(float(side))
            owner = self._owner(board)
            owner[np.isin(owner, bent)] = -1  # these do not move as a whole
            found.append(detail_of(key, self._enlarged(board), owner))
        return found

    def _owner(self, board: Board) -> np.ndarray:
        """(H, W): the uppermost part in or beside each pixel of the picture."""
        shown = self.large or self.keys
        # what softens large edges overshoots farther out
        return owners_at(board.parts, self.layers.rank, shown[0].shape[:2], BESIDE if self.large is None else REACH)

    def _to_scale(self, motion: np.ndarray) -> np.ndarray:
        """A motion (3, 3) in pixels of the keys as one in pixels of the large keys."""
        if self.large is None:
            return motion
        (high, wide), (height, width) = self.large[0].shape[:2], self.keys[0].shape[:2]
        scale = np.array([wide / width, high / height, 1.0])
        return scale[:, None] * motion / scale

    def _edged(self, colours: np.ndarray) -> np.ndarray:
        """A board's colours with edges as soft as the keys'."""
        return colours if self.soft is None else softened(colours, self.soft)

    def frame(self, board: Board) -> np.ndarray:
        """A board as an in-between, premultiplied (H, W, 4) float32, at the size of the large keys if there are any.

        Where no moving part is visible and the keys agree, the keys' pixels are used.
        """
        still = whole(self.still[board.parts], self.fine)
        if self.soft is not None or self.way != MEAN:  # what moves reaches into what stands beside it
            still = cv2.erode(still.astype(np.uint8), np.ones((2 * REACH + 1,) * 2, np.uint8)).astype(bool)
        held = self.quiet & still
        if self.large is None:
            return np.where(held[..., None], self.keys[0], self._detailed(board))
        first, last = self.large
        size = first.shape[1], first.shape[0]
        held = cv2.resize(held.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        held &= (first == last).all(2)
        return np.where(held[..., None], first, self._detailed(board))


def whole(mask: np.ndarray, fine: int) -> np.ndarray:
    """(H, W) bool: pixels all of whose subpixels are set."""
    height, width = mask.shape[0] // fine, mask.shape[1] // fine
    return mask.reshape(height, fine, width, fine).all((1, 3))


def _least_stretch(motion: np.ndarray) -> float:
    """The least length that a motion (3, 3) makes of a length of 1, at most 1."""
    return min(1.0, float(np.linalg.svd(motion[:2, :2], compute_uv=False)[1]))


def _stands(part: Part) -> bool:
    """Whether a part is static: no point moves by a tenth of a pixel."""
    if part.bend is not None:
        return False
    reach = part.reach * 2 * np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])
    corners = part.centre + reach
    return bool(np.abs(corners @ part.motion[:2, :2].T + part.motion[:2, 2] - corners).max() < STILL)
