"""Objectives on a minimal pipeline."""

from __future__ import annotations

import pytest
import torch
from fake_pipeline import FakePipeline, clips

from nakawari.diffusion import EDMProcess, VelocityProcess
from nakawari.training.objectives import autoencode, denoise
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.terms import LatentTerms

PROCESSES = {"velocity": VelocityProcess(), "edm": EDMProcess()}


def generators(batch, seed=0):
    return [sample_generator(seed, index) for index in batch["index"]]


def denoising(process="velocity", oracle=False, tokens=False, guided_model=True, **params) -> DenoiserObjective:
    pipeline = FakePipeline.make(PROCESSES[process], guided_model=guided_model, tokens=tokens)
    objective = denoise.parts_learn(denoise.DenoiseParams(**params), pipeline)
    if oracle:
        install_oracle(pipeline, lambda p, x0, noise, t: p.output(x0, noise, t))
    return objective


def install_oracle(pipeline, answer):
    """Install an exact denoiser: noise is recovered from x_t, or from x0 where x_t has no noise."""
    process, batch = pipeline.process, clips()

    def respond(noisy, t):
        condition = pipeline.fake.seen[-1]
        x0 = pipeline.encode(batch["frames"], condition)
        column = (-1, 1, 1, 1, 1)
        noise = (noisy - process.signal(t).reshape(column) * x0) / process.sigma(t).reshape(column)
        return answer(process, x0, noise, t)

    pipeline.fake.oracle = respond


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("weighting", ["native", "x0", "noise", "min-snr", {"x0": 1.0, "native": 0.1}])
def test_a_perfect_denoiser_has_no_loss(process, weighting):
    batch = clips()
    output = denoising(process, oracle=True, weighting=weighting)(batch, generators(batch))
    assert output.loss < 1e-5 * max(1.0, output.logs["baseline"])
    assert output.logs["baseline"] > 1e-4
    assert output.logs["spread"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_denoiser_that_answers_noise_is_wrong_in_either_language(process):
    batch, objective = clips(), denoising(process, weighting="native")
    install_oracle(objective.pipeline, lambda p, x0, noise, t: noise)
    assert objective(batch, generators(batch)).loss > 0.05


@pytest.mark.parametrize("process", PROCESSES)
def test_native_weighting_is_the_squared_error_of_the_output(process):
    batch, objective = clips(), denoising(process, weighting="native")
    p, gap = objective.pipeline.process, 0.3
    install_oracle(objective.pipeline, lambda p, x0, noise, t: p.output(x0, noise, t) + gap)
    assert objective(batch, generators(batch)).loss.item() == pytest.approx(gap**2, rel=1e-2)
    assert p is PROCESSES[process]


@pytest.mark.parametrize("process", PROCESSES)
def test_baseline_is_the_loss_of_a_network_that_answers_zero(process):
    batch, objective = clips(), denoising(process, weighting="native")
    install_oracle(objective.pipeline, lambda p, x0, noise, t: p.output(x0, noise, t))
    baseline = objective(batch, generators(batch)).logs["baseline"].item()
    install_oracle(objective.pipeline, lambda p, x0, noise, t: torch.zeros_like(x0))
    silent = objective(batch, generators(batch))
    assert silent.loss.item() == silent.logs["baseline"].item() == baseline > 0.1


def test_loss_of_a_sample_does_not_depend_on_its_batch():
    batch = clips()
    objective = denoising(
        guide_dropout=0.5, text_dropout=0.3, image_dropout=0.3, tokens=True, pixel={"weight": 1.0, "frames": 2}
    )
    together = objective(batch, generators(batch)).loss
    singles = []
    for n in range(3):
        one = {"frames": batch["frames"][n : n + 1], "index": [n], "name": ["x"]}
        singles.append(objective(one, generators(one)).loss)
    assert together.item() == pytest.approx(torch.stack(singles).mean().item(), rel=1e-5)


def test_only_the_denoiser_learns_and_through_the_pixels_the_decoder():
    batch = clips()
    frozen = denoising(pixel={"weight": 1.0})
    frozen(batch, generators(batch)).loss.backward()
    assert all(name.startswith("networks.unet.") for name in frozen.trainable_parameters())
    assert frozen.pipeline.unet.encoder.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in frozen.pipeline.vae.parameters())
    both = denoising(pixel={"weight": 1.0}, train_decoder=True)
    both(batch, generators(batch)).loss.backward()
    assert both.pipeline.vae.decoder.weight.grad.abs().sum() > 0
    assert both.pipeline.vae.encoder.weight.grad is None


def test_the_pixel_term_alone_moves_the_denoiser():
    batch = clips()
    objective = denoising(pixel={"weight": 1.0}, weighting={"x0": 0.0})
    objective(batch, generators(batch)).loss.backward()
    assert objective.pipeline.unet.encoder.weight.grad.abs().sum() > 0


def test_dropped_samples_lose_the_guide_and_only_they():
    batch = clips(count=3)
    objective = denoising(guide_dropout=0.5)
    output = objective(batch, generators(batch, seed=3))
    guided = output.details["guided"]
    assert 0 < guided.sum() < 3
    guide = objective.pipeline.fake.seen[-1].guide
    assert torch.equal(guide.guided.bool(), guided)
    assert torch.equal(guide.start[:, 0], batch["frames"][:, 0])  # each sample kept its own condition


@pytest.mark.parametrize(("rates", "token"), [((0, 0), 2), ((1, 0), 1), ((0, 1), 0)])
def test_text_and_image_are_dropped_at_their_rates(rates, token):
    batch, objective = clips(), denoising(tokens=True, text_dropout=rates[0], image_dropout=rates[1])
    objective(batch, generators(batch))
    assert (objective.pipeline.fake.seen[-1].tokens == token).all()


def test_inner_only_leaves_the_keys_out():
    batch, objective = clips(), denoising(weighting="x0", inner_only=True)

    def wrong_at_the_keys(p, x0, noise, t):
        off = x0.clone()
        off[:, [0, -1]] += 5
        return p.output(off, (noise * p.sigma(t)[0] * 0 + noise), t)

    install_oracle(objective.pipeline, wrong_at_the_keys)
    inner_loss = objective(batch, generators(batch)).loss
    objective.terms = LatentTerms(weights={"x0": 1.0})
    assert objective(batch, generators(batch)).loss > 100 * inner_loss


def test_a_perfect_autoencoder_scores_its_own_blur_and_the_base_is_the_baseline():
    batch = clips()
    objective = autoencode.Autoencode(autoencode.AutoencodeParams(), FakePipeline.make(VelocityProcess()))
    output = objective(batch, generators(batch))
    assert output.loss < 0.5 * output.logs["baseline"]
    output.loss.backward()
    assert objective.pipeline.vae.encoder.weight.grad.abs().sum() > 0
    assert objective.pipeline.unet.encoder.weight.grad is None


def test_dropped_latents_leave_the_base_alone():
    batch = clips()
    pipeline = FakePipeline.make(VelocityProcess())
    objective = autoencode.Autoencode(autoencode.AutoencodeParams(latent_dropout=1.0), pipeline)
    condition = objective.held_out(batch).condition
    zeros = torch.zeros_like(pipeline.encode(batch["frames"]))
    expected = (pipeline.decode(zeros, condition) - batch["frames"]).abs().mean()
    assert objective(batch, generators(batch)).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_noise_on_the_latents_costs():
    batch = clips()
    losses = [
        autoencode.Autoencode(autoencode.AutoencodeParams(latent_noise=level), FakePipeline.make(VelocityProcess()))(
            batch, generators(batch)
        ).loss
        for level in (0.0, 1.0)
    ]
    assert losses[1] > 2 * losses[0]


def test_validation_scores_beside_nothing():
    batch = clips()
    scores = denoising().validate([batch])
    assert scores.keys() == {"psnr", "psnr_nothing", "psnr_unguided"}
    assert denoising(guided_model=False).validate([batch]).keys() == {"psnr", "psnr_nothing"}
    objective = autoencode.Autoencode(autoencode.AutoencodeParams(), FakePipeline.make(VelocityProcess()))
    assert objective.validate([batch])["psnr"] > objective.validate([batch])["psnr_nothing"]


@pytest.mark.parametrize(("guided_model", "conditions"), [(True, 2), (False, 1)])
def test_validation_computes_a_condition_once(guided_model: bool, conditions: int):
    """One with motion guidance and, where the model has it, one without."""
    objective = denoising(guided_model=guided_model)
    objective.validate([clips()])
    assert objective.pipeline.fake.conditions == conditions


def test_samples_are_pictures(tmp_path):
    from PIL import Image

    denoising().sample([clips(count=1)], tmp_path)
    sheet, moving = Image.open(tmp_path / "000.png"), Image.open(tmp_path / "000.gif")
    assert sheet.height > 3 * 8 and sheet.width > 5 * 8 and moving.n_frames == 5
