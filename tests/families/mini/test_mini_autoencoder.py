"""mini's linear autoencoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from nakawari.errors import NakawariError
from nakawari.families.mini.autoencoder import LinearAutoencoder


@pytest.mark.parametrize("channels", [12, 48])
def test_differences_of_latents_are_latents_of_differences(channels: int) -> None:
    vae = LinearAutoencoder(channels)
    frames, base = torch.randn(2, 1, 3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    drawn = base + vae.decode(vae.encode(frames) - vae.encode(base))
    patches = functional.pixel_unshuffle((frames - base)[0], 4)
    if channels == 48:
        assert torch.allclose(drawn, frames, atol=1e-5)
    else:
        # A projection: what is lost is orthogonal to what is kept.
        kept = functional.pixel_unshuffle((drawn - base)[0], 4)
        assert (kept * (patches - kept)).mean().abs() < 1e-5
        assert 0.2 < kept.square().mean() / patches.square().mean() < 0.3


def test_more_channels_than_a_patch_has_values_are_refused() -> None:
    with pytest.raises(ValueError, match="48 values, too few for 49"):
        LinearAutoencoder(49)


def test_what_an_earlier_revision_saved_is_read_or_refused(tmp_path: Path) -> None:
    """It was a setting of ToonCrafter's autoencoder then."""
    LinearAutoencoder(12).save_pretrained(tmp_path)
    former = {"latent_channels": 12, "ch": None, "ch_mult": [1, 2, 4], "linear_path": True, "scaling_factor": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(former | {"attn_levels": [2, 3], "guide_hidden": 32}))
    loaded = LinearAutoencoder.from_pretrained(tmp_path)
    assert "linear_path" not in loaded.config and "attn_levels" not in loaded.config
    assert torch.equal(loaded.patches.to_latents.weight, LinearAutoencoder(12).patches.to_latents.weight)
    (tmp_path / "config.json").write_text(json.dumps(former | {"ch": 8}))
    with pytest.raises(NakawariError, match="ch 8"):
        LinearAutoencoder.from_pretrained(tmp_path)
