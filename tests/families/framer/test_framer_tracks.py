"""Tracks: parsing from arguments and files, interpolation to frames, heatmaps; matching."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nakawari.errors import NakawariError, UsageError
from nakawari.families.framer.heatmaps import STAMP_RADIUS, heatmaps, template
from nakawari.families.framer.matching import automatic_tracks, match_keys
from nakawari.families.framer.tracks import check_tracks, drags_to_tracks, parse_drag, read_drags

SIZE = (60, 80)


def test_a_drag_is_parsed_from_words() -> None:
    np.testing.assert_array_equal(parse_drag("10,20 30.5,-4"), [[10, 20], [30.5, -4]])
    np.testing.assert_array_equal(parse_drag(" 7,8 "), [[7, 8]])


@pytest.mark.parametrize("text", ["", "10", "10,20,30", "a,b", "1,2 3", "nan,1", "1,inf"])
def test_words_that_are_no_drag_get_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="The track"):
        parse_drag(text)


def test_drags_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tracks.json"
    file.write_text(json.dumps([[[1, 2], [3, 4]], [[5, 6]]]))
    drags = read_drags(file)
    assert [drag.tolist() for drag in drags] == [[[1, 2], [3, 4]], [[5, 6]]]


@pytest.mark.parametrize("content", ["[]", "{}", "[[1, 2]]", '[["a"]]', "[[[1, 2], [3]]]"])
def test_files_that_hold_no_drags_get_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tracks.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"tracks\.json"):
        read_drags(file)
    with pytest.raises(NakawariError, match="does not exist"):
        read_drags(tmp_path / "absent.json")


@settings(max_examples=30, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 70), st.floats(0, 50)), min_size=1, max_size=9),
    frames=st.integers(2, 12),
)
def test_a_drag_starts_and_ends_where_it_was_put_and_stays_within(points: list, frames: int) -> None:
    drag = np.array(points)
    tracks = drags_to_tracks([drag], frames)
    assert tracks.shape == (frames, 1, 2)
    np.testing.assert_allclose(tracks[0, 0], drag[0], atol=1e-9)
    np.testing.assert_allclose(tracks[-1, 0], drag[-1], atol=1e-9)
    assert (tracks[:, 0] >= drag.min(axis=0) - 1e-9).all()
    assert (tracks[:, 0] <= drag.max(axis=0) + 1e-9).all()


def test_one_point_stays_and_no_track_is_refused() -> None:
    np.testing.assert_array_equal(drags_to_tracks([np.array([[5.0, 6.0]])], 4)[:, 0], [[5, 6]] * 4)
    with pytest.raises(UsageError, match="list of tracks is empty"):
        drags_to_tracks([], 4)


def test_more_points_than_frames_keep_the_times() -> None:
    drag = np.stack([np.arange(9.0), np.zeros(9)], axis=1)
    np.testing.assert_allclose(drags_to_tracks([drag], 3)[:, 0, 0], [0, 4, 8])


def test_tracks_must_fit_the_clip() -> None:
    inside = np.zeros((3, 1, 2))
    assert check_tracks(inside, 3, SIZE) is inside
    leaving = np.array([[[5.0, 5.0]], [[200.0, 5.0]], [[-4.0, 5.0]]])
    check_tracks(leaving, 3, SIZE)
    with pytest.raises(UsageError, match="Track 2 never enters the image of 80x60"):
        check_tracks(np.concatenate([inside, inside + 80], axis=1), 3, SIZE)


def test_a_heatmap_peaks_at_its_point_and_nowhere_far() -> None:
    point = np.array([[[40.0, 30.0]]])
    drawn = heatmaps(point, SIZE)[0]
    top = np.argwhere(drawn == drawn.max()).mean(axis=0)
    assert np.abs(top - [30, 40]).max() <= 1
    assert drawn.max() > 245
    rows, columns = np.nonzero(drawn)
    assert np.abs(rows - 30).max() <= STAMP_RADIUS
    assert np.abs(columns - 40).max() <= STAMP_RADIUS


def test_points_outside_or_hidden_are_not_drawn_and_later_ones_win() -> None:
    assert heatmaps(np.array([[[-1.0, 5.0], [80.0, 5.0], [5.0, 60.0]]]), SIZE).max() == 0
    two = np.array([[[30.0, 30.0], [34.0, 30.0]]])
    assert np.array_equal(heatmaps(two, SIZE, np.array([[True, False]])), heatmaps(two[:, :1], SIZE))
    both = heatmaps(two, SIZE)
    last = heatmaps(two[:, 1:], SIZE)
    assert np.array_equal(both[0, 11:49, 15:53], last[0, 11:49, 15:53])
    assert template().max() == 255


def picture(shift: int) -> np.ndarray:
    """Random texture, shifted to the right."""
    texture = np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8)
    texture = cv2.GaussianBlur(cv2.resize(texture, (150, 90), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    return np.repeat(np.roll(texture, shift, axis=1)[..., None], 3, axis=2)


def test_matching_finds_the_shift_and_is_seeded() -> None:
    start, end = picture(0), picture(12)
    first = match_keys(start, end, seed=3)
    assert first is not None
    assert first.shape == (2, 5, 2)
    np.testing.assert_allclose(np.median(first[1] - first[0], axis=0), [12, 0], atol=1)
    np.testing.assert_array_equal(first, match_keys(start, end, seed=3))
    assert not np.array_equal(first, match_keys(start, end, seed=4))
    tracks = automatic_tracks(start, end, 7, seed=3)
    assert tracks is not None
    assert tracks.shape == (7, 5, 2)
    np.testing.assert_allclose(np.median(tracks[-1] - tracks[0], axis=0), [12, 0], atol=1)


@pytest.mark.parametrize("rule", ["random", "max_dist", "max_score", "max_score_even"])
def test_nothing_to_match_is_none(rule: str) -> None:
    blank = np.full((40, 40, 3), 255, np.uint8)
    assert match_keys(blank, blank, rule=rule) is None
    assert match_keys(picture(0), blank, rule=rule) is None
    assert automatic_tracks(blank, blank, 5) is None
