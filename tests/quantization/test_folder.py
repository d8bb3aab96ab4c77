"""Quantized variants on disk, and adapters on top of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nakawari.adapters import adapted_layers, attach, merge
from nakawari.errors import NakawariError, UsageError
from nakawari.families.adapting import save_adapter
from nakawari.families.mini.pipeline import MiniPipeline
from nakawari.quantization import precisions
from nakawari.quantization.folder import saved_parts, weights_hash
from nakawari.quantization.layers import packable
from nakawari.quantization.make import quantize
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from nakawari.variants import load, parent_of
from tiny_models import mini_model

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def output(pipeline: MiniPipeline) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn(1, 3, 24, 4, 4, generator=generator).to(pipeline.unet.dtype)
    start = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    with torch.no_grad():
        condition = pipeline.condition(start, start.flip(-1), num_frames=3)
        return pipeline.denoise(noisy, torch.tensor([500]), condition)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "int8-dynamic", "fp8", "int4"])
def test_saved_and_loaded_is_the_same_to_the_bit(tmp_path: Path, precision: str):
    pipeline = mini_model()
    whole = output(pipeline)
    record = quantize(pipeline, "tiny", precision, tmp_path / "q")
    loaded = load(str(tmp_path / "q"), runs=False).pipeline
    assert weights_hash(loaded.unet) == weights_hash(pipeline.unet)
    assert torch.equal(output(loaded), output(pipeline))
    assert not torch.equal(output(loaded).float(), whole)
    assert json.loads((tmp_path / "q" / "quantization.json").read_text()) == record
    assert record["source"] == {
        "variant": "tiny",
        "sha256": weights_hash(mini_model().unet),
        "bytes": precisions.weight_bytes(mini_model().unet),
    }
    on_disk = (tmp_path / "q" / WEIGHTS).stat().st_size
    assert record["bytes"] <= on_disk < record["bytes"] + 80_000  # the header names every tensor
    quarter = {"fp16": 0.51, "bf16": 0.51, "int4": 0.25}.get(precision, 0.32)
    assert record["bytes"] < quarter * record["source"]["bytes"]


def test_saved_again_from_memory_it_is_still_whole(tmp_path: Path):
    quantize(mini_model(), "tiny", "int4", tmp_path / "q")
    loaded = load(str(tmp_path / "q")).pipeline
    loaded.unet.save_pretrained(tmp_path / "q" / "unet")
    assert torch.equal(output(load(str(tmp_path / "q")).pipeline), output(loaded))


def test_plain_diffusers_reads_fp16_and_refuses_what_it_cannot_read(tmp_path: Path):
    half = mini_model()
    quantize(half, "tiny", "fp16", tmp_path / "half", "all")
    plain = MiniPipeline.from_pretrained(tmp_path / "half", dtype={"default": torch.float16, "guide": torch.float32})
    assert torch.equal(output(plain), output(half)) and plain.vae.dtype == torch.float16
    quantize(mini_model(), "tiny", "int8", tmp_path / "packed")
    with pytest.raises(ValueError, match="Unknown quantization type, got nakawari"):
        MiniPipeline.from_pretrained(tmp_path / "packed")


def test_only_the_denoiser_is_cast_unless_all_is_asked(tmp_path: Path):
    quantize(mini_model(), "tiny", "bf16", tmp_path / "q")
    loaded = load(str(tmp_path / "q")).pipeline
    assert (loaded.unet.dtype, loaded.vae.dtype) == (torch.bfloat16, torch.float32)


def damage(folder: Path, change: str) -> None:
    weights = load_file(folder / WEIGHTS)
    name = next(key for key in weights if key.endswith(".packed"))
    if change == "missing":
        del weights[name]
    elif change == "format":
        weights[name] = weights[name].float()
    elif change == "shape":
        weights[name] = weights[name][:-1].clone()
    else:
        (folder / "unet" / "config.json").write_text(
            (folder / "unet" / "config.json").read_text().replace('"int8"', '"int5"', 1)
        )
    save_file(weights, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "Missing key"),
        ("format", "is torch.float32, not torch.int8"),
        ("shape", "size mismatch"),
        ("", "int5"),
    ],
)
def test_loading_is_strict(tmp_path: Path, change: str, words: str):
    quantize(mini_model(), "tiny", "int8", tmp_path / "q")
    damage(tmp_path / "q", change)
    with pytest.raises(NakawariError, match=rf"could not be loaded \(.*{words}.*quantize the model again"):
        load(str(tmp_path / "q"))


def test_nothing_is_quantized_twice_or_cast_on_loading(tmp_path: Path):
    quantize(mini_model(), "tiny", "int8", tmp_path / "q")
    for precision in ("int4", "fp16"):
        with pytest.raises(UsageError, match="quantized already"):
            quantize(load(str(tmp_path / "q")).pipeline, "q", precision, tmp_path / "again")
    with pytest.raises(UsageError, match="is quantized already; name it without :bf16"):
        load(f"{tmp_path / 'q'}:bf16")
    (tmp_path / "q" / "quantization.json").write_text("{}")
    with pytest.raises(NakawariError, match="is not a record of nakawari"):
        saved_parts(tmp_path / "q")


def test_a_precision_that_this_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def absent(*_: object) -> Tensor:
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(precisions, "pack", lambda layer, precision: absent)
    with pytest.raises(UsageError, match=r"int8 does not run on cpu of this machine \(no such kernel\); choose"):
        quantize(mini_model(), "tiny", "int8", tmp_path / "q")
    assert not (tmp_path / "q").exists()


def test_float8_products_are_refused_on_this_processor(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"fp8-dynamic does not run on cpu of this machine \(float8 products need a GPU"
    ):
        quantize(mini_model(), "tiny", "fp8-dynamic", tmp_path / "q")
    mini_model().save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match="choose another precision or device"):
        load(f"{tmp_path / 'model'}:fp8-dynamic")
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("precision", ["int8-dynamic", "int4"])
def test_adapters_stand_on_a_quantized_base(tmp_path: Path, precision: str):
    full = mini_model()
    add_lora(full, LoraParams(target="linear-and-convolution", rank=2, alpha=4))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in full.unet.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15
    save_adapter(full.unet, tmp_path / "a", "default")
    quantize(mini_model(), "tiny", precision, tmp_path / "q")
    bare = output(load(str(tmp_path / "q")).pipeline)
    adapted = load(f"{tmp_path / 'q'}+{tmp_path / 'a'}").pipeline
    gain, wanted = output(adapted) - bare, output(full) - output(mini_model())
    assert (gain - wanted).norm() < 0.35 * wanted.norm()
    assert {layer.weight.dtype for layer in packable(adapted.unet).values()} == {torch.float32}
    with pytest.raises(NakawariError, match="which is quantized; merge into the full model, then quantize"):
        merge(adapted.unet)
    output_with_gradient(adapted)
    learning = [p.grad for n, p in adapted.unet.named_parameters() if ".lora_" in n]
    assert learning and all(grad is not None and grad.abs().max() > 0 for grad in learning)


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic", "fp8", "int4"])
def test_a_precision_behind_the_name_is_the_folder_of_that_precision(tmp_path: Path, precision: str):
    mini_model().save_pretrained(tmp_path / "model")
    quantize(mini_model(), str(tmp_path / "model"), precision, tmp_path / "q")
    named = load(f"{tmp_path / 'model'}:{precision}").pipeline
    assert torch.equal(output(named), output(load(str(tmp_path / "q")).pipeline))
    assert parent_of(str(tmp_path / "q")) == str(tmp_path / "model") == parent_of(str(tmp_path / "model"))


def test_an_adapter_on_a_base_that_is_packed_by_its_name(tmp_path: Path):
    full = mini_model()
    full.save_pretrained(tmp_path / "model")
    add_lora(full, LoraParams(target="linear-and-convolution", rank=2, alpha=4))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in full.unet.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.15
    save_adapter(full.unet, tmp_path / "a", "default")
    named = load(f"{tmp_path / 'model'}+{tmp_path / 'a'}@1:int8").pipeline
    # Half of a level in 127 per layer, through all of mini's layers.
    assert (output(named) - output(full)).norm() < 0.03 * output(full).norm()
    assert set(precisions.counts(named.unet)) == {"int8"}
    with pytest.raises(UsageError, match="is quantized already"):
        quantize(named, "again", "int4", tmp_path / "again")


def output_with_gradient(pipeline: MiniPipeline) -> None:
    for name, parameter in pipeline.unet.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    start = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    condition = pipeline.condition(start, start.flip(-1), num_frames=5)
    pipeline.denoise(torch.ones(1, 5, 24, 8, 8), torch.tensor([500]), condition).square().sum().backward()


def test_an_adapter_is_merged_before_the_model_is_quantized(tmp_path: Path):
    pipeline = mini_model()
    add_lora(pipeline, LoraParams(target="linear-and-convolution", rank=2))
    for name, parameter in pipeline.unet.named_parameters():
        if ".lora_B" in name:
            parameter.data.fill_(0.05)
    adapted = output(pipeline)
    quantize(pipeline, "tiny+a", "fp16", tmp_path / "q")
    loaded = load(str(tmp_path / "q")).pipeline
    assert not adapted_layers(loaded.unet)
    torch.testing.assert_close(output(loaded).float(), adapted, atol=0.02, rtol=0.02)
    attach(loaded, [])
