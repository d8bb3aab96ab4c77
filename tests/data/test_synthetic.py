"""Synthetic scenes: a pure function of the seed, exact motion, nothing blank."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from nakawari.data.motion import EASES, Arc, Curve, Ease, at
from nakawari.data.synthetic import SyntheticScene
from nakawari.errors import UsageError

SIZE = (48, 80)


def test_same_seed_same_bytes_whatever_is_asked_with_it() -> None:
    first = SyntheticScene(7, SIZE).render([0.0, 0.5, 1.0])
    again = SyntheticScene(7, SIZE)
    assert first.shape == (3, *SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(again.render([0.5])[0], first[1])
    np.testing.assert_array_equal(again.render([1.0, 0.0]), first[[2, 0]])
    assert not np.array_equal(SyntheticScene(8, SIZE).render([0.0])[0], first[0])


def test_scenes_show_something_that_moves() -> None:
    changes, contrasts = [], []
    for seed in range(24):
        first, last = SyntheticScene(seed, SIZE).render([0.0, 1.0]).astype(int)
        changes.append(np.abs(first - last).max())
        contrasts.append(first.std())
    assert min(contrasts) > 1
    assert sum(change > 40 for change in changes) >= 22


def test_travel_follows_the_motion_asked_for() -> None:
    def moved(motion: float) -> float:
        frames = [SyntheticScene(seed, SIZE, motion).render([0.0, 1.0]).astype(int) for seed in range(12)]
        return float(np.mean([np.abs(a - b).mean() for a, b in frames]))

    assert moved(0.3) > 2 * moved(0.02)


def test_flow_says_where_pixels_go() -> None:
    """The end frame sampled along the flow equals the start frame at visible points."""
    errors, copies, moving = [], [], 0
    for seed in range(10):
        scene = SyntheticScene(seed, (64, 104), 0.15)
        if any(part.opacity(0) != part.opacity(1) for part in scene.stage.parts):
            continue
        start, end = scene.render([0.2, 0.8]).astype(np.float32)
        flow, visible = scene.flow(0.2, 0.8)
        rows, columns = np.mgrid[:64, :104].astype(np.float32)
        back = cv2.remap(end, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        inner = cv2.erode(visible.astype(np.uint8), np.ones((5, 5))) > 0
        inner &= np.hypot(flow[..., 0], flow[..., 1]) > 1
        moving += int(inner.sum())
        errors.append(np.abs(back - start)[inner])
        copies.append(np.abs(end - start)[inner])
    assert moving > 2000
    assert np.concatenate(errors).mean() < 0.25 * np.concatenate(copies).mean()


def test_flow_to_the_same_time_is_zero() -> None:
    flow, visible = SyntheticScene(3, SIZE).flow(0.4, 0.4)
    np.testing.assert_allclose(flow, 0, atol=2e-3)
    assert visible.all()


def test_tracks_follow_the_flow() -> None:
    scene = SyntheticScene(5, (96, 160), 0.1)
    points, seen = scene.tracks([0.0, 1.0])
    flow, _ = scene.flow(0.0, 1.0)
    assert points.shape[0] == 2 and points.shape[2] == 2 and seen.shape == points.shape[:2]
    assert seen[0].any()
    rigid = [part.deform is None for part in scene.stage.parts if not part.cover]
    for index in np.flatnonzero(seen[0] & np.array(rigid)):
        x, y = np.round(points[0, index]).astype(int)
        np.testing.assert_allclose(flow[y, x], points[1, index] - points[0, index], atol=0.75)


def test_another_size_is_the_same_scene() -> None:
    """The centre of pixel i is at (i + 0.5) / width frame widths."""
    for seed in range(5):
        small, _ = SyntheticScene(seed, (40, 64)).tracks([0.0, 1.0])
        large, _ = SyntheticScene(seed, (80, 128)).tracks([0.0, 1.0])
        np.testing.assert_allclose((small + 0.5) / 64, (large + 0.5) / 128, atol=1e-9)


def test_eases_start_at_zero_and_end_at_one() -> None:
    for name, ease in EASES.items():
        assert ease(0.0) == pytest.approx(0)
        assert ease(1.0) == pytest.approx(0 if name == "swing" else 1, abs=1e-12)


def test_curves_and_arcs_meet_their_ends() -> None:
    assert Curve(2.0, 5.0, Ease("in-out"))(1.0) == 5.0
    arc = Arc(((0.0, 0.0), (1.0, 2.0), (4.0, 0.0)), Ease("out"))
    assert arc(0.0) == (0.0, 0.0)
    assert arc(1.0) == (4.0, 0.0)
    assert at(0.25, 0.5).still and not arc.still


def test_impossible_size_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="16 to 4096"):
        SyntheticScene(0, (0, 80))
