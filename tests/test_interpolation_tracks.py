"""Tracks over a sequence, per gap and per pass, and their overlays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nakawari.errors import UsageError
from nakawari.interpolation import Drawn, Pass, parse_tracks, plan_gap
from nakawari.interpolation.sheet import playing
from nakawari.interpolation.tracks import GapTracks
from nakawari.media import overlay_tracks

SIZE = (20, 30)


def line(count: int, *ends: tuple[float, float]) -> GapTracks:
    """One straight track over a gap of `count` in-betweens."""
    return GapTracks.of([np.array(ends, dtype=float)], even(count), SIZE)


def even(count: int) -> tuple[float, ...]:
    return tuple(np.linspace(0, 1, count + 2).tolist())


def test_words_are_sorted_into_gaps(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"2": [[[1, 2], [3, 4]]]}')
    found = parse_tracks(["1: 5,6", "2:7,8 9,9", str(tmp_path / "a.json")], 2)
    assert [drag.tolist() for drag in found[0]] == [[[5, 6]]]
    assert [drag.tolist() for drag in found[1]] == [[[7, 8], [9, 9]], [[1, 2], [3, 4]]]
    (tmp_path / "a.json").write_text("[[[1, 2]]]")
    assert parse_tracks([str(tmp_path / "a.json")], 1)[0][0].tolist() == [[1, 2]]
    for gaps, words in ((2, "1,2"), (2, "0: 1,2"), (2, "3: 1,2")):
        with pytest.raises(UsageError):
            parse_tracks([words], gaps)


def test_passes_follow_one_track_at_their_own_places():
    tracks = line(5, (0, 0), (18, 12))
    for spec in plan_gap(5, 3):
        places = [spec.start, *spec.places, spec.end]
        np.testing.assert_allclose(tracks.cut(spec)[:, 0], np.outer(places, (3, 2)))


def test_a_point_outside_during_a_pass_is_left_out_there():
    tracks = GapTracks.of([np.array([(5, 5), (50, 5)]), np.array([(3, 3)])], even(7), SIZE)
    early, late = Pass(1, 0, 4, (1, 2, 3)), Pass(1, 5, 8, (6, 7))
    assert tracks.cut(early).shape == (5, 2, 2)
    assert tracks.cut(late).tolist() == [[[3, 3]]] * 4
    assert line(7, (5, 5), (50, 5)).cut(late) is None
    with pytest.raises(UsageError, match="never enters"):
        line(7, (50, 5), (60, 5))


def test_an_overlay_marks_the_point_and_leaves_the_rest():
    frame = np.zeros((60, 80, 3), np.uint8)
    tracks = np.array([[[10.0, 10.0]], [[40.0, 30.0]]])
    shown = overlay_tracks(frame, tracks, 1)
    assert frame.max() == 0
    assert shown[30, 40].max() > 100
    assert shown[50:, :30].max() == 0
    assert overlay_tracks(np.dstack([frame, frame[..., 0]]), tracks, 0)[10, 10, 3] == 255


def test_playing_shows_tracks_in_their_own_gap():
    frames = [np.zeros((20, 30, 3), np.uint8) for _ in range(5)]
    drawn = Drawn(frames, [0, None, 1, None, 2], {1: np.full((3, 1, 2), 9.0)})
    marked = [frame.max() > 0 for frame in playing(drawn, loop=False, overlay=True)]
    assert marked == [False, False, True, True, True]
    assert all(frame.max() == 0 for frame in playing(drawn, loop=False, overlay=False))
    closed = Drawn(frames[:4], [0, None, 1, None], {1: np.full((3, 1, 2), 9.0)})
    assert [frame.max() > 0 for frame in playing(closed, loop=True, overlay=True)] == [True, False, True, True]
