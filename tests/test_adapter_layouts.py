"""Adapters in other trainers' layouts, each converted from a nakawari adapter: they must give the same result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nakawari.adapters import adapted_layers, attach
from nakawari.errors import NakawariError
from nakawari.families.adapter_files import PEFT_CONFIG, PEFT_WEIGHTS, WEIGHTS
from nakawari.families.adapting import save_adapter
from nakawari.families.base import InterpolationPipeline
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from nakawari.variants import load
from tiny_framer import tiny
from tiny_models import plain_model

RANK, ALPHA = 2, 6.0
Tensors = dict[str, Tensor]


def fill(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2


def ours(pipeline: InterpolationPipeline, folder: Path) -> Path:
    add_lora(pipeline, LoraParams(target=pipeline.default_lora, rank=RANK, alpha=ALPHA))
    fill(pipeline.denoiser)
    save_adapter(pipeline.denoiser, folder, "default")
    return folder


def split(name: str) -> tuple[str, str]:
    layer, _, side = name.partition(".lora_")
    return layer, side[0]


def kohya(tensors: Tensors, folder: Path) -> Path:
    """Underscores for dots, down and up, and an alpha per layer."""
    made: Tensors = {}
    for name, tensor in tensors.items():
        layer, side = split(name)
        spelt = "lora_unet_" + layer.replace(".", "_")
        made[f"{spelt}.lora_{'down' if side == 'A' else 'up'}.weight"] = tensor
        made[f"{spelt}.alpha"] = torch.tensor(ALPHA)
    save_file(made, folder / "show-000010.safetensors", metadata={"ss_network_dim": str(RANK)})
    return folder / "show-000010.safetensors"


def old_diffusers(tensors: Tensors, folder: Path) -> Path:
    """`unet.` before names, `lora.down` and `lora.up`; PEFT's configuration stands in the header, `unet.` before it."""
    made = {f"unet.{split(n)[0]}.lora.{'down' if split(n)[1] == 'A' else 'up'}.weight": t for n, t in tensors.items()}
    config = json.dumps({"unet.r": RANK, "unet.lora_alpha": ALPHA})
    save_file(made, folder / WEIGHTS, metadata={"lora_adapter_metadata": config})
    return folder


def peft_folder(tensors: Tensors, folder: Path) -> Path:
    save_file({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / PEFT_WEIGHTS)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["to_q"], "lora_dropout": 0.1}
    (folder / PEFT_CONFIG).write_text(json.dumps(config))
    return folder


def peft_pickle(tensors: Tensors, folder: Path) -> Path:
    made = peft_folder(tensors, folder)
    torch.save(load_file(made / PEFT_WEIGHTS), made / "adapter_model.bin")
    (made / PEFT_WEIGHTS).unlink()
    return made


def kdq_run(tensors: Tensors, folder: Path) -> Path:
    """The run folder of ToonCrafter-KDQ: layers by the original code's names, and beside the adapter's weights those of
    its layer behind the image tower, under PEFT's other file name."""
    (folder / "lora_best").mkdir()
    original = {name.replace("temporal_conv", "temopral_conv"): tensor for name, tensor in tensors.items()}
    assert original.keys() != tensors.keys()
    peft_folder(original, folder / "lora_best")
    torch.save(nn.Linear(4, 8).state_dict(), folder / "lora_best" / "adapter_model.bin")
    (folder / "metrics.csv").write_text("epoch,train_latent\n")
    return folder


def framerturbo_run(tensors: Tensors, folder: Path) -> Path:
    (folder / "final" / "unet_lora").mkdir(parents=True)
    peft_folder(tensors, folder / "final" / "unet_lora")
    return folder


LAYOUTS: dict[str, tuple[Callable[[Tensors, Path], Path], Callable[[], InterpolationPipeline]]] = {
    "kohya": (kohya, plain_model),
    "kohya on a framer": (kohya, tiny),
    "old diffusers": (old_diffusers, plain_model),
    "PEFT": (peft_folder, plain_model),
    "PEFT, pickled": (peft_pickle, plain_model),
    "ToonCrafter-KDQ": (kdq_run, plain_model),
    "FramerTurbo": (framerturbo_run, tiny),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_adapter_of_another_layout_is_the_same_adapter(tmp_path: Path, layout: str):
    write, make = LAYOUTS[layout]
    tensors = load_file(ours(make(), tmp_path / "ours") / WEIGHTS)
    (tmp_path / "theirs").mkdir()
    given = write(tensors, tmp_path / "theirs")
    pipeline, same = make(), make()
    attach(pipeline, [(given, 0.5)])
    attach(same, [(tmp_path / "ours", 0.5)])
    layers, wanted = adapted_layers(pipeline.denoiser), adapted_layers(same.denoiser)
    assert layers.keys() == wanted.keys() and len(layers) > 10
    for name, layer in layers.items():
        assert layer.scaling["adapter0"] == pytest.approx(0.5 * ALPHA / RANK)
        for side in ("lora_A", "lora_B"):
            assert torch.equal(getattr(layer, side)["adapter0"].weight, getattr(wanted[name], side)["adapter0"].weight)


def test_a_variant_names_a_file_and_a_run_of_another_trainer(tmp_path: Path):
    tiny().save_pretrained(tmp_path / "base")
    tensors = load_file(ours(tiny(), tmp_path / "ours") / WEIGHTS)
    (tmp_path / "theirs").mkdir()
    run, file = framerturbo_run(tensors, tmp_path / "theirs"), kohya(tensors, tmp_path / "theirs")
    for given in (run, file):
        pipeline = load(f"{tmp_path}/base+{given}@0.7").pipeline
        scalings = {layer.scaling["adapter0"] for layer in adapted_layers(pipeline.denoiser).values()}
        assert list(scalings) == [pytest.approx(0.7 * ALPHA / RANK)]


def test_without_alpha_the_scale_alone_counts(tmp_path: Path):
    tensors = load_file(ours(plain_model(), tmp_path / "ours") / WEIGHTS)
    save_file(tensors, tmp_path / "bare.safetensors")
    pipeline = plain_model()
    attach(pipeline, [(tmp_path / "bare.safetensors", 0.7)])
    assert {layer.scaling["adapter0"] for layer in adapted_layers(pipeline.unet).values()} == {0.7}


def test_each_layer_keeps_its_own_rank_and_alpha(tmp_path: Path):
    network = plain_model().unet
    layers = ["input_blocks.0.0", "middle_block.0.in_layers.2"]
    config = LoraConfig(
        r=2, lora_alpha=4, target_modules=layers, rank_pattern={layers[1]: 3}, alpha_pattern={layers[1]: 12}
    )
    adapted = get_peft_model(network, config)
    fill(adapted)
    adapted.save_pretrained(tmp_path / "theirs")
    pipeline = plain_model()
    attach(pipeline, [(tmp_path / "theirs", 1.0)])
    found = adapted_layers(pipeline.unet)
    assert {name: (found[name].r["adapter0"], found[name].scaling["adapter0"]) for name in layers} == {
        layers[0]: (2, 2.0),
        layers[1]: (3, 4.0),
    }


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("lora_te_text_model_encoder.lora_down.weight", "adapts lora_te_text_model_encoder, which this tooncrafter"),
        ("lora_unet_input_blocks_0_0.hada_w1_a", "which this tooncrafter model lacks"),
        ("lora_unet_no_such_layer.lora_down.weight", "adapts no_such_layer, which this tooncrafter"),
        ("input_blocks.0.0.lora_A.weight", r"the two matrices of input_blocks\.0\.0 do not match"),
    ],
)
def test_what_has_no_place_is_refused(tmp_path: Path, key: str, sentence: str):
    save_file({key: torch.zeros(2, 8, 3, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(NakawariError, match=sentence):
        attach(plain_model(), [(tmp_path / "a.safetensors", 1.0)])


def test_files_that_are_no_adapter_are_refused(tmp_path: Path):
    tensors = load_file(ours(plain_model(), tmp_path / "ours") / WEIGHTS)
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(kohya(tensors, tmp_path), folder / "a.safetensors")
    shutil.copy(folder / "a.safetensors", folder / "b.safetensors")
    with pytest.raises(NakawariError, match=r"several files that may be an adapter \(a\.safetensors, b\.safetensors\)"):
        attach(plain_model(), [(folder, 1.0)])
    peft_folder(tensors, folder)
    (folder / PEFT_CONFIG).write_text('{"peft_type": "IA3"}')
    with pytest.raises(NakawariError, match="is a IA3 adapter; only LoRA adapters are read"):
        attach(plain_model(), [(folder, 1.0)])
    (tmp_path / "bad.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(NakawariError, match="is not a readable adapter"):
        attach(plain_model(), [(tmp_path / "bad.bin", 1.0)])
