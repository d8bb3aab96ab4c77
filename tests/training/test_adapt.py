"""Objective `adapt` on a tiny model: its loss, frozen weights, and interrupted runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fake_pipeline import FakePipeline, clips
from resuming import cut_and_uncut, log
from torch import Tensor
from torch.nn import functional

from nakawari.adapters import adapted_layers, attach
from nakawari.diffusion import EDMProcess, VelocityProcess
from nakawari.errors import UsageError
from nakawari.families import build as build_model
from nakawari.guide import motion
from nakawari.training.condition_cache import ConditionCache
from nakawari.training.objectives.adapt import adapter_learns, build
from nakawari.training.objectives.base import sample_generator
from nakawari.training.objectives.conditions import condition_of
from nakawari.training.objectives.decoded import random_places
from nakawari.training.objectives.denoise import parts_learn
from nakawari.training.objectives.denoiser import DenoiserObjective
from nakawari.training.objectives.params import AdaptParams, DenoiseParams
from nakawari.training.objectives.targets import Target, true_latents
from nakawari.training.offload import Offload
from nakawari.training.plan import make_plan
from nakawari.training.recipe import load_recipe, parse_recipe
from nakawari.training.run import train_from_recipe
from nakawari.variants import load
from tiny_models import UNET, VAE, mini_model, plain_model

LORA = {"target": "linear-and-convolution", "rank": 2}
PROCESSES = {"velocity": VelocityProcess(), "edm": EDMProcess()}


def batch(count: int = 2, frames: int = 3) -> dict[str, Any]:
    """Clips of 16 x 16."""
    small = clips(count, frames)
    large = functional.interpolate(small["frames"].flatten(0, 1), scale_factor=2.0, mode="bilinear")
    return small | {"frames": large.unflatten(0, (count, frames))}


def generators(values: dict[str, Any]) -> list[torch.Generator]:
    return [sample_generator(0, index) for index in values["index"]]


def adapting(model: Any = None, **params: Any) -> DenoiserObjective:
    torch.manual_seed(0)
    words = AdaptParams(**({"lora": LORA} | params))
    return adapter_learns(words, model or mini_model(), Target(true_latents)).train()


def test_a_clip_is_told_with_its_own_rate_where_the_family_knows_rates():
    tooncrafter = build_model({"family": "tooncrafter", "unet": UNET | {"fps_condition": True}, "vae": VAE})
    values = batch(4) | {"fps": [12.0, 0.0, 1.0, 60.0]}
    assert condition_of(tooncrafter, values, [True] * 4).fps.tolist() == [12, tooncrafter.config.default_fps, 5, 30]
    assert condition_of(mini_model(), values, [False] * 4).fps is None


def gradients(objective: DenoiserObjective, **changes: Any) -> dict[str, Tensor]:
    values = batch() | changes
    objective(values, generators(values)).loss.backward()
    return {name: parameter.grad for name, parameter in objective.trainable_parameters().items()}


def fake(process: str, **params: Any) -> DenoiserObjective:
    """The objective on the minimal pipeline, with the denoiser output given by the test."""
    pipeline = FakePipeline.make(PROCESSES[process])
    pipeline.lora_patterns = {}
    return adapter_learns(
        AdaptParams(**({"lora": {"target": "encoder", "rank": 1}, "guide_dropout": 0} | params)),
        pipeline,
        Target(true_latents),
    )


def answer(objective: DenoiserObjective, error: float = 0.0) -> None:
    """Denoiser output for a noise that is too large by `error`."""
    pipeline, process, column = objective.pipeline, objective.pipeline.process, (-1, 1, 1, 1, 1)

    def respond(noisy: Tensor, t: Tensor) -> Tensor:
        signal, sigma = process.signal(t).reshape(column), process.sigma(t).reshape(column)
        x0 = pipeline.encode(clips()["frames"], pipeline.fake.seen[-1])
        noise = (noisy - signal * x0) / sigma + error
        return process.output((noisy - sigma * noise) / signal.clamp(min=1e-6), noise, t)

    pipeline.fake.oracle = respond


@pytest.mark.parametrize("process", PROCESSES)
def test_the_noise_term_is_the_mean_absolute_error_of_the_noise(process: str):
    values, objective = clips(), fake(process, noise_l1=2.0)
    answer(objective)
    assert objective(values, generators(values)).loss.item() == pytest.approx(0, abs=2e-3)
    answer(objective, error=0.25)
    assert objective(values, generators(values)).loss.item() == pytest.approx(2 * 0.25, rel=2e-2)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_denoiser_that_answers_noise_is_wrong(process: str):
    values, objective = clips(), fake(process)
    objective.pipeline.fake.oracle = lambda noisy, t: torch.randn(
        noisy.shape, generator=torch.Generator().manual_seed(1)
    )
    assert objective(values, generators(values)).loss > 0.1


def test_terms_add_up():
    values = batch()
    losses = {}
    for name, params in {
        "noise": {},
        "native": {"noise_l1": 0, "weighting": "native"},
        "pixel": {"noise_l1": 0, "pixel": {"weight": 3.0, "frames": 2}},
        "all": {"weighting": {"native": 0.5}, "pixel": {"weight": 3.0, "frames": 2}},
    }.items():
        losses[name] = adapting(**params)(values, generators(values)).loss.item()
    expected = losses["noise"] + 0.5 * losses["native"] + losses["pixel"]
    assert losses["all"] == pytest.approx(expected, rel=1e-5)


def test_the_pixel_term_alone_teaches_the_adapter():
    found = gradients(adapting(noise_l1=0, pixel={"weight": 1.0, "frames": 1}))
    assert any("lora_B" in name and value.abs().sum() > 0 for name, value in found.items())


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="there is no loss"):
        AdaptParams(noise_l1=0)
    with pytest.raises(ValueError, match="decoder_rank needs a pixel term"):
        AdaptParams(lora={"decoder_rank": 2})


def test_the_decoder_has_an_adapter_of_its_own_and_its_base_stays(tmp_path: Path):
    objective = adapting(plain_model(), lora=LORA | {"decoder_rank": 2}, pixel={"weight": 1.0, "frames": 1})
    before = {name: value.clone() for name, value in objective.state_dict().items() if "lora_" not in name}
    found = gradients(objective)
    decoder = {name: value for name, value in found.items() if ".vae.decoder." in name}
    assert decoder and all("lora_" in name for name in found)
    assert any(value is not None and value.abs().sum() > 0 for value in decoder.values())
    values = batch(count=1)
    drawn = objective.eval().draw_nothing(objective.held_out(values))
    torch.optim.AdamW(objective.trainable_parameters().values(), lr=0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items() if name in before)
    objective._drawn.clear()
    assert torch.equal(objective.draw_nothing(objective.held_out(values)), drawn)
    assert not torch.equal(objective.draw(objective.held_out(values)), drawn)
    objective.save(tmp_path)
    files = ["adapter_model.safetensors", "pytorch_lora_weights.safetensors"]
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.safetensors")) == sorted(
        Path(folder) / name for folder in ("", "decoder") for name in files
    )


def test_only_the_adapter_learns_and_the_base_stays_bit_for_bit():
    objective = adapting(weighting="min-snr")
    before = {name: value.clone() for name, value in objective.state_dict().items() if "lora_" not in name}
    assert all("lora_" in name for name in objective.trainable_parameters())
    optimizer = torch.optim.AdamW(objective.trainable_parameters().values(), lr=0.1, weight_decay=0.1)
    gradients(objective)
    optimizer.step()
    after = objective.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert any(value.abs().sum() > 0 for name, value in after.items() if "lora_B" in name)


def test_the_base_computes_in_training_what_it_computes_afterwards():
    objective = adapting(lora=LORA | {"dropout": 0.5})
    modes = {name: module.training for name, module in objective.networks.named_modules()}
    assert {flag for name, flag in modes.items() if ".lora_dropout." in name} == {True}
    assert not any(flag for name, flag in modes.items() if ".lora_dropout." not in name)
    objective.eval()
    assert not any(module.training for module in objective.networks.modules())


@pytest.mark.parametrize("learns", ["adapter", "denoiser"])
def test_gradient_checkpointing_changes_no_bit(learns: str):
    def objective(on: bool) -> DenoiserObjective:
        if learns == "adapter":
            return adapting(gradient_checkpointing=on)
        return parts_learn(DenoiseParams(gradient_checkpointing=on), plain_model())

    plain, saving = gradients(objective(False)), gradients(objective(True))
    assert plain and all(torch.equal(plain[name], saving[name]) for name in plain)


def test_conditions_are_dropped_at_the_rates_of_the_family_unless_told_otherwise():
    assert adapting().params.guide_dropout == 0.1 and adapting().params.image_only_dropout == 0.0
    assert adapting(plain_model()).params.image_only_dropout == 0.05
    assert adapting(guide_dropout=0.0).params.guide_dropout == 0.0


def test_frames_without_truth_are_left_out():
    values = batch(frames=7)
    known = torch.tensor([[True, False, True, False, True, False, True]] * 2)
    objective = adapting(pixel={"weight": 1.0, "frames": 3}, guide_dropout=0.0)
    first = objective(values | {"known": known}, generators(values))
    estimate, x0, t = torch.zeros(2, 7, 1, 1, 1), torch.ones(2, 7, 1, 1, 1), torch.tensor([100, 100])
    wrong = x0.clone()
    wrong[:, [1, 3, 5]] = 9
    compared = [objective.terms(objective.pipeline.process, estimate, target, t, known) for target in (x0, wrong)]
    assert torch.equal(*compared)
    assert torch.isfinite(first.loss)
    chosen = random_places(7, 3, known, generators(values))
    assert chosen.tolist() == [[2, 4]] * 2


def test_prior_preservation_is_on_the_drawings_of_the_base():
    objective = adapting(prior={"weight": 0.5, "clips": 2, "steps": 2})
    values = batch()
    output = objective(values, generators(values))
    alone = adapting()(values, generators(values))
    assert output.loss.item() == pytest.approx(alone.loss.item() + 0.5 * output.logs["prior"].item(), rel=1e-5)
    drawn = objective.extras.prior.batch(values, generators(values))["frames"]
    for name, parameter in objective.trainable_parameters().items():
        if "lora_B" in name:
            parameter.data += 1.0
    again = adapting(prior={"weight": 0.5, "clips": 2, "steps": 2})
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.extras.prior.batch(values, generators(values))["frames"], drawn)


def test_validation_stands_beside_the_base():
    objective = adapting().eval()
    values = batch(count=1)
    scores = objective.validate([values])
    assert scores["psnr"] == scores["psnr_nothing"]
    for name, parameter in objective.trainable_parameters().items():
        if "lora_B" in name:
            parameter.data += 0.1
    changed = objective.validate([values])
    assert changed["psnr"] != scores["psnr"] and changed["psnr_nothing"] == scores["psnr_nothing"]


def test_the_cache_gives_back_what_was_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain, cached = adapting(pixel={"weight": 1.0}), adapting(pixel={"weight": 1.0}, cache=tmp_path)
    values = batch()
    expected = plain(values, generators(values)).loss
    losses = [cached(values, generators(values)).loss for _ in range(2)]
    assert losses[0].item() == losses[1].item() == pytest.approx(expected.item(), rel=1e-5)
    assert (cached.extras.cache.misses, cached.extras.cache.hits) == (2, 2)
    cached({**values, "frames": values["frames"] * 0.5}, generators(values))
    assert cached.extras.cache.misses == 4
    other = mini_model()
    other.vae.patches.to_pixels.weight.data *= 2
    assert ConditionCache(tmp_path, other, True).model != cached.extras.cache.model
    monkeypatch.setattr(motion, "settled", lambda start, end, flows: flows)  # as a revision whose guide draws otherwise
    assert ConditionCache(tmp_path, cached.pipeline, True).model != cached.extras.cache.model
    monkeypatch.undo()
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    assert cached(values, generators(values)).loss.item() == losses[0].item()


def test_a_bfloat16_base_keeps_float32_adapters():
    recipe = RECIPE | {"objective": {"kind": "adapt", "lora": LORA, "base_dtype": "bf16"}}
    with pytest.raises(UsageError, match=r"set optim\.mixed_precision to bf16"):
        parsed = parse_recipe(recipe)
        build(parsed.objective, mini_model(), parsed)
    objective = adapting(base_dtype="bf16")
    assert {parameter.dtype for parameter in objective.trainable_parameters().values()} == {torch.float32}
    assert objective.pipeline.unet.out[2].weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.isfinite(value).all() for value in gradients(objective).values())


RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "model": {"base": "set by the test"},
    "objective": {"kind": "adapt", "lora": LORA | {"dropout": 0.1}, "pixel": {"weight": 1.0}, "sampling": {"steps": 2}},
    "data": {"sources": [{"kind": "synthetic"}], "size": [16, 24], "frames": [3]},
    "optim": {"lr": 1e-2, "steps": 4, "batch_size": 4, "ema": 0.9},
    "validation": {"every": 2, "samples": 1},
    "checkpoint": {"every": 2},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    mini_model().save_pretrained(tmp_path / "base")
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"model": {"base": str(tmp_path / "base")}}))
    return path


def test_a_run_leaves_an_adapter_and_goes_on_where_it_was_cut(recipe: Path, tmp_path: Path):
    cut, uncut = cut_and_uncut(recipe, tmp_path, 3)
    final = Path("checkpoints") / "step-4" / "weights.safetensors"
    assert (cut / final).read_bytes() == (uncut / final).read_bytes()
    pipeline = load(f"{tmp_path}/base+{tmp_path}/uncut@1.0").pipeline
    assert "adapter0" in pipeline.unet.peft_config
    base = mini_model()
    attach(base, [(uncut / "best", 1.0)])


def test_four_small_batches_are_one_large(recipe: Path, tmp_path: Path):
    quiet = ["objective.lora.dropout=0", "validation.samples=0", "optim.steps=3"]
    train_from_recipe(recipe, tmp_path / "large", quiet)
    train_from_recipe(recipe, tmp_path / "small", [*quiet, "optim.accumulation=4"])
    for one, other in zip(log(tmp_path / "large"), log(tmp_path / "small"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_a_plan_counts_and_measures_and_leaves_nothing(recipe: Path, tmp_path: Path):
    changes = {"plain": [], "saving": ["objective.gradient_checkpointing=true"], "int8": ["objective.base_dtype=int8"]}
    plans = {name: make_plan(load_recipe(recipe, words)) for name, words in changes.items()}
    plan, objective = plans["plain"], adapting()
    trained = sum(parameter.numel() for parameter in objective.trainable_parameters().values())
    assert plan.trained == trained and 0 < plan.share < 1
    assert plan.memory["trained weights"] == plan.memory["gradients"] == 4 * trained
    assert plan.memory["optimizer"] == 8 * trained + 4 * len(objective.trainable_parameters())
    frozen = sum(value.numel() for name, value in objective.named_parameters() if ".unet." in name) - trained
    assert plan.memory["unet"] == 4 * frozen
    assert plan.memory["unet"] / 4 < plans["int8"].memory["unet"] < plan.memory["unet"] / 2
    assert plan.seconds == 4 * plan.seconds_per_step > 0 and plan.peak is None
    assert 0 < plans["saving"].memory["activations"] < plan.memory["activations"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "tiny.yaml"]


def test_an_int8_base_passes_gradient_on_and_is_never_changed():
    objective, plain = adapting(base_dtype="int8"), adapting()
    learning = objective.trainable_parameters()
    assert all("lora_" in name for name in learning) and learning.keys() == plain.trainable_parameters().keys()
    base = [layer.get_base_layer() for layer in adapted_layers(objective.pipeline.unet).values()]
    assert {layer.packed.dtype for layer in base} == {torch.int8}
    before = {name: value.clone() for name, value in objective.state_dict().items() if "lora_" not in name}
    optimizer = torch.optim.AdamW(learning.values(), lr=0.1)
    found, exact = gradients(objective), gradients(plain)
    joined = [torch.cat([values[name].flatten() for name in sorted(exact)]) for values in (found, exact)]
    assert functional.cosine_similarity(*joined, dim=0) > 0.9
    assert any(value.abs().sum() > 0 for name, value in found.items() if "lora_B" in name)
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items() if name in before)


def test_what_makes_conditions_waits_until_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    values, moves = batch(), []
    expected = adapting()(values, generators(values)).loss
    monkeypatch.setattr(Offload, "_move", lambda self, device: moves.append(str(device)))
    there_and_back = ["cpu", "cpu"]
    offloading = adapting(offload=True)
    assert offloading.extras.offload.networks == [offloading.networks["vae"], offloading.networks["guide"]]
    assert offloading(values, generators(values)).loss == expected
    assert moves == there_and_back
    offloading.validate([values])
    assert moves == there_and_back * 2
    keeping = adapting(offload=True, pixel={"weight": 1.0}, cache=tmp_path)
    assert keeping.extras.offload.networks == [keeping.networks["guide"]]
    moves.clear()
    keeping(values, generators(values))
    assert moves == there_and_back * len(values["frames"])
    keeping(values, generators(values))  # from the cache
    assert moves == there_and_back * len(values["frames"])
