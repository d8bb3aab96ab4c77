"""Adapters on a tiny model: presets, strict loading, combination, merging, plain diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from nakawari.adapters import (
    adapted_layers,
    adapted_networks,
    attach,
    bake,
    bake_all,
    disabled,
    merge,
    unmerge,
)
from nakawari.errors import NakawariError, UsageError
from nakawari.families.adapter_files import WEIGHTS
from nakawari.families.adapting import autoencoder, save_adapter
from nakawari.families.tooncrafter.configs import FULL
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from nakawari.families.tooncrafter.scheduler import ToonCrafterScheduler
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.training.lora import add_lora
from nakawari.training.objectives.params_parts import LoraParams
from nakawari.variants import load, parse, with_adapters
from tiny_models import VAE, mini_model, plain_model

EVERYTHING = "linear-and-convolution"


def output(pipeline: ToonCrafterPipeline) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    start = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    condition = pipeline.condition(start, start.flip(-1), num_frames=3)
    noisy = torch.randn(pipeline.encode(start[:, None]).expand(-1, 3, -1, -1, -1).shape, generator=generator)
    with torch.no_grad():
        return pipeline.denoise(noisy, torch.tensor([500]), condition)


def weights(pipeline: ToonCrafterPipeline) -> dict[str, Tensor]:
    """Copies of the base's weights, adapters left out."""
    values = pipeline.unet.state_dict().items()
    return {name.replace(".base_layer", ""): value.clone() for name, value in values if ".lora_" not in name}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def adapter(folder: Path, model: Any = None, seed: int = 0, **params: Any) -> Path:
    """A saved adapter for `model`, None = `mini_model`, every weight random."""
    pipeline = model or mini_model()
    add_lora(pipeline, LoraParams(**({"target": EVERYTHING, "rank": 3, "alpha": 6} | params)))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in pipeline.unet.named_parameters():
        if ".lora_A" in name or ".lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    save_adapter(pipeline.unet, folder, "default")
    return folder


@pytest.mark.parametrize(
    ("preset", "layers", "parameters"),
    [("cross-attention", 132, 3_385_344), ("spatial-cross-attention", 64, 1_722_368)],
)
def test_presets_on_the_full_denoiser_are_exact(preset: str, layers: int, parameters: int):
    with torch.device("meta"):
        unet = ToonCrafterUNet(**FULL)
        vae = DualReferenceAutoencoder(**VAE)
        full = ToonCrafterPipeline(unet, vae, ToonCrafterScheduler())
        names = add_lora(full, LoraParams(target=preset, rank=16))
    learning = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    assert (len(names), sum(parameter.numel() for parameter in learning)) == (layers, parameters)


def test_targets_by_pattern():
    pipeline = mini_model()
    assert pipeline.lora_layers(r"middle_block\.1\..*to_q") == [
        "middle_block.1.transformer_blocks.0.attn1.to_q",
        "middle_block.1.transformer_blocks.0.attn2.to_q",
    ]
    with pytest.raises(UsageError, match=r"'attn9' matches no layer .* give a preset, cross-attention"):
        pipeline.lora_layers("attn9")
    with pytest.raises(UsageError, match=r"neither a preset .* nor a regular expression"):
        pipeline.lora_layers("(")


@pytest.mark.parametrize(
    "params",
    [{}, {"rslora": True}, {"init": "gaussian", "dropout": 0.5}, {"dora": True}],
    ids=["plain", "rslora", "gaussian", "dora"],
)
def test_a_saved_adapter_draws_the_same_in_plain_diffusers(tmp_path: Path, params: dict[str, Any]):
    folder = adapter(tmp_path / "a", **params)
    ours, base = mini_model(), output(mini_model())
    attach(ours, [(folder, 1.0)])
    plain = mini_model()
    plain.unet.load_lora_adapter(folder, prefix=None, use_safetensors=True)
    plain.unet.eval()
    assert torch.equal(output(ours), output(plain))
    assert not torch.equal(output(ours), base)


def test_a_new_adapter_changes_nothing_and_a_disabled_one_neither(tmp_path: Path):
    base = output(mini_model())
    fresh = mini_model()
    add_lora(fresh, LoraParams(target=EVERYTHING))
    assert torch.equal(output(fresh), base)
    pipeline = mini_model()
    attach(pipeline, [(adapter(tmp_path / "a"), 1.0)])
    adapted = output(pipeline)
    with disabled(pipeline.unet):
        assert torch.equal(output(pipeline), base)
    assert torch.equal(output(pipeline), adapted)
    assert same(weights(pipeline), weights(mini_model()))


@pytest.mark.parametrize(("rslora", "factor"), [(False, 6 / 3), (True, 6 / 3**0.5)])
def test_the_scale_multiplies_alpha_over_rank(tmp_path: Path, rslora: bool, factor: float):
    folder = adapter(tmp_path / "a", rslora=rslora)
    pipeline = mini_model()
    attach(pipeline, [(folder, 0.7)])
    scalings = {layer.scaling["adapter0"] for layer in adapted_layers(pipeline.unet).values()}
    assert list(scalings) == [pytest.approx(0.7 * factor)]
    none = mini_model()
    attach(none, [(folder, 0.0)])
    assert torch.equal(output(none), output(mini_model()))


def test_several_adapters_add_up(tmp_path: Path):
    first, second = adapter(tmp_path / "a", seed=1), adapter(tmp_path / "b", seed=2, rank=2, target="cross-attention")

    def change(*adapters: tuple[Path, float]) -> dict[str, Tensor]:
        pipeline = mini_model()
        before = weights(pipeline)
        attach(pipeline, list(adapters))
        merge(pipeline.unet)
        return {name: value - before[name] for name, value in weights(pipeline).items()}

    both, one, other = change((first, 0.5), (second, 2.0)), change((first, 0.5)), change((second, 2.0))
    assert any(value.abs().max() > 0.01 for value in other.values())
    for name, value in both.items():
        torch.testing.assert_close(value, one[name] + other[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("params", [{}, {"dora": True}], ids=["plain", "dora"])
def test_merging_draws_the_same_merges_once_and_is_undone_exactly(tmp_path: Path, params: dict[str, Any]):
    pipeline = mini_model()
    attach(pipeline, [(adapter(tmp_path / "a", **params), 0.8)])
    before, drawn = weights(pipeline), output(pipeline)
    kept = merge(pipeline.unet)
    torch.testing.assert_close(output(pipeline), drawn, atol=1e-5, rtol=1e-5)
    once = weights(pipeline)
    assert not same(once, before)
    assert merge(pipeline.unet) == {}
    assert same(weights(pipeline), once)
    unmerge(pipeline.unet, kept)
    assert same(weights(pipeline), before)
    assert torch.equal(output(pipeline), drawn)


def drawn(pipeline: ToonCrafterPipeline) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    start = torch.rand(1, 3, 16, 16, generator=generator) * 2 - 1
    return pipeline(start, start.flip(-1), num_frames=3, generator=[generator], output_type="pt").frames


def test_an_adapted_decoder_is_loaded_scaled_merged_and_undone_with_its_denoiser(tmp_path: Path):
    trained = plain_model()
    add_lora(trained, LoraParams(target="cross-attention", rank=2, decoder_rank=3))
    learning = [name for name, parameter in trained.vae.named_parameters() if parameter.requires_grad]
    assert learning and all(name.startswith("decoder.") and "lora_" in name for name in learning)
    generator = torch.Generator().manual_seed(1)
    for name in learning:
        trained.vae.get_parameter(name).data = torch.randn(trained.vae.get_parameter(name).shape, generator=generator)
    save_adapter(trained.unet, tmp_path / "a", "default")
    save_adapter(trained.vae, tmp_path / "a" / "decoder", "default")
    base, pipeline = drawn(plain_model()), plain_model()
    attach(pipeline, [(tmp_path / "a", 1.0)])
    assert torch.equal(drawn(pipeline), drawn(trained.to("cpu"))) and not torch.equal(drawn(pipeline), base)
    with disabled(*adapted_networks(pipeline)):
        assert torch.equal(drawn(pipeline), base)
    plain = plain_model()
    plain.vae.load_lora_adapter(tmp_path / "a" / "decoder", prefix=None, use_safetensors=True)
    assert torch.equal(drawn(plain.to("cpu")), drawn(pipeline))
    for scale in (0.0, 0.5):
        scaled = plain_model()
        attach(
            scaled, [(tmp_path / "a", scale), (adapter(tmp_path / "b", plain_model(), target="cross-attention"), 0.0)]
        )
        assert torch.equal(drawn(scaled), base) is (scale == 0)
    kept = drawn(pipeline)
    bake_all(pipeline)
    assert not adapted_networks(pipeline)
    torch.testing.assert_close(drawn(pipeline), kept, atol=1e-5, rtol=1e-5)


def test_a_decoder_that_takes_no_adapter_is_refused():
    pipeline = SimpleNamespace(components={"vae": torch.nn.Linear(1, 1)}, family="framer")
    with pytest.raises(NakawariError, match="The decoder of a framer model takes no adapter; set"):
        autoencoder(pipeline)


def test_a_baked_model_needs_no_adapter(tmp_path: Path):
    pipeline = mini_model()
    attach(pipeline, [(adapter(tmp_path / "a"), 1.0)])
    answer = output(pipeline)
    bake(pipeline.unet)
    assert not adapted_layers(pipeline.unet)
    pipeline.save_pretrained(tmp_path / "model")
    loaded = load(str(tmp_path / "model")).pipeline
    assert weights(loaded).keys() == weights(mini_model()).keys()
    torch.testing.assert_close(output(loaded), answer, atol=1e-5, rtol=1e-5)


def test_a_variant_with_adapters_and_a_run_as_adapter(tmp_path: Path):
    mini_model().save_pretrained(tmp_path / "base")
    adapter(tmp_path / "run" / "best")
    variant = load(f"{tmp_path}/base+{tmp_path}/run@0.5")
    direct = load(str(tmp_path / "base")).pipeline
    attach(direct, [(tmp_path / "run" / "best", 0.5)])
    assert torch.equal(output(variant.pipeline), output(direct))


def test_adapters_added_to_a_name():
    assert with_adapters("mini", []) == "mini"
    assert with_adapters("mini:fp16", ["a@0.7", "b"]) == "mini+a@0.7+b:fp16"
    assert [use.scale for use in parse(with_adapters("mini", ["a@0.7", "b"])).adapters] == [0.7, 1.0]


@pytest.mark.parametrize("scale", ["abc", "nan", "inf", "", "-3", "1e6"])
def test_a_scale_that_is_none(scale: str):
    with pytest.raises(
        UsageError, match=r"is not a scale for adapter runs/a; give a number from 0 to 4, such as @0\.7"
    ):
        parse(f"mini+runs/a@{scale}")


def test_what_is_refused(tmp_path: Path):
    with pytest.raises(NakawariError, match=r"absent is not an adapter: it holds neither pytorch_lora_weights"):
        attach(mini_model(), [(tmp_path / "absent", 1.0)])
    guided = adapter(tmp_path / "guided", target=r"input_blocks\.0\.0|guide_in\.3")
    with pytest.raises(NakawariError, match=r"made for another model: it adapts guide_in\.3, which this tooncrafter"):
        attach(plain_model(), [(guided, 1.0)])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(NakawariError, match="is not a readable adapter"):
        attach(mini_model(), [(tmp_path / "broken", 1.0)])


def test_another_width_or_rank_is_refused(tmp_path: Path):
    folder = adapter(tmp_path / "a", target="cross-attention")
    with safe_open(folder / WEIGHTS, "pt") as file:
        tensors, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    save_file(tensors | {name: tensors[name][:, :-1].contiguous()}, folder / WEIGHTS, metadata=about)
    with pytest.raises(NakawariError, match=r"made for another model: at .* it is 15 wide, this model 16"):
        attach(mini_model(), [(folder, 1.0)])
    config = json.loads(about["lora_adapter_metadata"]) | {"r": 5}
    save_file(tensors, folder / WEIGHTS, metadata=about | {"lora_adapter_metadata": json.dumps(config)})
    with pytest.raises(NakawariError, match=r"is broken: its header says rank 5, but .* has rank 3"):
        attach(mini_model(), [(folder, 1.0)])
