"""Shared code of the Framer UNet and its ControlNet: embeddings, encoder half, order of the temporal context.

The blocks are those of diffusers, except for one thing. The temporal layers of Framer cross-attend to the
image tokens, one row per latent position. The released weights are sampled with an implementation (diffusers up to
0.27) that gives row `p` the tokens of batch element `p mod B`: under classifier-free guidance the two branches read
each other's tokens, column by column. `temporal_context="interleaved"` keeps that order, `"blocked"` gives every row
the tokens of its own element, the intended order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from diffusers.models.attention import TemporalBasicTransformerBlock
from torch import Tensor, nn

TemporalContext = Literal["interleaved", "blocked"]


def context_rows(batch: int, positions: int, branches: int, device: torch.device | str = "cpu") -> Tensor:
    """The batch element whose tokens each temporal row reads; (batch * positions,) int64.

    A batch is `branches` guidance branches of `batch / branches` samples each, branch-major; rows are batch-major.
    Tokens alternate between the branches of *one* sample, so samples are independent: `branches=1` is the
    blocked order, `branches=batch` the order of the reference.
    """
    samples = batch // branches
    branch = torch.arange(branches, device=device).reshape(-1, 1, 1)
    sample = torch.arange(samples, device=device).reshape(1, -1, 1)
    position = torch.arange(positions, device=device).reshape(1, 1, -1)
    return (((branch * positions + position) % branches) * samples + sample).reshape(-1)


class ContextOrder:
    """Number of guidance branches in the current batch; shared by the temporal blocks of one model."""

    def __init__(self) -> None:
        self.branches = 1


class OrderedTemporalBlock(TemporalBasicTransformerBlock):
    """A temporal block that reads the tokens in the order of its model."""

    order: ContextOrder

    def forward(self, hidden_states: Tensor, num_frames: int, encoder_hidden_states: Tensor | None = None) -> Tensor:
        """As the parent: `hidden_states` (B*F, S, C), `encoder_hidden_states` (B*S, T, D) in blocked order."""
        branches = self.order.branches
        if encoder_hidden_states is not None and branches > 1:
            positions = hidden_states.shape[1]
            batch = hidden_states.shape[0] // num_frames
            rows = context_rows(batch, positions, branches, encoder_hidden_states.device) * positions
            encoder_hidden_states = encoder_hidden_states[rows]
        return super().forward(hidden_states, num_frames, encoder_hidden_states)


def order_temporal_blocks(model: nn.Module) -> ContextOrder:
    """Make every temporal block of `model` an `OrderedTemporalBlock`; weights and names are unchanged."""
    order = ContextOrder()
    for module in model.modules():
        if type(module) is TemporalBasicTransformerBlock:
            module.__class__ = OrderedTemporalBlock
            module.order = order
    return order


def set_norm_groups(model: nn.Module, groups: int) -> None:
    """Set the number of groups of every group norm of `model`; weights and names are unchanged."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            module.num_groups = groups


def per_level(value: int | Sequence[int], levels: int, name: str) -> tuple[int, ...]:
    """One number per level, from a single number or a list or tuple. Raises `ValueError` for a wrong length."""
    if isinstance(value, int):
        return (value,) * levels
    if len(value) != levels:
        raise ValueError(f"{name} has {len(value)} entries for {levels} levels; give one number, or one per level")
    return tuple(value)


def check_temporal_context(value: str) -> None:
    """Raise `ValueError` unless `value` is a `TemporalContext`."""
    if value not in get_args(TemporalContext):
        allowed = " or ".join(get_args(TemporalContext))
        raise ValueError(f"temporal_context is {value!r}; it must be {allowed}")


class EncoderHalf:
    """Conditioning and encoder of a Stable Video Diffusion UNet, for a module with its parts under the same names."""

    context_order: ContextOrder

    def _set_branches(self, batch: int, branches: int | None) -> None:
        branches = batch if branches is None else branches
        if batch % branches:
            raise ValueError(f"a batch of {batch} cannot hold {branches} guidance branches of equal size")
        self.context_order.branches = branches if self.config.temporal_context == "interleaved" else 1

    def _embed(self, sample: Tensor, timestep: Tensor | float, added_time_ids: Tensor) -> Tensor:
        """Time and micro-conditioning as one embedding per frame, (B*F, D)."""
        batch, frames = sample.shape[:2]
        time = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(batch)
        embedding = self.time_embedding(self.time_proj(time).to(sample.dtype))
        ids = self.add_time_proj(added_time_ids.flatten()).reshape(batch, -1)
        embedding = embedding + self.add_embedding(ids.to(embedding.dtype))
        return embedding.repeat_interleave(frames, dim=0)

    def _encode(self, hidden: Tensor, embedding: Tensor, tokens: Tensor, still: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Down path: the deepest features (B*F, C, h', w') and all skips, that of `conv_in` first."""
        skips = [hidden]
        for block in self.down_blocks:
            context = {"encoder_hidden_states": tokens} if getattr(block, "has_cross_attention", False) else {}
            hidden, more = block(hidden_states=hidden, temb=embedding, image_only_indicator=still, **context)
            skips.extend(more)
        return hidden, skips

    def _middle(self, hidden: Tensor, embedding: Tensor, tokens: Tensor, still: Tensor) -> Tensor:
        return self.mid_block(
            hidden_states=hidden, temb=embedding, encoder_hidden_states=tokens, image_only_indicator=still
        )


def check_divisible(sample: Tensor, levels: int) -> None:
    """Check that latents halve evenly at every level."""
    multiple = 2 ** (levels - 1)
    if sample.shape[-2] % multiple or sample.shape[-1] % multiple:
        raise ValueError(f"latents of {tuple(sample.shape[-2:])} are not divisible by {multiple}; pad the frames first")
