"""Distillation of a student from a frozen teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_pipeline import FakePipeline, clips
from safetensors import safe_open

from nakawari.diffusion import EDMProcess, VelocityProcess
from nakawari.errors import UsageError
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler
from nakawari.training.collapse import CollapseWatch
from nakawari.training.objectives.base import Batch, sample_generator
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.imitate import denoiser_imitates
from nakawari.training.objectives.params import ImitateParams
from nakawari.training.objectives.params_parts import TeacherSampling, WatchParams
from nakawari.training.recipe import Recipe, parse_recipe
from nakawari.training.run import train_recipe
from nakawari.training.teacher import Teacher
from tiny_models import mini_model

PIXEL = {"weight": 1.0, "frames": 1, "perceptual": "none"}


def batch() -> dict[str, Any]:
    frames = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return {"frames": frames, "index": [0, 1], "name": ["a", "b"]}


def generators(values: Batch) -> list[torch.Generator]:
    return [sample_generator(0, index) for index in values["index"]]


def imitating(tmp_path: Path, student: Any = None, teacher: Any = None, **changes: Any) -> DenoiserObjective:
    params = ImitateParams.model_validate({"teacher": "t", "pixel": PIXEL, "cache": tmp_path / "cache"} | changes)
    who = Teacher(teacher or mini_model(), "t", TeacherSampling(steps=2))
    return denoiser_imitates(params, student or mini_model(), who).train()


def other_student() -> Any:
    """Another denoiser over the same autoencoder."""
    student = mini_model()
    with torch.no_grad():
        for parameter in student.unet.parameters():
            parameter.mul_(0.5)
    return student


@pytest.mark.parametrize("features", [0.0, 1.0])
def test_a_student_that_answers_as_its_teacher_has_no_loss(tmp_path: Path, features: float) -> None:
    values = batch()
    same = imitating(tmp_path, regime="answers", features=features)(values, generators(values))
    other = imitating(tmp_path, other_student(), regime="answers", features=features)(values, generators(values))
    assert same.loss == 0 and other.loss > 1e-4
    assert other.logs["baseline"] > 0


@pytest.mark.parametrize("process", [VelocityProcess(), EDMProcess()], ids=["velocity", "edm"])
def test_the_answers_are_compared_at_one_time_and_noise_in_x0_and_noise(tmp_path: Path, process: Any) -> None:
    values = clips()
    student, teacher = FakePipeline.make(process), FakePipeline.make(process)
    teacher.unet.load_state_dict(student.unet.state_dict())
    seen: dict[str, Any] = {}
    student.fake.oracle = lambda noisy, t: seen.setdefault("own", (noisy, t, noisy * 0.3))[2]
    teacher.fake.oracle = lambda noisy, t: seen.setdefault("other", (noisy, t, noisy * 0.2))[2]
    objective = imitating(tmp_path, student, teacher, regime="answers", pixel=None)
    loss = objective(values, generators(values)).loss
    assert torch.equal(seen["own"][0], seen["other"][0]) and torch.equal(seen["own"][1], seen["other"][1])
    (noisy, t, own), other = seen["own"], seen["other"][2]
    z = [process.x0(output, noisy, t) for output in (own, other)]
    e = [process.noise(output, noisy, t) for output in (own, other)]
    expected = 0.5 * torch.nn.functional.smooth_l1_loss(*z) + 0.25 * (e[0] - e[1]).square().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)


def test_a_drawing_is_the_target_of_the_pictures_and_what_is_noised(tmp_path: Path) -> None:
    values = batch()
    objective = imitating(tmp_path, regime="drawings")
    objective(values, generators(values))
    drawn = objective.target.teacher.draw(values)
    assert torch.allclose(objective.last.x0, drawn, atol=1e-5)
    # A student that answers with the drawing itself has no loss.
    process = objective.pipeline.process
    answer = process.output(objective.last.x0, objective.last.noise, objective.last.t)
    objective.pipeline.denoise = lambda noisy, t, condition: answer
    assert objective(values, generators(values)).loss < 1e-5


def test_truth_is_mixed_in_at_its_share(tmp_path: Path) -> None:
    values = batch()
    only = imitating(tmp_path, regime="answers", truth=1.0)
    only.target.teacher.denoise = only.target.teacher.draw = None  # not asked
    only(values, generators(values))
    assert torch.equal(only.target.latents({**values, "true": torch.tensor([True, True])}, only.last), only.last.x0)
    mixed = imitating(tmp_path, regime="answers")
    mixed(values, generators(values))
    wanted = mixed.target.latents({**values, "true": torch.tensor([True, False])}, mixed.last)
    assert torch.equal(wanted[0], mixed.last.x0[0]) and not torch.equal(wanted[1], mixed.last.x0[1])


@pytest.mark.parametrize("regime", ["drawings", "answers"])
def test_only_the_students_denoiser_gets_gradient(tmp_path: Path, regime: str) -> None:
    values, objective = batch(), imitating(tmp_path, other_student(), regime=regime, features=0.1)
    before = objective.target.teacher.state_hash()
    objective(values, generators(values)).loss.backward()
    assert all(name.startswith("networks.unet.") for name in objective.trainable_parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.pipeline.unet.parameters())
    assert all(p.grad is None for p in objective.pipeline.vae.parameters())
    for network in objective.target.teacher.networks.values():
        assert not network.training
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    mine = {id(p) for p in objective.parameters()}
    assert not mine & {id(p) for n in objective.target.teacher.networks.values() for p in n.parameters()}
    assert objective.target.teacher.state_hash() == before


def test_the_loss_of_a_sample_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    values = batch()
    objective = imitating(
        tmp_path, other_student(), regime="drawings", guide_dropout=0.5, truth=0.5, features=0.5, smooth_l1=0.5
    )
    together = objective(values, generators(values)).loss
    singles = []
    for n in range(2):
        one = {"frames": values["frames"][n : n + 1], "index": [n], "name": ["x"]}
        singles.append(objective(one, generators(one)).loss)
    assert together.item() == pytest.approx(torch.stack(singles).mean().item(), rel=1e-4)


def test_a_drawing_is_made_once_and_a_broken_one_again(tmp_path: Path) -> None:
    values = batch()
    teacher = mini_model()
    first = imitating(tmp_path, teacher=teacher)
    drawn = first.target.drawings.latents(values, [True, False])
    assert (first.target.drawings.hits, first.target.drawings.misses) == (0, 2)
    next((tmp_path / "cache").rglob("*.safetensors")).write_bytes(b"cut short")
    again = imitating(tmp_path, teacher=teacher)
    assert torch.equal(again.target.drawings.latents(values, [True, False]), drawn)
    assert (again.target.drawings.hits, again.target.drawings.misses) == (1, 1)
    changed = imitating(tmp_path, teacher=other_student())
    changed.target.drawings.latents(values, [True, False])
    assert changed.target.drawings.hits == 0


def test_a_teacher_of_another_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another autoencoder than the student"):
        other = mini_model()
        other.vae.patches.to_pixels.weight.data *= 2
        imitating(tmp_path, teacher=other)
    other = mini_model()
    other.register_modules(scheduler=ToonCrafterScheduler(data_std=0.01))
    with pytest.raises(UsageError, match="has another noise schedule"):
        imitating(tmp_path, teacher=other)
    with pytest.raises(UsageError, match="is of the family fake, the student of mini"):
        imitating(tmp_path, teacher=FakePipeline.make(VelocityProcess()))


def test_a_broken_student_is_noticed_and_a_healthy_one_is_not(tmp_path: Path) -> None:
    watch = {"every": 2, "start": 4, "patience": 2}
    values = batch()
    for broken in (False, True):
        objective = imitating(tmp_path, regime="answers", watch=watch)
        objective(values, generators(values))
        if broken:
            good = objective.pipeline.denoise
            process, last = objective.pipeline.process, objective.last

            def collapsed(noisy: Any, t: Any, condition: Any, good: Any = good, process: Any = process) -> Any:
                x0 = process.x0(good(noisy, t, condition), noisy, t)
                return process.output(x0 * 0.1, torch.zeros_like(x0), t) if (t == process.last_time).all() else noisy

            objective.pipeline.denoise = collapsed
            assert last is not None
        reasons = [objective.step_end(step) for step in range(1, 7)]
        assert set(objective.observed()) == {f"deviation_{name}" for name in ("last", "upper", "middle", "lower")}
        assert objective.step_end(7) is None and objective.observed() == {}
        if broken:
            assert reasons[:5] == [None] * 5
            assert "the student's latents have" in reasons[5] and "times the teacher's" in reasons[5]
        else:
            assert reasons == [None] * 6


def test_one_bad_look_is_forgiven() -> None:
    watch = CollapseWatch(WatchParams(every=1, start=0, patience=2))
    assert watch.judge(1, {"last": 0.1}) is None
    assert watch.judge(2, {"last": 1.0}) is None
    assert watch.judge(3, {"last": 0.1}) is None
    assert "collapsed: at the last time" in watch.judge(4, {"last": 0.1, "lower": 1.1})
    assert CollapseWatch(WatchParams(patience=0)).judge(1000, {"last": 9.0}) is None


def test_nothing_to_learn_from_is_a_sentence() -> None:
    values = recipe_values("t", "t")
    values["objective"] |= {"regime": "answers", "pixel": None, "smooth_l1": 0, "weighting": {}}
    with pytest.raises(UsageError, match="there is no loss"):
        parse_recipe(values)


# --- whole runs -----------------------------------------------------------------------------------------------------


def recipe_values(teacher: str, cache: str, **objective: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "model": {"student": {"of": teacher, "width": 0.5}},
        "objective": {
            "kind": "imitate",
            "teacher": teacher,
            "teacher_sampling": {"steps": 2},
            "pixel": PIXEL,
            "cache": cache,
            "sampling": {"steps": 1},
            "watch": {"every": 2},
        }
        | objective,
        "data": {"sources": [{"kind": "synthetic"}], "size": [16, 16], "frames": [3], "distinct": 4},
        "optim": {"lr": 1e-3, "steps": 2, "batch_size": 2, "ema": 0.9},
        "validation": {"every": 2, "samples": 1},
        "checkpoint": {"every": 2},
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def small_recipe(saved: Path, **objective: Any) -> Recipe:
    return parse_recipe(recipe_values(str(saved), str(saved.parent / "cache"), **objective))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_the_teacher_alone_and_saves_none_of_it(saved: Path, tmp_path: Path) -> None:
    before = files(saved)
    outcome = train_recipe(small_recipe(saved), tmp_path / "run")
    assert outcome.status == "finished"
    assert files(saved) == before
    with safe_open(tmp_path / "run/checkpoints/step-2/weights.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert all(name.startswith("networks.unet.") for name in names)
        assert weights.get_slice("networks.unet.input_blocks.0.0.weight").get_shape()[0] == 4
    assert len(mini_model().unet.input_blocks[0][0].weight) == 8
    from nakawari.variants import load

    best = load(str(tmp_path / "run")).pipeline
    assert best.unet.config.model_channels == 4
    parts = {path.name for path in (tmp_path / "run/best").iterdir()}
    assert parts == {path.name for path in saved.iterdir()}
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert ['"deviation_last"' in line for line in log] == [False, True]


def test_a_run_that_is_resumed_is_the_same_run(saved: Path, tmp_path: Path) -> None:
    values = recipe_values(str(saved), str(saved.parent / "cache"), truth=0.3, guide_dropout=0.3)
    values["validation"] = {"every": 1, "samples": 0}
    values["optim"]["steps"] = 2
    train_recipe(parse_recipe(values), tmp_path / "whole")
    train_recipe(parse_recipe(values | {"optim": values["optim"] | {"steps": 1}}), tmp_path / "cut")
    train_recipe(parse_recipe(values), tmp_path / "cut", resume=True)
    for name in ("checkpoints/step-2/weights.safetensors", "checkpoints/step-2/ema.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
