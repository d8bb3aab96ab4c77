from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_stubs import picture

from nakawari.evaluation.contestants import Task
from nakawari.evaluation.floors import (
    GuideAlone,
    RoundTrip,
    average,
    companions,
    copy_nearest,
    dis_both_ways,
    mix_warped,
    standard_floors,
)
from nakawari.evaluation.metrics import psnr
from nakawari.evaluation.protocol import Protocol
from nakawari.guide import still

PROTOCOL = Protocol(name="p")


def scene(shift: int) -> np.ndarray:
    """A textured image shifted to the right, (64, 96, 3)."""
    y, x = np.mgrid[:64, :96].astype(float)
    x = x - shift
    image = np.stack([128 + 60 * np.sin(x / 5) * np.cos(y / 7), 128 + 70 * np.cos(x / 9), 100 + 50 * np.sin(y / 4)], -1)
    return image.round().astype(np.uint8)


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_flow_beats_the_average_and_the_average_beats_a_copy(t):
    start, end, truth = scene(0), scene(8), scene(round(8 * t))
    values = [psnr(floor(start, end, t), truth) for floor in (copy_nearest, average, dis_both_ways)]
    assert values[2] > max(values[:2]) + 5
    assert t != 0.5 or values == sorted(values)


def test_warping_follows_a_given_flow_exactly():
    start, end = scene(0), scene(8)
    right, left = (np.full((64, 96, 2), (step, 0), np.float32) for step in (8, -8))
    for t, shift in ((0.0, 0), (0.25, 2), (0.5, 4), (1.0, 8)):
        made = mix_warped(start, end, right, left, t)
        assert np.abs(made[:, 8:-8].astype(int) - scene(shift)[:, 8:-8]).max() <= 1


def test_copy_and_average():
    start, end = picture(0, 0), picture(9, 0)
    assert copy_nearest(start, end, 0.5) is start and copy_nearest(start, end, 0.51) is end
    quarter = average(start, end, 0.25)
    assert np.abs(quarter - (0.75 * start + 0.25 * end)).max() <= 0.5
    np.testing.assert_array_equal(average(start, start, 0.3), start)


def test_floors_keep_their_keys_and_draw_the_asked_number():
    task = Task("a", np.stack([scene(0), scene(8)]), scene(4)[None], 5, (0.5,))
    for floor in standard_floors():
        (clip,) = floor.draw([task], PROTOCOL, 0)
        assert clip.shape == (5, 64, 96, 3)
        np.testing.assert_array_equal(clip[[0, -1]], task.keys)


class Pipeline:
    """An autoencoder with error `lost`, and a guide that shows only the start key."""

    device = torch.device("cpu")
    guide = object()

    def __init__(self, lost=0.0):
        self.lost = lost

    def condition(self, start, end, *, num_frames):
        guide = still(start, start, torch.linspace(0, 1, num_frames))
        return SimpleNamespace(guide=guide, size=tuple(start.shape[-2:]))

    def encode(self, frames, condition):
        return frames * 2

    def decode(self, latents, condition):
        return latents / 2 - self.lost


def test_round_trip_is_the_truth_less_what_the_autoencoder_loses():
    task = Task("a", np.stack([scene(0), scene(8)]), scene(4)[None], 16, (0.5,))
    (clip,) = RoundTrip("r", Pipeline()).draw([task], PROTOCOL, 0)
    np.testing.assert_array_equal(clip, np.stack([scene(0), scene(4), scene(8)]))
    (clip,) = RoundTrip("r", Pipeline(10 / 127.5)).draw([task], PROTOCOL, 0)
    np.testing.assert_array_equal(clip[1], scene(4) - 10)
    assert RoundTrip("r", Pipeline()).num_frames(task) == 3


def test_the_guide_alone_is_its_blend():
    task = Task("a", np.stack([scene(0), scene(8)]), scene(4)[None], 3, (0.5,))
    (clip,) = GuideAlone("g", Pipeline()).draw([task], PROTOCOL, 0)
    np.testing.assert_array_equal(clip[1], scene(0))
    assert [row.role for row in companions("m", Pipeline())] == ["anchor", "ceiling"]
