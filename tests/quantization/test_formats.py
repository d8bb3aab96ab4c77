"""Encoding and decoding of weights in few bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nakawari.quantization.formats import GROUP, PRECISIONS, decode, encode, layout, stored_bytes


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def back(weight: Tensor, precision: str) -> Tensor:
    tensors = encode(weight, precision)
    return decode(tensors["packed"], tensors.get("scale"), weight.shape, weight.dtype)


def relative_error(weight: Tensor, precision: str) -> float:
    return ((back(weight, precision) - weight).norm() / weight.norm()).item()


@pytest.mark.parametrize("shape", [(6, 5), (3, 40), (4, 3, 3, 3), (2, 8, 3, 1, 1), (5, 7, 1)])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_shape_and_size_are_as_said(shape: tuple[int, ...], precision: str):
    weight = random(*shape)
    assert back(weight, precision).shape == weight.shape
    tensors = encode(weight, precision)
    said = {name: (tuple(size), dtype) for name, (size, dtype) in layout(weight.shape, precision).items()}
    assert said == {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    assert stored_bytes(weight.shape, precision) == sum(tensor.nbytes for tensor in tensors.values())


def test_bits_per_weight():
    shape = torch.Size((64, 128, 3, 3))
    bits = {precision: stored_bytes(shape, precision) * 8 / shape.numel() for precision in PRECISIONS}
    channel = 32 / (128 * 9)
    assert bits == pytest.approx(
        {
            "fp32": 32,
            "fp16": 16,
            "bf16": 16,
            "int8": 8 + channel,
            "int8-dynamic": 8 + channel,
            "fp8": 8 + channel,
            "fp8-dynamic": 8 + channel,
            "int4": 4 + 16 / GROUP,
        }
    )


@pytest.mark.parametrize(
    ("precision", "bound"), [("fp32", 0), ("fp16", 3e-4), ("bf16", 3e-3), ("int8", 8e-3), ("fp8", 0.03), ("int4", 0.09)]
)
def test_error_of_normal_weights(precision: str, bound: float):
    assert relative_error(random(32, 16, 3, 3), precision) <= bound


def test_a_channel_of_zeros_and_one_of_great_weights_do_not_hurt_the_others():
    weight = random(4, 64)
    weight[1], weight[2] = 0, weight[2] * 1e4
    for precision in ("int8", "int4", "fp8"):
        assert torch.equal(back(weight, precision)[1], torch.zeros(64))
        assert ((back(weight, precision)[0] - weight[0]).norm() / weight[0].norm()).item() < 0.12


def test_int4_is_exact_on_its_own_grid():
    """All sixteen levels, for both signs of the largest weight."""
    levels = torch.arange(-8.0, 8).repeat(2)
    weight = torch.stack([levels * 0.5, levels * -0.25])
    assert torch.equal(back(weight, "int4"), weight)


def test_int8_rounds_to_the_nearest_step():
    weight = torch.tensor([[1.27, 0.014, -0.016, -1.27]])
    torch.testing.assert_close(back(weight, "int8"), torch.tensor([[1.27, 0.01, -0.02, -1.27]]))
