"""Memory and FLOPs of sampling, found without weights, and the chosen settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import Result

import tiny_framer
from nakawari import variants
from nakawari.errors import NakawariError, UsageError
from nakawari.families.adapting import save_adapter
from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.families.cache import CacheLevel, Carried
from nakawari.quantization.precisions import weight_bytes
from nakawari.resources.empty import empty_pipeline
from nakawari.resources.need import Need, Size, need_of
from nakawari.resources.tracking import _SHAPES, Work, track
from nakawari.resources.ways import choose, parse_memory, ways
from nakawari.training.lora import ADAPTER, add_lora
from nakawari.training.objectives.params_parts import LoraParams
from tiny_models import mini_model, towered_model

Cli = Callable[..., Result]
MODELS = {"towered": lambda: towered_model(8), "mini": mini_model, "framer": tiny_framer.tiny}


def test_what_is_alive_at_once_is_counted():
    weight = torch.empty(16, 8, device="meta")
    given = torch.empty(4, 8, device="meta")

    def work() -> torch.Tensor:
        hidden = functional.linear(given, weight)  # 256 bytes
        more = hidden + 1  # 512
        del hidden
        view = more[:2]  # no bytes of its own
        return torch.cat([view, more])  # 256 + 384

    result, found = track(work)
    assert result.shape == (6, 16)
    assert found == Work(peak=640, flops=2 * 4 * 8 * 16)


def test_attention_has_no_matrix_of_scores():
    query = torch.empty(2, 4, 1000, 8, device="meta", dtype=torch.bfloat16)
    _, found = track(lambda: functional.scaled_dot_product_attention(query, query, query))
    assert found == Work(peak=2 * 2 * 4 * 1000 * 8, flops=2 * 2 * 4 * 1000 * 1000 * 16)


def test_shapes_that_are_known_beforehand_are_those_of_torch():
    """For operators with slow meta functions in torch."""
    aten = torch.ops.aten
    for dtype in (torch.float32, torch.bfloat16):
        x, weight, few = (torch.empty(shape, device="meta", dtype=dtype) for shape in ((4, 8, 6, 5), 8, (4, 2)))
        sums = torch.empty(4, 5, 6, 1, device="meta")
        for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1), x.to(memory_format=torch.channels_last)):
            last, tokens = given.transpose(1, 3), given.transpose(1, 3).contiguous()
            groups = (4, 8, 30, 2)
            calls: list[tuple[Any, tuple[Any, ...]]] = [
                (aten.native_group_norm, (given, weight, weight, *groups, 1e-5)),
                (aten.native_group_norm, (given, None, None, *groups, 1e-5)),
                (aten.native_group_norm_backward, (given, given, few, few, weight, *groups, [True, False, True])),
                (aten.native_layer_norm, (last, [8], weight, weight, 1e-5)),
                (aten.native_layer_norm, (last, [8], None, None, 1e-5)),
                (aten.native_layer_norm_backward, (tokens, tokens, [8], sums, sums, weight, None, [True, True, False])),
                (aten.addmm, (weight[:5], x[0, :, :, 0], torch.empty(6, 5, device="meta", dtype=dtype))),
                (aten.grid_sampler_2d, (given, x[:, 0, :, :2].unsqueeze(1), 2, 0, False)),
                (aten.gelu, (given,)),
                (aten.gelu_backward, (last, last)),
            ]
            assert {call.default for call, _ in calls} == set(_SHAPES)
            for call, arguments in calls:
                own, known = call(*arguments), _SHAPES[call.default](*arguments)
                assert [_layout(part) for part in _parts(known)] == [_layout(part) for part in _parts(own)], call


def _parts(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, (tuple, list)) else (made,)


def _layout(made: torch.Tensor | None) -> Any:
    return None if made is None else (made.shape, made.dtype, made.stride(), made.device.type)


@pytest.fixture(params=MODELS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    MODELS[request.param]().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def networks(pipeline: InterpolationPipeline) -> dict[str, nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


@pytest.mark.parametrize("precision", ["", ":bf16", ":int8"])
def test_an_empty_model_is_the_model_without_its_numbers(saved: Path, precision: str):
    empty, whole = empty_pipeline(f"{saved}{precision}", "cpu"), variants.load(f"{saved}{precision}").pipeline
    assert dict(empty.config) | {"_name_or_path": whole.config["_name_or_path"]} == dict(whole.config)
    for name, part in networks(whole).items():
        shapes = {key: (value.shape, value.dtype) for key, value in part.state_dict().items()}
        assert {key: (value.shape, value.dtype) for key, value in networks(empty)[name].state_dict().items()} == shapes
        assert weight_bytes(networks(empty)[name]) == weight_bytes(part)
        assert all(value.is_meta for value in networks(empty)[name].parameters())


@pytest.mark.parametrize("make", [towered_model, tiny_framer.tiny])
def test_a_setting_that_is_a_list_is_no_network(make: Callable[[], InterpolationPipeline], tmp_path: Path):
    """A converted model records its trained size as a list."""
    pipeline = make()
    pipeline.register_to_config(trained_size=(32, 48))
    pipeline.save_pretrained(tmp_path)
    empty = empty_pipeline(str(tmp_path), "cpu")
    assert list(empty.config.trained_size) == [32, 48] and empty.components.keys() == pipeline.components.keys()


def test_the_tensors_of_a_step_and_of_decoding_are_those_of_the_real_model(saved: Path):
    """Compared with the count over real tensors."""
    size = Size(frames=5, height=32, width=48, branches=2)
    found = need_of(empty_pipeline(str(saved), "cpu"), size).phases
    pipeline = variants.load(str(saved)).pipeline
    key = torch.zeros(1, 3, 32, 48)
    generator = [torch.Generator().manual_seed(0)]
    with torch.no_grad():
        condition = pipeline.condition(key, key, num_frames=5, guided=False, generator=generator)
        noisy = torch.zeros(1, 5, pipeline.denoiser.config.out_channels, *condition.latents.shape[-2:])
        both = Condition.cat([condition] * 2)
        step = track(lambda: pipeline.denoise(noisy.repeat(2, 1, 1, 1, 1), torch.ones(2), both))[1]
        decoding = track(lambda: pipeline.decode(noisy, condition))[1]
    assert found["step together"].flops == step.flops == 2 * found["step"].flops
    assert found["decode"].flops == decoding.flops
    if pipeline.family == "mini":
        # A CPU takes its frames a few at a time, which the meta device, standing for a GPU too, does not; and it reads
        # at which times frames stand, which all are 0 without numbers.
        assert step.peak <= found["step together"].peak <= 1.25 * step.peak
        assert found["decode"].peak >= decoding.peak
    else:
        assert found["step together"].peak == pytest.approx(step.peak, rel=0.02)
        assert found["decode"].peak == pytest.approx(decoding.peak, rel=0.02)
    assert found["step"].peak < found["step together"].peak


def test_everything_beside_one_clip_is_counted(saved: Path):
    """Batches, tracks, the second decoding, and memory and savings of a cache level."""
    pipeline = empty_pipeline(str(saved), "cpu")
    if pipeline.family == "mini":
        pytest.skip("mini knows neither of them")
    size = Size(frames=6, height=32, width=48, branches=2)
    one = need_of(pipeline, size)
    assert need_of(pipeline, replace(size, clips=2)).phases["step"].flops == 2 * one.phases["step"].flops
    led = need_of(pipeline, replace(size, tracks=True)).phases["step"].flops - one.phases["step"].flops
    assert led > 0 if pipeline.family == "framer" else led == 0
    level = CacheLevel(0.5)
    cached = need_of(pipeline, replace(size, cache=level))
    assert cached.flops(8) < one.flops(8) == need_of(pipeline, replace(size, cache=CacheLevel())).flops(8)
    assert cached.kept is not None and cached.kept.bytes > 0
    step = one.peak("cpu", together=True, offload="none")
    assert cached.peak("cpu", together=True, offload="none") >= step
    if pipeline.family == "tooncrafter":
        pipeline.register_to_config(double_decode=True)
        twice = need_of(pipeline, size).phases["decode"]
        assert twice.flops == pytest.approx(one.phases["decode"].flops * (1 + 4 / 6), rel=0.05)
        assert twice.peak >= one.phases["decode"].peak  # the second is of fewer frames, beside those of the first


def test_what_a_cache_level_keeps_is_what_the_sampler_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    towered_model(8).save_pretrained(tmp_path / "model")
    size = Size(frames=5, height=32, width=48, branches=2, cache=CacheLevel(0.5))
    counted = need_of(empty_pipeline(str(tmp_path / "model"), "cpu"), size).kept
    carried: list[Carried] = []
    begin = Carried.__init__
    monkeypatch.setattr(Carried, "__init__", lambda self: (begin(self), carried.append(self))[0])
    pipeline = variants.load(str(tmp_path / "model")).pipeline
    keys = torch.zeros(2, 1, 3, 32, 48)
    pipeline(*keys, num_frames=5, num_inference_steps=8, guidance_scale=5.0, cache=size.cache, output_type="latent")
    storages = {
        part.untyped_storage().data_ptr(): part.untyped_storage().nbytes()
        for own in carried
        for _, values in own._known
        for part in values
    }
    assert counted is not None and sum(storages.values()) == pytest.approx(counted.bytes, rel=0.05)


def test_adapters_count_beside_the_model(tmp_path: Path):
    pipeline = towered_model(8)
    pipeline.save_pretrained(tmp_path / "model")
    add_lora(pipeline, LoraParams(target="cross-attention", rank=2))
    save_adapter(pipeline.denoiser, tmp_path / "adapter", ADAPTER)
    size = Size(5, 32, 48, 2)
    name = f"{tmp_path / 'model'}+{tmp_path / 'adapter'}"
    (with_it,) = (way for way in ways(f"{name}:fp32", size, 2, "cpu") if way.together)
    (without,) = (way for way in ways(f"{tmp_path / 'model'}:fp32", size, 2, "cpu") if way.together)
    trained = sum(value.numel() for value in pipeline.denoiser.parameters() if value.requires_grad)
    assert with_it.need - without.need == with_it.parts["adapters"] == 4 * trained


NEED = Need(
    {"unet": 3_000_000_000, "vae": 200_000_000, "text_encoder": 700_000_000, "image_encoder": 1_300_000_000},
    {
        "condition": Work(400_000_000, 2),
        "step": Work(900_000_000, 12),
        "step together": Work(1_800_000_000, 24),
        "decode": Work(4_000_000_000, 38),
    },
    branches=2,
)


def test_the_worst_moment_is_known_for_every_way():
    everything = 5.2e9
    assert NEED.peak("cuda", together=True, offload="none") == pytest.approx(0.6e9 + everything + 1.1 * 4e9)
    assert NEED.peak("cuda", together=True, offload="towers") == pytest.approx(0.6e9 + 3.2e9 + 1.1 * 4e9)
    # Only the decoder's own weights are there while it decodes; the step, with the UNet, is the worst then.
    assert NEED.peak("cuda", together=True, offload="model") == pytest.approx(0.6e9 + 3.2e9 + 1.1 * 1.8e9)
    assert NEED.peak("cuda", together=False, offload="model") == pytest.approx(0.6e9 + 0.2e9 + 1.1 * 4e9)
    assert NEED.flops(steps=3) == 2 + 3 * 2 * 12 + 38


@pytest.mark.slow  # minutes: every choice counts a whole model anew
def test_the_first_way_that_fits_is_taken_and_nothing_is_loaded(saved: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(variants, "load", lambda *_: pytest.fail("loaded"))
    size = Size(5, 32, 48, 2)
    every = list(ways(str(saved), size, 4, "cuda"))
    assert every[0].model == str(saved)
    assert {way.model.removeprefix(str(saved)) for way in every} == {"", ":fp16", ":int8"}
    for way in (every[0], every[len(every) // 2], every[-1]):  # each choice counts a model anew, seconds each
        chosen = choose(str(saved), size, 4, "cuda", way.need)
        assert chosen.need <= way.need
        assert every.index(chosen) <= every.index(way)
    least = min(way.need for way in every)
    with pytest.raises(
        NakawariError, match=r"5 frames of 48x32 do not fit into .* the smallest setting \(.*\) takes .*;"
    ):
        choose(str(saved), size, 4, "cuda", least - 1)
    assert {way.model for way in ways(f"{saved}:bf16", size, 4, "cpu")} == {f"{saved}:bf16"}


def test_amounts_of_memory():
    assert parse_memory("8GB") == 8_000_000_000 and parse_memory("7.5 gb") == 7_500_000_000
    assert parse_memory("900MB") == 900_000_000
    for words in ("8", "GB", "-1GB", "8TB"):
        with pytest.raises(UsageError, match="is not an amount of memory; write for example 8GB"):
            parse_memory(words)


def test_the_command(cli: Cli, saved: Path):
    words = ("plan", saved, "--size", "48x32", "--frames", "5", "--steps", "2")
    result = cli(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"5 frames of 48x32 in 2 steps with {saved} on cpu"
    assert lines[1].startswith(f"chosen: model {saved}; ") and lines[-1].startswith("needs ")
    found = json.loads(cli(*words, "--device", "cuda", "--memory", "8GB", "--json").stdout)
    assert found["offload"] == "none" and found["need"] < 8e9 and found["seconds"] is None


def test_the_command_shows_all_ways_and_refuses(cli: Cli, tmp_path: Path):
    mini_model().save_pretrained(tmp_path / "mini")
    words = ("plan", tmp_path / "mini", "--size", "48x32", "--frames", "5", "--steps", "2")
    assert "sequential" in cli(*words, "--device", "cuda", "--memory", "8GB", "--all").stdout
    refused = cli(*words, "--memory", "1MB")
    assert refused.exit_code == 1 and "do not fit into 1 MB" in refused.stderr
    assert cli("plan", tmp_path / "mini", "--size", "wide").exit_code == 2
