"""The description of a variant, compared with counts from torch."""

from __future__ import annotations

import pytest
import torch
from oracle import TINY
from peft import LoraConfig

from nakawari import families
from nakawari.diagnosis.variant import describe


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    return families.build(TINY)


def test_parts_and_precisions(pipeline):
    pipeline.vae.to(torch.float16)
    record = describe(pipeline, "tiny").to_json()
    parts = {part["name"]: part for part in record["parts"]}
    assert set(parts) == {"unet", "vae"}
    count = {name: sum(p.numel() for p in getattr(pipeline, name).parameters()) for name in parts}
    assert {name: part["parameters"] for name, part in parts.items()} == count
    assert parts["vae"]["dtypes"] == {"float16": count["vae"]}
    assert parts["unet"]["bytes"] == 4 * count["unet"] and parts["vae"]["bytes"] == 2 * count["vae"]
    assert record["adapters"] == [] and record["parameters"] == sum(count.values())


def test_adapter_norms_are_those_of_the_weights_that_change(pipeline):
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    whole = sum(p.numel() for p in pipeline.unet.parameters())
    config = LoraConfig(r=2, lora_alpha=6, target_modules=r".*to_(q|k)$", init_lora_weights=False)
    pipeline.unet.add_adapter(config, "show")
    report = describe(pipeline).adapters[0]
    unet = next(part for part in describe(pipeline).parts if part.name == "unet")
    assert unet.parameters == whole
    assert (report.name, report.active, report.ranks, report.scale) == ("show", True, [2], [3.0])
    assert report.parameters == sum(p.numel() for n, p in pipeline.unet.named_parameters() if "lora_" in n)
    pipeline.unet.fuse_lora()
    after = {name.replace(".base_layer", ""): value for name, value in pipeline.unet.state_dict().items()}
    changes = {name: (after[name] - before[name]).double().norm().item() for name in before}
    moved = {name: change for name, change in changes.items() if change > 0}
    assert report.layers == len(moved)
    assert report.norm == pytest.approx(sum(change**2 for change in moved.values()) ** 0.5, rel=1e-5)
    ratios = {name: change / before[name].double().norm().item() for name, change in moved.items()}
    assert report.relative_max == pytest.approx(max(ratios.values()), rel=1e-5)
    assert report.relative_mean == pytest.approx(sum(ratios.values()) / len(ratios), rel=1e-5)
    assert report.largest == max(ratios, key=ratios.get).removesuffix(".weight")


def test_an_adapter_at_scale_and_switched_off(pipeline):
    config = LoraConfig(r=2, lora_alpha=2, target_modules=r".*to_q$", init_lora_weights=False)
    pipeline.unet.add_adapter(config, "show")
    full = describe(pipeline).adapters[0]
    pipeline.unet.set_adapters(["show"], [0.5])
    half = describe(pipeline).adapters[0]
    assert (half.scale, half.norm) == ([0.5], pytest.approx(full.norm / 2))
    pipeline.unet.disable_adapters()
    assert not describe(pipeline).adapters[0].active
