"""Images larger than mini's working size: the same result at any size, and bounded memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nakawari.data.synthetic import SyntheticScene
from nakawari.families.mini import large
from nakawari.guide.warp import drawn_along
from nakawari.media import to_tensor
from nakawari.variants import load

SIZE = (64, 96)
PEAK = """
import torch
from nakawari.evaluation.load import peak_rss
from nakawari.variants import load
pipeline = load("mini").pipeline
keys = torch.rand(2, 1, 3, 50, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
keys = torch.nn.functional.interpolate(keys[:, 0], (800, 1280), mode="bilinear")[:, None]
pipeline(keys[0], keys[1], num_frames=4, generator=[torch.Generator().manual_seed(0)], output_type="pt")
print(peak_rss())
"""


def keys(times: int) -> tuple[Tensor, Tensor]:
    """Both keys (1, 3, H, W) of a scene of outlined shapes, `times` as large as `SIZE`."""
    frames = to_tensor(SyntheticScene(11, (SIZE[0] * 4, SIZE[1] * 4), 0.12).render([0, 1]))
    small = functional.interpolate(frames, SIZE, mode="area")
    return tuple(functional.interpolate(small, scale_factor=times, mode="nearest").split(1))


@torch.no_grad()
def drawn(times: int, **options: object) -> Tensor:
    """Three frames (3, 3, H, W) in [0, 1]."""
    pipeline = load("mini").pipeline
    generator = [torch.Generator().manual_seed(0)]
    return pipeline(*keys(times), num_frames=3, generator=generator, output_type="pt", **options).frames[0]


@pytest.mark.parametrize("options", [{}, {"guided": False}, {"num_inference_steps": 2}])
def test_a_drawing_is_drawn_alike_at_any_size(monkeypatch: pytest.MonkeyPatch, options: dict[str, object]) -> None:
    monkeypatch.setattr(large, "MOST_PIXELS", SIZE[0] * SIZE[1])
    small, wide = drawn(1, **options), drawn(4, **options)
    assert wide.shape == (3, 3, SIZE[0] * 4, SIZE[1] * 4)
    assert torch.equal(wide[0], (keys(4)[0][0] + 1) / 2) and torch.equal(wide[2], (keys(4)[1][0] + 1) / 2)
    apart = functional.interpolate(wide[1:2], SIZE, mode="area")[0] - small[1]
    moved = (small[0] - small[2]).square().mean()
    assert apart.square().mean() < 0.03 * moved


@torch.no_grad()
def test_points_led_by_hand_lead_large_keys_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MOST_PIXELS", SIZE[0] * SIZE[1])
    pipeline, guides = load("mini").pipeline, []
    for times in (1, 4):
        middle = (times - 1) / 2  # of a pixel that becomes several
        points = np.array([[[24.0, 30.0]], [[34.0, 33.0]], [[44.0, 36.0]]]) * times + middle
        guides.append(pipeline.condition(*keys(times), num_frames=3, control=[points]).guide)
    free = pipeline.condition(*keys(1), num_frames=3).guide
    for guide in guides:  # half-way, in units of 16 pixels
        assert torch.allclose(guide.motion[0, 1, :, 33, 34], torch.tensor([20.0, 6.0]) / 16, atol=0.02)
    led = (guides[0].motion - free.motion).abs().mean()
    assert (guides[1].motion - guides[0].motion).abs().mean() < 0.1 * led


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920), (2160, 3840), (3000, 200), (97, 5001)])
def test_pictures_are_worked_at_a_bounded_size_of_their_shape(size: tuple[int, int]) -> None:
    height, width = large.working_size(size)
    assert height * width <= large.MOST_PIXELS * 1.01
    assert abs(height / size[0] - width / size[1]) < 0.01
    assert (height, width) == size or size[0] * size[1] > large.MOST_PIXELS


def test_strips_are_rows_of_the_whole() -> None:
    values = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    whole = functional.interpolate(values, (40, 63), mode="bilinear")
    strips = [large.enlarged(values, (40, 63), top, top + 10) for top in range(0, 40, 10)]
    assert torch.allclose(torch.cat(strips, dim=2), whole, atol=1e-5)
    flow = torch.randn(1, 2, 40, 63, generator=torch.Generator().manual_seed(1)) * 3
    read = [drawn_along(whole, flow[:, :, top : top + 10], top) for top in range(0, 40, 10)]
    assert torch.allclose(torch.cat(read, dim=2), drawn_along(whole, flow), atol=1e-5)


def test_memory_does_not_grow_with_the_size_of_every_frame() -> None:
    """At 1280 x 800 two in-betweens needed more than twice as much when everything ran at full size."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.1e9
