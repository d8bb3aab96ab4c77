"""Out-of-memory errors, and loading models in their saved dtypes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from typer.testing import Result

from nakawari import memory
from nakawari.errors import NakawariWarning
from nakawari.families.mini.pipeline import MiniPipeline
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.quantization.folder import weights_hash
from nakawari.quantization.precisions import quantize_layers, uniform
from nakawari.training import run
from nakawari.training.plan import make_plan
from nakawari.training.recipe import load_recipe
from nakawari.variants import load
from tiny_models import mini_model, towered_model

Cli = Callable[..., Result]


def exhaust() -> None:
    """Allocate more than any machine has, so that the allocator fails."""
    torch.empty(2**50)


def too_much(*_: object, **__: object) -> None:
    exhaust()


def of(what: Callable[[], object]) -> Exception:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        what()
    return caught.value


def test_every_way_of_running_out_is_known():
    real = [of(exhaust), of(lambda: np.empty(2**55)), of(lambda: bytearray(2**60))]
    gpu = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has 7.79 GiB of which 1.2 GiB is free."
    )
    for error in [*real, gpu, RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory")]:
        assert memory.ran_out(error), error
    assert not memory.ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not memory.ran_out(ValueError("out of memory of a distant past"))
    assert memory.wanted(real[0]) == 4 * 2**50
    assert memory.wanted(gpu) == 2.5 * 2**30
    assert memory.wanted(MemoryError()) is None
    assert 0 < memory.free() < 2**50


@pytest.fixture
def base(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


SIZE = ("--size", "32x32", "--frames", "3", "--steps", "2", "--batch", "1", "--windows", "0")


@pytest.mark.parametrize(
    ("broken", "words", "sentence"),
    [
        (
            "from_pretrained",
            "interpolate KEYS -o out --model BASE",
            r"while loading .*base; .* append :bf16",
        ),
        ("denoise", "interpolate KEYS -o out --model BASE", r"while drawing 1 x 3 frames of 22x14; .*: lower --batch"),
        ("encode", "adapt --data SHOW --model BASE -o out SIZE", r"while training; .*: set optim\.batch_size"),
        ("encode", "adapt --data SHOW --model BASE --plan SIZE", r"while building the model and taking two steps; .*"),
        ("save_pretrained", "quantize BASE --precision int8 -o out", r"while quantizing .*: close other programs"),
    ],
)
def test_it_is_one_sentence_wherever_it_happens(
    cli: Cli,
    keys: list[Path],
    base: Path,
    show: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    words: str,
    sentence: str,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MiniPipeline, broken, too_much)
    meaning = {"KEYS": keys[:2], "BASE": [base], "SHOW": [show], "SIZE": SIZE}
    result = cli(*(part for word in words.split() for part in meaning.get(word, [word])))
    assert result.exit_code == 1
    said = result.stderr.strip().splitlines()[-1]
    assert said.startswith("nakawari: Memory of the CPU ran out ") and said.endswith(".")
    assert "4503599.6 GB more were needed" in said and "GB are free" in said
    assert re.search(sentence, said), said
    assert not (tmp_path / "out" / "interpolation.json").exists()


def half(folder: Path, dtype: torch.dtype = torch.float16) -> ToonCrafterPipeline:
    """A model with encoders, saved in 16 bits as by a conversion."""
    pipeline = towered_model()
    for part in ("unet", "vae", "resampler", "text_encoder", "image_encoder"):
        torch.nn.Module.to(getattr(pipeline, part), dtype)
    pipeline.save_pretrained(folder)
    return pipeline


def formats(pipeline: ToonCrafterPipeline) -> set[torch.dtype]:
    parts = (pipeline.unet, pipeline.vae, pipeline.resampler, pipeline.text_encoder, pipeline.image_encoder)
    return {value.dtype for part in parts for value in part.parameters()}


def test_a_folder_in_16_bits_loads_in_16_bits(tmp_path: Path):
    saved = half(tmp_path / "bf16", torch.bfloat16)
    assert formats(load(str(tmp_path / "bf16")).pipeline) == {torch.bfloat16}
    assert weights_hash(load(str(tmp_path / "bf16")).pipeline.unet) == weights_hash(saved.unet)
    assert formats(load(f"{tmp_path / 'bf16'}:fp32").pipeline) == {torch.float32}
    told = {"default": torch.float32, "vae": torch.bfloat16}
    parts = load(str(tmp_path / "bf16"), formats=told).pipeline
    assert (parts.unet.dtype, parts.vae.dtype) == (torch.float32, torch.bfloat16)


def test_a_small_model_in_fp16_computes_in_fp32_on_a_cpu(tmp_path: Path):
    half(tmp_path / "fp16")
    assert formats(load(str(tmp_path / "fp16")).pipeline) == {torch.float32}
    assert load("mini").pipeline.unet.dtype == torch.float32
    assert load("framer-tiny").pipeline.unet.dtype == torch.float32


def test_a_large_model_in_fp16_computes_in_bf16_on_a_cpu_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nakawari.variants.LARGEST_IN_FP32", 1000)
    half(tmp_path / "fp16")
    with pytest.warns(NakawariWarning, match="in fp16, which is very slow on a CPU: it computes in bf16 here"):
        assert formats(load(str(tmp_path / "fp16")).pipeline) == {torch.bfloat16}
    with pytest.warns(NakawariWarning, match="very slow on a CPU: write :bf16 or :fp32"):
        assert formats(load(f"{tmp_path / 'fp16'}:fp16").pipeline) == {torch.float16}
    assert formats(load(str(tmp_path / "fp16"), runs=False).pipeline) == {torch.float16}


def test_int8_of_a_16_bit_folder_keeps_the_rest_in_16_bits(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    half(tmp_path / "fp16")
    result = cli("quantize", tmp_path / "fp16", "--precision", "int8", "-o", tmp_path / "q", "--json")
    assert result.exit_code == 0, result.output
    assert set(json.loads(result.stdout)["dtypes"].values()) == {"float16"}
    for part in ("vae", "text_encoder", "image_encoder", "resampler"):
        with safe_open(next((tmp_path / "q" / part).glob("*.safetensors")), "pt") as file:
            assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    with safe_open(tmp_path / "q" / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert kinds == {torch.int8, torch.float16, torch.float32}  # float32: one scale per output channel
    loaded = load(str(tmp_path / "q")).pipeline
    assert loaded.unet.dtype == torch.float32 and loaded.text_encoder.dtype == torch.float32
    monkeypatch.setattr("nakawari.variants.LARGEST_IN_FP32", 1000)
    with pytest.warns(NakawariWarning, match="computes in bf16 here"):
        loaded = load(str(tmp_path / "q")).pipeline
    assert loaded.unet.dtype == torch.bfloat16 and loaded.text_encoder.dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_packing_while_loading_is_packing_after_it(base: Path, precision: str):
    pipeline = mini_model()
    quantize_layers(pipeline.unet, uniform(pipeline.unet, precision))
    assert weights_hash(load(f"{base}:{precision}").pipeline.unet) == weights_hash(pipeline.unet)


def recipe_of(base: Path, show: Path, tmp_path: Path, precision: str) -> Path:
    mixed = "bf16" if precision == "bf16" else "no"
    path = tmp_path / f"{precision}.yaml"
    words = {
        "name": "tiny",
        "seed": 0,
        "model": {"base": str(base)},
        "objective": {"kind": "adapt", "base_dtype": precision, "lora": {"rank": 2}},
        "data": {"sources": [{"kind": "clips", "path": str(show), "held_out": 0.0}], "size": [32, 32], "frames": [3]},
        "optim": {"lr": 0.001, "steps": 2, "batch_size": 1, "mixed_precision": mixed},
    }
    path.write_text(json.dumps(words))
    return path


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_training_loads_a_small_base_small(show: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str):
    """No part is in float32 before it is packed."""
    towered_model().save_pretrained(tmp_path / "base")
    loaded = []
    shrink = run.variants.load

    def watch(*words: object, **how: object):
        found = shrink(*words, **how)
        loaded.append({value.dtype for value in found.pipeline.unet.state_dict().values() if value.ndim > 1})
        loaded.append({value.dtype for value in found.pipeline.text_encoder.parameters()})
        return found

    monkeypatch.setattr(run.variants, "load", watch)
    plan = make_plan(load_recipe(recipe_of(tmp_path / "base", show, tmp_path, precision)))
    assert plan.memory["unet"] > 0
    if precision == "bf16":
        assert loaded == [{torch.bfloat16}, {torch.bfloat16}]
    else:
        assert loaded[0] == {torch.int8}


def test_a_plan_of_a_distillation_counts_the_teacher(cli: Cli, base: Path, show: Path, tmp_path: Path):
    words = ["--data", show, "--teacher", base, "--width", "0.5", "--batch", "1", "--size", "32x32", "--frames", "3"]
    words += ["--windows", "0", "--plan", "--json", "--regime", "b", "--steps", "2", "-o", tmp_path / "run"]
    result = cli("distill", *words)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout.splitlines()[-1])["memory"]
    whole = mini_model()
    assert found["teacher's unet"] == sum(4 * value.numel() for value in whole.unet.parameters())
    assert found["teacher's vae"] == sum(4 * value.numel() for value in whole.vae.parameters())
