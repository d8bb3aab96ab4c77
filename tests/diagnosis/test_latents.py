"""Latent diagnosis: flags deliberately broken models, and no healthy ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import oracle

from nakawari.diagnosis.latent_plot import write_plot
from nakawari.diagnosis.latents import BAND, Clip, diagnose
from nakawari.errors import NakawariError
from nakawari.files import write_json
from nakawari.media import read_image, to_tensor
from nakawari.variants import load

STEPS = 12


def clips(count: int = 3, known: bool = True) -> list[Clip]:
    generator = torch.Generator().manual_seed(1)
    return [Clip(str(n), torch.rand(4, 3, 16, 16, generator=generator) * 2 - 1, known) for n in range(count)]


def scaled(factor: float):
    return lambda pipeline, velocity, noise, noisy: factor * velocity


def answers_noise(pipeline, velocity, noise, noisy):
    return noise


def partly_noise(pipeline, velocity, noise, noisy):
    return 0.3 * velocity + 0.7 * noise


def test_the_healthy_model_is_not_flagged_with_or_without_parent():
    for parent in (None, oracle()):
        found = diagnose(oracle(), clips(), parent, num_inference_steps=STEPS)
        assert found.healthy, found.sentences()
        assert len(found.trajectory.steps) == STEPS
    assert found.ratios == {"x0": [1.0] * STEPS, "x_t": [1.0] * STEPS}
    assert found.mixture.own == pytest.approx(1) and found.mixture.noise == pytest.approx(0, abs=1e-6)


def test_a_slightly_different_model_is_not_flagged():
    assert diagnose(oracle(spread=0.6), clips(), oracle(), num_inference_steps=STEPS).healthy


@pytest.mark.parametrize(("factor", "kind"), [(0.5, "collapse"), (2.0, "explosion"), (0.0, "collapse")])
def test_scaled_output_is_flagged_where_it_starts_and_named(factor: float, kind: str):
    found = diagnose(oracle(scaled(factor)), clips(), oracle(), num_inference_steps=STEPS)
    first = found.findings[0]
    # At the first step x0 is -v / s, so its deviation is off by the factor itself.
    assert (first.quantity, first.kind, first.step, first.time) == ("x0", kind, 1, 999)
    assert found.ratios["x0"][0] == pytest.approx(factor, abs=1e-4)
    assert found.mixture is None if factor == 0 else found.mixture.own == pytest.approx(factor)


@pytest.mark.parametrize("parent", [True, False])
def test_noise_answered_in_place_of_velocity_is_flagged(parent: bool):
    reference = oracle() if parent else None
    found = diagnose(oracle(answers_noise), clips(), reference, num_inference_steps=STEPS)
    assert "collapse" in {finding.kind for finding in found.findings if finding.quantity == "x_t"}
    if parent:
        assert (found.mixture.own, found.mixture.noise) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
        assert "trained to predict noise" in found.sentences()[-1]


def test_a_mixture_of_both_is_measured():
    found = diagnose(oracle(partly_noise), clips(), oracle(), num_inference_steps=STEPS)
    assert not found.healthy
    assert (found.mixture.own, found.mixture.noise) == (pytest.approx(0.3, abs=1e-4), pytest.approx(0.7, abs=1e-4))


def test_a_collapse_that_starts_late_is_dated():
    late: list[int] = []

    def breaks(pipeline, velocity, noise, noisy):
        late.append(len(late))
        return velocity if len(late) <= 5 else -velocity

    found = diagnose(oracle(breaks), clips(1), oracle(), num_inference_steps=STEPS)
    assert found.findings[0].step >= 6
    assert all(ratio == 1 for ratio in found.ratios["x0"][:5])


def test_nan_is_named_with_its_step():
    def breaks(pipeline, velocity, noise, noisy):
        return velocity * float("nan") if noisy.std() < 1 else velocity

    found = diagnose(oracle(breaks), clips(1), oracle(), num_inference_steps=STEPS)
    assert {finding.kind for finding in found.findings} == {"non-finite"}
    assert found.findings[0].worst is None
    assert found.to_json()["variant"][-1]["x0"]["std"] is None


def test_recorded_numbers_are_those_of_the_run():
    variant = oracle()
    seen: list[dict] = []
    keys = clips(1)[0].frames
    variant(
        keys[None, 0],
        keys[None, -1],
        num_frames=4,
        num_inference_steps=STEPS,
        generator=[torch.Generator().manual_seed(0)],
        output_type="latent",
        callback_on_step_end=lambda pipe, i, t, values: seen.append(values),
    )
    found = diagnose(variant, clips(1), num_inference_steps=STEPS)
    for step, values in zip(found.trajectory.steps, seen, strict=True):
        assert step.x0.std.item() == pytest.approx(values["x0"].double().std(correction=0).item(), rel=1e-6)
        assert step.x0.norm.item() == pytest.approx(values["x0"].double().norm().item(), rel=1e-6)
    for step, values in zip(found.trajectory.steps[1:], seen, strict=False):
        assert step.x_t.mean.item() == pytest.approx(values["latents"].double().mean().item(), rel=1e-4, abs=1e-7)


def test_without_truth_or_parent_there_is_nothing_to_compare_with():
    with pytest.raises(NakawariError, match="parent"):
        diagnose(oracle(), clips(1, known=False))
    with pytest.raises(NakawariError, match="keys"):
        diagnose(oracle(), [])


def moving_discs() -> list[Clip]:
    y, x = np.mgrid[:64, :96]
    found = []
    for speed in (6, 14):
        frames = np.full((3, 64, 96, 3), (230, 220, 200), np.uint8)
        for index in range(3):
            frames[index][np.hypot(y - 32, x - 25 - speed * index) < 14] = (60, 40, 150)
        found.append(Clip(f"disc {speed}", to_tensor(frames)))
    return found


def test_the_shipped_mini_is_not_called_collapsed():
    mini = load("mini:fp32").pipeline
    found = diagnose(mini, moving_discs())
    assert found.healthy, found.sentences()
    assert found.contrast == pytest.approx(1, abs=0.1)
    # It corrects its guide, by less or more than the true frames would: shown, and not judged.
    assert not 1 / BAND < found.ratios["x0"][-1] < BAND
    encode = mini.encode
    mini.encode = lambda frames, condition: encode(3 * frames, condition)  # pictures of a third of the true contrast
    (finding,) = diagnose(mini, moving_discs()).findings
    assert (finding.kind, finding.quantity) == ("collapse", "the pictures")


def test_plot_and_json_are_written_twice_alike(tmp_path: Path):
    found = diagnose(oracle(scaled(0.5)), clips(2), oracle(), num_inference_steps=STEPS)
    for name in ("a", "b"):
        write_plot(tmp_path / f"{name}.png", found, "half")
        write_json(tmp_path / f"{name}.json", found.to_json())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert read_image(tmp_path / "a.png").shape[1] > 1000
