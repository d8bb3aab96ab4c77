"""The autoencoder against the reference implementation: encoder, posterior, decoder with and without references."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.families.tooncrafter.vae_blocks import Combiner
from parity.vectors import assert_near, load_case, weights

pytestmark = pytest.mark.parity
ATOL = 5e-5


class Case:
    """The vectors with the model that they were computed by."""

    def __init__(self) -> None:
        self.tensors, self.page = load_case("ae")
        config = self.page["config"]["ddconfig"]
        self.vae = DualReferenceAutoencoder(
            in_channels=config["in_channels"],
            out_channels=config["out_ch"],
            latent_channels=config["z_channels"],
            ch=config["ch"],
            ch_mult=config["ch_mult"],
            num_res_blocks=config["num_res_blocks"],
            attn_levels=config["attn_level"],
            scaling_factor=self.page["scale_factor"],
        ).eval()
        self.vae.load_state_dict(weights(self.tensors))

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.tensors if name.startswith(prefix) and name[len(prefix) :].isdigit()]

    def references(self) -> tuple[Tensor, ...]:
        """Frame 0 is the first key and the last frame of `x` the other."""
        _, hidden = self.vae.encode_features(self["x"])
        return self.vae.references([h[:1] for h in hidden], [h[-1:] for h in hidden])

    def latents(self, length: int) -> Tensor:
        """The clip stored for this length, or the beginning of the longest one."""
        longest = max(self.names("z_T"), key=lambda name: len(self[name]))
        return self.tensors.get(f"z_T{length}", self[longest])[:length]

    def decode(self, latents: Tensor, references: tuple[Tensor, ...] = (), clips: int = 1) -> Tensor:
        """Through the public method, which takes scaled latents; frames folded as in the vectors."""
        scaled = latents.unflatten(0, (clips, -1)) * self.page["scale_factor"]
        return self.vae.decode(scaled, references).flatten(0, 1)


@pytest.fixture
def case(folder: Any) -> Case:
    return Case()


def test_moments(case: Case) -> None:
    moments, _ = case.vae.encode_features(case["x"])
    assert_near(moments, case["moments"], ATOL)
    posterior = DiagonalGaussianDistribution(moments)
    assert_near(posterior.mean, case["mean"], ATOL)
    assert_near(posterior.logvar, case["logvar"], ATOL)
    assert_near(posterior.std, case["std"], ATOL)


def test_posterior_sample(case: Case) -> None:
    posterior = case.vae.encode(case["x"][None])
    sample = (posterior.mean + posterior.std * case["post_noise"]) * case.vae.config.scaling_factor
    assert_near(sample, case["z_sample_scaled"], ATOL)


def test_moments_of_a_nearly_constant_image(case: Case) -> None:
    moments, _ = case.vae.encode_features(0.5 + 1e-3 * case["x"][:1])
    assert_near(moments, case["moments_lowvar"], ATOL)


def test_hidden_states(case: Case) -> None:
    _, hidden = case.vae.encode_features(case["x"])
    assert len(hidden) == len(case.names("hidden"))
    for index, features in enumerate(hidden):
        assert_near(features[1:2], case[f"hidden{index}"], ATOL)


def test_decode_with_references(case: Case) -> None:
    names = case.names("dec_ref_T")
    assert names
    for name in names:
        latents = case.latents(int(name.removeprefix("dec_ref_T")))
        assert_near(case.decode(latents, case.references()), case[name], ATOL)


def test_decode_without_references(case: Case) -> None:
    names = case.names("dec_noref_T")
    assert names
    for name in names:
        latents = case.latents(int(name.removeprefix("dec_noref_T")))
        assert_near(case.decode(latents), case[name], ATOL)


def test_decode_of_a_nearly_constant_clip(case: Case) -> None:
    expected = case["dec_noref_lowvar"]
    shortest = min(case.names("z_T"), key=lambda name: len(case[name]))
    assert_near(case.decode(1e-3 * case[shortest][: len(expected)]), expected, ATOL)


def test_every_clip_has_its_own_references(case: Case) -> None:
    own = case.references()
    both = tuple(torch.cat([reference, reference.flip(1)]) for reference in own)
    assert_near(case.decode(case["z_batch2"], both, clips=2), case["dec_ref_batch2"], ATOL)


def test_inner_features(case: Case) -> None:
    seen: dict[str, Tensor] = {}
    modules = dict(case.vae.decoder.named_modules())

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: seen.__setitem__(name, output)

    handles = [modules[name].register_forward_hook(keep(name)) for name in case.page["taps"]]
    name = case.page["taps_case"]
    case.decode(case.latents(int(name.removeprefix("dec_ref_T"))), case.references())
    for handle in handles:
        handle.remove()

    # The reference combines in place, so its record of a level's last block is already the combined one.
    for index, level in enumerate(case.vae.decoder.up):
        last = f"up.{index}.block.{len(level.block) - 1}"
        if isinstance(case.vae.decoder.attn_refinement[index], Combiner) and last in seen:
            seen[last] = seen[f"attn_refinement.{index}"]

    assert seen.keys() == case.page["taps"].keys()
    for tap, expected in case.page["taps"].items():
        value = seen[tap]
        assert list(value.shape) == expected["shape"], tap
        assert_near(value.flatten()[: len(expected["first8"])], torch.tensor(expected["first8"]), ATOL)
        assert value.mean().item() == pytest.approx(expected["mean"], abs=ATOL), tap
        assert value.std().item() == pytest.approx(expected["std"], abs=ATOL), tap
