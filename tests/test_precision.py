"""Products in bfloat16 where a CPU has them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nakawari import precision
from nakawari.media import read_image, to_tensor
from nakawari.training import run
from nakawari.variants import MINI, load

CPU = torch.device("cpu")


class Network(nn.Linear):
    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype


def product(network: Network) -> torch.dtype:
    with precision.fast_products(network, CPU):
        return network(torch.ones(1, 2, dtype=network.dtype)).dtype


@pytest.mark.parametrize(("has", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_network_multiplies_in_bfloat16_where_the_cpu_does(monkeypatch, has: bool, wanted: torch.dtype) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: has)
    assert product(Network(2, 2)) is wanted
    assert product(Network(2, 2).double()) is torch.float64


def test_training_multiplies_in_float32_on_every_cpu(monkeypatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(run, "_train", lambda *_: product(Network(2, 2)))
    monkeypatch.setattr(run, "check_fits", lambda recipe: None)
    monkeypatch.setattr(run.sharding, "as_launched", lambda recipe: recipe)
    assert run.train_recipe(None, "unused") is torch.float32
    assert product(Network(2, 2)) is torch.bfloat16


def test_the_autocast_of_the_caller_stays(monkeypatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda has=has: has)
        with torch.autocast("cpu", torch.float16):
            assert product(Network(2, 2)) is torch.float16


def test_mini_draws_in_bfloat16_as_in_float32_but_for_single_levels(monkeypatch) -> None:
    keys = [to_tensor(read_image(MINI.parent / "examples" / f"key{number}.png")[None]) for number in (1, 2)]
    keys = [key[..., 64:224, 128:384] for key in keys]
    drawn = []
    for has in (True, False):
        monkeypatch.setattr(precision, "multiplies_bfloat16", lambda has=has: has)
        frames = load("mini").pipeline(*keys, num_frames=3, output_type="pt").frames[0, 1]
        drawn.append((frames * 255).round().int())
    off = (drawn[0] - drawn[1]).abs()
    assert 0 < off.float().mean() < 0.01
    assert off.max() <= 1
