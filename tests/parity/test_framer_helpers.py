"""Heatmaps, trajectories, matching, point tracking, guidance, CLIP input and schedules against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nakawari.families.clip_images import preprocess_clip_images
from nakawari.families.framer.heatmaps import heatmaps, template
from nakawari.families.framer.matching import match_keys
from nakawari.families.framer.sampling import guidance_ramp
from nakawari.families.framer.schedulers import make_scheduler
from nakawari.families.framer.tracks import interpolate
from nakawari.families.inputs import read_keys
from parity.framer_parts import FAMILY, assert_close, config, group, picture, vectors
from parity.vectors import case_params, parity_folder

pytestmark = pytest.mark.parity


def strided(tensors: dict[str, Tensor], stem: str) -> tuple[Tensor, int]:
    """A tensor stored at full size, or every n-th row and column of it under `stem_strideN`."""
    for name, value in tensors.items():
        if name == stem:
            return value, 1
        if name.startswith(f"{stem}_stride"):
            return value, int(name.removeprefix(f"{stem}_stride"))
    raise KeyError(stem)


def names(kind: str, suffix: str) -> list[str]:
    """Cases of a set that have a tensor `<case>.<suffix>`."""
    if parity_folder() is None:
        return []
    tensors, _ = vectors(kind)
    return sorted(name.removesuffix(f".{suffix}") for name in tensors if name.endswith(f".{suffix}"))


def test_template() -> None:
    tensors, _ = vectors("heatmaps")
    np.testing.assert_array_equal(template(), tensors["template_200"].numpy())


@pytest.mark.parametrize("name", names("heatmaps", "tracks"))
def test_heatmaps(name: str) -> None:
    tensors, page = vectors("heatmaps")
    own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    width, height = page["half_image_size_wh" if own["tracks"].dtype == torch.float16 else "image_size_wh"]
    visible = own["mask"].numpy() if "mask" in own else None
    expected, stride = strided(own, "heatmap")
    drawn = heatmaps(own["tracks"].numpy(), (height, width), visible)
    np.testing.assert_array_equal(drawn[:, ::stride, ::stride], expected.numpy())


def test_trajectories() -> None:
    tensors, _ = vectors("helpers")
    own = group(tensors, "traj")
    results = [name for name in own if "_out" in name]
    assert results
    for name in results:
        letter = name[0]
        # A case without points of its own is another one's points at other times.
        points = own.get(f"{letter}_points", own["a_points"])
        times = own.get(f"{letter}_t")
        made = interpolate(points.numpy(), len(own[name]), None if times is None else times.numpy())
        np.testing.assert_allclose(made, own[name].numpy(), rtol=1e-5, atol=1e-9)


def test_guidance() -> None:
    _, page = vectors("helpers")
    for name, expected in page["guidance"].items():
        low, high, frames, middle = name.split("_")
        ramp = guidance_ramp(int(frames), float(low), float(high), bool(int(middle)))
        assert_close(ramp, torch.tensor(expected))


def test_matching() -> None:
    tensors, page = vectors("helpers")
    keys = [np.array(Image.open(picture(f"sift_img{number}.png")).convert("RGB")) for number in (1, 2)]
    expected = group(tensors, "sift")
    for rule, points in expected.items():
        found = match_keys(*keys, rule=rule, ratio=page["sift"]["thr"], count=page["sift"]["topk"])
        assert found is not None
        np.testing.assert_allclose(found, points.numpy(), rtol=1e-5)


@pytest.mark.parametrize(("file", "stem"), [("aa_src.png", "out"), ("aa_small_src.png", "small_out")])
def test_clip_input(file: str, stem: str) -> None:
    tensors, _ = vectors("helpers")
    expected, stride = strided(group(tensors, "aa"), stem)
    settings = config("feature_extractor")
    mean, std = (torch.tensor(settings[name]).reshape(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    made = preprocess_clip_images(read_keys(Image.open(picture(file))))
    assert_close((made * std + mean)[..., ::stride, ::stride] * 2 - 1, expected)


SAMPLERS = {"lcm": "lcm", "euler": "euler", "dpmpp": "dpm++-reference"}


@pytest.mark.parametrize("case", case_params("schedules", "schedules", FAMILY))
def test_schedules(case: tuple[str, dict]) -> None:
    name, expected = case
    kind, steps = name.split("_")
    scheduler = make_scheduler(SAMPLERS[kind], config=config("scheduler"))
    scheduler.set_timesteps(int(steps))
    assert_close(scheduler.timesteps, torch.tensor(expected["timesteps"]))
    assert_close(scheduler.sigmas, torch.tensor(expected["sigmas"]))
    assert float(scheduler.init_noise_sigma) == pytest.approx(expected["init_noise_sigma"], rel=1e-6)
