"""The ToonCrafter pipeline on tiny random models: sizes, counts, batches, guidance, gradients, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from nakawari.families.base import Condition
from nakawari.families.tooncrafter.guidance import Guidance
from nakawari.families.tooncrafter.pipeline import ToonCrafterPipeline
from tiny_models import mini_model, plain_model

Model = Callable[[], ToonCrafterPipeline]
MODELS = pytest.mark.parametrize("model", [plain_model, mini_model], ids=["tooncrafter", "mini"])


def _keys(batch: int = 1, height: int = 16, width: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    start = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    return start, torch.roll(start, 3, dims=-1)


def _seeds(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 + index) for index in range(count)]


def _draw(pipeline: ToonCrafterPipeline, keys: tuple[Tensor, Tensor], frames: int = 4, **words: object) -> Tensor:
    seeds = _seeds(len(keys[0]))
    call = {"num_inference_steps": 2, "guidance_scale": 1.0, "output_type": "pt", "generator": seeds} | words
    return pipeline(*keys, num_frames=frames, **call).frames


@MODELS
@pytest.mark.parametrize(("height", "width"), [(16, 24), (15, 21), (1, 1)])
def test_any_size(model: Model, height: int, width: int) -> None:
    frames = _draw(model(), _keys(height=height, width=width))
    assert frames.shape == (1, 4, 3, height, width)
    assert torch.isfinite(frames).all()


@MODELS
def test_any_number_of_frames(model: Model) -> None:
    pipeline = model()
    for count in range(2, 9):
        assert _draw(pipeline, _keys(), frames=count).shape[1] == count


@MODELS
def test_a_sample_does_not_depend_on_its_batch(model: Model) -> None:
    pipeline = model()
    start, end = _keys(3)
    together = _draw(pipeline, (start, end), eta=1.0)
    alone = _draw(pipeline, (start[2:], end[2:]), eta=1.0, generator=_seeds(3)[2:])
    assert torch.allclose(together[2:], alone, atol=2e-5)


@MODELS
def test_same_seed_same_bytes(model: Model) -> None:
    pipeline = model()
    assert torch.equal(_draw(pipeline, _keys(), eta=1.0), _draw(pipeline, _keys(), eta=1.0))
    other = _draw(pipeline, _keys(), eta=1.0, generator=[torch.Generator().manual_seed(5)])
    assert not torch.equal(_draw(pipeline, _keys(), eta=1.0), other)


@MODELS
def test_saved_and_loaded_by_plain_diffusers(model: Model, tmp_path: Path) -> None:
    pipeline = model()
    pipeline.save_pretrained(tmp_path)
    loaded = type(pipeline).from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert isinstance(loaded, DiffusionPipeline)
    assert loaded.config.max_frames == pipeline.config.max_frames
    for name in ("unet", "vae"):
        states = (dict(getattr(each, name).state_dict()) for each in (pipeline, loaded))
        assert all(torch.equal(*pair) for pair in zip(*(state.values() for state in states), strict=True))
    # Products of the same numbers round by where these lie in memory, and a file's tensors lie anywhere.
    torch.testing.assert_close(_draw(loaded, _keys()), _draw(pipeline, _keys()), atol=1e-6, rtol=0)


@MODELS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_runs_in_half_precision(model: Model, dtype: torch.dtype) -> None:
    pipeline = model()
    exact = _draw(pipeline, _keys())
    half = _draw(pipeline.to(dtype), _keys())
    assert torch.isfinite(half).all()
    assert (half - exact).abs().mean() < 0.05


@MODELS
def test_gradients_reach_the_latents_through_decode(model: Model) -> None:
    pipeline = model()
    condition = pipeline.condition(*_keys(2), num_frames=3)
    latents = torch.zeros_like(condition.latents, requires_grad=True)
    pipeline.decode(latents, condition).square().mean().backward()
    assert (latents.grad.abs().amax((1, 2, 3, 4)) > 0).all()


def test_decoding_in_chunks_changes_nothing() -> None:
    pipeline = plain_model()
    condition = pipeline.condition(*_keys(3), num_frames=3)
    latents = torch.randn(condition.latents[:, :, :4].shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, parts = pipeline.decode(latents, condition), pipeline.decode(latents, condition, chunk=1)
    assert torch.allclose(whole, parts, atol=1e-5)


def test_a_residual_model_with_nothing_to_say_decodes_what_encodes_the_guide() -> None:
    pipeline = mini_model()
    condition = pipeline.condition(*_keys(), num_frames=4)
    frames = condition.guide.blend()
    own = pipeline.encode(frames)
    assert own.abs().max() > 0.1
    assert torch.allclose(pipeline.encode(frames, condition), torch.zeros_like(own), atol=1e-5)
    known = condition.replace(base=own + 1)  # as conditions that an earlier revision stored have it
    assert torch.allclose(pipeline.encode(frames, known), -torch.ones_like(own), atol=1e-5)


def test_unguided_runs_the_same_weights_on_a_cross_fade() -> None:
    pipeline = mini_model()
    guided = pipeline.condition(*_keys(), num_frames=5)
    unguided = pipeline.condition(*_keys(), num_frames=5, guided=False)
    start, end = _keys()
    assert torch.allclose(unguided.guide.blend()[:, 2, :, :16, :24], (start + end) / 2, atol=1e-5)
    assert not torch.allclose(guided.guide.blend()[:, 2, :, :16, :24], (start + end) / 2, atol=1e-2)
    assert not torch.equal(_draw(pipeline, _keys()), _draw(pipeline, _keys(), guided=False))


def test_keys_stand_in_their_places_only() -> None:
    pipeline = plain_model()
    latents = pipeline.condition(*_keys(), num_frames=5).latents
    start, end = _keys()
    assert torch.allclose(latents[:, 0], pipeline.encode(start[:, None])[:, 0], atol=1e-6)
    assert torch.allclose(latents[:, 4], pipeline.encode(end[:, None])[:, 0], atol=1e-6)
    assert not latents[:, 1:4].any()
    repeated = pipeline.condition(*_keys(), num_frames=5, interpolate=False).latents
    assert torch.equal(repeated, repeated[:, :1].expand_as(repeated))


def test_a_callback_sees_and_changes_the_latents() -> None:
    pipeline, seen = mini_model(), []

    def stop(_: object, step: int, time: int, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((step, time, tensors["x0"].shape))
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = _draw(pipeline, _keys(), output_type="latent", callback_on_step_end=stop)
    assert [entry[:2] for entry in seen] == [(0, 999), (1, 499)]
    assert not latents.any()


def test_output_types() -> None:
    pipeline = mini_model()
    exact = _draw(pipeline, _keys())
    array = _draw(pipeline, _keys(), output_type="np")
    assert torch.allclose(torch.from_numpy(array).permute(0, 1, 4, 2, 3), exact)
    pictures = _draw(pipeline, _keys(), output_type="pil")
    assert pictures[0][0].size == (24, 16)
    with pytest.raises(ValueError, match="output_type"):
        _draw(pipeline, _keys(), output_type="jpeg")


@pytest.mark.parametrize("words", [{"num_frames": 1}, {"control": 1}])
def test_refuses(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"keys|control"):
        plain_model().condition(*_keys(), **{"num_frames": 3, **words})


def test_as_many_generators_as_samples() -> None:
    with pytest.raises(ValueError, match="generators"):
        _draw(plain_model(), _keys(2), generator=_seeds(1))


def test_guidance_formulas() -> None:
    c, u, i = torch.randn(3, 1, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Guidance(7.5, None, 0.0).combine([c]), c)
    assert torch.allclose(Guidance(3.0, None, 0.0).combine([c, u]), u + 3 * (c - u))
    assert torch.allclose(Guidance(3.0, 2.0, 0.0).combine([c, u, i]), u + 2 * (i - u) + 3 * (c - i), atol=1e-6)
    assert torch.allclose(Guidance(3.0, None, 1.0).combine([c, u]).std(), c.std(), rtol=1e-5)


def test_conditions_join_and_select() -> None:
    pipeline = mini_model()
    parts = [pipeline.condition(*_keys(), num_frames=3), pipeline.condition(*_keys(), num_frames=3, guided=False)]
    joined = Condition.cat(parts)
    assert joined.batch == 2
    assert torch.equal(joined.select([1]).guide.stacked(), parts[1].guide.stacked())
    assert torch.equal(joined.select(slice(0, 1)).latents, parts[0].latents)
    with pytest.raises(ValueError, match="same number of frames"):
        Condition.cat([parts[0], pipeline.condition(*_keys(), num_frames=4)])


def test_the_consistency_sampler_is_asked_for_by_name_or_remembered(tmp_path: Path) -> None:
    pipeline = mini_model()
    words = {"num_inference_steps": 4, "sampler": "consistency", "eta": 0.0}
    drawn = _draw(pipeline, _keys(3), **words)
    assert not torch.equal(drawn, _draw(pipeline, _keys(3), num_inference_steps=4))
    assert torch.equal(drawn, _draw(pipeline, _keys(3), **words))
    alone = _draw(pipeline, tuple(key[2:] for key in _keys(3)), generator=_seeds(3)[2:], **words)
    assert torch.allclose(drawn[2:], alone, atol=2e-5)
    with pytest.raises(ValueError, match="sampler must be one of ddim, consistency"):
        _draw(pipeline, _keys(), sampler="euler")

    pipeline.sample_in_few_steps(4)
    pipeline.save_pretrained(tmp_path)
    loaded = type(pipeline).from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    seeds = {"generator": _seeds(3), "output_type": "pt"}
    assert torch.equal(loaded(*_keys(3), num_frames=4, **seeds).frames, drawn)
