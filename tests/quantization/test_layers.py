"""Packed layers against plain layers with the same rounded weights."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from nakawari.families.tooncrafter.attention import PointwiseConv
from nakawari.families.tooncrafter.blocks import TimeConv
from nakawari.quantization import kernels
from nakawari.quantization.layers import kind, pack, packable, packed_as
from nakawari.quantization.precisions import uniform
from tiny_models import mini_model

LAYERS = {
    "linear": (lambda: nn.Linear(24, 10), (2, 5, 24)),
    "no bias": (lambda: nn.Linear(24, 10, bias=False), (3, 24)),
    "conv": (lambda: nn.Conv2d(6, 9, 3, padding=1), (4, 6, 8, 7)),
    "strided": (lambda: nn.Conv2d(6, 9, 3, stride=2, padding=1), (4, 6, 8, 7)),
    "grouped": (lambda: nn.Conv2d(8, 8, 3, padding=(2, 1), dilation=(2, 1), groups=2), (2, 8, 8, 7)),
    "pointwise": (lambda: PointwiseConv(12, 6, 1), (2, 12, 5)),
    "1d": (lambda: nn.Conv1d(6, 9, 3, padding=1), (2, 6, 8)),
    "time": (lambda: TimeConv(6, 8, (3, 1, 1), padding=(1, 0, 0)), (2, 6, 4, 5, 3)),
}


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return make(), torch.randn(shape)


def rounded(layer: nn.Module, precision: str) -> nn.Module:
    """A plain layer with the unpacked weight of the packed one."""
    plain = deepcopy(layer)
    plain.weight.data = pack(layer, precision).weight
    return plain


def by_hand(layer: nn.Module, x: Tensor) -> Tensor:
    """Weights and activations rounded to 8 bits, then the plain layer in double precision."""
    axis = x.ndim - 1 if isinstance(layer, nn.Linear) else tuple(range(1, x.ndim))
    step = x.double().abs().amax(axis, keepdim=True) / 127
    return rounded(layer, "int8").double()((x.double() / step).round() * step).float()


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8", "int4"])
def test_weight_only(case: tuple[nn.Module, Tensor], precision: str):
    layer, x = case
    packed = pack(layer, precision)
    with torch.no_grad():
        torch.testing.assert_close(packed(x), rounded(layer, precision)(x), atol=1e-6, rtol=1e-6)
    assert isinstance(packed, type(layer)) and "weight" not in packed.state_dict()


@pytest.mark.parametrize("fast", [True, False])
def test_dynamic(case: tuple[nn.Module, Tensor], fast: bool, monkeypatch: pytest.MonkeyPatch):
    if fast and not kernels.has_fast_kernels():
        pytest.skip("this processor has no int8 products")
    monkeypatch.setattr(kernels, "has_fast_kernels", lambda: fast)
    layer, x = case
    packed = pack(layer, "int8-dynamic")
    with torch.no_grad():
        torch.testing.assert_close(packed(x), by_hand(layer, x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(packed(x[:1]), packed(x)[:1], atol=1e-6, rtol=0)
        assert packed(torch.zeros_like(x)).isfinite().all()
        assert packed(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["conv", "strided", "grouped", "1d", "time"])
def test_convolutions_of_whole_numbers_are_as_good_in_bfloat16(name: str, monkeypatch: pytest.MonkeyPatch):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    monkeypatch.setattr(kernels, "has_fast_kernels", lambda: False)
    monkeypatch.setattr(kernels, "_whole_numbers", lambda x: torch.bfloat16)
    bias = layer.bias.detach().reshape(-1, *[1] * (x.ndim - 2))
    with torch.no_grad():
        sums, exact = pack(layer, "int8-dynamic")(x) - bias, by_hand(layer, x) - bias
    # Half a unit in the last of the 8 places that a bfloat16 sum has.
    assert ((sums - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()


def test_gradients_pass_through_the_rounding(case: tuple[nn.Module, Tensor]):
    layer, x = case
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    packed, plain = pack(layer, "int8-dynamic"), rounded(layer, "int8")
    for module, value in zip((packed, plain), inputs, strict=True):
        module(value).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    with torch.no_grad():
        expected = packed(x)
    torch.testing.assert_close(packed(inputs[0]), expected)


def test_a_layer_without_an_integer_form_is_not_taken_for_one():
    assert not kernels.has_integer_form(nn.Conv3d(2, 2, 3, padding=1))
    assert not kernels.has_integer_form(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(ValueError, match="Conv3d cannot be packed as int8-dynamic"):
        pack(nn.Conv3d(2, 2, 3), "int8-dynamic")
    with pytest.raises(ValueError, match="cannot be packed"):
        pack(pack(nn.Linear(2, 2), "int8"), "int8")
    assert uniform(nn.ModuleDict({"a": nn.Conv3d(2, 2, 3), "b": nn.Linear(2, 2)}), "int8-dynamic") == {
        "a": "int8",
        "b": "int8-dynamic",
    }


def test_packing_is_undone_and_copies_stand_alone():
    denoiser = mini_model().unet
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    with packed_as(denoiser, uniform(denoiser, "int4")):
        copied = deepcopy(denoiser)
    after = denoiser.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert {layer.precision for layer in packable(copied).values()} == {"int4"}


def test_activations_follow_a_cast():
    packed = pack(nn.Linear(8, 8), "int4")
    assert packed.to(torch.bfloat16)(torch.ones(1, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_kinds():
    assert [kind(LAYERS[name][0]()) for name in ("linear", "conv", "time")] == ["linear", "conv", "temporal conv"]


def test_the_prepared_weight_is_the_only_copy_and_is_put_back(case: tuple[nn.Module, Tensor]):
    if not kernels.has_fast_kernels():
        pytest.skip("this processor has no int8 products")
    layer, x = case
    packed = pack(layer, "int8-dynamic")
    before = packed.packed.clone()
    with torch.no_grad():
        first = packed(x)
        assert packed.packed.is_mkldnn
        assert torch.equal(packed.weight, pack(layer, "int8").weight)
        for other in (deepcopy(packed), packed.to("cpu"), packed.requires_grad_(False)):
            assert torch.equal(other(x), first)
    assert torch.equal(packed.state_dict()["packed"], before) and not packed.packed.is_mkldnn
    packed.load_state_dict(packed.state_dict())
    with torch.no_grad():
        assert torch.equal(packed(x), first)


def test_a_clip_stays_channels_last_through_time():
    """Group norms beside convolutions are several times slower on a clip that is not channels last."""
    if not kernels.has_fast_kernels():
        pytest.skip("this processor has no int8 products")
    packed = pack(TimeConv(6, 8, (3, 1, 1), padding=(1, 0, 0)), "int8-dynamic")
    with torch.no_grad():
        assert packed(torch.randn(1, 6, 4, 5, 3)).is_contiguous(memory_format=torch.channels_last_3d)


def test_float8_products(monkeypatch: pytest.MonkeyPatch):
    """On CPUs where torch supports them; the products are for GPUs."""
    layer, x = nn.Linear(32, 16), torch.randn(2, 5, 32)
    packed = pack(layer, "fp8-dynamic")
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="float8 products need a GPU"):
            packed(x)
        monkeypatch.setattr(kernels, "multiplies_float8", lambda device: True)
        assert (packed(x) - layer(x)).norm() < 0.05 * layer(x).norm()
        assert torch.equal(packed(x[:1]), packed(x)[:1])
    assert uniform(nn.ModuleDict({"a": nn.Linear(32, 10), "b": nn.Linear(32, 16)}), "fp8-dynamic") == {
        "a": "fp8",
        "b": "fp8-dynamic",
    }
