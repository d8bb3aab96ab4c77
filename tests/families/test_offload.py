"""Offloading, casting and saving in 16 bits on every pipeline. No accelerator is needed: what waits has no weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import accelerate.hooks
import pytest
import torch
from accelerate.utils import set_module_tensor_to_device
from torch import Tensor, nn

import tiny_framer
from nakawari.families.base import InterpolationPipeline
from nakawari.resources.applying import apply
from nakawari.resources.need import TOWERS
from nakawari.variants import load
from tiny_models import mini_model, plain_model, towered_model

MODELS = {"plain": plain_model, "mini": mini_model, "towered": lambda: towered_model(8), "framer": tiny_framer.tiny}
TRACKS = [[[[4.0 + 6 * step, 6.0 + 3 * step]] for step in range(5)]]


def with_image_adapter() -> InterpolationPipeline:
    pipeline = towered_model(5)
    torch.manual_seed(0)
    assert pipeline.add_image_adapter()
    return pipeline


MODELS["image adapter"] = with_image_adapter


def drawn(pipeline: InterpolationPipeline, dtype: torch.dtype = torch.float32) -> Tensor:
    """One clip, along a track if the model supports tracks."""
    keys = [torch.linspace(-1, 1, 3 * 32 * 48).view(1, 3, 32, 48).roll(shift, -1) for shift in (0, 9)]
    more: dict[str, Any] = {"num_inference_steps": 3}
    if pipeline.family == "framer":
        more |= {"tracks": TRACKS, "max_guidance_scale": 3.0}
    elif getattr(pipeline, "text_encoder", None) is not None:
        more |= {"guidance_scale": 3.0, "fps": 8}
    generator = [torch.Generator().manual_seed(3)]
    return pipeline(*keys, num_frames=5, generator=generator, output_type="pt", **more).frames


class Waiting:
    """Emulates a GPU: an offloaded network has no weights, so using it would fail."""

    def __init__(self, names: dict[nn.Module, str]) -> None:
        self.names, self.kept = names, dict[nn.Module, dict[str, Tensor]]()
        self.moves: list[tuple[str, str]] = []

    def leave(self, module: nn.Module) -> nn.Module:
        if module not in self.kept:
            self.moves.append((self.names[module], "leaves"))
            self.kept[module] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name in self.kept[module]:
                set_module_tensor_to_device(module, name, "meta")
        return module

    def come(self, module: nn.Module) -> None:
        self.moves.append((self.names[module], "comes"))
        for name, value in self.kept.pop(module).items():
            set_module_tensor_to_device(module, name, "cpu", value.detach())

    def pre_forward(self, hook: Any, module: nn.Module, *args: Any, **words: Any) -> Any:
        if hook.prev_module_hook is not None:
            self.leave(hook.prev_module_hook.model)
        if module in self.kept:
            self.come(module)
        return args, words


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waiting]:
    stand_in = Waiting({})
    hook = accelerate.hooks.CpuOffload
    monkeypatch.setattr(hook, "init_hook", lambda _, module: stand_in.leave(module))
    monkeypatch.setattr(hook, "pre_forward", lambda own, module, *a, **k: stand_in.pre_forward(own, module, *a, **k))
    remove = InterpolationPipeline.remove_all_hooks

    def come_and_remove(pipeline: InterpolationPipeline) -> None:
        for module in list(stand_in.kept):
            stand_in.come(module)
        remove(pipeline)

    monkeypatch.setattr(InterpolationPipeline, "remove_all_hooks", come_and_remove)
    yield stand_in


@pytest.mark.parametrize("name", MODELS)
def test_one_network_at_a_time(name: str, waiting: Waiting):
    pipeline = MODELS[name]()
    expected = drawn(pipeline)
    waiting.names = {part: key for key, part in pipeline.components.items() if isinstance(part, nn.Module)}
    pipeline.enable_model_cpu_offload(device="cpu:0")
    for _ in range(2):
        waiting.moves.clear()
        assert torch.equal(drawn(pipeline), expected)
        coming = [part for part, way in waiting.moves if way == "comes"]
        used = [part for part in waiting.names.values() if part != "guide"]
        if name == "framer":
            # Three steps, and yet once: the two that run in turns stay.
            assert coming.count("controlnet") <= 2 and coming.count("unet") <= 2
        assert set(coming) == set(used)
    # All wait again; nothing is left on the device.
    assert {waiting.names[module] for module in waiting.kept} == set(used)


@pytest.mark.parametrize("name", ["towered", "image adapter", "framer"])
def test_only_the_towers_wait(name: str, waiting: Waiting):
    pipeline = MODELS[name]()
    expected = drawn(pipeline)
    waiting.names = {part: key for key, part in pipeline.components.items() if isinstance(part, nn.Module)}
    apply(pipeline, "cpu:0", "towers", together=True)
    assert {waiting.names[part] for part in waiting.kept} == set(waiting.names.values()) & set(TOWERS)
    for _ in range(2):
        assert torch.equal(drawn(pipeline), expected)
        assert {waiting.names[part] for part in waiting.kept} == set(waiting.names.values()) & set(TOWERS)


@pytest.mark.parametrize("name", MODELS)
def test_one_layer_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch):
    """Between its calls a layer's weights are on the meta device, so that any use fails."""
    original = accelerate.cpu_offload
    monkeypatch.setattr(accelerate, "cpu_offload", lambda model, _, **how: original(model, torch.device("cpu"), **how))
    pipeline = MODELS[name]()
    expected = drawn(pipeline)
    pipeline.enable_sequential_cpu_offload(device="cpu:0")
    assert {value.device.type for value in pipeline.denoiser.parameters()} == {"meta"}
    for _ in range(2):
        assert torch.equal(drawn(pipeline), expected)


@pytest.mark.parametrize("name", MODELS)
def test_cast_as_a_whole(name: str):
    pipeline = MODELS[name]()
    expected = drawn(pipeline).float()
    pipeline.to(torch.bfloat16)
    found = drawn(pipeline).float()
    assert torch.isfinite(found).all()
    assert (found - expected).abs().mean() < 0.05


@pytest.mark.parametrize("name", MODELS)
def test_saved_as_a_variant_of_files(name: str, tmp_path: Path):
    pipeline = MODELS[name]().to(torch.bfloat16)
    pipeline.save_pretrained(tmp_path / "model", variant="fp16")
    plain = type(pipeline).from_pretrained(tmp_path / "model", variant="fp16", dtype=torch.bfloat16)
    plain.set_progress_bar_config(disable=True)
    assert torch.equal(drawn(plain), drawn(pipeline))
    ours = load(str(tmp_path / "model")).pipeline
    assert ours.denoiser.dtype == torch.bfloat16
    assert torch.equal(drawn(ours), drawn(pipeline))
    assert load(f"{tmp_path / 'model'}:int8").pipeline.denoiser.dtype == torch.bfloat16
