"""The dual-reference autoencoder: shapes, references, guidance, gradients, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nakawari.families.tooncrafter.vae import DualReferenceAutoencoder
from nakawari.families.tooncrafter.vae_blocks import FusionAttention, TemporalConv

SIZE = (16, 24)
LATENT = (4, 6)


def build(**changes: Any) -> DualReferenceAutoencoder:
    """A tiny autoencoder with nonzero parameters, so that no branch is zero."""
    config: dict[str, Any] = {
        "ch": 8,
        "ch_mult": (1, 2, 1),
        "num_res_blocks": 1,
        "attn_levels": (1, 2),
        "fusion_heads": 2,
        "fusion_head_dim": 4,
        "norm_num_groups": 4,
    }
    torch.manual_seed(0)
    vae = DualReferenceAutoencoder(**(config | changes))
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return vae


def references(vae: DualReferenceAutoencoder, batch: int) -> tuple[Tensor, ...]:
    _, hidden = vae.encode_features(torch.randn(2 * batch, 3, *SIZE, dtype=vae.dtype))
    return vae.references([h[:batch] for h in hidden], [h[batch:] for h in hidden])


@pytest.fixture
def vae() -> DualReferenceAutoencoder:
    return build()


def test_full_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        full = DualReferenceAutoencoder()
    assert sum(p.numel() for p in full.parameters()) == 99_941_907
    assert len(full.state_dict()) == 396


@pytest.mark.parametrize("ch_mult", [(1,), (1, 2), (1, 2, 2), (1, 2, 1, 2)])
def test_any_number_of_levels(ch_mult: tuple[int, ...]) -> None:
    vae = build(ch_mult=ch_mult, attn_levels=(len(ch_mult) - 1,))
    frames = torch.randn(2, 3, 3, *SIZE)
    posterior, hidden = vae.encode(frames, return_hidden=True)
    assert posterior.mean.shape == (6, 4, SIZE[0] // vae.spatial_factor, SIZE[1] // vae.spatial_factor)
    assert [h.shape[1] for h in hidden] == [8 * m for m in ch_mult] + [8]
    pairs = [h.unflatten(0, (2, 3)) for h in hidden]
    decoded = vae.decode(
        posterior.mode().unflatten(0, (2, 3)),
        vae.references([p[:, 0] for p in pairs], [p[:, -1] for p in pairs]),
    )
    assert decoded.shape == frames.shape


def test_first_multiple_must_be_one() -> None:
    with pytest.raises(ValueError, match="must begin with 1"):
        build(ch_mult=(2, 4))


def test_frames_are_encoded_one_by_one(vae: DualReferenceAutoencoder) -> None:
    frames = torch.randn(2, 3, 3, *SIZE)
    together = vae.encode(frames).mean
    alone = vae.encode(frames[1:, 2:]).mean
    torch.testing.assert_close(together[5:], alone, rtol=0, atol=1e-5)


def test_each_clip_is_decoded_with_its_own_references(vae: DualReferenceAutoencoder) -> None:
    latents, pairs = torch.randn(2, 3, 4, *LATENT), references(vae, 2)
    together = vae.decode(latents, pairs)
    for index in range(2):
        alone = vae.decode(latents[index : index + 1], [pair[index : index + 1] for pair in pairs])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-4)
    swapped = vae.decode(latents, [pair.flip(0) for pair in pairs])
    assert (together - swapped).abs().amax() > 1e-2


def test_order_of_the_references_matters(vae: DualReferenceAutoencoder) -> None:
    latents, pairs = torch.randn(1, 3, 4, *LATENT), references(vae, 1)
    swapped = vae.decode(latents, [pair.flip(1) for pair in pairs])
    assert (vae.decode(latents, pairs) - swapped).abs().amax() > 1e-2


def test_fusion_attention_is_softmax_over_both_keys() -> None:
    torch.manual_seed(1)
    fusion = FusionAttention(8, groups=2, heads=2, head_dim=3)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x, reference = torch.randn(4, 8, 2, 3), torch.randn(2, 2, 8, 2, 3)
    expected = []
    for index, frame in enumerate(x):
        q = fusion.to_q(fusion.norm(frame[None])[0].flatten(1).T)
        tokens = reference[index // 2].flatten(2).transpose(1, 2).flatten(0, 1)
        k, v = fusion.to_k(tokens), fusion.to_v(tokens)
        heads = []
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            heads.append((q[:, part] @ k[:, part].T / 3**0.5).softmax(-1) @ v[:, part])
        expected.append(frame + fusion.to_out[0](torch.cat(heads, -1)).T.unflatten(1, (2, 3)))
    torch.testing.assert_close(fusion(x, reference), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_temporal_convolution_equals_the_three_dimensional_one() -> None:
    torch.manual_seed(2)
    conv = TemporalConv(3, 5)
    x = torch.randn(2, 3, 4, 2, 3)
    torch.testing.assert_close(conv(x), torch.nn.Conv3d.forward(conv, x), rtol=1e-5, atol=1e-5)


def test_decode_takes_scaled_latents(vae: DualReferenceAutoencoder) -> None:
    latents = torch.randn(1, 2, 4, *LATENT)
    assert torch.equal(vae.decode(latents * vae.config.scaling_factor), vae.decoder(latents * 0.18215 / 0.18215))


def test_what_does_not_fit_is_refused(vae: DualReferenceAutoencoder) -> None:
    latents = torch.randn(1, 2, 4, *LATENT)
    with pytest.raises(ValueError, match="needs 4 references with batch 1"):
        vae.decode(latents, references(vae, 2))


def test_gradients_are_the_same_with_checkpointing() -> None:
    def gradients(checkpointed: bool) -> tuple[Tensor, list[Tensor]]:
        vae = build().train()
        if checkpointed:
            vae.enable_gradient_checkpointing()
        torch.manual_seed(3)
        _, hidden = vae.encode_features(torch.randn(2, 3, *SIZE))
        pairs = vae.references([h[:1] for h in hidden], [h[1:] for h in hidden])
        latents = torch.randn(1, 3, 4, *LATENT, requires_grad=True)
        decoded = vae.decode(latents, pairs)
        decoded.square().mean().backward()
        return decoded, [latents.grad, *(p.grad for p in vae.parameters() if p.grad is not None)]

    plain, checkpointed = gradients(False), gradients(True)
    assert torch.equal(plain[0], checkpointed[0])
    assert len(plain[1]) > 100
    assert all(torch.equal(a, b) for a, b in zip(plain[1], checkpointed[1], strict=True))


def test_saved_and_loaded(vae: DualReferenceAutoencoder, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path)
    loaded = DualReferenceAutoencoder.from_pretrained(tmp_path)
    latents = torch.randn(1, 2, 4, *LATENT)
    assert torch.equal(loaded.decode(latents), vae.eval().decode(latents))


def test_half_precision_runs(vae: DualReferenceAutoencoder) -> None:
    half = vae.to(torch.bfloat16)
    decoded = half.decode(torch.randn(1, 2, 4, *LATENT, dtype=torch.bfloat16), references(half, 1))
    assert decoded.dtype == torch.bfloat16
    assert decoded.isfinite().all()
