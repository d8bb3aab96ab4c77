"""The text and image encoders: OpenCLIP ViT-H/14, run by the CLIP models of transformers.

ToonCrafter (Xing et al. 2024) uses the text after the second-to-last block and the final norm, and the image after
the last block without its final norm. Both are `last_hidden_state` of the models configured here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from ...errors import NakawariError
from ..clip_images import IMAGE_SIZE, preprocess_clip_images

START_TOKEN = 49406
END_TOKEN = 49407
PAD_TOKEN = 0
CONTEXT_LENGTH = 77


def text_config(
    *,
    width: int = 1024,
    layers: int = 23,
    heads: int = 16,
    vocab_size: int = 49408,
    context_length: int = CONTEXT_LENGTH,
) -> CLIPTextConfig:
    """The text encoder as used by ToonCrafter; `layers`: number of blocks that run, one fewer than in OpenCLIP."""
    return CLIPTextConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context_length,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        pad_token_id=PAD_TOKEN,
        bos_token_id=START_TOKEN,
        eos_token_id=END_TOKEN,
    )


def vision_config(
    *, width: int = 1280, layers: int = 32, heads: int = 16, patch_size: int = 14, image_size: int = IMAGE_SIZE
) -> CLIPVisionConfig:
    """The image encoder as used by ToonCrafter: all blocks."""
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        patch_size=patch_size,
        image_size=image_size,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
    )


def encode_text(model: CLIPTextModel, tokens: Tensor) -> Tensor:
    """Token ids (B, 77) -> text tokens (B, 77, D), on the ids' device. Padding is attended to, causally, as in the
    reference."""
    return model(input_ids=tokens).last_hidden_state


def encode_image(model: CLIPVisionModel, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], any size -> image tokens (B, 257, D), the class token first."""
    pixels = preprocess_clip_images(images).to(dtype=model.dtype)
    return model(pixel_values=pixels).last_hidden_state


def clean_prompt(prompt: str) -> str:
    """A prompt cleaned as by OpenCLIP: repaired characters, unescaped HTML, single spaces, lower case."""
    import ftfy

    text = html.unescape(html.unescape(ftfy.fix_text(prompt))).strip()
    return re.sub(r"\s+", " ", text).strip().lower()


def tokenize(tokenizer: Any | None, prompts: Sequence[str]) -> Tensor:
    """Prompts -> token ids (B, 77), long: start, words, end, then zeros; long prompts are truncated before the end
    token.

    Args:
        tokenizer: a CLIP byte-pair tokenizer such as transformers' `CLIPTokenizer`; None suffices for empty prompts.

    Raises:
        NakawariError: a non-empty prompt without a tokenizer.
    """
    rows = torch.full((len(prompts), CONTEXT_LENGTH), PAD_TOKEN, dtype=torch.long)
    for row, prompt in zip(rows, prompts, strict=True):
        ids = [START_TOKEN, *_word_ids(tokenizer, clean_prompt(prompt))[: CONTEXT_LENGTH - 2], END_TOKEN]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def _word_ids(tokenizer: Any | None, text: str) -> list[int]:
    if not text:
        return []
    if tokenizer is None:
        raise NakawariError(
            f"The prompt {text[:40]!r} needs a tokenizer, and this model has none; add CLIP's with "
            "`nakawari convert --tokenizer FOLDER`, or leave the prompt empty."
        )
    return tokenizer(text, add_special_tokens=False)["input_ids"]


_BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TEXT_NAMES = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_VISION_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)$")
_JOINED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")


def text_names(key: str) -> tuple[str, ...]:
    """The transformers names of one OpenCLIP text tensor, given below `model.`; () if the encoder does not use it.

    Three names mean that the tensor is split into equal thirds along its first axis. Names are those inside the text
    transformer; `tower_prefix` is their prefix in a state dict.
    """
    return _names(key, _TEXT_NAMES)


def vision_names(key: str) -> tuple[str, ...]:
    """As `text_names`, for the image encoder, given below `model.visual.`."""
    return _names(key, _VISION_NAMES)


def text_keys(blocks: int) -> list[str]:
    """The OpenCLIP names, below `model.`, of all tensors of a text encoder with `blocks` running blocks."""
    return [*_TEXT_NAMES, *_block_keys(blocks)]


def vision_keys(blocks: int) -> list[str]:
    """As `text_keys`, for the image encoder, below `model.visual.`."""
    return [*_VISION_NAMES, *_block_keys(blocks)]


def _block_keys(blocks: int) -> list[str]:
    inside = [f"{name}.{kind}" for name in _BLOCK_NAMES for kind in ("weight", "bias")]
    inside += [f"attn.in_proj_{kind}" for kind in ("weight", "bias")]
    return [f"transformer.resblocks.{index}.{name}" for index in range(blocks) for name in inside]


def _names(key: str, table: Mapping[str, str]) -> tuple[str, ...]:
    if key in table:
        return (table[key],)
    if match := _JOINED.fullmatch(key):
        index, kind = match.groups()
        return tuple(f"encoder.layers.{index}.self_attn.{part}_proj.{kind}" for part in "qkv")
    if (match := _BLOCK.fullmatch(key)) and match[2] in _BLOCK_NAMES:
        return (f"encoder.layers.{match[1]}.{_BLOCK_NAMES[match[2]]}.{match[3]}",)
    return ()


def named_parts(value: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """One OpenCLIP tensor under its transformers names: whole, or split along its first axis; views, not copies."""
    return dict(zip(names, value.chunk(len(names)) if len(names) > 1 else (value,), strict=False))


def tower_prefix(model: CLIPTextModel | CLIPVisionModel) -> str:
    """The prefix of the installed transformers before the names of `text_names` and `vision_names`."""
    return next((f"{name}." for name in ("text_model", "vision_model") if hasattr(model, name)), "")
