"""Objective `few_step` on data with known trajectories, and runs on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_pipeline import FakePipeline, clips
from resuming import cut_and_uncut, log
from torch import Tensor

from nakawari.adapters import attach
from nakawari.diffusion import EDMProcess, Process, VelocityProcess
from nakawari.errors import NakawariError, UsageError
from nakawari.families.adapter_files import PEFT_CONFIG, PEFT_WEIGHTS, WEIGHTS
from nakawari.families.adapting import SAMPLING
from nakawari.families.framer import build
from nakawari.families.framer.configs import TINY
from nakawari.families.framer.schedulers import LCMSVDScheduler
from nakawari.families.mini.pipeline import MiniPipeline
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.few_step import student_jumps
from nakawari.training.objectives.params import FewStepParams
from nakawari.training.objectives.targets import random_times
from nakawari.training.run import train_from_recipe
from nakawari.training.teacher import Teacher
from nakawari.variants import load
from tiny_models import mini_model

MEAN, DEVIATION = 0.4, 0.5
"""Of the data: every latent is normal with these, so paths and posterior means are known."""
PROCESSES = {
    "velocity": VelocityProcess(),
    "unscaled": VelocityProcess(base_scale=1.0),
    "preconditioned": VelocityProcess(base_scale=1.0, data_std=0.5),
    "edm": EDMProcess(),
}
LORA = {"target": "linear-and-convolution", "rank": 2}


class FewStepFake(FakePipeline):
    def sample_in_few_steps(self, steps: int) -> None:
        self.fake.steps = steps


def column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1, 1)


def spoken(process: Process, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The network output that predicts `x0` at x_t."""
    return process.output(x0, (x - column(process.signal(t)) * x0) / column(process.sigma(t)), t)


def posterior_mean(process: Process, x: Tensor, t: Tensor, mean: float = MEAN) -> Tensor:
    a, s = column(process.signal(t)), column(process.sigma(t))
    return mean + a * DEVIATION**2 / (a**2 * DEVIATION**2 + s**2) * (x - a * mean)


def end_of_flow(process: Process, x: Tensor, t: Tensor) -> Tensor:
    """End of the probability flow from x_t: the same number of standard deviations from the mean."""
    a, s = column(process.signal(t)), column(process.sigma(t))
    return MEAN + DEVIATION * (x - a * MEAN) / (a**2 * DEVIATION**2 + s**2).sqrt()


def end_of_path(process: Process, x: Tensor, t: Tensor, grid: int, mean: float = MEAN) -> Tensor:
    """End of DDIM steps with the exact posterior mean from x_t: the teacher solver's approximation of the flow."""
    path, ends = process.sampling_times(grid), []
    for one, time in zip(x, t, strict=True):
        at = one[None]
        for here, there in zip(path, [*path[1:], None], strict=True):
            if here > time:
                continue
            here = here[None]
            output = spoken(process, posterior_mean(process, at, here, mean), at, here)
            at = process.x0(output, at, here) if there is None else process.ddim(output, at, here, there[None])
        ends.append(at)
    return torch.cat(ends)


def distilling(process: str, student: Any, **params: Any) -> DenoiserObjective:
    """The objective with exact networks: `student(process, x, t)` returns x0."""
    p = PROCESSES[process]
    pupil, master = (FewStepFake.make(p, tokens=True) for _ in range(2))
    pupil.fake.oracle = lambda x, t: spoken(p, student(p, x, t), x, t)
    # The conditional answer is that of data around MEAN, the unconditional one of data around 0.
    master.fake.oracle = lambda x, t: spoken(
        p, posterior_mean(p, x, t, MEAN * float(master.fake.seen[-1].tokens.mean()) / 2), x, t
    )
    return student_jumps(
        FewStepParams(teacher="exact", **({"grid": 8, "huber": None} | params)), pupil, Teacher(master, "exact")
    )


def loss(objective: DenoiserObjective, count: int = 3) -> Tensor:
    """Mean over several draws, so that every time occurs."""
    batch = clips(count)
    found = [objective(batch, [sample_generator(seed, index) for index in batch["index"]]) for seed in range(8)]
    assert torch.stack([output.logs["baseline"] for output in found]).mean() > 0.01
    return torch.stack([output.loss for output in found]).mean()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_perfect_consistency_function_has_no_loss(process: str):
    assert loss(distilling(process, lambda p, x, t: end_of_path(p, x, t, grid=8))) < 1e-6


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    "wrong",
    [
        posterior_mean,
        lambda p, x, t: end_of_flow(p, x, t) + 0.3 * (t == p.last_time).float().reshape(-1, 1, 1, 1, 1),
        lambda p, x, t: torch.full_like(x, MEAN),
    ],
    ids=["the teacher itself", "wrong at the noisiest time", "says nothing"],
)
def test_a_wrong_one_has_a_loss(process: str, wrong: Any):
    assert loss(distilling(process, wrong)) > 1e-3


@pytest.mark.parametrize("process", PROCESSES)
def test_the_flow_itself_is_what_finer_grids_want(process: str):
    coarse, fine = (loss(distilling(process, lambda p, x, t: end_of_flow(p, x, t), grid=grid)) for grid in (10, 80))
    assert fine < coarse / 8


def test_guidance_is_learnt_by_heart():
    """Guidance is linear in the mean of the data here: scale 2 moves it from MEAN to 2 MEAN."""
    params = {"guidance": 2.0, "grid": 8}
    assert loss(distilling("velocity", lambda p, x, t: end_of_path(p, x, t, 8, 2 * MEAN), **params)) < 1e-6
    assert loss(distilling("velocity", lambda p, x, t: end_of_path(p, x, t, 8), **params)) > 1e-3


def test_distances():
    truth, told = torch.zeros(2, 3, 3, 4, 4), torch.full((2, 3, 3, 4, 4), 0.3)
    t = torch.tensor([999, 499])
    for huber, expected in ((None, 0.09), (0.4, 0.1), (1e-6, 0.3)):
        objective = distilling("velocity", posterior_mean, huber=huber)
        assert objective.terms(objective.pipeline.process, told, truth, t).tolist() == pytest.approx(
            [expected] * 2, rel=1e-4
        )


def test_times_stand_on_the_path_and_a_share_of_them_at_its_beginning():
    for name, process in PROCESSES.items():
        generators = [sample_generator(0, index) for index in range(200)]
        learning = distilling(name, posterior_mean)
        t = random_times(learning.pipeline, learning.target.times, 0.0, generators)
        assert set(t.tolist()) == set(process.sampling_times(8).tolist())
        late = random_times(learning.pipeline, learning.target.times, 0.9, generators)
        assert (late == process.last_time).float().mean() > 0.8


def student(**params: Any) -> DenoiserObjective:
    torch.manual_seed(0)
    words = {"teacher": "t", "teacher_sampling": {"steps": 2}} | params
    return student_jumps(FewStepParams(**words), mini_model(), Teacher(mini_model(), "t")).train()


def batch(count: int = 2) -> dict[str, Any]:
    small = clips(count, 3)
    frames = torch.nn.functional.interpolate(small["frames"].flatten(0, 1), scale_factor=2.0)
    return small | {"frames": frames.unflatten(0, (count, 3))}


def step(objective: DenoiserObjective) -> dict[str, Tensor]:
    values = batch()
    objective(values, [sample_generator(0, index) for index in values["index"]]).loss.backward()
    return {name: parameter.grad for name, parameter in objective.trainable_parameters().items()}


@pytest.mark.parametrize(
    ("lora", "pixel"), [(None, None), (None, {"weight": 1.0, "against": "target"}), (LORA, {"weight": 1.0})]
)
def test_only_the_student_learns(lora: Any, pixel: Any):
    objective = student(lora=lora, pixel=pixel)
    before = objective.target.teacher.state_hash()
    learning = objective.trainable_parameters()
    frozen = {name: value.clone() for name, value in objective.state_dict().items() if name not in learning}
    found = step(objective)
    assert found and all(".unet." in name and (lora is None or "lora_" in name) for name in found)
    assert any(value.abs().sum() > 0 for value in found.values())
    torch.optim.SGD(objective.trainable_parameters().values(), lr=0.1).step()
    assert objective.target.teacher.state_hash() == before
    after = objective.state_dict()
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert all(p.grad is None for network in objective.target.teacher.networks.values() for p in network.parameters())
    # Nothing of the teacher is the objective's, so nothing of it reaches optimizer, checkpoint or saved model.
    taught = {id(p) for network in objective.target.teacher.networks.values() for p in network.parameters()}
    assert not taught & {id(p) for p in objective.parameters()}


def test_the_target_gives_no_gradient():
    objective = student()
    values = batch()
    noised = objective.noised(values, [sample_generator(0, index) for index in values["index"]])
    assert not objective.target.latents(values, noised).requires_grad


def test_the_base_of_an_adapter_computes_in_training_what_it_computes_afterwards():
    objective = student(lora=LORA | {"dropout": 0.5})
    modes = {name: module.training for name, module in objective.networks.named_modules()}
    assert {flag for name, flag in modes.items() if ".lora_dropout." in name} == {True}
    assert not any(flag for name, flag in modes.items() if ".lora_dropout." not in name)


def test_a_student_and_a_teacher_of_other_latents_are_refused():
    with pytest.raises(UsageError, match="has another autoencoder than the student"):
        other = mini_model()
        other.vae.patches.to_pixels.weight.data *= 2
        student_jumps(FewStepParams(teacher="t"), mini_model(), Teacher(other, "t"))


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "objective": {
        "kind": "few_step",
        "grid": 8,
        "lora": LORA | {"dropout": 0.1},
        "guide_dropout": 0.3,
        "sampling": {"steps": 2},
        "teacher_sampling": {"steps": 2},
    },
    "data": {"sources": [{"kind": "synthetic"}], "size": [16, 24], "frames": [3]},
    "optim": {"lr": 1e-2, "steps": 4, "batch_size": 2, "ema": 0.9},
    "validation": {"every": 2, "samples": 1},
    "checkpoint": {"every": 2},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "base")
    base = str(tmp_path / "base")
    objective = RECIPE["objective"] | {"teacher": base}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"model": {"base": base}, "objective": objective}))
    return path


def test_a_run_goes_on_where_it_was_cut_and_leaves_a_turbo_adapter(recipe: Path, tmp_path: Path):
    _, uncut = cut_and_uncut(recipe, tmp_path, 3)
    assert {"psnr", "psnr_teacher", "psnr_nothing", "psnr_unguided"} <= set(log(uncut)[1]["validation"])

    best = uncut / "best"
    assert_is_turbo(tmp_path / "base", best)


def assert_is_turbo(base: Path, best: Path) -> None:
    """Check that nakawari and plain diffusers load the adapter with the same result."""
    layouts = ["README.md", PEFT_CONFIG, PEFT_WEIGHTS, WEIGHTS]
    assert sorted(path.name for path in best.iterdir()) == [*layouts, SAMPLING]
    words = json.loads((best / SAMPLING).read_text())
    assert words == {"sampler": "consistency", "num_inference_steps": 2, "guidance_scale": 1.0}
    ours = load(f"{base}+{best}").pipeline
    assert (ours.config.default_steps, ours.scheduler.config.sampler) == (2, "consistency")
    assert load(f"{base}+{best}@0").pipeline.scheduler.config.sampler == "ddim"

    plain = MiniPipeline.from_pretrained(base)
    plain.set_progress_bar_config(disable=True)
    plain.unet.load_lora_adapter(best, prefix=None, use_safetensors=True)
    plain.unet.eval()
    keys = torch.rand(2, 1, 3, 16, 24, generator=torch.Generator().manual_seed(5)) * 2 - 1

    def drawn(pipeline: MiniPipeline, **words: Any) -> Tensor:
        seed = torch.Generator().manual_seed(0)
        return pipeline(*keys, num_frames=3, generator=seed, output_type="pt", **words).frames

    assert torch.equal(drawn(plain, **words), drawn(ours))
    assert not torch.equal(drawn(plain), drawn(ours))
    (best / SAMPLING).write_text('{"num_inference_steps": 0}')
    with pytest.raises(NakawariError, match=r"sampling\.json must name the sampler consistency"):
        load(f"{base}+{best}")


def test_a_whole_student_remembers_how_it_wants_to_be_asked(recipe: Path, tmp_path: Path):
    train_from_recipe(recipe, tmp_path / "run", ["objective.lora=null", "optim.steps=2"])
    loaded = load(str(tmp_path / "run")).pipeline
    assert loaded.config.default_steps == 2
    assert loaded.scheduler.config.sampler == "consistency"
    assert load(str(tmp_path / "base")).pipeline.scheduler.config.sampler == "ddim"


def test_framer_learns_and_remembers_it_too(tmp_path: Path):
    def framer() -> Any:
        torch.manual_seed(0)
        return build(**TINY)

    frames = torch.rand(1, 3, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    params = FewStepParams(
        teacher="t", lora={"target": "temporal-attention", "rank": 1}, guidance=2.0, sampling={"steps": 2}
    )
    objective = student_jumps(
        params, framer(), Teacher(framer(), "t", params.teacher_sampling.model_copy(update={"steps": 1}))
    )
    before = objective.target.teacher.state_hash()
    values = {"frames": frames, "index": [0], "name": ["a"]}
    objective(values, [sample_generator(0, 0)]).loss.backward()
    assert any(p.grad.abs().sum() > 0 for p in objective.trainable_parameters().values())
    assert {"psnr", "psnr_teacher"} <= set(objective.eval().validate([values]))
    assert objective.target.teacher.state_hash() == before
    objective.save(tmp_path)
    pipeline = framer()
    attach(pipeline, [(tmp_path, 1.0)])
    assert isinstance(pipeline.scheduler, LCMSVDScheduler)
    assert (pipeline.config.few_step, pipeline.config.default_steps, pipeline.config.default_guidance) == (True, 2, 1.0)


def test_a_framer_student_learns_where_its_sampler_stands():
    scheduler = LCMSVDScheduler()
    path = EDMProcess().sampling_times(scheduler.config.num_train_timesteps)
    for steps in (1, 2, 4, 8):
        scheduler.set_timesteps(steps)
        for sigma in scheduler.sigmas[:-1]:
            assert (path / sigma - 1).abs().min() < 1e-5
