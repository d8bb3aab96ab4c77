"""Schedule, DDIM and the full path from keys to frames against the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextModel

from nakawari.diffusion import VelocityProcess
from nakawari.families.base import Condition
from nakawari.families.tooncrafter import pipeline as tooncrafter
from nakawari.families.tooncrafter import sampling, towers
from nakawari.families.tooncrafter.guidance import Guidance
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler, spaced_timesteps
from parity.test_tooncrafter_clip import _load, _vision
from parity.test_tooncrafter_unet import build_unet
from parity.test_tooncrafter_vae import Case
from parity.vectors import assert_near, case_params, frames_first, load_case, load_json, weights

pytestmark = pytest.mark.parity
SAMPLING_ATOL = 1e-3
VIDEO_ATOL = 2e-3
SPACING = {"uniform_trailing": "trailing", "uniform": "uniform"}


def test_schedule_is_the_references_to_the_last_bit_of_float32(folder: Path) -> None:
    tensors, page = load_case("schedule")
    process = VelocityProcess(base_scale=load_json("INDEX")["config"]["base_scale"])
    assert torch.equal(process.betas.float(), tensors["betas"])
    assert torch.equal(process.alphas_cumprod.float(), tensors["alphas_cumprod"])
    assert torch.equal(process.alphas_cumprod.sqrt().float(), tensors["sqrt_alphas_cumprod"])
    assert torch.equal((1 - process.alphas_cumprod).sqrt().float(), tensors["sqrt_one_minus_alphas_cumprod"])
    assert torch.equal(process.scales.float(), tensors["scale_arr"][: process.steps])
    assert page["timesteps"]


@pytest.mark.parametrize("listed", case_params("schedule", "timesteps"))
def test_timesteps(listed: tuple[str, list[int]]) -> None:
    spacing, _, steps = listed[0].rpartition("_")
    assert spaced_timesteps(int(steps), SPACING[spacing]) == listed[1][::-1]


@pytest.mark.parametrize("listed", case_params("schedule", "ddim"))
def test_ddim_coefficients(listed: tuple[str, Any]) -> None:
    """A step on a constant network shows each coefficient: x0 and noise in, the mixture out."""
    tensors, _ = load_case("schedule")
    name = listed[0]
    spacing, steps, eta = name.rsplit("_", 2)
    scheduler = ToonCrafterScheduler(base_scale=load_json("INDEX")["config"]["base_scale"])
    scheduler.set_timesteps(int(steps), spacing=SPACING[spacing])
    process, times = scheduler.process, scheduler.timesteps.tolist()
    for index, time in enumerate(reversed(times)):
        x0, noise, fresh = (torch.tensor(v).reshape(1, 1) for v in (0.7, -1.3, 0.4))
        t = torch.tensor([time])
        noisy, output = process.add_noise(x0, noise, t), process.output(x0, noise, t)
        got = scheduler.step(output, time, noisy, _eta(eta), fresh).prev_sample
        before = tensors[f"{name}.alphas_prev"][index].double()
        sigma = tensors[f"{name}.sigmas"][index].double()
        scale = tensors[f"{name}.scale_arr"][index].double()
        if index > 0:
            scale = tensors[f"{name}.scale_arr_prev"][index].double()
        wanted = before.sqrt() * scale * x0 + (1 - before - sigma**2).clamp(min=0).sqrt() * noise + sigma * fresh
        assert_near(got, wanted.float(), 2e-6)


def _eta(word: str) -> float:
    """`eta0`, `eta1`, `eta05` (a half) -> the number."""
    digits = word.removeprefix("eta")
    return float(digits) if "." in digits or len(digits) == 1 else float(f"{digits[0]}.{digits[1:]}")


@pytest.mark.parametrize("case", case_params("ddim"))
def test_ddim_sequence(case: tuple[str, dict[str, Any]]) -> None:
    name, settings = case
    tensors, page = load_case("ddim")
    unet_tensors, unet_page = load_case("unet")
    unet = build_unet(unet_tensors, {**unet_page, "config": page["unet_config"]}, {})
    scheduler = ToonCrafterScheduler(base_scale=page["base_scale"])
    scheduler.set_timesteps(settings["steps"], spacing=SPACING[settings["spacing"]])
    assert scheduler.timesteps.tolist() == settings["timesteps"]
    keys = frames_first(tensors["c_concat"])
    branches = [tensors["cond"]]
    if settings["cfg"] != 1:
        branches.append(tensors["uncond"])
    if settings["multicond"]:
        branches.append(tensors["uncond_img_nonetext"])
    guidance = Guidance(settings["cfg"], settings["cfg_img"], settings["guidance_rescale"])
    x = frames_first(tensors["x_T"])
    fps = torch.tensor([settings["fs"]])
    for index, time in enumerate(settings["timesteps"]):
        sample = torch.cat([x, keys], dim=2)
        outputs = [unet(sample, torch.tensor([time]), context=tokens, fps=fps) for tokens in branches]
        if f"{name}.model_outputs" in tensors:
            stored = tensors[f"{name}.model_outputs"].unflatten(0, (-1, len(branches)))[index]
            for output, expected in zip(outputs, stored, strict=True):
                assert_near(frames_first(output), expected, SAMPLING_ATOL)
        noise = tensors.get(f"{name}.noise")
        fresh = None if noise is None else frames_first(noise[index])
        step = scheduler.step(guidance.combine(outputs), time, x, settings["eta"], fresh, settings["temperature"])
        x = step.prev_sample
        assert_near(frames_first(x), tensors[f"{name}.x_prev"][index], SAMPLING_ATOL)
        if f"{name}.pred_x0" in tensors:
            after = [*settings["timesteps"], settings["timesteps"][-1]][index + 1]
            scaled = step.pred_original_sample * scheduler.process.scales[after].float()
            assert_near(frames_first(scaled), tensors[f"{name}.pred_x0"][index], SAMPLING_ATOL)


def replay(monkeypatch: pytest.MonkeyPatch, noises: list[Tensor]) -> None:
    """Draw the reference's noise in the reference's order: posterior, start, steps."""

    def drawn(like: Tensor, _: Any) -> Tensor:
        noise = noises.pop(0)
        assert noise.shape == like.shape
        return noise

    for module in (tooncrafter, sampling):
        monkeypatch.setattr(module, "draw_noise", drawn)


@pytest.fixture(scope="module")
def reference() -> ToonCrafterPipeline:
    clip, clip_page = load_case("clip")
    resampler_tensors, resampler_page = load_case("resampler")
    unet_tensors, unet_page = load_case("unet")
    _, page = load_case("e2e")
    text = clip_page["text_cfg"]
    layers = text["layers"] - 1
    text_model = CLIPTextModel(
        towers.text_config(
            width=text["width"],
            layers=layers,
            heads=text["heads"],
            vocab_size=text["vocab_size"],
            context_length=text["context_length"],
        )
    )
    resampler = Resampler(**resampler_page["config"]).eval()
    resampler.load_state_dict(weights(resampler_tensors))
    return ToonCrafterPipeline(
        unet=build_unet(unet_tensors, unet_page, {}),
        vae=Case().vae,
        scheduler=ToonCrafterScheduler(base_scale=page["base_scale"]),
        resampler=resampler,
        text_encoder=_load(text_model, weights(clip, "w.text.model."), towers.text_names, layers),
        image_encoder=_vision(clip, clip_page["vision_cfg"]),
    )


@pytest.mark.parametrize("case", case_params("e2e"))
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "one-by-one"])
def test_from_keys_to_frames(
    case: tuple[str, dict[str, Any]], batched: bool, reference: ToonCrafterPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, settings = case
    tensors, page = load_case("e2e")
    stored = {"a prompt": tensors["tokens_prompt"], "": tensors["tokens_empty"]}
    monkeypatch.setattr(towers, "tokenize", lambda tokenizer, prompts: torch.cat([stored[p] for p in prompts]))
    posterior = tensors[f"{name}.posterior_noise"]
    start_noise = frames_first(tensors[f"{name}.x_T"])
    steps = tensors.get(f"{name}.step_noise", torch.zeros(settings["ddim_steps"] + 1, *tensors[f"{name}.x_T"].shape))
    keys_noise = torch.stack([posterior[0], posterior[-1]])[None]
    call = {
        "num_frames": page["T"],
        "num_inference_steps": settings["ddim_steps"],
        "guidance_scale": settings["unconditional_guidance_scale"],
        "guidance_rescale": settings["guidance_rescale"],
        "eta": settings["ddim_eta"],
        "spacing": SPACING[settings["timestep_spacing"]],
        "fps": settings["fs"],
        "prompt": "a prompt" if settings["text_input"] else "",
        "interpolate": settings["interp"],
        "generator": torch.Generator(),
    }
    reference.batched_guidance = batched
    reference.set_progress_bar_config(disable=True)
    noises = [keys_noise, start_noise, *(frames_first(noise) for noise in steps)]
    replay(monkeypatch, noises)
    latents = reference(tensors["start"], tensors["end"], output_type="latent", **call).frames
    assert_near(frames_first(latents), tensors[f"{name}.latents"], SAMPLING_ATOL)
    replay(monkeypatch, [keys_noise])
    condition = _condition(reference, tensors, call)
    video = reference.decode_twice(frames_first(tensors[f"{name}.latents"]), condition, chunk=1)
    assert_near(video[0].transpose(0, 1), tensors[f"{name}.video"], VIDEO_ATOL)


def _condition(pipeline: ToonCrafterPipeline, tensors: dict[str, Tensor], call: dict[str, Any]) -> Condition:
    words = {name: call[name] for name in ("num_frames", "prompt", "fps", "interpolate", "generator")}
    condition = pipeline.condition(tensors["start"], tensors["end"], **words)
    assert_near(condition.tokens[:, 77:], tensors["img_emb"], 5e-5)
    assert_near(condition.null_tokens[:, 77:], tensors["uncond_img_emb"], 5e-5)
    if call["prompt"]:
        assert_near(condition.tokens[:, :77], tensors["text_emb"], 5e-5)
    assert_near(condition.null_tokens[:, :77], tensors["text_emb_empty"], 5e-5)
    return condition
