"""mini's denoiser on tiny configurations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nakawari.errors import NakawariError
from nakawari.families.mini import unet
from nakawari.families.mini.redraw import Look
from nakawari.families.mini.unet import MiniUNet
from nakawari.families.tooncrafter.blocks import PointConv
from nakawari.guide import Guide
from tiny_models import shaken

TINY: dict[str, Any] = {
    "out_channels": 4,
    "model_channels": 16,
    "channel_mult": (1, 2),
    "num_head_channels": 8,
    "norm_num_groups": 8,
    "guide_hidden": 8,
    "match": ((4, 1),),
}
FORMER = {
    "in_channels": 8,
    "attention_resolutions": [],
    "context_dim": None,
    "addition_attention": False,
    "image_cross_attention": False,
    "fps_condition": False,
    "guide_channels": 13,
    "guide_keys": True,
    "inner_only": True,
    "guide_stride": 4,
    "redraw": -200.0,
    "temporal_convolutions": False,
    "text_tokens": 77,
}
"""What an earlier revision saved beside the present settings, when mini was a configuration of ToonCrafter."""


def tiny() -> MiniUNet:
    model = MiniUNet(**TINY).eval()
    shaken(model)
    return model


def inputs(frames: int = 4) -> tuple[Tensor, Guide]:
    generator = torch.Generator().manual_seed(0)
    guide = Guide.from_stacked(torch.rand(1, frames, 13, 16, 16, generator=generator))
    return torch.randn(1, frames, 8, 4, 4, generator=generator), guide


@torch.no_grad()
def seen(model: MiniUNet, guide: Guide) -> Tensor:
    """The output of the guide's encoder for the inner frames."""
    found: list[Tensor] = []
    handle = model.guide_in.register_forward_hook(lambda module, given, output: found.append(output))
    model(inputs()[0], 7, guide)
    handle.remove()
    return found[0]


def changed(guide: Guide, name: str, frame: int) -> Guide:
    tensor = getattr(guide, name).clone()
    tensor[:, frame, :, 12:, 12:] += 1
    return replace(guide, **{name: tensor})


@pytest.mark.parametrize("name", ["start", "end", "trust", "motion"])
def test_the_guide_reaches_its_own_frame_and_place(name: str) -> None:
    model, guide = tiny(), inputs()[1]
    before, after = seen(model, guide), seen(model, changed(guide, name, 2))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1, :, 0, 0], after[1, :, 0, 0])
    assert not torch.equal(before[1, :, 3, 3], after[1, :, 3, 3])


@pytest.mark.parametrize(("name", "frame"), [("start", 0), ("end", 3)])
def test_both_keys_reach_every_frame(name: str, frame: int) -> None:
    model, guide = tiny(), inputs()[1]
    before, after = seen(model, guide), seen(model, changed(guide, name, frame))
    assert all(not torch.equal(before[i], after[i]) for i in (0, 1))
    other = "end" if name == "start" else "start"
    assert torch.equal(before, seen(model, changed(guide, other, frame)))


def test_the_keys_are_not_evaluated_where_there_are_others() -> None:
    model = tiny()
    with torch.no_grad():
        answer = model(inputs()[0], 7, inputs()[1])
        both = model(inputs(2)[0], 7, inputs(2)[1])
    assert not answer[:, (0, -1)].any() and answer[:, 1:-1].abs().amax((0, 2, 3, 4)).all()
    assert both.abs().amax((0, 2, 3, 4)).all()


def test_a_guide_of_another_size_is_refused() -> None:
    guide = Guide.from_stacked(torch.zeros(1, 4, 13, 32, 32))
    with pytest.raises(ValueError, match="guide's keys have shape"):
        tiny()(inputs()[0], 7, guide)


def test_frames_look_at_each_other_in_the_middle_alone() -> None:
    names = [name for name, _ in MiniUNet(**TINY).named_parameters()]
    assert not [name for name in names if "temporal_conv" in name]
    assert {name.split(".")[0] for name in names if ".transformer_blocks." in name} == {"middle_block"}


@torch.no_grad()
def test_how_many_frames_are_evaluated_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (sample, guide) = tiny(), inputs(6)
    sample, guide = torch.cat([sample, sample.flip(1)]), Guide.cat([guide, guide.map_frames(lambda one: one.flip(1))])
    looks: list[list[list[Look]]] = [[], []]
    together = model(sample, 7, guide, looks[0])
    monkeypatch.setattr(unet, "_CELLS_AT_ONCE", 1)
    alone = model(sample, 7, guide, looks[1])
    assert torch.allclose(together, alone, atol=1e-5)
    assert len(looks[0]) == 1 and len(looks[1]) == 8
    assert torch.allclose(looks[0][0][1].motion[5], looks[1][5][1].motion[0], atol=1e-4)


@torch.no_grad()
def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (sample, guide) = tiny(), inputs(6)
    monkeypatch.setattr(unet, "_CELLS_AT_ONCE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        spread = model(sample, 7, guide)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.allclose(spread, model(sample, 7, guide), atol=1e-5)


def test_what_an_earlier_revision_saved_is_read_or_refused(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | FORMER | {"_class_name": "ToonCrafterUNet"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = MiniUNet.from_pretrained(tmp_path)
    assert not set(FORMER) & set(loaded.config)
    # Products of the same numbers round by where these lie in memory, and a file's tensors lie anywhere.
    loaded.load_state_dict({name: value.clone() for name, value in loaded.state_dict().items()}, assign=True)
    with torch.no_grad():
        assert torch.equal(loaded(inputs()[0], 7, inputs()[1]), model(inputs()[0], 7, inputs()[1]))
    (tmp_path / "config.json").write_text(json.dumps(config | {"guide_channels": 9}))
    with pytest.raises(NakawariError, match="guide_channels 9, which only earlier versions read"):
        MiniUNet.from_pretrained(tmp_path)


def test_a_point_convolution_is_the_convolution_it_stands_for() -> None:
    layer, x = PointConv(5, 7, 1), torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(layer(last), functional.conv2d(x, layer.weight, layer.bias), atol=1e-6)
    assert layer(last).is_contiguous(memory_format=torch.channels_last)
