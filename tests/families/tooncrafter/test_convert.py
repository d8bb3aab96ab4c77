"""Upstream checkpoints: every tensor has one place, values are kept, broken files give one sentence."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel

from nakawari.diffusion import VelocityProcess
from nakawari.errors import NakawariError
from nakawari.families.tooncrafter import towers
from nakawari.families.tooncrafter.checkpoint_layout import COMPONENTS, EXTRA, classify
from nakawari.families.tooncrafter.configs import FULL, STUDENT_V1, STUDENT_V2
from nakawari.families.tooncrafter.convert import (
    EXTRA_FILE,
    ConversionReport,
    convert_checkpoint,
    plan,
    schedule_matches,
)
from nakawari.families.tooncrafter.resampler import Resampler
from nakawari.families.tooncrafter.towers import tokenize
from nakawari.families.tooncrafter.unet import ToonCrafterUNet
from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.variants import load

BUFFERS = [
    "betas",
    "alphas_cumprod",
    "alphas_cumprod_prev",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod",
    "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod",
    "posterior_variance",
    "posterior_log_variance_clipped",
    "posterior_mean_coef1",
    "posterior_mean_coef2",
]
TINY_UNET: dict[str, Any] = {
    "model_channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "num_head_channels": 16,
    "context_dim": 64,
    "temporal_length": 3,
}
TINY_VAE: dict[str, Any] = {"ch": 32, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_levels": (1,), "fusion_head_dim": 2}
TINY_RESAMPLER: dict[str, Any] = {
    "dim": 24,
    "depth": 2,
    "heads": 1,
    "embedding_dim": 64,
    "output_dim": 64,
    "video_length": 3,
}
FULL_TOWERS = {"text_width": 1024, "text_layers": 24, "vocabulary": 49408, "width": 1280, "layers": 32, "joint": 1024}
TINY_TOWERS = {"text_width": 64, "text_layers": 3, "vocabulary": 49408, "width": 64, "layers": 2, "joint": 8}


def _blocks(prefix: str, width: int, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}."
        for name, (rows, columns) in {
            "attn.in_proj_": (3 * width, width),
            "attn.out_proj.": (width, width),
            "mlp.c_fc.": (4 * width, width),
            "mlp.c_proj.": (width, 4 * width),
        }.items():
            shapes |= {f"{block}{name}weight": (rows, columns), f"{block}{name}bias": (rows,)}
        shapes |= {f"{block}{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
    return shapes


def _text(prefix: str, width: int, vocabulary: int, joint: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}positional_embedding": (77, width),
        f"{prefix}text_projection": (width, joint),
        f"{prefix}logit_scale": (),
        f"{prefix}token_embedding.weight": (vocabulary, width),
        f"{prefix}ln_final.weight": (width,),
        f"{prefix}ln_final.bias": (width,),
    }


def upstream_shapes(unet: dict[str, Any], vae: dict[str, Any], resampler: dict[str, Any], clip: dict[str, int]) -> Any:
    """Names and shapes of an upstream checkpoint, from nakawari's modules and OpenCLIP's names."""
    with torch.device("meta"):
        parts = {
            "model.diffusion_model.": ToonCrafterUNet(**unet),
            "first_stage_model.": DualReferenceAutoencoder(**vae),
            "image_proj_model.": Resampler(**resampler),
        }
    shapes: dict[str, tuple[int, ...]] = {}
    for prefix, module in parts.items():
        for name, tensor in module.state_dict().items():
            shapes[prefix + name.replace("temporal_conv", "temopral_conv")] = tuple(tensor.shape)
    text, image, visual = "cond_stage_model.model.", "embedder.model.", "embedder.model.visual."
    width = clip["width"]
    shapes |= _text(text, clip["text_width"], clip["vocabulary"], clip["joint"])
    shapes |= _blocks(text, clip["text_width"], clip["text_layers"])
    shapes |= _text(image, clip["text_width"], clip["vocabulary"], clip["joint"])
    shapes |= {visual + "class_embedding": (width,), visual + "positional_embedding": (257, width)}
    shapes |= {visual + "conv1.weight": (width, 3, 14, 14), visual + "proj": (width, clip["joint"])}
    shapes |= {f"{visual}{norm}.{kind}": (width,) for norm in ("ln_pre", "ln_post") for kind in ("weight", "bias")}
    shapes |= _blocks(visual, width, clip["layers"])
    return shapes | dict.fromkeys(BUFFERS, (1000,)) | {"scale_arr": (1400,)}


@pytest.fixture(scope="module")
def tiny() -> dict[str, Tensor]:
    """A whole upstream state dict of a tiny model."""
    torch.manual_seed(0)
    shapes = upstream_shapes(TINY_UNET, TINY_VAE, TINY_RESAMPLER, TINY_TOWERS)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def save(state: Any, folder: Path) -> Path:
    torch.save(state, folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.parametrize(
    ("unet", "parameters"), [(FULL, 1_438_854_980), (STUDENT_V1, 238_804_132), (STUDENT_V2, 374_246_180)]
)
def test_every_tensor_of_the_published_sizes_has_one_place(unet: dict[str, Any], parameters: int) -> None:
    shapes = upstream_shapes(unet, {}, {}, FULL_TOWERS)
    by_prefix = Counter(name.split(".")[0] if "." in name else "root" for name in shapes)
    assert by_prefix == {
        "model": 1516,
        "first_stage_model": 396,
        "cond_stage_model": 294,
        "embedder": 398,
        "image_proj_model": 51,
        "root": 13,
    }
    layout = plan(shapes)
    assert sorted(key for keys in layout.sources.values() for key in keys) == sorted(shapes)
    names = [
        (component, part) for component, keys in layout.sources.items() for parts in keys.values() for part in parts
    ]
    assert len(names) == len(set(names))
    assert sum(p.numel() for p in layout.empty["unet"].parameters()) == parameters
    assert len(layout.sources[EXTRA]) == 13 + 2 + 12 + 7


def test_places() -> None:
    assert classify("model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.2.bias") == (
        "unet",
        ("input_blocks.1.0.temporal_conv.conv1.2.bias",),
    )
    assert classify("model.diffusion_model.framestride_embed.0.weight") == ("unet", ("fps_embedding.0.weight",))
    assert classify("cond_stage_model.model.transformer.resblocks.23.ln_1.bias").component == EXTRA
    assert classify("cond_stage_model.model.transformer.resblocks.22.ln_1.bias").component == "text_encoder"
    assert classify("embedder.model.ln_final.bias").component == EXTRA
    assert classify("optimizer.step") is None


def check_folder(folder: Path, state: dict[str, Tensor]) -> None:
    """Check that every part loads normally, and that every upstream value is at its place."""
    unet = ToonCrafterUNet.from_pretrained(folder / "unet").state_dict()
    vae = DualReferenceAutoencoder.from_pretrained(folder / "vae").state_dict()
    resampler = Resampler.from_pretrained(folder / "resampler").state_dict()
    for prefix, found in {
        "model.diffusion_model.": unet,
        "first_stage_model.": vae,
        "image_proj_model.": resampler,
    }.items():
        for name, value in found.items():
            assert torch.equal(value, state[prefix + name.replace("temporal_conv", "temopral_conv")]), name
    text = CLIPTextModel.from_pretrained(folder / "text_encoder")
    found = text.state_dict()
    prefix, block = towers.tower_prefix(text), "cond_stage_model.model.transformer.resblocks.1."
    joined = [found[f"{prefix}encoder.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    assert torch.equal(torch.cat(joined), state[block + "attn.in_proj_weight"])
    assert torch.equal(found[f"{prefix}encoder.layers.1.mlp.fc2.bias"], state[block + "mlp.c_proj.bias"])
    image = CLIPVisionModel.from_pretrained(folder / "image_encoder")
    found, prefix = image.state_dict(), towers.tower_prefix(image)
    assert torch.equal(found[prefix + "pre_layrnorm.bias"], state["embedder.model.visual.ln_pre.bias"])
    assert (text.config.num_hidden_layers, text.config.hidden_act, image.config.hidden_act) == (2, "gelu", "gelu")


@pytest.fixture(scope="module")
def report(tiny: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> ConversionReport:
    """The tiny checkpoint, converted once for read-only tests."""
    folder = tmp_path_factory.mktemp("converted")
    return convert_checkpoint(save({"state_dict": tiny}, folder), folder / "out")


def test_a_checkpoint_becomes_a_folder(tiny: dict[str, Tensor], report: ConversionReport) -> None:
    out = report.output_dir
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*COMPONENTS, "scheduler", "model_index.json", EXTRA_FILE]
    )
    assert sum(report.keys.values()) == len(tiny)
    extra = load_file(out / EXTRA_FILE)
    assert len(extra) == report.keys[EXTRA]
    assert all(torch.equal(value, tiny[name]) for name, value in extra.items())
    total = sum(report.parameters.values()) + sum(value.numel() for value in extra.values())
    assert total == sum(value.numel() for value in tiny.values())
    check_folder(out, tiny)
    assert ToonCrafterUNet.from_pretrained(out / "unet").config.num_head_channels == 16


def test_the_folder_is_a_pipeline(report: ConversionReport) -> None:
    pipeline = load(str(report.output_dir)).pipeline
    assert tuple(pipeline.config.trained_size) == (320, 512)
    keys = torch.zeros(2, 1, 3, 20, 20)
    frames = pipeline(*keys, num_frames=3, num_inference_steps=1, output_type="pt").frames
    assert frames.shape == (1, 3, 3, 20, 20)
    with pytest.raises(NakawariError, match="needs a tokenizer"):
        pipeline(*keys, num_frames=3, num_inference_steps=1, prompt="a cat")


def test_a_tokenizer_comes_along(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    (words / "vocab.json").write_text('{"!": 0, "a</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}')
    (words / "merges.txt").write_text("#version: 0.2\n")
    out = convert_checkpoint(save({"state_dict": tiny}, tmp_path), tmp_path / "out", tokenizer=words).output_dir
    tokenizer = load(str(out)).pipeline.tokenizer
    assert tokenize(tokenizer, ["a"])[0, :3].tolist() == [49406, 1, 49407]
    with pytest.raises(NakawariError, match="holds no CLIP tokenizer"):
        convert_checkpoint(tmp_path / "model.ckpt", tmp_path / "other", tokenizer=tmp_path / "absent")
    assert not (tmp_path / "other").exists()


def test_same_checkpoint_same_bytes(tiny: dict[str, Tensor], report: ConversionReport, tmp_path: Path) -> None:
    convert_checkpoint(save({"state_dict": tiny}, tmp_path), tmp_path / "again")
    files = [path for path in report.output_dir.rglob("*") if path.is_file()]
    assert len(files) == 2 * len(COMPONENTS) + 3
    for file in files:
        assert file.read_bytes() == (tmp_path / "again" / file.relative_to(report.output_dir)).read_bytes()


def test_other_wrappings_and_old_names(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    old = {name.replace("fps_embedding", "framestride_embed"): value for name, value in tiny.items()}
    wrapped = {"module": {f"_forward_module.{name}": value for name, value in old.items()}}
    for number, content in enumerate((old, wrapped)):
        convert_checkpoint(save(content, tmp_path), tmp_path / str(number))
        check_folder(tmp_path / str(number), tiny)


def test_cast_on_the_way(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    convert_checkpoint(save({"state_dict": tiny}, tmp_path), tmp_path / "out", torch.float16)
    unet = load_file(next((tmp_path / "out" / "unet").glob("*.safetensors")))
    assert {value.dtype for value in unet.values()} == {torch.float16}
    expected = tiny["model.diffusion_model.out.2.weight"].half()
    assert torch.equal(unet["out.2.weight"], expected)
    extra = load_file(tmp_path / "out" / EXTRA_FILE)
    assert {value.dtype for value in extra.values()} == {torch.float32}


def test_schedule_is_compared(tiny: dict[str, Tensor], report: ConversionReport) -> None:
    process = VelocityProcess()
    own = {
        "alphas_cumprod": process.alphas_cumprod.float(),
        "scale_arr": torch.cat([process.scales, process.scales[-400:]]).float(),
    }
    assert schedule_matches(tiny | own) is True
    assert schedule_matches(tiny) is False
    assert schedule_matches({name: value for name, value in tiny.items() if "." in name}) is None
    assert report.schedule_matches is False


def _without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name not in names}


def fails(content: Any, folder: Path) -> str:
    """The error message of converting `content`; no files remain."""
    path = save(content, folder)
    with pytest.raises(NakawariError) as caught:
        convert_checkpoint(path, folder / "out")
    assert [item.name for item in folder.iterdir()] == ["model.ckpt"]
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.diffusion_model.out.2.bias", r"unet: out.2.bias"),
        ("model.diffusion_model.input_blocks.0.0.weight", r"input_blocks.0.0.weight"),
        ("first_stage_model.quant_conv.bias", "vae: quant_conv.bias"),
        ("image_proj_model.latents", "image_proj_model.latents"),
        ("cond_stage_model.model.ln_final.bias", "text_encoder: .*final_layer_norm.bias"),
    ],
)
def test_missing_tensor(tiny: dict[str, Tensor], tmp_path: Path, name: str, told: str) -> None:
    message = fails({"state_dict": _without(tiny, name)}, tmp_path)
    assert "missing" in message
    assert re.search(told, message)


def test_whole_part_missing(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    part = {name: value for name, value in tiny.items() if name.startswith("model.diffusion_model.")}
    assert "missing" in fails(part, tmp_path)


def test_left_over_tensors_are_counted(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    strange = {f"strange.{i}": torch.zeros(1) for i in range(5)} | {"first_stage_model.new": torch.zeros(1)}
    message = fails(tiny | strange, tmp_path)
    assert "6 not known (first_stage_model.new, strange.0, strange.1, ...)" in message


def test_wrong_shape(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    name = "first_stage_model.decoder.norm_out.bias"
    assert f"1 of wrong shape ({name}: [33])" in fails(tiny | {name: torch.zeros(33)}, tmp_path)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"state_dict": {"a": 1}}, torch.zeros(3)])
def test_not_a_state_dict(content: Any, tmp_path: Path) -> None:
    assert "holds no dictionary of tensors" in fails(content, tmp_path)


def test_foreign_objects_are_not_loaded(tmp_path: Path) -> None:
    assert "not loaded for safety" in fails({"state_dict": {}, "extra": Path("x")}, tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 5000, -200])
def test_truncated_file(tiny: dict[str, Tensor], tmp_path: Path, keep: int) -> None:
    path = save(tiny, tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(NakawariError, match=r"model\.ckpt (cannot be read|is not a plain torch checkpoint)"):
        convert_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_and_absent_ones(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("hello, this is no checkpoint")
    for name, told in {"text.ckpt": "torch checkpoint", "none.ckpt": "does not exist", ".": "is a folder"}.items():
        with pytest.raises(NakawariError, match=told):
            convert_checkpoint(tmp_path / name, tmp_path / "out")


def test_a_taken_folder_is_left_alone(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(NakawariError, match="exists already"):
        convert_checkpoint(save(tiny, tmp_path), tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
