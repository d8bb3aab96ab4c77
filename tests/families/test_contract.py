"""Expectations of diffusers and PEFT for a pipeline, tested on one of each family."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from nakawari.errors import NakawariError, UsageError
from nakawari.families.adapting import save_adapter
from nakawari.families.base import InterpolationPipeline
from nakawari.families.cards import add_section, front_matter
from nakawari.families.tiling import DecodesInParts, in_parts
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from nakawari.variants import load, model_folder
from tiny_framer import tiny
from tiny_models import mini_model, plain_model, towered_model

Make = Callable[[], InterpolationPipeline]
MAKERS: dict[str, Make] = {"mini": mini_model, "tooncrafter": lambda: towered_model(projector=8), "framer": tiny}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


def pictures(width: int = 64, height: int = 64) -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng(0)
    first, last = rng.integers(0, 255, (2, height, width, 3), np.uint8)
    return Image.fromarray(first), Image.fromarray(last)


def tensors() -> tuple[Tensor, Tensor]:
    first, last = (torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 * 2 - 1 for picture in pictures())
    return first[None], last[None]


def draw(pipeline: InterpolationPipeline, keys: tuple[Any, Any] | None = None, **words: Any) -> Any:
    how = {"num_frames": 3, "num_inference_steps": 2, "output_type": "pt"} | words
    return pipeline(*(keys or pictures()), generator=[torch.Generator().manual_seed(0)], **how)


def adapter(make: Make, folder: Path, seed: int = 0) -> Path:
    pipeline = make()
    add_lora(pipeline, LoraParams(target=pipeline.default_lora, rank=2, alpha=6))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in pipeline.denoiser.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    save_adapter(pipeline.denoiser, folder, "default")
    return folder


def test_pictures_are_keys_and_have_the_size_that_is_asked_for(make: Make):
    pipeline = make()
    torch.testing.assert_close(draw(pipeline).frames, draw(pipeline, tensors()).frames, atol=1e-4, rtol=0)
    assert draw(pipeline, height=32, width=64).frames.shape == (1, 3, 3, 32, 64)
    assert draw(pipeline, output_type="pil").frames[0][0].size == (64, 64)
    with pytest.raises(UsageError, match="Only one of height and width is given"):
        draw(pipeline, height=32)
    with pytest.raises(UsageError, match="needs both keys"):
        pipeline(pictures()[0])


def test_a_tuple_instead_of_an_output(make: Make):
    pipeline = make()
    assert torch.equal(draw(pipeline, return_dict=False)[0], draw(pipeline).frames)


def test_a_negative_prompt_is_taken(make: Make, monkeypatch: pytest.MonkeyPatch):
    pipeline, read = make(), []
    if hasattr(pipeline, "_text"):
        width = pipeline.unet.config.context_dim
        monkeypatch.setattr(
            pipeline, "_text", lambda words, _: read.append(words) or torch.full((len(words), 77, width), 0.1)
        )
    assert draw(pipeline, negative_prompt="blur").frames.shape == (1, 3, 3, 64, 64)
    assert read == ([[""], ["blur"]] if read else [])
    assert bool(read) == (pipeline.family == "tooncrafter")


def test_a_callback_gets_what_it_names_and_may_change_it(make: Make):
    pipeline, seen = make(), []

    def look(pipe: Any, step: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
        seen.append((pipe is pipeline, step, set(values)))
        return {"latents": torch.zeros_like(values["latents"])}

    words = {"callback_on_step_end": look, "callback_on_step_end_tensor_inputs": ["latents"], "output_type": "latent"}
    assert not draw(pipeline, **words).frames.any()
    assert seen == [(True, 0, {"latents"}), (True, 1, {"latents"})]
    with pytest.raises(UsageError, match="names 'prompt_embeds'; a"):
        draw(pipeline, callback_on_step_end=look, callback_on_step_end_tensor_inputs=["prompt_embeds"])


def test_adapters_are_loaded_weighed_fused_and_unloaded(make: Make, tmp_path: Path):
    pipeline = make()
    base = draw(pipeline).frames
    pipeline.load_lora_weights(adapter(make, tmp_path / "a"), adapter_name="a")
    whole = draw(pipeline).frames
    assert not torch.equal(whole, base) and pipeline.get_active_adapters() == ["a"]
    pipeline.load_lora_weights(adapter(make, tmp_path / "b", seed=1), adapter_name="b")
    pipeline.set_adapters(["a", "b"], [1.0, 0.0])
    assert torch.equal(draw(pipeline).frames, whole)
    pipeline.set_adapters("a", 0.5)
    half = draw(pipeline).frames
    assert not torch.equal(half, whole) and not torch.equal(half, base)
    with pytest.raises(NakawariError, match="There is already an adapter 'a'"):
        pipeline.load_lora_weights(tmp_path / "a", adapter_name="a")
    pipeline.save_lora_weights(tmp_path / "again", "b")
    other = make()
    other.load_lora_weights(tmp_path / "again")
    pipeline.set_adapters("b")
    assert torch.equal(draw(other).frames, draw(pipeline).frames)
    pipeline.set_adapters("a", 0.5)
    pipeline.fuse_lora()
    torch.testing.assert_close(draw(pipeline).frames, half, atol=2e-3, rtol=0)
    pipeline.unfuse_lora()
    pipeline.disable_lora()
    torch.testing.assert_close(draw(pipeline).frames, base, atol=2e-3, rtol=0)
    pipeline.enable_lora()
    pipeline.unload_lora_weights()
    torch.testing.assert_close(draw(pipeline).frames, base, atol=2e-3, rtol=0)
    assert not any(".lora_" in name for name, _ in pipeline.denoiser.named_parameters())


def test_an_adapted_decoder_follows_the_weights(tmp_path: Path):
    trained = plain_model()
    add_lora(trained, LoraParams(target="cross-attention", rank=2, decoder_rank=2))
    for parameter in (value for value in trained.vae.parameters() if value.requires_grad):
        parameter.data = torch.full_like(parameter, 0.05)
    trained.save_lora_weights(tmp_path / "a")
    pipeline = plain_model()
    base = draw(pipeline).frames
    pipeline.load_lora_weights(tmp_path / "a", adapter_name="a")
    assert not torch.equal(draw(pipeline).frames, base)
    pipeline.set_adapters("a", 0.0)
    assert torch.equal(draw(pipeline).frames, base)


def test_diffusers_loads_a_saved_folder_by_its_own_name(make: Make, tmp_path: Path):
    pipeline = make()
    pipeline.save_pretrained(tmp_path / "model")
    found = DiffusionPipeline.from_pretrained(tmp_path / "model")
    assert type(found) is type(pipeline)
    found.set_progress_bar_config(disable=True)
    assert torch.equal(draw(found).frames, draw(pipeline).frames)


@pytest.mark.parametrize("name", ["mini", "mini/small", "framer-tiny"])
def test_diffusers_loads_every_model_that_ships(name: str):
    found, ours = DiffusionPipeline.from_pretrained(model_folder(name)), load(name).pipeline
    assert type(found) is type(ours)
    for part, module in ours.components.items():
        if isinstance(module, torch.nn.Module):
            saved = found.components[part].state_dict()
            assert all(torch.equal(saved[key].float(), value.float()) for key, value in module.state_dict().items())


def test_importing_us_is_cheap_and_enough(tmp_path: Path):
    mini_model().save_pretrained(tmp_path)
    words = f"""
import sys, nakawari
assert not {{"torch", "diffusers"}} & set(sys.modules)
import diffusers
assert "nakawari.families.mini.pipeline" not in sys.modules
assert type(diffusers.DiffusionPipeline.from_pretrained({str(tmp_path)!r})).__name__ == "MiniPipeline"
assert not hasattr(diffusers, "NoSuchPipeline")
"""
    subprocess.run([sys.executable, "-c", words], check=True, timeout=300)


def test_half_precision_variants_load(make: Make, tmp_path: Path):
    make().to(torch.float16).save_pretrained(tmp_path / "model", variant="fp16")
    found = DiffusionPipeline.from_pretrained(tmp_path / "model", variant="fp16", dtype=torch.float32)
    ours = load(str(tmp_path / "model")).pipeline
    for name, part in make().components.items():
        if isinstance(part, torch.nn.Module):
            for loaded in (found, ours):
                got = loaded.components[name].state_dict()
                assert all(torch.equal(got[key].float(), _halved(value)) for key, value in part.state_dict().items())


def _halved(value: Tensor) -> Tensor:
    return value.half().float() if value.is_floating_point() else value.float()


def test_the_autoencoder_decodes_in_slices_and_tiles(make: Make):
    pipeline = make()
    vae = pipeline.vae
    first, last = (torch.cat([key, key.flip(-1)]) for key in tensors())
    condition = pipeline.condition(first, last, num_frames=3)
    frames = torch.stack([first, (first + last) / 2, last], 1)
    with torch.no_grad():
        latents = pipeline.encode(frames, condition)
        whole = pipeline.decode(latents, condition)
        vae.enable_slicing()
        torch.testing.assert_close(pipeline.encode(frames, condition), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(pipeline.decode(latents, condition), whole, atol=1e-5, rtol=1e-5)
        vae.disable_slicing()
        vae.enable_tiling()
        assert torch.equal(pipeline.decode(latents, condition), whole)  # smaller than a tile
        vae.tile_size = 32
        tiled = pipeline.decode(latents, condition)
    assert tiled.shape == whole.shape and tiled.isfinite().all()
    if pipeline.family == "mini":  # no layer of its autoencoder looks beyond a patch
        torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=1e-5)
    else:
        assert not torch.equal(tiled, whole)


@pytest.mark.parametrize("size", [(5, 9), (8, 8), (17, 30), (3, 40)])
def test_tiles_put_a_local_picture_together_without_a_seam(size: tuple[int, int]):
    vae = DecodesInParts()
    vae.use_tiling, vae.tile_size = True, 32
    latents, seen = torch.randn(2, 3, *size), []

    def decode(clips: slice, window: tuple[slice, slice]) -> Tensor:
        part = latents[clips][..., window[0], window[1]]
        seen.append(part.shape[-2:])
        return part.repeat_interleave(4, -1).repeat_interleave(4, -2)

    torch.testing.assert_close(in_parts(vae, latents, 4, decode), decode(slice(0, 2), (slice(None), slice(None))))
    assert all(max(shape) <= 8 for shape in seen[:-1])


def test_peft_adapts_the_layers_of_every_preset(make: Make):
    for preset in make().lora_presets:
        pipeline = make()
        layers = pipeline.lora_presets[preset]
        adapted = peft.get_peft_model(pipeline.denoiser, peft.LoraConfig(r=2, target_modules=layers))
        assert set(adapted.targeted_module_names) == set(layers)
        learning = [name for name, value in adapted.named_parameters() if value.requires_grad]
        assert learning and all(".lora_" in name for name in learning)


def test_peft_loads_an_adapter_of_ours(make: Make, tmp_path: Path):
    folder = adapter(make, tmp_path / "a")
    ours, plain = make(), make()
    ours.load_lora_weights(folder)
    adapted = peft.PeftModel.from_pretrained(plain.denoiser, folder)
    assert adapted.peft_config["default"].lora_alpha == 6
    found, wanted, base = (draw(pipeline, output_type="latent").frames for pipeline in (plain, ours, make()))
    assert (found - wanted).abs().max() < 0.01 * (wanted - base).abs().max()


def test_every_saved_folder_has_a_card(make: Make, tmp_path: Path):
    pipeline = make()
    pipeline.save_pretrained(tmp_path / "model")
    adapter(make, tmp_path / "adapter")
    for folder, library, words in (("model", "diffusers", type(pipeline).__name__), ("adapter", "peft", "alpha 6")):
        _, head, text = (tmp_path / folder / "README.md").read_text().split("---\n", 2)
        assert yaml.safe_load(head)["library_name"] == library and words in text
    own = "mine"
    (tmp_path / "model" / "README.md").write_text(own)
    pipeline.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "README.md").read_text() == own


def test_a_section_of_a_card_is_added_once_and_leaves_the_rest(tmp_path: Path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n\n# Mine\n\nA # b\n\n## Scores\n\nold\n\n## Thanks\n\nto all\n")
    for _ in range(2):
        add_section(tmp_path, "Scores", "new", {"base_model": "mini"})
    head = "---\nlicense: mit\nbase_model: mini\n---\n\n"
    assert card.read_text() == head + "# Mine\n\nA # b\n\n## Thanks\n\nto all\n\n## Scores\n\nnew\n"
    assert front_matter(tmp_path) == {"license": "mit", "base_model": "mini"}
    card.write_text("no front matter")
    add_section(tmp_path, "Scores", "new")
    assert card.read_text() == "no front matter\n\n## Scores\n\nnew\n" and front_matter(tmp_path) == {}
