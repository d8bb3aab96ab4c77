"""Training a tiny Framer: network inputs, trained weights, and interrupted runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from resuming import cut_and_uncut, log

from nakawari.data.drag_scenes import DragSamples
from nakawari.diffusion import EDMProcess
from nakawari.errors import UsageError
from nakawari.families import build
from nakawari.families.framer.configs import TINY
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.families.framer.sampling import GuidedDenoiser
from nakawari.families.tooncrafter.guidance import Guidance
from nakawari.training.objectives.adapt import adapter_learns
from nakawari.training.objectives.autoencode import Autoencode
from nakawari.training.objectives.base import collate, sample_generator
from nakawari.training.objectives.denoise import parts_learn
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.params import AdaptParams, AutoencodeParams, DenoiseParams
from nakawari.training.objectives.targets import Noised, Target, guided_answer, true_latents
from nakawari.training.run import train_from_recipe
from nakawari.training.teacher import Teacher
from nakawari.variants import load

SIZE = (64, 96)
LORA = {"target": "attention", "rank": 2}


def tiny() -> FramerPipeline:
    """Fixed random weights, also in zero-initialised layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = build({"family": "framer", **TINY})
        for name, parameter in pipeline.controlnet.named_parameters():
            if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond_embedding.conv_out")):
                torch.nn.init.normal_(parameter, std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def batch(count: int = 2, first: int = 0) -> dict[str, Any]:
    samples = DragSamples([3], SIZE, count)
    return collate([{**samples.sample(index), "index": index} for index in range(first, first + count)])


def generators(values: dict[str, Any]) -> list[torch.Generator]:
    return [sample_generator(0, index) for index in values["index"]]


def denoising(**params: Any) -> DenoiserObjective:
    return parts_learn(DenoiseParams(**params), tiny()).train()


def loss(objective: torch.nn.Module, values: dict[str, Any]) -> float:
    return objective(values, generators(values)).loss.item()


def learning(objective: torch.nn.Module, values: dict[str, Any]) -> set[str]:
    """The networks that get a gradient in a step."""
    objective(values, generators(values)).loss.backward()
    named = objective.named_parameters()
    return {name.split(".")[1] for name, parameter in named if parameter.grad is not None and parameter.grad.any()}


def test_a_perfect_answer_has_no_loss_and_a_silent_network_scores_the_baseline(monkeypatch: pytest.MonkeyPatch):
    objective, values = denoising(), batch()
    seen: dict[str, Any] = {}
    true_noised = DenoiserObjective.noised

    def noised(self: DenoiserObjective, *words: Any) -> Any:
        seen["step"] = true_noised(self, *words)
        return seen["step"]

    monkeypatch.setattr(DenoiserObjective, "noised", noised)
    process = EDMProcess()
    answers = {
        "perfect": lambda noisy, t, condition: process.output(seen["step"].x0, seen["step"].noise, t),
        "silent": lambda noisy, t, condition: torch.zeros_like(noisy),
        "noise": lambda noisy, t, condition: seen["step"].noise,
    }
    scored = {}
    for name, answer in answers.items():
        monkeypatch.setattr(objective.pipeline, "denoise", answer)
        output = objective(values, generators(values))
        scored[name] = output.loss.item()
        assert output.logs["baseline"].item() == pytest.approx(scored.get("silent", output.logs["baseline"].item()))
    assert scored["perfect"] < 1e-5 < 0.1 < scored["silent"]
    assert scored["noise"] > 0.1


def test_the_network_is_told_what_the_pipeline_tells_it(monkeypatch: pytest.MonkeyPatch):
    objective, values = denoising(), batch()
    asked: list[Any] = []
    unet = objective.pipeline.unet.forward
    monkeypatch.setattr(objective.pipeline.unet, "forward", lambda *a, **k: asked.append((a, k)) or unet(*a, **k))
    step = objective.noised(values, generators(values))
    objective(values, generators(values))
    (sample, time, tokens, ids), _ = asked[0]
    frames, vae = values["frames"], objective.pipeline.vae
    assert torch.allclose(time, step.t.log() / 4)
    assert torch.allclose(sample[:, :, :4], step.noisy / (step.t**2 + 1).sqrt().reshape(-1, 1, 1, 1, 1))
    assert torch.allclose(ids, torch.tensor([6.0, 127.0, 0.02]))
    assert torch.equal(tokens, objective.pipeline.image_tokens(frames[:, 0], frames[:, -1]))
    # Keys are told unscaled, what is to be drawn is scaled.
    clean = vae.encode(frames[:, 0]).latent_dist.mode()
    apart = (sample[:, 0, 4:8] - clean).square().mean().sqrt()  # noise on the keys, 2 % of a pixel's half range
    assert 0 < apart < 0.2 * clean.std()
    assert torch.allclose(step.x0[:, 0], clean * vae.config.scaling_factor, atol=1e-5)
    assert torch.equal(sample[:, 1, 4:8], objective.pipeline.unet.mask_token[:, 0].expand_as(sample[:, 1, 4:8]))
    assert sample[:, :, 8].flatten(2).mean(2).tolist() == [[0, 1, 0]] * 2


def test_noise_levels_are_log_normal():
    levels = torch.cat([EDMProcess().training_times(1, sample_generator(0, i)) for i in range(2000)]).log()
    assert levels.mean().item() == pytest.approx(0.7, abs=0.1) and levels.std().item() == pytest.approx(1.6, abs=0.1)


def test_a_sample_does_not_depend_on_its_batch():
    objective, both = denoising(control_dropout=0.5, image_dropout=0.5), batch(2)
    with torch.no_grad():
        together = objective(both, generators(both)).details["loss"]
        alone = torch.cat([objective(one, generators(one)).details["loss"] for one in (batch(1, 0), batch(1, 1))])
        again = objective(both, generators(both)).details["loss"]
    assert torch.equal(together, again)
    assert torch.allclose(together, alone, rtol=1e-4)


def test_tracks_reach_the_controlnet_and_can_be_left_out():
    objective, values = denoising(), batch()
    moved = values | {"tracks": [track + np.array([9.0, -5.0]) for track in values["tracks"]]}
    bare = {name: value for name, value in values.items() if name != "tracks"}
    scored = [loss(objective, some) for some in (values, moved, bare)]
    assert len(set(scored)) == 3
    dropped = denoising(control_dropout=1.0)
    assert loss(dropped, values) == pytest.approx(scored[2], rel=1e-5)
    objective.pipeline.register_modules(controlnet=None)
    assert loss(objective, values) == scored[2]


def test_gradient_goes_only_where_it_is_due():
    values = batch()
    assert learning(denoising(), values) == {"unet"}
    assert learning(denoising(train_control=True), values) == {"unet", "controlnet"}
    assert learning(denoising(train_control=True, train_denoiser=False), values) == {"controlnet"}
    decoding = denoising(pixel={"weight": 1.0}, train_denoiser=False, train_decoder=True)
    assert learning(decoding, values) == {"vae"}
    assert all(parameter.grad is not None for parameter in decoding.trainable_parameters().values())
    objective = denoising()
    learning(objective, values)
    assert objective.pipeline.unet.mask_token.grad.abs().sum() > 0
    adapting = adapter_learns(AdaptParams(lora=LORA), tiny(), Target(true_latents)).train()
    assert learning(adapting, values) == {"unet"}
    assert all("lora_" in name for name in adapting.trainable_parameters())


def test_adapting_drops_images_at_the_rate_of_the_family():
    objective = adapter_learns(AdaptParams(lora=LORA), tiny(), Target(true_latents))
    assert (objective.params.image_dropout, objective.params.guide_dropout) == (0.1, 0.0)
    always = denoising(image_dropout=1.0)
    step = always.noised(batch(), generators(batch()))
    assert not step.condition.tokens.any() and not step.condition.latents[:, :, :-1].any()
    assert step.condition.control.any(), "tracks stay when images go"


def test_the_autoencoder_learns_and_its_latents_are_measured():
    objective = Autoencode(AutoencodeParams(latent_std=1.0), tiny()).train()
    assert learning(objective, batch()) == {"vae"}
    # What its architecture never asks is not trained: training that has tensors without gradient is refused.
    assert all(parameter.grad is not None for parameter in objective.trainable_parameters().values())
    scores = objective.eval().validate([batch(1)])
    assert scores["latent_std"] == objective.measured_std > 0


def test_validation_draws_with_the_tracks_of_the_clip():
    objective, values = denoising(sampling={"steps": 2}).eval(), batch(1)
    moved = values | {"tracks": [track + np.array([9.0, -5.0]) for track in values["tracks"]]}
    drawn = objective.draw(objective.held_out(values))
    assert drawn.shape == values["frames"].shape
    assert torch.equal(drawn, objective.draw(objective.held_out(values)))
    assert not torch.equal(drawn, objective.draw(objective.held_out(moved)))
    with pytest.raises(UsageError, match=r"objective\.sampling sets eta, which FramerPipeline does not have"):
        noisy = denoising(sampling={"steps": 2, "eta": 0.5})
        noisy.draw(noisy.held_out(values))


def test_the_cache_tells_tracks_apart(tmp_path: Path):
    values = batch(2)
    cached, plain = denoising(cache=tmp_path), denoising()
    expected = [loss(plain, values)]
    values["tracks"] = [track + np.array([9.0, -5.0]) for track in values["tracks"]]
    expected.append(loss(plain, values))
    found = [loss(cached, some) for some in (batch(2), values, batch(2))]
    assert found[:2] == pytest.approx(expected, rel=1e-5) and found[2] == found[0]
    assert (cached.extras.cache.misses, cached.extras.cache.hits) == (4, 2)


def test_the_cache_knows_clips_of_a_batch_that_have_no_tracks(tmp_path: Path):
    values, cached, plain = batch(2), denoising(cache=tmp_path), denoising()
    for tracks in ([None, values["tracks"][1]], [values["tracks"][0], None], [None, None]):
        some = values | {"tracks": tracks}
        expected = loss(plain, some)
        assert [loss(cached, some) for _ in range(2)] == pytest.approx([expected] * 2, rel=1e-5)
    assert expected != pytest.approx(loss(plain, values), rel=1e-4)


def test_what_cannot_learn_is_refused():
    pipeline = tiny()
    pipeline.register_modules(controlnet=None)
    with pytest.raises(UsageError, match="needs a model with point control"):
        parts_learn(DenoiseParams(train_control=True), pipeline)
    with pytest.raises(ValueError, match="nothing is trained"):
        DenoiseParams(train_denoiser=False)


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "model": {"base": "set by the test"},
    "objective": {"kind": "denoise", "train_control": True, "control_dropout": 0.3, "sampling": {"steps": 2}},
    "data": {"sources": [{"kind": "drags"}], "size": list(SIZE), "frames": [3]},
    "optim": {"lr": 1e-3, "steps": 3, "batch_size": 2, "ema": 0.9},
    "validation": {"every": 2, "samples": 1},
    "checkpoint": {"every": 1},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny().save_pretrained(tmp_path / "base")
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"model": {"base": str(tmp_path / "base")}}))
    return path


def test_a_run_goes_on_where_it_was_cut_and_leaves_a_framer(recipe: Path, tmp_path: Path):
    _, uncut = cut_and_uncut(recipe, tmp_path, 2)
    assert all(np.isfinite(entry["loss"]) and entry["baseline"] > 0 for entry in log(uncut))
    pipeline = load(str(uncut)).pipeline
    assert isinstance(pipeline, FramerPipeline)
    before = tiny().controlnet.state_dict()
    assert any(not torch.equal(before[name], value) for name, value in pipeline.controlnet.state_dict().items())


def test_an_adapter_from_clips_with_tracks(recipe: Path, tmp_path: Path):
    changes = ["objective={kind: adapt, lora: {target: attention, rank: 2}, sampling: {steps: 2}}", "optim.steps=2"]
    train_from_recipe(recipe, tmp_path / "adapter", changes)
    pipeline = load(f"{tmp_path}/base+{tmp_path}/adapter@1.0").pipeline
    assert "adapter0" in pipeline.unet.peft_config


def test_a_teacher_guides_as_the_sampler_does():
    """Both branches at once: the temporal context of one reads the other's tokens."""
    values, scale = batch(1), 3.0
    teacher = Teacher(tiny(), "t")
    pipeline = teacher.pipeline
    condition = denoising().held_out(values).condition
    pipeline.scheduler.set_timesteps(4)
    pipeline.scheduler.set_begin_index(0)
    sigma, time = pipeline.scheduler.sigmas[:1], pipeline.scheduler.timesteps[0]
    noisy = sigma * torch.randn(condition.latents[:, :, :-1].shape, generator=torch.Generator().manual_seed(0))
    frames = condition.num_frames
    sampled = GuidedDenoiser(pipeline, condition, torch.full((frames,), scale), (0.0, 1.0), 4, None, ())
    with torch.no_grad():
        expected = sampled(noisy, time, 0)
    step = Noised(condition, noisy, noisy, noisy, sigma, torch.ones(1))
    taught = guided_answer(pipeline, teacher, Guidance(scale, None, 0.0), step)
    torch.testing.assert_close(taught, expected, rtol=1e-4, atol=1e-5)
