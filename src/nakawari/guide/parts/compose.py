"""The in-between: every part set at its pose, layer over layer, each from the key that shows it."""

from __future__ import annotations

import cv2
import numpy as np

from .graph import Graph
from .layers import Layers
from .motion import Part, poses

LINE_SHARE = 0.45
"""Share of an aliased pixel that a line must take to be drawn."""
AGREE = 120.0
"""Levels up to which the two keys' drawings of an edge are averaged."""
SOFT = 0.6
"""Subpixels over which the steps of an enlarged edge are evened out."""
EVEN = 1.5
"""Subpixels round a place that say of which paint it is where a drawing is enlarged."""
STILL = 0.1
"""Pixels by which a part may seem to move and still stands."""


class Stage:
    """All that is needed to draw in-betweens of one gap.

    Args:
        first, last: the keys' graphs.
        parts: what moves.
        layers: in which depth.
        keys: the keys, premultiplied (H, W, 4) float32.
    """

    def __init__(
        self, first: Graph, last: Graph, parts: list[Part], layers: Layers, keys: tuple[np.ndarray, np.ndarray]
    ) -> None:
        self.parts, self.layers, self.keys = parts, layers, keys
        self.fine = first.cel.fine
        self.cels = (first.cel, last.cel)
        self.hard = first.cel.hard and last.cel.hard
        self.paints = np.concatenate([first.cel.paints, last.cel.paints])
        shift = len(first.cel.paints)
        self.lines = np.concatenate([np.arange(len(cel.paints)) >= cel.areas for cel in self.cels])
        self.codes = (first.cel.labels.astype(np.int16), (last.cel.labels + shift).astype(np.int16))
        self.boxes = [[_box(owner == k) for k in range(len(parts))] for owner in layers.owners]
        self.still = np.array(
            [part.ground or _stands(part, box) for part, box in zip(parts, self.boxes[0], strict=True)]
        )
        for part, still in zip(parts, self.still, strict=True):
            if still:
                part.motion, part.parent = np.eye(3), -1
        first_still, last_still = (_whole(self.still[owner], self.fine) for owner in layers.owners)
        self.quiet = first_still & last_still & (keys[0] == keys[1]).all(2)
        self._ground()

    def _ground(self) -> None:
        first, last = self.layers.owners
        base = self.codes[0].copy()
        behind = first != 0
        shown = behind & (last == 0)
        base[shown] = self.codes[1][shown]
        stray = self.lines[base] & ~(self.lines[self.codes[0]] & self.lines[self.codes[1]])
        unknown = behind & (last != 0) | stray
        if unknown.any() and not unknown.all():
            _, index = cv2.distanceTransformWithLabels(
                unknown.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            table = np.zeros(int(index.max()) + 1, np.int16)
            table[index[~unknown]] = base[~unknown]
            base = np.where(unknown, table[index], base)
        self.base = base

    def codes_at(self, time: float, only: int | None = None, lead: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Paint codes (H·fine, W·fine) at a time, and the part drawn at every subpixel.

        `only` one key is read; or both, `lead` first, the nearer one unless said otherwise.
        """
        lead = int(time > 0.5) if lead is None else lead
        board = (
            self.base.copy() if only is None else np.where(self.layers.owners[only] == 0, self.codes[only], self.base)
        )
        drawn = np.zeros(board.shape, np.int16)
        sources = self.sources(time)
        rank = self.layers.rank
        for k in np.argsort(rank):
            if k == 0:
                continue
            to_first, to_last = sources[k]
            box = self._reach(k, np.linalg.inv(to_first), to_last)
            if box is None:
                continue
            left, top, right, bottom = box
            views = []
            for side, back in ((0, to_first), (1, to_last)):
                if only is not None and side != only:
                    continue
                code, owner = self._view(side, back, box)
                above = np.where(owner >= 0, rank[owner] > rank[k], True)
                views.append((code, owner == k, above))
            if only is None and lead:
                views.reverse()
            code, mine, hidden = views[0]
            if len(views) == 2:
                more, theirs, also = views[1]
                fill = hidden & theirs
                code, mine, hidden = np.where(fill, more, code), mine | fill, hidden & also & ~fill
            code, mine = self._guessed(code, mine, hidden)
            spot = np.s_[top:bottom, left:right]
            board[spot][mine] = code[mine]
            drawn[spot][mine] = k
        return board, drawn

    def sources(self, time: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per part the motions (3, 3) from the in-between at a time to the first and to the last key, in pixels."""
        out = []
        for part, pose in zip(self.parts, poses(self.parts, time), strict=True):
            to_first = np.linalg.inv(pose)
            out.append((to_first, part.motion @ to_first))
        return out

    def _guessed(self, code: np.ndarray, mine: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where a part is hidden in both keys it goes on as it does at the nearest place that is seen, in its hull."""
        inner = mine & ~self.lines[code]
        if not hidden.any() or not inner.any():
            return code, mine
        hull = np.zeros(mine.shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(inner.astype(np.uint8))), 1)
        _, index = cv2.distanceTransformWithLabels(
            hidden.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        seen = ~hidden
        codes = np.zeros(int(index.max()) + 1, code.dtype)
        inside = np.zeros(len(codes), bool)
        codes[index[seen]], inside[index[seen]] = code[seen], inner[seen]
        guess = hidden & inside[index] & (hull > 0)
        return np.where(guess, codes[index], code), mine | guess

    def _reach(self, k: int, pose: np.ndarray, to_last: np.ndarray) -> tuple[int, int, int, int] | None:
        height, width = self.base.shape
        corners = []
        for side, forth in ((0, pose), (1, np.linalg.inv(to_last))):
            box = self.boxes[side][k]
            if box is not None:
                x0, y0, x1, y1 = (v / self.fine for v in box)
                quad = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
                corners.append(quad @ forth[:2, :2].T + forth[:2, 2])
        if not corners:
            return None
        spread = np.concatenate(corners) * self.fine
        left, top = np.floor(spread.min(0)).astype(int) - 1
        right, bottom = np.ceil(spread.max(0)).astype(int) + 1
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _view(self, side: int, back: np.ndarray, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Codes and owners of a key as seen through a motion from the in-between back to that key; -1 outside."""
        left, top, right, bottom = box
        fine = self.fine
        # subpixel i lies at (i + 0.5) / fine pixels
        linear = back[:2, :2]
        offset = linear @ np.array([left + 0.5, top + 0.5]) + back[:2, 2] * fine - 0.5
        matrix = np.concatenate([linear, offset[:, None]], 1)
        size = (right - left, bottom - top)
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        pair = np.stack([self.codes[side], self.layers.owners[side]], 2)
        seen = cv2.warpAffine(pair, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(-1, -1))
        return seen[..., 0], seen[..., 1]

    def painted(self, board: np.ndarray) -> np.ndarray:
        """Premultiplied (H, W, 4) float32 of a board of codes."""
        fine = self.fine
        height, width = board.shape[0] // fine, board.shape[1] // fine
        if self.hard:
            return self.paints[self._hardened(board)]
        total = np.zeros((height, width, 4), np.float32)
        for dy in range(fine):
            for dx in range(fine):
                total += self.paints[board[dy::fine, dx::fine]]
        return total / fine**2

    def _evened(self, board: np.ndarray) -> np.ndarray:
        """A board of codes whose edges run smoothly: every subpixel is of the paint that weighs most round it.

        Lines too thin to last stay as they are.
        """
        _, first, kinds = np.unique(np.rint(self.paints), axis=0, return_index=True, return_inverse=True)
        kind = kinds.ravel()[board]
        most = np.zeros(board.shape, np.float32)
        out = np.zeros(board.shape, np.int64)
        for k in np.unique(kind):
            weight = cv2.GaussianBlur((kind == k).astype(np.float32), (0, 0), EVEN)
            better = weight > most
            most[better], out[better] = weight[better], first[k]
        line = np.isin(out, first[np.unique(kinds.ravel()[self.lines])]).astype(np.uint8)
        lost = self.lines[board] & (cv2.dilate(line, np.ones((5, 5), np.uint8)) == 0)
        return np.where(lost, board, out)

    def _hardened(self, board: np.ndarray) -> np.ndarray:
        """(H, W) codes for aliased drawings: a pixel is line where enough of it is, or else what its middle is."""
        fine = self.fine
        samples = np.stack([board[dy::fine, dx::fine] for dy in range(fine) for dx in range(fine)])
        lines = self.lines[samples]
        middle = samples[(fine // 2) * fine + fine // 2]
        line = np.take_along_axis(samples, lines.argmax(0)[None], 0)[0]
        other = np.take_along_axis(samples, (~lines).argmax(0)[None], 0)[0]
        thick = lines.mean(0)
        return np.where(thick >= LINE_SHARE, line, np.where(self.lines[middle], other, middle))

    def frame(
        self, time: float, board: np.ndarray, drawn: np.ndarray, large: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """The in-between at a time, premultiplied (H, W, 4) float32, of the codes and parts that `codes_at` gives.

        With `large` keys, of which this stage's are smaller copies, it is drawn at their size. Edges are the mean of
        what each key makes of them, where the two nearly agree: what a key's pixels round off, and lines that grow with
        a part, come out even. Where nothing that moves is seen, and the keys agree, their own pixels stand.
        """
        held = self.quiet & _whole(self.still[drawn], self.fine)
        size = None
        if large is not None:
            size = large[0].shape[1], large[0].shape[0]
            held = cv2.resize(held.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
            held &= (large[0] == large[1]).all(2)
        made = self._sized(board, size)
        if not self.hard:
            other, _ = self.codes_at(time, lead=int(time <= 0.5))
            second = self._sized(other, size)
            share = np.float32(min(time, 1 - time))
            near = np.abs(second - made).max(2, keepdims=True) < AGREE
            made = np.where(near, made + share * (second - made), made)
        return np.where(held[..., None], self.keys[0] if large is None else large[0], made)

    def _sized(self, board: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
        """A board of codes as a picture, premultiplied (H, W, 4) float32, of another (width, height) if one is given.

        The board is finer than the stage's keys, so that edges stay sharp up to `fine` times their size.
        """
        if size is None:
            return self.painted(board)
        even = cv2.GaussianBlur(self.paints[self._evened(board)], (0, 0), SOFT)
        shrinks = size[0] < board.shape[1]
        return cv2.resize(even, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _whole(mask: np.ndarray, fine: int) -> np.ndarray:
    """(H, W) bool: pixels all of whose subpixels are set."""
    height, width = mask.shape[0] // fine, mask.shape[1] // fine
    return mask.reshape(height, fine, width, fine).all((1, 3))


def _stands(part: Part, box: tuple[int, int, int, int] | None) -> bool:
    """Whether a part's motion moves nothing of it by a tenth of a pixel."""
    if box is None:
        return False
    reach = part.reach * 2 * np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)])
    corners = part.centre + reach
    return bool(np.abs(corners @ part.motion[:2, :2].T + part.motion[:2, 2] - corners).max() < STILL)


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    rows = np.flatnonzero(mask.any(1))
    if len(rows) == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
