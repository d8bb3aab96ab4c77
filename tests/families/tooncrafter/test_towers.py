"""CLIP encoders: token ids, image preprocessing, names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel, CLIPVisionModel

from nakawari.errors import NakawariError
from nakawari.families import clip_images
from nakawari.families.tooncrafter import towers


class WordTokenizer:
    """A stub of the byte-pair tokenizer: one id per word."""

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, Any]:
        assert not add_special_tokens
        return {"input_ids": [len(word) for word in text.split(" ")]}


def test_empty_prompt_needs_no_tokenizer() -> None:
    tokens = towers.tokenize(None, ["", "  "])
    assert tokens.dtype == torch.long
    assert tokens.tolist() == [[49406, 49407] + [0] * 75] * 2


def test_words_without_a_tokenizer_are_refused() -> None:
    with pytest.raises(NakawariError, match=r"'a cat' needs a tokenizer"):
        towers.tokenize(None, ["A  cat"])


def test_words_stand_between_start_and_end() -> None:
    (row,) = towers.tokenize(WordTokenizer(), ["one three"]).tolist()
    assert row == [49406, 3, 5, 49407] + [0] * 73


@pytest.mark.parametrize("words", [75, 76, 200])
def test_long_prompts_are_cut_before_the_end_token(words: int) -> None:
    (row,) = towers.tokenize(WordTokenizer(), [" ".join(["ab"] * words)]).tolist()
    assert row == [49406] + [2] * 75 + [49407]


def test_prompts_are_cleaned_as_open_clip_does() -> None:
    assert towers.clean_prompt("  Ken &amp;amp; MARY\n\tran  ") == "ken & mary ran"
    assert towers.clean_prompt("schÃ¶n") == "schön"


def test_preprocessing_of_the_right_size_only_normalises() -> None:
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (clip_images.MEAN, clip_images.STD))
    expected = ((images + 1) / 2 - mean) / std
    torch.testing.assert_close(clip_images.preprocess_clip_images(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 448), (448, 224), (320, 512), (100, 300)])
def test_shrinking_blurs_both_axes_by_their_own_sigma(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, *size) * 2 - 1
    blurred = images.double()
    for axis, side in enumerate(size):
        sigma = max((side / 224 - 1) / 2, 0.001)
        half = max(int(4 * sigma), 3) // 2
        offsets = range(-half, half + 1)
        weights = torch.tensor([-(offset**2) / (2 * sigma**2) for offset in offsets], dtype=torch.float64).softmax(0)
        pad = (0, 0, half, half) if axis == 0 else (half, half, 0, 0)
        padded = F.pad(blurred, pad, mode="reflect")
        blurred = sum(w * padded.narrow(2 + axis, i, side) for i, w in enumerate(weights))
    expected = clip_images.preprocess_clip_images(
        F.interpolate(blurred.float(), 224, mode="bicubic", align_corners=True)
    )
    torch.testing.assert_close(clip_images.preprocess_clip_images(images), expected, rtol=0, atol=1e-5)


def test_padding_is_attended_to_causally() -> None:
    torch.manual_seed(0)
    model = CLIPTextModel(towers.text_config(width=16, layers=2, heads=2, vocab_size=50)).eval()
    tokens = torch.tensor([[5, 6] + [0] * 75])
    later = tokens.clone()
    later[0, 10] = 7
    with torch.no_grad():
        change = (towers.encode_text(model, later) - towers.encode_text(model, tokens))[0].abs().amax(-1)
    assert (change[:10] == 0).all()
    assert (change[11:] > 0).all()


def test_image_tower_gives_every_token_at_any_size() -> None:
    model = CLIPVisionModel(towers.vision_config(width=16, layers=1, heads=2)).eval()
    assert towers.encode_image(model, torch.rand(2, 3, 30, 50)).shape == (2, 257, 16)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("positional_embedding", ("embeddings.position_embedding.weight",)),
        ("ln_final.bias", ("final_layer_norm.bias",)),
        ("transformer.resblocks.7.ln_2.weight", ("encoder.layers.7.layer_norm2.weight",)),
        ("transformer.resblocks.11.mlp.c_proj.bias", ("encoder.layers.11.mlp.fc2.bias",)),
        (
            "transformer.resblocks.0.attn.in_proj_bias",
            tuple(f"encoder.layers.0.self_attn.{part}_proj.bias" for part in "qkv"),
        ),
        ("text_projection", ()),
        ("transformer.resblocks.0.attn.other.weight", ()),
    ],
)
def test_text_names(key: str, expected: tuple[str, ...]) -> None:
    assert towers.text_names(key) == expected


def test_joined_projections_are_cut_in_order() -> None:
    value = torch.arange(6).view(6, 1)
    parts = towers.named_parts(value, ["q", "k", "v"])
    assert {name: part.flatten().tolist() for name, part in parts.items()} == {"q": [0, 1], "k": [2, 3], "v": [4, 5]}
