"""Whole sampling runs of the Framer pipeline against the reference, latents after every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from PIL import Image
from torch import Tensor

from nakawari.families.framer import pipeline as pipeline_module
from nakawari.families.framer import schedulers as schedulers_module
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.families.framer.schedulers import LCMSVDScheduler, make_scheduler
from parity.framer_parts import FAMILY, assert_close, config, numbered, part, picture, vectors
from parity.vectors import parity_folder

pytestmark = pytest.mark.parity

SAMPLERS = {
    "EulerDiscreteScheduler": "euler",
    "DPMSolverMultistepScheduler": "dpm++-reference",
    "AnimateLCMSVDStochasticIterativeScheduler": "lcm",
}
RENAMED = {"controlnet_cond_scale": "control_scale", "controlnet_step_range": "control_range"}
OWN_WORDS = {
    "with_control",
    "sift_track_update",
    "sift_track_feat_idx",
    "sift_track_dist",
    "sift_track_double_check_thr",
    "anchor_points_flag",
}


def sampler(kind: str, settings: dict[str, Any]) -> SchedulerMixin:
    """nakawari's sampler for the reference's."""
    if SAMPLERS[kind] == "lcm":
        assert (settings["s_noise"], settings["clip_denoised"]) == (1.0, False)
        known = LCMSVDScheduler._get_init_keys(LCMSVDScheduler)
        return LCMSVDScheduler(**{name: value for name, value in settings.items() if name in known})
    return make_scheduler(SAMPLERS[kind], config=config("scheduler"), order=settings.get("solver_order", 2))


def cases() -> list[str]:
    folder = parity_folder()
    if folder is None:
        return []
    found = sorted(file.stem for file in (folder / FAMILY).glob("pipe_*.json"))
    return [name for name in found if name != "pipe_common_noise"]


def options(words: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """nakawari's arguments for the reference's."""
    told = {RENAMED.get(name, name): value for name, value in words.items() if name not in OWN_WORDS}
    if words["with_control"]:
        told["tracks"] = tensors["point_tracks"].numpy()
    return told


class Draws:
    """The reference's random draws, in its order, in place of `randn_tensor`."""

    def __init__(self, *draws: Tensor) -> None:
        self.left = list(draws)

    def __call__(self, shape: Any, **_: Any) -> Tensor:
        drawn = self.left.pop(0)
        assert tuple(shape) == tuple(drawn.shape)
        return drawn


@pytest.mark.parametrize("name", cases())
def test_pipeline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, page = vectors(name)
    noise, _ = vectors("pipe_common_noise")
    settings = page["scheduler_config"]
    scheduler = sampler(page["scheduler"], settings)
    pipeline = FramerPipeline(part("vae"), part("image_encoder"), part("unet"), scheduler, part("controlnet"), True)
    pipeline.set_progress_bar_config(disable=True)
    first = (noise[key] for key in ("image_noise", "image_end_noise", "initial_noise"))
    draws = Draws(*first, *numbered(tensors, "scheduler_noise"))
    monkeypatch.setattr(pipeline_module, "randn_tensor", draws)
    monkeypatch.setattr(schedulers_module, "randn_tensor", draws)

    told = options(page["pipeline_kwargs"], tensors)
    inputs: list[dict[str, Tensor]] = []
    controls: list[Tensor] = []
    latents: list[Tensor] = []

    def see_unet(_: Any, words: tuple, __: dict) -> None:
        inputs.append(dict(zip(("sample", "time", "tokens", "ids"), words, strict=True)))

    def step_end(_: Any, __: int, ___: Any, values: dict) -> dict:
        latents.append(values["latents"])
        return {}

    hooks = [
        pipeline.unet.register_forward_pre_hook(see_unet, with_kwargs=True),
        pipeline.controlnet.register_forward_pre_hook(lambda _, words: controls.append(words[4])),
    ]
    try:
        made = pipeline(
            *(Image.open(picture(f"pipe_image_{key}.png")) for key in ("first", "last")),
            output_type="np",
            callback_on_step_end=step_end,
            **told,
        )
    finally:
        for hook in hooks:
            hook.remove()

    assert (len(inputs), len(controls)) == (page["n_unet_calls"], page["n_controlnet_calls"])
    assert_close(torch.stack([seen["time"].double() for seen in inputs]), torch.tensor(page["unet_timesteps"]))
    assert_close(scheduler.sigmas, tensors["sigmas"])
    assert_close(inputs[0]["tokens"], tensors["image_embeddings_cfg"], 2e-5)
    assert_close(inputs[0]["ids"], tensors["added_time_ids"])
    assert_close(inputs[0]["sample"], tensors["unet_input_step0"], 2e-5)
    if controls and "heatmap_uint8" in tensors:
        assert torch.equal(controls[0][-1, :, 0].byte(), tensors["heatmap_uint8"])
    for ours, reference in zip(latents, numbered(tensors, "latents_after_step"), strict=True):
        assert_close(ours, reference, 2e-5)
    if "frames_np" in tensors:
        np.testing.assert_allclose(made.frames[0], tensors["frames_np"].float().numpy(), atol=1e-3)
