import json

import numpy as np
import pytest
import torch
from evaluation_stubs import StubPipeline

from nakawari.evaluation.contestants import Model, Task
from nakawari.evaluation.efficiency import counted, measure, size_of
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate
from tiny_models import towered_model

TASK = Task("a", np.zeros((2, 32, 40, 3), np.uint8), np.zeros((1, 32, 40, 3), np.uint8), 5, (0.5,))


def test_cost_has_the_settings_of_the_quality_run():
    pipeline = StubPipeline()
    protocol = Protocol(name="p", num_frames=5, steps=6, guidance=3.0)
    cost = measure(Model("m", pipeline), TASK, protocol, warm_up=2, repeats=3)
    assert pipeline.calls == 5
    assert pipeline.settings["steps"] == 6
    assert cost["network_evaluations"] == 6
    assert (cost["frames_made"], cost["guidance"], cost["size"]) == (3, 3.0, [40, 32])
    assert 0 < cost["ms_per_frame"]["median"] <= cost["ms_per_frame"]["p95"]
    assert cost["ms_per_frame"]["median"] == pytest.approx(1000 * cost["seconds_per_clip"] / 3)
    assert cost["packages"]["torch"] == torch.__version__
    assert cost["memory"] is None
    json.dumps(cost, allow_nan=False)


def test_a_row_may_measure_cost_with_other_guidance():
    pipeline = StubPipeline()
    cost = measure(Model("m", pipeline), TASK, Protocol(name="p", guidance=7.5, cost_guidance=1.0), repeats=1)
    assert cost["guidance"] == pipeline.settings["guidance"] == 1.0


def test_evaluations_count_samples_not_calls():
    network = torch.nn.Conv2d(3, 3, 1)
    with counted(network) as count:
        network(torch.zeros(2, 3, 4, 4))
        network(input=torch.zeros(1, 3, 4, 4))
    network(torch.zeros(1, 3, 4, 4))
    assert count == [3]


def test_size_counts_parts():
    size = size_of(StubPipeline())
    assert size["parameters"] == size["denoiser_parameters"] == 12
    assert size["bytes"] == size["parts"]["unet"]["bytes"] == 48


def test_a_row_shows_the_cost_without_guidance_beside_the_quality_with_it(tmp_path, triplets):
    rows = (Row(name="cost-without-guidance", note="n", change={"cost_guidance": 1.0}),)
    protocol = Protocol(name="table", guidance=3.0, steps=2, metrics=("psnr",), captions=False, rows=rows)
    model = Model("tiny", towered_model(projector=8))
    entry = evaluate([model], triplets[:1], protocol, tmp_path / "out", floors=False)["entries"][0]
    without = entry["costs"]["cost-without-guidance"]
    assert (entry["cost"]["network_evaluations"], without["network_evaluations"]) == (4, 2)
    assert (entry["cost"]["guidance"], without["guidance"]) == (3.0, 1.0)
    assert entry["results"]["cost-without-guidance"] == entry["results"]["table"]
    unguided = protocol.model_copy(update={"guidance": 1.0, "rows": ()})
    quality = evaluate([model], triplets[:1], unguided, tmp_path / "plain", floors=False)["entries"][0]["results"]
    assert quality["table"] != entry["results"]["table"]  # guidance does change this model's pictures
