"""What of sharded training one process can tell: what is refused, and how tensors are cut and put together."""

from __future__ import annotations

import pytest
import torch
import toy_training
from torch import distributed

import tiny_framer
from nakawari.errors import UsageError
from nakawari.quantization.precisions import quantize_layers, uniform
from nakawari.training import sharding
from nakawari.training.objectives import module_of
from nakawari.training.objectives.base import Objective
from nakawari.training.objectives.shardable import check_shardable
from nakawari.training.recipe import changed_keys
from tiny_models import mini_model, plain_model


def objective(pipeline, **keys) -> Objective:
    recipe = toy_training.recipe(objective=keys)
    return module_of(keys["kind"]).build(recipe.objective, pipeline, recipe)


def test_one_process_has_nobody_to_share_with(monkeypatch: pytest.MonkeyPatch):
    alone = toy_training.recipe()
    assert sharding.as_launched(alone) is alone
    with pytest.raises(UsageError, match=r"this is one: start them with .*fsdp\.yaml or with torchrun"):
        sharding.as_launched(toy_training.recipe(shard=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert sharding.as_launched(toy_training.recipe(shard=True)).shard
    with pytest.raises(UsageError, match=r"set optim\.mixed_precision to bf16"):
        sharding.as_launched(toy_training.recipe(shard=True, optim__mixed_precision="fp16"))


def test_a_launch_that_asks_for_it_shards(monkeypatch: pytest.MonkeyPatch):
    for name, value in (("ACCELERATE_USE_FSDP", "true"), ("FSDP_VERSION", "2"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert sharding.as_launched(toy_training.recipe()).shard


def test_denoisers_that_cannot_be_shared_are_refused():
    check_shardable(plain_model())
    check_shardable(tiny_framer.tiny())
    with pytest.raises(UsageError, match="mini is small"):
        check_shardable(mini_model())
    quantized = plain_model()
    quantize_layers(quantized.unet, uniform(quantized.unet, "int8"))
    with pytest.raises(UsageError, match=r"set objective\.base_dtype to bf16"):
        check_shardable(quantized)


def test_objectives_that_cannot_be_shared_are_refused():
    with pytest.raises(UsageError, match="autoencode cannot be sharded"):
        objective(plain_model(), kind="autoencode").network_to_shard()
    adapt = {"kind": "adapt", "lora": {"rank": 2, "target": "linear-and-convolution"}}
    model = plain_model()
    assert objective(model, **adapt).network_to_shard() is model.unet
    with pytest.raises(UsageError, match="leave the prior out"):
        objective(plain_model(), **adapt, prior={}).network_to_shard()


def test_a_run_may_go_on_sharded_that_was_not():
    assert not changed_keys(toy_training.recipe(), toy_training.recipe(shard=True))


@pytest.mark.parametrize("processes", [2, 3])
def test_slices_are_put_together_as_fully_shard_cuts_them(monkeypatch: pytest.MonkeyPatch, processes: int):
    """Along the first axis, into pieces as `torch.chunk` makes, some perhaps shorter, or empty."""
    monkeypatch.setattr(distributed, "get_world_size", lambda: processes)
    wholes = [torch.arange(5.0), torch.randn(1, 3), torch.randn(4, 2, 3), torch.randn(7, 1)]
    shapes, rows = [whole.shape for whole in wholes], []
    for rank in range(processes):
        slices = [sharding._slice(whole, rank) for whole in wholes]
        for whole, found in zip(wholes, slices, strict=True):
            chunks = whole.chunk(processes)
            assert torch.equal(found, chunks[rank] if rank < len(chunks) else whole[:0])
        rows.append(torch.cat([sharding._padded(*pair) for pair in zip(slices, shapes, strict=True)]))
    together = sharding._whole(torch.stack(rows), shapes)
    assert all(torch.equal(found, whole) for found, whole in zip(together, wholes, strict=True))


def test_parcels_are_of_one_type_and_not_too_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sharding, "_AT_ONCE", 16)
    sizes = [3, 1, 1, 9, 1]
    tensors = [torch.zeros(size) for size in sizes] + [torch.zeros(1, dtype=torch.bfloat16)]
    assert sharding._parcels(tensors) == [0, 2, 3, 4, 5, 6]
    assert sharding._parcels([]) == []
