import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from evaluation_stubs import StubPipeline

from nakawari.evaluation import load
from nakawari.evaluation.contestants import Model, Task
from nakawari.evaluation.efficiency import counted, measure, size_of
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate
from nakawari.quantization.layers import packed_layers, parameter_count
from nakawari.quantization.precisions import quantize_layers, uniform
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


def test_packed_weights_count_as_what_they_stand_for():
    network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Conv2d(8, 8, 3))
    whole = parameter_count(network)
    assert whole == 64 * 32 + 32 + 8 * 8 * 9 + 8
    for precision in ("int8", "int4"):
        again = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Conv2d(8, 8, 3))
        quantize_layers(again, uniform(again, precision))
        assert packed_layers(again)
        assert parameter_count(again) == whole


def test_the_peak_is_of_the_process_itself():
    held = np.ones(50_000_000)  # 400 MB in the process that starts the other
    words = [sys.executable, "-c", "from nakawari.evaluation.load import peak_rss; print(peak_rss())"]
    peak = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert 2_000_000 < peak < held.nbytes / 2


def test_load_is_what_others_use(monkeypatch):
    times = iter([(100.0, 5.0, 4), (103.0, 6.0, 4)])  # 3 s of processor time, of which 1 s is our own, on 4 cores
    clock = iter([0.0, 1.0])
    monkeypatch.setattr(load, "_busy", lambda: next(times))
    monkeypatch.setattr(load.time, "perf_counter", lambda: next(clock))
    with load.others() as share:
        pass
    assert share == [0.5]


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
