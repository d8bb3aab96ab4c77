"""The ToonCrafter denoiser on tiny configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn

from nakawari.families.tooncrafter import attention
from nakawari.families.tooncrafter.attention import Context, PointwiseConv, TemporalTransformer
from nakawari.families.tooncrafter.blocks import ResBlock, TimeConv
from nakawari.families.tooncrafter.configs import FULL, STUDENT_V1, STUDENT_V2
from nakawari.families.tooncrafter.unet import ToonCrafterUNet

TEXT, PER_FRAME, WIDTH = 5, 3, 12
TINY: dict[str, Any] = {
    "model_channels": 16,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (1,),
    "num_head_channels": 8,
    "norm_num_groups": 8,
    "context_dim": WIDTH,
    "text_tokens": TEXT,
    "image_tokens_per_frame": PER_FRAME,
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed: int = 0, **changes: Any) -> ToonCrafterUNet:
    """A tiny network with random parameters, so that no branch is zero."""
    model = ToonCrafterUNet(**{**TINY, **changes}).eval()
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in sorted(model.named_parameters()):
        parameter.data.normal_(0, 0.2, generator=generator)
    return model


def tokens(frames: int, batch: int = 1, seed: int = 1) -> Tensor:
    return random(batch, TEXT + PER_FRAME * frames, WIDTH, seed=seed)


@torch.no_grad()
def seen_at(model: ToonCrafterUNet, name: str, *inputs: Any) -> Tensor:
    """The output of one module during a forward pass."""
    seen: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, given, output: seen.append(output))
    model(*inputs)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("config", "parameters"), [(FULL, 1_438_854_980), (STUDENT_V1, 238_804_132), (STUDENT_V2, 374_246_180)]
)
def test_named_configurations_have_the_published_sizes(config: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        model = ToonCrafterUNet(**config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_full_configuration_is_the_default() -> None:
    with torch.device("meta"):
        default, full = ToonCrafterUNet(), ToonCrafterUNet(**FULL)
    assert all(default.config[name] == full.config[name] for name in default.config if not name.startswith("_"))


@pytest.mark.parametrize("frames", range(1, 17))
@torch.no_grad()
def test_any_number_of_frames(frames: int) -> None:
    sample = random(2, frames, 8, 4, 6)
    answer = tiny()(sample, torch.tensor([3, 900]), tokens(frames, batch=2), torch.tensor([10, 24]))
    assert answer.shape == (2, frames, 4, 4, 6)
    assert answer.isfinite().all()


@pytest.mark.parametrize("frames", [1, 2, 5, 16])
def test_each_frame_reads_its_own_image_tokens(frames: int) -> None:
    model, sample, context = tiny(), random(1, frames, 8, 4, 4), tokens(frames)
    before = seen_at(model, "input_blocks.1.1", sample, 7, context)
    for frame in range(frames):
        changed = context.clone()
        changed[:, TEXT + frame * PER_FRAME : TEXT + (frame + 1) * PER_FRAME] += 1
        after = seen_at(model, "input_blocks.1.1", sample, 7, changed)
        differs = [not torch.equal(before[index], after[index]) for index in range(frames)]
        assert differs == [index == frame for index in range(frames)]


def test_clips_of_a_batch_read_their_own_tokens() -> None:
    model, sample, context = tiny(), random(2, 3, 8, 4, 4), tokens(3, batch=2)
    before = seen_at(model, "input_blocks.1.1", sample, 7, context)
    for part in (slice(0, TEXT), slice(TEXT + PER_FRAME, TEXT + 2 * PER_FRAME)):
        changed = context.clone()
        changed[1, part] += 1
        after = seen_at(model, "input_blocks.1.1", sample, 7, changed)
        assert torch.equal(before[:3], after[:3])
        assert not torch.equal(before[4], after[4])


def test_other_token_counts_show_all_image_tokens_to_all_frames() -> None:
    model, sample, context = tiny(), random(1, 3, 8, 4, 4), tokens(5)
    changed = context.clone()
    changed[:, -1] += 1
    before, after = (seen_at(model, "input_blocks.1.1", sample, 7, given) for given in (context, changed))
    assert all(not torch.equal(before[index], after[index]) for index in range(3))


@torch.no_grad()
def test_without_image_branch_only_text_is_read() -> None:
    model, sample, context = tiny(image_cross_attention=False), random(1, 2, 8, 4, 4), tokens(2)
    image, text = context.clone(), context.clone()
    image[:, TEXT:] += 1
    text[:, :TEXT] += 1
    before = model(sample, 7, context)
    assert torch.equal(before, model(sample, 7, image))
    assert not torch.equal(before, model(sample, 7, text))


@torch.no_grad()
def test_without_context_attn2_is_a_self_attention() -> None:
    model = tiny(context_dim=None)
    names = [name for name, _ in model.named_modules()]
    assert any(name.endswith("attn2.to_q") for name in names)
    assert not any("_ip" in name for name in names)
    assert model(random(1, 3, 8, 4, 4), 7).shape == (1, 3, 4, 4, 4)
    with pytest.raises(ValueError, match="takes no context"):
        model(random(1, 3, 8, 4, 4), 7, tokens(3))


def test_missing_context_is_named() -> None:
    with pytest.raises(ValueError, match="needs context"):
        tiny()(random(1, 3, 8, 4, 4), 7)


@torch.no_grad()
def test_time_and_rate_may_be_scalars() -> None:
    model, sample, context = tiny(), random(2, 2, 8, 4, 4), tokens(2, batch=2)
    expected = model(sample, torch.tensor([7, 7]), context, torch.tensor([24, 24]))
    assert torch.equal(expected, model(sample, 7, context))
    assert torch.equal(expected, model(sample, torch.tensor(7.0), context, torch.tensor(24)))
    assert not torch.equal(expected, model(sample, 8, context))
    assert not torch.equal(expected, model(sample, 7, context, torch.tensor([24, 10])))


@torch.no_grad()
def test_clips_of_a_batch_do_not_touch() -> None:
    model, sample, context, time = tiny(), random(3, 4, 8, 4, 4), tokens(4, batch=3), torch.tensor([1, 500, 999])
    together = model(sample, time, context)
    alone = torch.cat([model(sample[i : i + 1], time[i : i + 1], context[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 2"):
        tiny()(random(1, 2, 8, 4, 5), 7, tokens(2))
    with pytest.raises(ValueError, match=r"must be \(B, F, 8, h, w\)"):
        tiny()(random(1, 2, 4, 4, 4), 7, tokens(2))


@pytest.mark.parametrize("wrong", [{"channel_mult": (2, 2)}, {"norm_num_groups": 7}, {"num_head_channels": 32}])
def test_configurations_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ToonCrafterUNet(**{**TINY, **wrong})


def test_gradient_checkpointing_changes_no_number() -> None:
    sample, context = random(1, 3, 8, 4, 4), tokens(3)

    def step(model: ToonCrafterUNet) -> tuple[Tensor, dict[str, Tensor | None], int]:
        calls: list[int] = []
        model.middle_block[0].register_forward_pre_hook(lambda module, given: calls.append(1))
        torch.manual_seed(0)
        answer = model.train()(sample, 7, context)
        answer.square().mean().backward()
        return answer.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}, len(calls)

    plain, checkpointed = tiny(), tiny()
    checkpointed.enable_gradient_checkpointing()
    answer, gradients, calls = step(plain)
    answer_again, gradients_again, calls_again = step(checkpointed)
    assert (calls, calls_again) == (1, 2)
    assert torch.equal(answer, answer_again)
    assert all(gradient is not None for gradient in gradients.values())
    assert all(torch.equal(gradient, gradients_again[name]) for name, gradient in gradients.items())


@torch.no_grad()
def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    model, sample, context = tiny(), random(1, 2, 8, 4, 4), tokens(2)
    model.save_pretrained(tmp_path)
    loaded = ToonCrafterUNet.from_pretrained(tmp_path)
    # safetensors maps the file, whose weights start at odd addresses: CPU kernels then round otherwise.
    loaded.load_state_dict({name: value.clone() for name, value in loaded.state_dict().items()}, assign=True)
    assert not loaded.training
    assert torch.equal(model(sample, 7, context), loaded(sample, 7, context))


@pytest.mark.parametrize(
    "target", [r".*attn2\.to_q", r".*attn2\.to_v_ip", r".*temporal_conv\.conv1\.2", r"init_attn\.0\.proj_in"]
)
@torch.no_grad()
def test_adapters_attach_by_name(target: str) -> None:
    model, sample, context = tiny(), random(1, 2, 8, 4, 4), tokens(2)
    before = model(sample, 7, context)
    model.add_adapter(LoraConfig(r=2, target_modules=target, init_lora_weights=False))
    assert not torch.equal(before, model(sample, 7, context))
    model.disable_adapters()
    assert torch.equal(before, model(sample, 7, context))


@torch.no_grad()
def test_frozen_weights_give_the_same_bytes() -> None:
    model, sample, context = tiny(), random(2, 3, 8, 4, 4), tokens(3, batch=2)
    before = model(sample, 7, context)
    assert torch.equal(before, model.requires_grad_(False)(sample, 7, context))


@torch.no_grad()
def test_layers_may_be_stored_in_eight_bits() -> None:
    model, sample, context = tiny(), random(1, 2, 8, 4, 4), tokens(2)
    before = model(sample, 7, context)
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert model.middle_block[0].in_layers[2].weight.dtype == torch.float8_e4m3fn
    kept = (model.time_embed[0], model.fps_embedding[2])
    assert all(layer.weight.dtype == torch.float32 for layer in kept)
    after = model(sample, 7, context)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, before, atol=0.3 * before.std().item(), rtol=0.5)


@torch.no_grad()
def test_half_precision_runs_throughout() -> None:
    model, sample, context = tiny(), random(1, 2, 8, 4, 4), tokens(2)
    exact = model(sample, 7, context)
    rounded = model.to(torch.bfloat16)(sample.bfloat16(), 7, context.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).std() < 0.1 * exact.std()


@torch.no_grad()
def test_a_fresh_network_starts_closed() -> None:
    model = ToonCrafterUNet(**TINY).eval()
    assert not model(random(1, 2, 8, 4, 4), 7, tokens(2)).any()
    features, embedding = random(2, 16, 4, 4), random(1, 64)
    assert torch.equal(ResBlock(16, 16, 64, norm_groups=8)(features, embedding, 2), features)
    assert torch.equal(model.init_attn[0](features, 2), features)
    read = Context(random(1, TEXT, WIDTH), random(2, PER_FRAME, WIDTH))
    assert torch.equal(model.input_blocks[1][1](features, read), features)
    assert not model.fps_embedding(random(1, 16)).any()


@torch.no_grad()
def test_temporal_attention_is_blind_to_order() -> None:
    torch.manual_seed(0)
    layer = TemporalTransformer(16, 2, 8, norm_groups=8)
    nn.init.normal_(layer.proj_out.weight)
    frames, order = random(5, 16, 2, 3), [3, 0, 4, 1, 2]
    torch.testing.assert_close(layer(frames, 5)[order], layer(frames[order], 5), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_temporal_attention_does_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    layer, before = TemporalTransformer(128, 2, 16, norm_groups=8), torch.get_num_threads()
    nn.init.normal_(layer.proj_out.weight)
    frames = random(14, 128, 20, 32).contiguous(memory_format=torch.channels_last)
    drawn = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            drawn.append(layer(frames, 14))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*drawn)


@torch.no_grad()
def test_time_convolution_is_a_conv3d() -> None:
    torch.manual_seed(0)
    ours, plain = TimeConv(3, 5, (3, 1, 1), padding=(1, 0, 0)), nn.Conv3d(3, 5, (3, 1, 1), padding=(1, 0, 0))
    plain.load_state_dict(ours.state_dict())
    video = random(2, 3, 4, 5, 6)
    torch.testing.assert_close(ours(video), plain(video))


@torch.no_grad()
def test_pointwise_convolution_is_a_conv1d() -> None:
    torch.manual_seed(0)
    ours, plain = PointwiseConv(3, 5, 1), nn.Conv1d(3, 5, 1)
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(random(2, 3, 4)), plain(random(2, 3, 4)))


def test_large_batches_are_attended_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = random(8, 2, 3, 4), random(2, 2, 5, 4, seed=1), random(2, 2, 5, 4, seed=2)
    whole = attention.attend(query, key, value)
    monkeypatch.setattr(attention, "MAX_ATTENTION_BATCH", 3)
    sizes: list[int] = []
    inner = attention.functional.scaled_dot_product_attention

    def counted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        sizes.append(q.shape[0])
        return inner(q, k, v)

    monkeypatch.setattr(attention.functional, "scaled_dot_product_attention", counted)
    assert torch.equal(attention.attend(query, key, value), whole)
    assert sizes == [3, 3, 2]
