"""Smaller denoisers made from larger ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nakawari.errors import UsageError
from nakawari.families.tooncrafter.configs import FULL, STUDENT_V1, STUDENT_V2
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.widths import counterparts
from nakawari.files import read_json, write_json
from nakawari.training.recipe import StudentParams
from nakawari.training.students import _copy, importance, make_student
from tiny_models import UNET, mini_model, shaken

WIDE: dict[str, Any] = UNET | {
    "model_channels": 16,
    "num_res_blocks": 2,
    "attention_resolutions": (1, 2),
    "context_dim": 6,
    "image_cross_attention": True,
    "addition_attention": True,
    "fps_condition": True,
}


def unet(seed: int = 0, **changes: Any) -> ToonCrafterUNet:
    torch.manual_seed(seed)
    model = ToonCrafterUNet(**WIDE | changes).eval()
    shaken(model, seed)
    return model


def answer(model: ToonCrafterUNet) -> torch.Tensor:
    g = torch.Generator().manual_seed(5)
    sample, context = (torch.randn(shape, generator=g) for shape in [(2, 3, 8, 4, 4), (2, 80, 6)])
    with torch.no_grad():
        return model(
            sample,
            torch.tensor([700, 30]),
            context=context,
            fps=torch.tensor([10, 20]),
        )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_a_student_of_full_size_is_its_teacher() -> None:
    teacher, student = unet(0), unet(1)
    copied = _copy(student, teacher, begin=True)
    assert copied.fresh == copied.sliced == 0 and copied.copied == copied.parameters == copied.teacher
    assert torch.equal(answer(student), answer(teacher))


def test_a_setting_that_the_teacher_no_longer_knows_is_left_behind(saved: Path) -> None:
    config = saved / "unet" / "config.json"
    write_json(config, read_json(config) | {"forgotten": 0.05})
    student, _ = make_student(StudentParams(of=str(saved), width=0.5))
    assert "forgotten" not in student.unet.config


def test_a_part_of_every_weight_comes_along() -> None:
    teacher, student = unet(0), unet(1, model_channels=8)
    copied = _copy(student, teacher, begin=True)
    assert copied.fresh == 0 and copied.copied == copied.parameters
    assert copied.share < 0.4
    assert torch.equal(student.input_blocks[0][0].weight, teacher.input_blocks[0][0].weight[::2])
    # Hidden channels and skips are halved apart: 32 + 16 channels become 16 + 8.
    up = "output_blocks.3.0.in_layers.2.weight"
    wide, narrow = teacher.get_parameter(up), student.get_parameter(up)
    assert torch.equal(narrow[0, 16:], wide[0, 32::2])
    assert torch.equal(narrow[0, :16], wide[0, :32:2])


def test_heads_stay_whole_or_each_gives_a_part() -> None:
    teacher = unet(0)
    name = "middle_block.1.transformer_blocks.0.attn1.to_q.weight"
    wide = teacher.get_parameter(name)
    assert wide.shape == (32, 32)  # four heads of eight
    fewer, thinner = unet(1, model_channels=8), unet(1, model_channels=8, num_head_channels=4)
    for student in (fewer, thinner):
        _copy(student, teacher, begin=True)
    rows = torch.tensor([*range(8), *range(16, 24)])
    assert torch.equal(fewer.get_parameter(name), wide[rows][:, ::2])
    assert torch.equal(thinner.get_parameter(name), wide[::2, ::2])


def test_fewer_blocks_take_the_blocks_that_do_their_work() -> None:
    teacher, student = unet(0), unet(1, num_res_blocks=1)
    pairs = counterparts(student, teacher)
    assert pairs["input_blocks.3"] == "input_blocks.4" and pairs["output_blocks.1"] == "output_blocks.2"
    copied = _copy(student, teacher, begin=True)
    assert copied.fresh == 0
    last = "0.in_layers.2.weight"
    assert torch.equal(student.output_blocks[3].get_parameter(last), teacher.output_blocks[5].get_parameter(last))


def test_a_removed_layer_passes_on_what_it_gets() -> None:
    teacher = unet(0)
    name = "input_blocks.2.0"
    student = unet(1, removed_layers=[name])
    _copy(student, teacher, begin=True)
    with torch.no_grad():
        for parameter in teacher.get_submodule(name).parameters():
            parameter.zero_()
    assert torch.equal(answer(student), answer(teacher))


def test_only_residual_layers_can_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"'input_blocks\.0\.0' cannot be removed; allowed are"):
        unet(removed_layers=["input_blocks.0.0"])


def test_importance_is_how_far_the_loss_rises() -> None:
    model = unet(0)
    with torch.no_grad():
        for parameter in model.get_submodule("middle_block.0").parameters():
            parameter.zero_()
    whole = answer(model)
    found = importance(model, lambda: (answer(model) - whole).square().mean().item())
    assert list(found) == sorted(found, key=found.get)
    assert found["middle_block.0"] == 0 and found["input_blocks.1.0"] > 0
    assert set(found) == set(model.removable_layers())
    assert torch.equal(answer(model), whole)


def test_the_pipeline_is_the_teachers_but_for_the_denoiser(saved: Path) -> None:
    params = StudentParams(of=str(saved), width=0.5)
    student, copied = make_student(params)
    teacher = mini_model()
    assert copied.share < 0.75 and copied.fresh == 0
    assert student.unet.config.model_channels == 4
    assert all(torch.equal(a, b) for a, b in zip(student.vae.parameters(), teacher.vae.parameters(), strict=True))
    _, none = make_student(params.model_copy(update={"init": "random"}))
    assert none.copied == none.sliced == 0 and none.parameters == copied.parameters


@pytest.mark.parametrize(
    ("denoiser", "remove", "sentence"),
    [
        ({"model_channels": 16}, (), "student is wider than its teacher"),
        ({"model_chanels": 4}, (), "unknown key 'model_chanels'; allowed are"),
        ({"model_channels": 4}, (), "cannot be built: num_head_channels=8 must not exceed"),
        ({}, ("nothing",), "cannot be built: 'nothing' cannot be removed; allowed are"),
    ],
)
def test_students_that_cannot_be(saved: Path, denoiser: dict[str, Any], remove: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        make_student(StudentParams(of=str(saved), denoiser=denoiser, remove=remove))


@pytest.mark.parametrize(
    ("config", "parameters", "fresh"), [(STUDENT_V1, 238_804_132, 2), (STUDENT_V2, 374_246_180, 0)], ids=["v1", "v2"]
)
def test_the_published_half_width_students_are_made_of_the_full_model(
    config: dict[str, Any], parameters: int, fresh: int
) -> None:
    with torch.device("meta"):
        teacher, student = ToonCrafterUNet(**FULL), ToonCrafterUNet(**config)
    copied = _copy(student, teacher, begin=True)
    assert (copied.teacher, copied.parameters) == (1_438_854_980, parameters)
    # The first one grows at its last level, where its teacher does not: the 1x1 convolution there is new.
    assert copied.fresh == fresh
