import numpy as np
import pytest

from nakawari.evaluation.fitting import content, fit_frame, place, resize


def circle(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(y - height / 2, x - width / 2) < height / 4
    return np.where(inside[..., None], [250, 60, 30], [20, 90, 160]).astype(np.uint8)


def spans(frame: np.ndarray) -> tuple[int, int]:
    """Width and height of the circle."""
    mask = frame[..., 0] > 128
    return int(mask.any(0).sum()), int(mask.any(1).sum())


@pytest.mark.parametrize("source", [(160, 120), (120, 90), (300, 100), (100, 160)])
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_aspect_is_kept_unless_stretching_is_asked_for(source, fit):
    frame = circle(*source)
    made = fit_frame(frame, place(source, (128, 80), fit))
    assert made.shape == (80, 128, 3)
    width, height = spans(made)
    if height < 80 and width < 128:
        assert abs(width - height) <= 2
    stretched = spans(fit_frame(frame, place(source, (128, 80), "stretch")))
    assert abs(stretched[0] - stretched[1]) > 3


def test_padding_repeats_the_edge_and_is_not_scored():
    frame = circle(100, 100)
    placement = place((100, 100), (160, 80), "pad")
    made = fit_frame(frame, placement)
    assert placement.content == (40, 0, 80, 80)
    assert (made[:, :40] == made[:, 40:41]).all() and (made[:, 120:] == made[:, 119:120]).all()
    np.testing.assert_array_equal(content(made, placement), resize(frame, (80, 80)))


def test_cropping_takes_the_centre():
    frame = circle(100, 100)
    placement = place((100, 100), (160, 80), "crop")
    np.testing.assert_array_equal(fit_frame(frame, placement), resize(frame, (160, 160))[40:120])
    assert placement.content == (0, 0, 160, 80)


def test_the_same_aspect_fits_exactly_whatever_the_mode():
    frame = circle(512, 320)
    made = [fit_frame(frame, place((512, 320), (256, 160), fit)) for fit in ("pad", "crop", "stretch")]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])
    assert place((853, 480), (512, 288), "pad").scaled == (512, 288)
    untouched = place((37, 21), None, "pad")
    assert fit_frame(circle(37, 21), untouched).shape == (21, 37, 3)


def test_boxes_follow_the_picture():
    assert place((200, 100), (100, 50), "pad").box((20, 10, 40, 30), (200, 100)) == (10, 5, 20, 15)
    assert place((100, 100), (160, 80), "pad").box((0, 0, 100, 100), (100, 100)) == (0, 0, 80, 80)
    cropped = place((100, 100), (160, 80), "crop")
    assert cropped.box((0, 0, 10, 10), (100, 100)) is None
    assert cropped.box((0, 20, 10, 20), (100, 100)) == (0, 0, 16, 24)


def test_area_averages_pixels():
    frame = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3) * 5
    expected = frame.reshape(2, 2, 2, 2, 3).mean((1, 3))
    assert np.abs(resize(frame, (2, 2), "area") - expected).max() <= 0.5
    assert (resize(frame, (2, 2), "lanczos") != resize(frame, (2, 2), "area")).any()
