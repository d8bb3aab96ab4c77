"""A stage of moving cut-outs: renders any time in [0, 1], with exact motion of each visible point.

Every part is a texture under an affine placement, with an optional deformation that can be inverted in closed form, so
pictures and motion come from the same functions and the motion is exact wherever the picture is opaque.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .motion import ONE, ZERO, Array, Camera, Curve, Placement
from .sprites import Pixels, Texture

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Bend:
    """Sideways displacement that depends on height only, x += amount(t) · sin(waves · y + phase(t)), or amount · y²
    when `waves` is 0. Coordinates are in units of `length`; grows with y so that the root (y = 0) is fixed."""

    length: float
    amount: Curve
    waves: float = 0.0
    phase: Curve = ZERO

    def _shift(self, y: Grid, time: float) -> Grid:
        shape = y * np.abs(y) if self.waves == 0 else y * np.sin(self.waves * y + self.phase(time))
        return (self.length * self.amount(time)) * shape

    def forward(self, x: Grid, y: Grid, time: float) -> tuple[Grid, Grid]:
        return x + self._shift(y / self.length, time), y

    def inverse(self, x: Grid, y: Grid, time: float) -> tuple[Grid, Grid]:
        return x - self._shift(y / self.length, time), y

    @property
    def still(self) -> bool:
        return self.amount.still and self.phase.still


@dataclass(frozen=True)
class Morph:
    """A pulsating outline: radius times 1 + Σ amount_k(t) · cos(k · angle + phase_k), for k = 2, 3, …"""

    amounts: tuple[Curve, ...]
    phases: tuple[float, ...]

    def _gain(self, x: Grid, y: Grid, time: float) -> Grid:
        angle = np.arctan2(y, x)
        gain = np.ones_like(angle)
        for k, (amount, phase) in enumerate(zip(self.amounts, self.phases, strict=True), start=2):
            gain += amount(time) * np.cos(k * angle + phase)
        return np.maximum(gain, 0.3)

    def forward(self, x: Grid, y: Grid, time: float) -> tuple[Grid, Grid]:
        gain = self._gain(x, y, time)
        return x * gain, y * gain

    def inverse(self, x: Grid, y: Grid, time: float) -> tuple[Grid, Grid]:
        gain = self._gain(x, y, time)
        return x / gain, y / gain

    @property
    def still(self) -> bool:
        return all(curve.still for curve in self.amounts)


@dataclass(frozen=True)
class Part:
    """One cut-out. `parent`: index of its parent part. `depth`: see `Camera`. `reveal`: drawn fraction of the
    texture's `order`. `cover`: the texture fills the frame (edges are repeated)."""

    texture: Texture
    placement: Placement
    parent: int | None = None
    depth: float = 1.0
    opacity: Curve = ONE
    deform: Bend | Morph | None = None
    reveal: Curve | None = None
    cover: bool = False

    @property
    def still(self) -> bool:
        deformed = self.deform is None or self.deform.still
        return self.placement.still and self.opacity.still and deformed and (self.reveal is None or self.reveal.still)


@dataclass
class Stage:
    """Parts from back to front under a camera. `size`: (height, width) in pixels."""

    size: tuple[int, int]
    camera: Camera = field(default_factory=Camera)
    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def render(self, times: Sequence[float]) -> NDArray[np.uint8]:
        """(F, H, W, 3) RGB at `times` in [0, 1]."""
        held = self._held()
        base = np.zeros((*self.size, 3), np.float32)
        for part, matrix in self._posed(0.0, 0, held):
            _composite(base, part, matrix, 0.0)
        frames = np.empty((len(times), *self.size, 3), np.uint8)
        for frame, time in zip(frames, times, strict=True):
            canvas = base.copy()
            for part, matrix in self._posed(time, held, len(self.parts)):
                _composite(canvas, part, matrix, time)
            np.add(canvas, 0.5, out=canvas)
            np.clip(canvas, 0, 255, out=canvas)
            frame[:] = canvas
        return frames

    def _held(self) -> int:
        """Number of static parts, counted from the back, which are drawn once."""
        if not self.camera.still:
            return 0
        moving = [index for index, part in enumerate(self.parts) if not part.still or part.parent is not None]
        return min(moving, default=len(self.parts))

    def _poses(self, time: float) -> list[Array]:
        """For each part, own coordinates -> stage."""
        out: list[Array] = []
        for part in self.parts:
            own = part.placement.matrix(time)
            out.append(own if part.parent is None else out[part.parent] @ own)
        return out

    def _posed(self, time: float, first: int, last: int) -> Iterator[tuple[Part, Array]]:
        """Parts `first` to `last` with the matrices from own coordinates to pixel indices."""
        height, width = self.size
        poses = self._poses(time)
        cameras = {depth: self.camera.matrix(time, depth, width, height) for depth in {p.depth for p in self.parts}}
        for index in range(first, last):
            part = self.parts[index]
            yield part, cameras[part.depth] @ poses[index]

    def surface(self, time: float) -> tuple[NDArray[np.int32], Grid]:
        """The visible surface: index of the front-most part that is more than half opaque (H, W), -1 for none, and the
        visible point in that part's own coordinates before deformation (H, W, 2)."""
        owner = np.full(self.size, -1, np.int32)
        place = np.zeros((*self.size, 2), np.float32)
        for index, (part, matrix) in enumerate(self._posed(time, 0, len(self.parts))):
            seen = _sample(part, matrix, time, self.size)
            if seen is None:
                continue
            window, rgba, (x, y) = seen
            solid = rgba[..., 3] > 0.5
            owner[window][solid] = index
            place[window][solid] = np.stack([x, y], axis=-1)[solid]
        return owner, place

    def flow(self, start: float, end: float) -> tuple[Grid, NDArray[np.bool_]]:
        """Exact motion of the pixels visible at `start`: displacement in pixels (H, W, 2), x then y, and a mask (H, W),
        true where the point is also visible at `end` (inside the frame and covered by no other part)."""
        height, width = self.size
        owner, place = self.surface(start)
        target_owner, _ = self.surface(end)
        goal = np.zeros_like(place)
        for index, (part, matrix) in enumerate(self._posed(end, 0, len(self.parts))):
            mine = owner == index
            if mine.any():
                goal[mine] = _project(part, matrix, place[mine], end)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        near = np.round(goal).astype(int)
        inside = (near[..., 0] >= 0) & (near[..., 0] < width) & (near[..., 1] >= 0) & (near[..., 1] < height)
        found = target_owner[near[..., 1].clip(0, height - 1), near[..., 0].clip(0, width - 1)]
        displacement = goal - np.stack([columns, rows], axis=-1)
        known = owner >= 0
        displacement[~known] = 0
        return displacement, known & inside & (found == owner)

    def tracks(self, times: Sequence[float]) -> tuple[Array, NDArray[np.bool_]]:
        """The pivot of each part: (F, P, 2) pixel coordinates (x, y), and whether that part is visible there
        (F, P). The pivot is the part's own (0, 0)."""
        height, width = self.size
        points = np.zeros((len(times), len(self.parts), 2))
        visible = np.zeros(points.shape[:2], bool)
        for number, time in enumerate(times):
            owner, _ = self.surface(time)
            for index, (_, matrix) in enumerate(self._posed(time, 0, len(self.parts))):
                x, y = points[number, index] = matrix[:2, 2]
                column, row = round(float(x)), round(float(y))
                inside = 0 <= column < width and 0 <= row < height
                visible[number, index] = inside and owner[row, column] == index
        return points, visible


def _project(part: Part, matrix: Array, points: Grid, time: float) -> Grid:
    """Own coordinates (N, 2) before deformation -> pixels (N, 2)."""
    x, y = points[:, 0], points[:, 1]
    if part.deform is not None:
        x, y = part.deform.forward(x, y, time)
    return (np.stack([x, y], axis=1) @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)


def _window(part: Part, matrix: Array, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The rows and columns that the part can cover."""
    height, width = size
    rows, columns = part.texture.rgba.shape[:2]
    corners = np.array([[0, 0], [columns, 0], [0, rows], [columns, rows]], float) - part.texture.origin
    corners /= part.texture.resolution
    if part.deform is not None:  # margin for the deformation
        corners = corners + np.sign(corners) * 0.35 * np.abs(corners).max()
    pixels = corners @ matrix[:2, :2].T + matrix[:2, 2]
    left, top = np.floor(pixels.min(0)).astype(int) - 1
    right, bottom = np.ceil(pixels.max(0)).astype(int) + 2
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if left >= right or top >= bottom or abs(np.linalg.det(matrix)) < 1e-6:
        return None
    return slice(top, bottom), slice(left, right)


def _texel_to_own(texture: Texture) -> Array:
    """Texel index -> own coordinates; index i is the centre of texel i."""
    r = texture.resolution
    ox, oy = texture.origin
    return np.array([[1 / r, 0, (0.5 - ox) / r], [0, 1 / r, (0.5 - oy) / r], [0, 0, 1]])


def _own_grid(part: Part, matrix: Array, window: tuple[slice, slice], time: float) -> tuple[Grid, Grid]:
    """Own coordinates, before deformation, of each pixel in the window."""
    back = np.linalg.inv(matrix)
    columns = np.arange(window[1].start, window[1].stop, dtype=np.float32)[None]
    rows = np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None]
    (a, b, c), (d, e, f) = back[:2].astype(np.float32)
    x, y = a * columns + b * rows + c, d * columns + e * rows + f
    return part.deform.inverse(x, y, time) if part.deform is not None else (x, y)


def _remap(image: Pixels, texture: Texture, x: Grid, y: Grid) -> Pixels:
    import cv2

    r = texture.resolution
    u, v = x * r + (texture.origin[0] - 0.5), y * r + (texture.origin[1] - 0.5)
    return cv2.remap(image, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)


def _read(part: Part, matrix: Array, window: tuple[slice, slice], time: float) -> Pixels:
    """The part's premultiplied RGBA in the window."""
    import cv2

    texture = part.texture
    if part.deform is None:
        local = matrix @ _texel_to_own(texture)
        local[0, 2] -= window[1].start
        local[1, 2] -= window[0].start
        size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
        border = cv2.BORDER_REPLICATE if part.cover else cv2.BORDER_CONSTANT
        rgba = cv2.warpAffine(texture.rgba, local[:2], size, flags=cv2.INTER_LINEAR, borderMode=border)
    else:
        rgba = _remap(texture.rgba, texture, *_own_grid(part, matrix, window, time))
    if part.reveal is not None and texture.order is not None:
        order = _remap(texture.order, texture, *_own_grid(part, matrix, window, time))
        rgba = rgba * np.clip((part.reveal(time) - order) * 30 + 0.5, 0, 1)[..., None]
    opacity = min(max(part.opacity(time), 0.0), 1.0)
    return rgba if opacity == 1 else rgba * opacity


def _sample(
    part: Part, matrix: Array, time: float, size: tuple[int, int]
) -> tuple[tuple[slice, slice], Pixels, tuple[Grid, Grid]] | None:
    window = (slice(0, size[0]), slice(0, size[1])) if part.cover else _window(part, matrix, size)
    if window is None:
        return None
    return window, _read(part, matrix, window, time), _own_grid(part, matrix, window, time)


def _composite(canvas: Pixels, part: Part, matrix: Array, time: float) -> None:
    """Composite the part over the canvas."""
    if part.cover:
        window: tuple[slice, slice] | None = (slice(0, canvas.shape[0]), slice(0, canvas.shape[1]))
    else:
        window = _window(part, matrix, canvas.shape[:2])
    if window is None:
        return
    rgba = _read(part, matrix, window, time)
    region = canvas[window]
    region *= 1 - rgba[..., 3:]
    region += rgba[..., :3]
