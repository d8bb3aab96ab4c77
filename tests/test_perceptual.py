import sys
from types import SimpleNamespace

import pytest
import torch

from nakawari import perceptual
from nakawari.errors import NakawariError, UsageError
from nakawari.perceptual import load_perceptual

# What the authors' package (stlpips-pytorch 0.0.2, alex, shift_tolerant, float32 weights) answers for `_images`.
SHIFTED, INVERTED = 0.02409031, 0.39979941


@pytest.fixture(scope="module")
def metric():
    return load_perceptual()


def _images():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
    image = torch.stack([torch.sin(6 * x), torch.cos(5 * y), torch.sin(4 * x * y)])[None]
    return image, image.roll(3, -1), torch.where(x**2 + y**2 < 0.3, -image, image)


def test_the_values_of_the_authors_package(metric):
    image, shifted, inverted = _images()
    assert metric(image, shifted).item() == pytest.approx(SHIFTED, rel=1e-3)
    assert metric(image, inverted).item() == pytest.approx(INVERTED, rel=1e-3)


def test_identity_symmetry_and_one_value_per_sample(metric):
    image, shifted, inverted = _images()
    assert metric(image, image).item() == 0
    pair = metric(torch.cat([image, image]), torch.cat([shifted, inverted]))
    assert pair.shape == (2,)
    assert pair[1] > pair[0] > 0
    torch.testing.assert_close(metric(shifted, image), metric(image, shifted))


def test_the_gradient_is_finite_even_where_features_are_flat(metric):
    flat = torch.zeros(1, 3, 32, 32, requires_grad=True)
    metric(flat, torch.ones(1, 3, 32, 32)).sum().backward()
    assert flat.grad.isfinite().all()
    assert flat.grad.abs().max() > 0
    silent = load_perceptual()
    silent.convs[4].bias.fill_(-1e4)  # no channel of the last map answers anywhere
    dark = torch.zeros(1, 3, 32, 32, requires_grad=True)
    silent(dark, torch.ones(1, 3, 32, 32)).sum().backward()
    assert dark.grad.isfinite().all()
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_kept_features_give_the_same_distance(metric):
    image, shifted, _ = _images()
    torch.testing.assert_close(
        metric.distance(metric.features(image), metric.features(shifted)), metric(image, shifted), rtol=0, atol=0
    )


def test_half_precision_input_is_computed_in_float32(metric):
    image, shifted, _ = _images()
    with torch.autocast("cpu", torch.bfloat16):
        assert metric(image, shifted).dtype == torch.float32
        torch.testing.assert_close(metric(image, shifted), metric(image, shifted))


def test_errors_name_the_thing(metric, monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="st-lpips"):
        load_perceptual("vgg")
    with pytest.raises(NakawariError, match="16x64"):
        metric(torch.zeros(1, 3, 64, 16), torch.zeros(1, 3, 64, 16))
    perceptual._weights.cache_clear()
    monkeypatch.setattr(perceptual, "WEIGHTS", tmp_path / "absent.safetensors")
    with pytest.raises(NakawariError, match=r"absent\.safetensors"):
        load_perceptual()


@pytest.mark.parametrize("kind", ["lpips-vgg", "lpips-alex"])
def test_canonical_lpips_stands_behind_the_same_call_where_it_is_installed(monkeypatch, kind):
    class Fake(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            self.net = net

        def forward(self, x, y):
            return (x - y).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Fake))
    found = load_perceptual(kind)
    assert found.distance.net == kind.removeprefix("lpips-") and not found.training
    assert found(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8)).tolist() == [1.0, 1.0]
    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=_without_network))
    with pytest.raises(UsageError, match=r"could not download its .* use the bundled st-lpips"):
        load_perceptual(kind)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(UsageError, match="install them, or use the bundled st-lpips"):
        load_perceptual(kind)


def _without_network(net, verbose):
    raise OSError("no route to host")
