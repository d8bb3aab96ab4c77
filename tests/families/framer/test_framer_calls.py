"""The pipeline: every option has an effect, samples are independent, any size works, bad calls give one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nakawari.errors import NakawariError, UsageError
from nakawari.families.base import Condition
from nakawari.families.framer.pipeline import FramerPipeline
from nakawari.families.framer.sampling import guidance_ramp
from nakawari.families.framer.schedulers import SVD_SCHEDULE, make_scheduler
from tiny_framer import SIZE, tiny

Sample = Callable[..., Tensor]


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize(
    "options",
    [
        {"min_guidance_scale": 2.0},
        {"max_guidance_scale": 5.0},
        {"middle_max_guidance": True},
        {"guidance_scale": 2.0},
        {"noise_aug_strength": 0.3},
        {"fps": 12},
        {"motion_bucket_id": 20},
        {"seed": 1},
        {"num_inference_steps": 4},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_changes_the_output(sample: Sample, options: dict) -> None:
    base = sample()
    assert torch.equal(base, sample())
    assert not torch.allclose(base, sample(**options), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"tracks": None}, {"control_scale": 0.3}, {"control_range": (0.0, 0.4)}, {"control_range": (0.5, 1.0)}],
    ids=["tracks", "control_scale", "range_start", "range_end"],
)
def test_every_control_option_changes_the_output(sample: Sample, tracks: np.ndarray, options: dict) -> None:
    base = {"tracks": tracks}
    assert not torch.allclose(sample(**base), sample(**{**base, **options}), atol=1e-4)


def test_other_tracks_make_another_clip(sample: Sample, tracks: np.ndarray) -> None:
    assert not torch.allclose(sample(tracks=tracks), sample(tracks=tracks[:, ::-1] + 3), atol=1e-4)


def test_control_at_scale_zero_or_in_no_step_is_no_control(sample: Sample, tracks: np.ndarray) -> None:
    free = sample()
    torch.testing.assert_close(sample(tracks=tracks, control_scale=0.0), free, atol=1e-5, rtol=1e-5)
    assert torch.equal(sample(tracks=tracks, control_range=(0.3, 0.3)), free)


@pytest.mark.parametrize("guidance", [1.0, 0.0])
def test_guidance_of_at_most_one_costs_one_branch(
    pipeline: FramerPipeline, sample: Sample, guidance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    network = pipeline.network
    monkeypatch.setattr(pipeline, "network", lambda x, *a, **k: batches.append(len(x)) or network(x, *a, **k))
    sample(guidance_scale=guidance)
    sample(guidance_scale=2.0)
    assert batches == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("context", ["interleaved", "blocked"])
def test_a_clip_does_not_depend_on_its_batch(context: str, keys: tuple[Tensor, Tensor], tracks: np.ndarray) -> None:
    pipeline = tiny(context)
    options = {"num_frames": 5, "num_inference_steps": 2, "output_type": "latent"}
    control = [tracks, tracks[:, :1] + 2]
    pipeline.scheduler = make_scheduler("lcm")
    pipeline.register_to_config(few_step=True)
    both = pipeline(*keys, tracks=control, generator=generators(3, 4), **options).frames
    for index, seed in enumerate((3, 4)):
        own = slice(index, index + 1)
        alone = pipeline(
            keys[0][own], keys[1][own], tracks=[control[index]], generator=generators(seed), **options
        ).frames
        torch.testing.assert_close(both[own], alone, atol=1e-3, rtol=1e-4)


def test_a_clip_without_tracks_in_a_batch_with_tracks(
    pipeline: FramerPipeline, keys: tuple[Tensor, Tensor], tracks: np.ndarray
) -> None:
    options = {"num_frames": 5, "num_inference_steps": 2, "output_type": "latent"}
    both = pipeline(*keys, tracks=[tracks, None], generator=generators(3, 4), **options).frames
    alone = pipeline(keys[0][1:], keys[1][1:], generator=generators(4), **options).frames
    torch.testing.assert_close(both[1:], alone, atol=1e-3, rtol=1e-4)


def test_the_two_temporal_contexts_differ_under_guidance_only(
    sample: Sample, pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]
) -> None:
    blocked = tiny("blocked")
    options = {"num_frames": 5, "num_inference_steps": 2, "output_type": "latent"}
    pair = (keys[0][:1], keys[1][:1])
    made = [
        [p(*pair, guidance_scale=g, generator=generators(0), **options).frames for p in (pipeline, blocked)]
        for g in (1.0, 3.0)
    ]
    assert torch.equal(*made[0])
    assert not torch.allclose(*made[1], atol=1e-4)


@pytest.mark.parametrize("size", [(32, 48), (33, 41), (17, 70)])
def test_any_size_is_padded_and_cut_back(pipeline: FramerPipeline, size: tuple[int, int]) -> None:
    key = torch.rand(1, 3, *size) * 2 - 1
    tracks = np.array([[[size[1] - 2.0, size[0] - 2.0]]] * 3)
    made = pipeline(key, -key, num_frames=3, num_inference_steps=1, output_type="pt", tracks=tracks)
    assert made.frames.shape == (1, 3, 3, *size)
    assert made.frames.min() >= 0
    assert made.frames.max() <= 1


def test_padding_repeats_the_border(pipeline: FramerPipeline) -> None:
    frames = torch.rand(1, 2, 3, 10, 48) * 2 - 1
    padded = torch.cat([frames, frames[..., -1:, :].expand(-1, -1, -1, 6, -1)], dim=-2)
    assert pipeline.size_multiple == 16
    assert torch.equal(pipeline.encode(frames), pipeline.encode(padded))


def test_the_network_is_told_fps_minus_one_motion_and_noise(
    pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]
) -> None:
    told = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, words: told.append(words[3]))
    options = {"motion_bucket_id": 30, "noise_aug_strength": 0.1, "guidance_scale": 1.0}
    pipeline(*keys, 2, 1, fps=[7, 12], output_type="latent", **options)
    hook.remove()
    torch.testing.assert_close(told[0], torch.tensor([[6.0, 30.0, 0.1], [11.0, 30.0, 0.1]]))


def test_noise_goes_on_the_keys(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    clean, noisy = (
        pipeline.condition(*keys, num_frames=3, noise_aug_strength=strength, generator=generators(0, 1)).latents
        for strength in (0.0, 0.3)
    )
    for frame in (0, -1):
        assert not torch.allclose(clean[:, frame, :4], noisy[:, frame, :4], atol=1e-4)


def test_output_types_hold_the_same_frames(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    made = {
        kind: pipeline(*keys, num_frames=3, num_inference_steps=1, output_type=kind, generator=generators(0, 1)).frames
        for kind in ("pil", "np", "pt")
    }
    assert made["pt"].shape == (2, 3, 3, *SIZE)
    np.testing.assert_array_equal(made["np"], made["pt"].permute(0, 1, 3, 4, 2).numpy())
    assert [len(clip) for clip in made["pil"]] == [3, 3]
    np.testing.assert_array_equal(np.asarray(made["pil"][1][2]), (made["np"][1, 2] * 255).round().astype(np.uint8))


def test_pictures_arrays_and_tensors_are_the_same_keys(pipeline: FramerPipeline) -> None:
    array = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    options = {"num_frames": 2, "num_inference_steps": 1, "output_type": "latent"}
    pictures = [Image.fromarray(own) for own in array]
    made = [
        pipeline(*pair, generator=generators(0), **options).frames
        for pair in (pictures, array, [tensor[:1], tensor[1:]])
    ]
    assert torch.equal(made[0], made[1])
    torch.testing.assert_close(made[0], made[2], atol=1e-3, rtol=1e-4)


def test_height_and_width_resize_pictures(pipeline: FramerPipeline) -> None:
    pictures = [Image.new("RGB", (50, 40), "red"), Image.new("RGB", (20, 30), "blue")]
    made = pipeline(*pictures, num_frames=2, num_inference_steps=1, height=24, width=30)
    assert made.frames[0][0].size == (30, 24)


def test_callback_sees_every_step_and_may_replace_latents(sample: Sample) -> None:
    steps = []

    def callback(_: object, step: int, __: object, values: dict) -> dict:
        steps.append(step)
        return {"latents": values["latents"] * 0}

    assert sample(callback_on_step_end=callback).abs().max() == 0
    assert steps == [0, 1, 2]


def test_chunked_decoding_covers_every_frame(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    condition = pipeline.condition(*keys, num_frames=5)
    latents = torch.randn(2, 5, 4, 4, 6)
    with torch.no_grad():
        chunked = pipeline.decode(latents, condition, chunk=2)
        parts = [pipeline.decode(latents[:, i : i + 2], condition, chunk=2) for i in (0, 2, 4)]
    torch.testing.assert_close(chunked, torch.cat(parts, dim=1))


def test_decode_and_denoise_carry_gradients(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    condition = pipeline.condition(*keys, num_frames=3, control=np.full((3, 1, 2), 10.0))
    latents = torch.randn(2, 3, 4, 4, 6, requires_grad=True)
    output = pipeline.denoise(latents, torch.tensor([1.0, 5.0]), condition)
    (output.sum() + pipeline.decode(latents, condition).sum()).backward()
    assert latents.grad is not None
    assert latents.grad.abs().max() > 0
    assert pipeline.unet.mask_token.grad is not None
    assert pipeline.unet.mask_token.grad.abs().max() > 0
    pipeline.unet.zero_grad()


def test_denoise_takes_one_sigma_per_clip_and_mixes_nothing(
    pipeline: FramerPipeline, keys: tuple[Tensor, Tensor], tracks: np.ndarray
) -> None:
    condition = pipeline.condition(*keys, num_frames=5, control=[tracks, None], generator=generators(0, 1))
    noisy, t = torch.randn(2, 5, 4, 4, 6), torch.tensor([0.5, 30.0])
    with torch.no_grad():
        both = pipeline.denoise(noisy, t, condition)
        for index in range(2):
            own = slice(index, index + 1)
            alone = pipeline.denoise(noisy[own], t[own], condition.select(own))
            torch.testing.assert_close(both[own], alone, atol=1e-5, rtol=1e-4)


def test_unconditional_keeps_mask_and_control(
    pipeline: FramerPipeline, keys: tuple[Tensor, Tensor], tracks: np.ndarray
) -> None:
    condition = pipeline.condition(*keys, num_frames=5, control=tracks)
    empty = pipeline.unconditional(condition)
    assert empty.tokens is not None
    assert empty.tokens.abs().max() == 0
    assert empty.latents[:, :, :4].abs().max() == 0
    assert torch.equal(empty.latents[:, :, 4], condition.latents[:, :, 4])
    assert torch.equal(empty.control, condition.control)
    assert condition.latents[:, 0, :4].abs().max() > 0
    assert pipeline.unconditional(condition, keep_image=True) is condition


def test_conditions_join_and_split(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor], tracks: np.ndarray) -> None:
    condition = pipeline.condition(*keys, num_frames=5, control=tracks, fps=[7, 12])
    joined = Condition.cat([condition.select([1]), condition.select([0])]).select([1, 0])
    assert torch.equal(joined.latents, condition.latents)
    assert torch.equal(joined.fps, torch.tensor([7.0, 12.0]))
    assert torch.equal(joined.control, condition.control)


def test_mode_latents_of_the_condition_are_not_scaled(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    condition = pipeline.condition(*keys, num_frames=4, noise_aug_strength=0.0)
    encoded = pipeline.encode(torch.stack(keys, dim=1)) / pipeline.vae.config.scaling_factor
    torch.testing.assert_close(condition.latents[:, 0, :4], encoded[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(condition.latents[:, -1, :4], encoded[:, 1], atol=1e-5, rtol=1e-4)
    assert condition.latents[0, :, 4, 0, 0].tolist() == [0, 1, 1, 0]


def test_encode_samples_the_posterior_per_clip(pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]) -> None:
    frames = torch.stack(keys, dim=1)
    mode = pipeline.encode(frames)
    drawn = pipeline.encode(frames, generator=generators(0, 1))
    again = pipeline.encode(frames[1:], generator=generators(1))
    assert not torch.allclose(mode, drawn)
    torch.testing.assert_close(drawn[1:], again, atol=1e-5, rtol=1e-4)


def test_automatic_tracks_fall_back_with_a_warning(sample: Sample, pipeline: FramerPipeline) -> None:
    flat = torch.zeros(1, 3, 64, 64)
    with pytest.warns(UserWarning, match="No points match between the two keys"):
        made = pipeline(flat, flat, num_frames=2, num_inference_steps=1, tracks="auto")
    assert made.tracks == [None]


def test_lcm_warns_of_weights_that_are_not_distilled(pipeline: FramerPipeline, sample: Sample) -> None:
    pipeline.scheduler = make_scheduler("lcm")
    with pytest.warns(UserWarning, match="consistency-distilled"):
        sample()
    pipeline.register_to_config(few_step=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sample()


@pytest.mark.parametrize("name", ["euler", "dpm++", "lcm", "dpm++-reference"])
def test_every_sampler_is_reproducible_by_its_seed(pipeline: FramerPipeline, sample: Sample, name: str) -> None:
    pipeline.scheduler = make_scheduler(name)
    pipeline.register_to_config(few_step=True)
    first = sample()
    torch.rand(7)
    assert torch.equal(first, sample())
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, sample(seed=1), atol=1e-4)


def test_noise_levels_stand_once_for_training_and_sampling(pipeline: FramerPipeline) -> None:
    pipeline.scheduler = make_scheduler("euler", config={**SVD_SCHEDULE, "sigma_max": 80.0, "sigma_min": 0.01})
    assert (pipeline.process.last_time, pipeline.process.sigma_min) == (80.0, 0.01)
    with pipeline.scheduled("dpm++"):
        pipeline.scheduler.set_timesteps(5)
        assert float(pipeline.scheduler.sigmas[0]) == pytest.approx(80.0)
        assert pipeline.process.last_time == 80.0
    pipeline.sample_in_few_steps(2)
    assert pipeline.process.last_time == pipeline.scheduler.config.sigma_max == 80.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_frames": 1}, "at least 2"),
        ({"num_inference_steps": 0}, "at least 1"),
        ({"control_range": (0.8, 0.2)}, "0 <= from <= to <= 1"),
        ({"output_type": "gif"}, "'pil', 'np', 'pt' or 'latent'"),
        ({"height": 32}, "give both"),
        ({"height": 32, "width": 32}, "resize it first"),
        ({"tracks": "sift"}, "'auto' or None"),
        ({"tracks": np.zeros((4, 1, 2))}, r"give \(5, points, 2\)"),
        ({"tracks": np.full((5, 1, 2), -9.0)}, "never enters the image of 48x32"),
        ({"tracks": np.full((5, 1, 2), np.nan)}, "finite"),
        ({"tracks": [None, None]}, "one set per clip"),
        ({"latents": torch.zeros(1, 5, 4, 4, 4)}, "do not fit"),
        ({"generator": generators(0, 1)}, "one per clip"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_bad_call_gets_one_sentence(sample: Sample, options: dict, words: str) -> None:
    with pytest.raises(NakawariError, match=words) as caught:
        sample(**options)
    assert str(caught.value).count(". ") == 0


def test_keys_that_are_no_pair_get_one_sentence(pipeline: FramerPipeline) -> None:
    with pytest.raises(UsageError, match="different sizes, 8x16 and 16x16"):
        pipeline(torch.zeros(1, 3, 16, 8), torch.zeros(1, 3, 16, 16))
    with pytest.raises(UsageError, match="give pairs"):
        pipeline(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))
    with pytest.raises(UsageError, match="uint8 RGB"):
        pipeline(np.zeros((16, 16, 3)), np.zeros((16, 16, 3)))


def test_tracks_without_a_controlnet_get_one_sentence(pipeline: FramerPipeline, tracks: np.ndarray) -> None:
    bare = FramerPipeline(**{**pipeline.components, "controlnet": None})
    bare.set_progress_bar_config(disable=True)
    key = torch.zeros(1, 3, *SIZE)
    with pytest.raises(UsageError, match="no ControlNet"):
        bare(key, key, num_frames=5, tracks=tracks)
    bare(key, key, num_frames=2, num_inference_steps=1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_draws_nearly_the_same(
    dtype: torch.dtype, sample: Sample, keys: tuple[Tensor, Tensor], tracks: np.ndarray
) -> None:
    half = tiny().to(dtype)
    made = half(
        keys[0][:1], keys[1][:1], 5, 3, tracks=tracks, generator=generators(0), output_type="latent", fps=[7]
    ).frames
    exact = sample(tracks=tracks)
    assert made.dtype == torch.float32
    assert (made - exact).norm() < 0.1 * exact.norm()
    assert half.vae.dtype == dtype
    assert torch.isfinite(half.decode(made, half.condition(keys[0][:1], keys[1][:1], num_frames=5))).all()


def test_mask_token_learns_through_a_data_parallel_wrapper(keys: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    pipeline = tiny()
    condition = pipeline.condition(*keys, num_frames=3)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        bare = pipeline.unet
        pipeline.unet = torch.nn.parallel.DistributedDataParallel(bare)
        pipeline.denoise(torch.randn(2, 3, 4, 4, 6), torch.tensor([1.0, 5.0]), condition).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert bare.mask_token.grad is not None
    assert bare.mask_token.grad.abs().max() > 0


def test_guidance_ramp_rises_or_peaks_in_the_middle() -> None:
    assert guidance_ramp(3, 1.0, 3.0).tolist() == [1.0, 2.0, 3.0]
    assert guidance_ramp(3, 1.0, 3.0, middle_max=True).tolist() == [1.5, 3.0, 1.5]


def test_saved_and_loaded_it_draws_the_same(
    pipeline: FramerPipeline, sample: Sample, tracks: np.ndarray, tmp_path: Path, keys: tuple[Tensor, Tensor]
) -> None:
    pipeline.save_pretrained(tmp_path)
    loaded = FramerPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.config.max_frames == 5
    assert loaded.unet.config.temporal_context == "interleaved"
    made = loaded(
        keys[0][:1],
        keys[1][:1],
        num_frames=5,
        num_inference_steps=3,
        output_type="latent",
        tracks=tracks,
        generator=generators(0),
    )
    assert torch.equal(made.frames, sample(tracks=tracks))


def test_noise_on_the_keys_without_a_generator_belongs_to_the_keys(
    pipeline: FramerPipeline, keys: tuple[Tensor, Tensor]
) -> None:
    """The same images give the same noise, independent of earlier calls and of the batch."""
    both = pipeline.condition(*keys, num_frames=3, noise_aug_strength=0.3)
    torch.rand(3)
    alone = pipeline.condition(keys[0][1:], keys[1][1:], num_frames=3, noise_aug_strength=0.3)
    clean = pipeline.condition(keys[0][1:], keys[1][1:], num_frames=3, noise_aug_strength=0.0)
    torch.testing.assert_close(both.select([1]).latents, alone.latents, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(alone.latents, clean.latents, atol=1e-4)


def test_another_scheduler_for_a_while(pipeline: FramerPipeline) -> None:
    own = pipeline.scheduler
    with pipeline.scheduled("euler"):
        assert pipeline.scheduler is own
    with pipeline.scheduled("dpm++"):
        assert type(pipeline.scheduler).__name__ == "EDMDPMSolverMultistepScheduler"
        assert pipeline.config.default_steps == 15
    assert pipeline.scheduler is own
    assert pipeline.config.default_steps == 30


def test_a_models_own_guidance_gives_way_to_any_that_is_asked_for(pipeline: FramerPipeline, sample: Sample) -> None:
    ramp = sample()
    pipeline.register_to_config(default_guidance=1.0)
    assert not torch.allclose(sample(), ramp, atol=1e-4)
    assert torch.equal(sample(max_guidance_scale=3.0), ramp)
