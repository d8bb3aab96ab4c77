import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluation_stubs import StubPipeline, picture
from PIL import Image

from nakawari.errors import NakawariError, UsageError
from nakawari.evaluation import runner
from nakawari.evaluation.contestants import Model, sample_generator
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate
from nakawari.evaluation.samples import folder_name

# What `accelerate launch` does on several GPUs; asked for two processes on a CPU, it starts one.
IN_TWO_PROCESSES = (*(sys.executable, "-m", "torch.distributed.run"), *("--standalone", "--nproc_per_node", "2"))
ON_A_CPU = {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()
    }


def run(folder, triplets, protocol, models=None, **options):
    models = models or [Model("stub", StubPipeline())]
    return evaluate(models, triplets, protocol, folder, cost=False, **options)


def test_copies_and_windows_of_one_scene_are_no_further_witnesses(tmp_path, triplets, protocol):
    """Six scenes under two names each, and one that starts at another's end: verdicts count six films, not thirteen."""
    copies = []
    for sample in triplets:
        folder = shutil.copytree(sample.keys[0].parent, tmp_path / "data" / f"copy of {sample.name}")
        keys, truth = ([folder / path.name for path in paths] for paths in (sample.keys, sample.truth))
        copies.append(replace(sample, name=folder.name, keys=tuple(keys), truth=tuple(truth)))
    window = replace(triplets[1], name="window", keys=(triplets[1].keys[1], tmp_path / "data" / "end.png"))
    Image.fromarray(picture(9, 1)).save(window.keys[1])
    models = [Model("good", StubPipeline(0.02)), Model("bad", StubPipeline(0.2))]
    result = run(tmp_path / "out", [*triplets, *copies, window], protocol, models, floors=False)
    pair = next(p for p in result["paired"] if (p["entry"], p["metric"], p["level"]) == ("bad", "psnr", "all"))
    assert (pair["difference"]["films"], pair["losses"], pair["verdict"]) == (6, 13, "too few films")


def test_records_means_levels_and_pairs(tmp_path, triplets, protocol):
    models = [Model("good", StubPipeline(0.02)), Model("bad", StubPipeline(0.2), parent="good")]
    result = run(tmp_path / "out", triplets, protocol, models)
    rows = {entry["name"]: entry for entry in result["entries"]}
    assert list(rows) == ["copy of the nearest key", "average of the keys", "DIS flow, both ways", "good", "bad"]
    assert result["reference"] == "good"
    assert result["levels"] == {"all": 6, "easy": 3, "hard": 3}
    good, bad = (rows[name]["results"]["tiny"]["psnr"] for name in ("good", "bad"))
    assert good["all"]["mean"] > bad["all"]["mean"]
    assert good["all"]["mean"] == pytest.approx((good["easy"]["mean"] + good["hard"]["mean"]) / 2)
    assert rows["good"]["results"]["tiny"]["roi-psnr"]["all"]["count"] == 5
    pair = next(p for p in result["paired"] if (p["entry"], p["metric"], p["level"]) == ("bad", "psnr", "all"))
    assert (pair["losses"], pair["wins"], pair["verdict"]) == (6, 0, "too few films")
    assert rows["bad"]["fidelity"]["count"] == 6
    assert rows["bad"]["fidelity"]["mean"] < 40
    assert len(rows["copy of the nearest key"]["files"]["tiny"]) == 1
    assert len(rows["good"]["files"]["tiny"]) == 2
    csv = (tmp_path / "out/good/seed-0.csv").read_text().splitlines()
    assert csv[0] == "name,level,psnr,ssim,roi-psnr"
    assert csv[1].startswith("s0,easy,") and csv[1].endswith(",")
    assert [line.split(",")[0] for line in csv[1:]] == [f"s{i}" for i in range(6)]
    assert (tmp_path / "out/frames/good/seed-1/s3/t0.5000.png").is_file()
    assert (tmp_path / "out/frames/reference/s3/start.png").is_file()
    assert json.loads((tmp_path / "out/aggregates.json").read_text()) == result


def test_a_killed_run_continues_to_the_same_bytes(tmp_path, triplets, protocol, monkeypatch):
    run(tmp_path / "whole", triplets, protocol)
    pipeline = StubPipeline()
    original = runner.Run._score

    def killed(self, contestant, folder, group, seed, prepared, clip, records):
        if contestant.name == "stub" and seed == 1 and prepared.task.name == "s4":
            raise KeyboardInterrupt
        return original(self, contestant, folder, group, seed, prepared, clip, records)

    monkeypatch.setattr(runner.Run, "_score", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", triplets, protocol, [Model("stub", pipeline)])
    part = tmp_path / "cut/stub/seed-1.part-0.csv"
    part.write_text(part.read_text() + "s4,easy,12.345678,0.9,3")  # the kill came in the middle of a line
    monkeypatch.setattr(runner.Run, "_score", original)
    pipeline.calls = 0
    run(tmp_path / "cut", triplets, protocol, [Model("stub", pipeline)])
    assert pipeline.calls == 2
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_batch_size_and_order_change_nothing(tmp_path, triplets, protocol):
    run(tmp_path / "one", triplets, protocol)
    pipeline = StubPipeline(device="meta")  # anything but a CPU
    run(tmp_path / "four", triplets, protocol.model_copy(update={"batch_size": 4}), [Model("stub", pipeline)])
    assert pipeline.largest == 4
    one, four = files(tmp_path / "one"), files(tmp_path / "four")
    different = {name for name in one if one[name] != four[name]}
    assert different == {"protocol.yaml", "aggregates.json"}, different  # they say which batch size was asked for
    run(tmp_path / "reversed", triplets[::-1], protocol)
    lines = [(tmp_path / folder / "stub/seed-0.csv").read_text().splitlines() for folder in ("one", "reversed")]
    assert lines[0] != lines[1] and sorted(lines[0]) == sorted(lines[1])


def test_a_cpu_draws_one_clip_at_a_time(tmp_path, triplets, protocol):
    pipeline = StubPipeline()
    run(tmp_path / "out", triplets, protocol.model_copy(update={"batch_size": 4}), [Model("stub", pipeline)])
    assert pipeline.largest == 1


def test_two_processes_write_the_same_file_as_one(tmp_path, triplets, protocol):
    run(tmp_path / "one", triplets, protocol)
    script = tmp_path / "work.py"
    script.write_text(
        "import pickle, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from evaluation_stubs import StubPipeline\n"
        "from nakawari.evaluation.contestants import Model\n"
        "from nakawari.evaluation.processes import processes\n"
        "from nakawari.evaluation.runner import evaluate\n"
        "samples, protocol = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert processes().count == 2\n"
        "evaluate([Model('stub', StubPipeline())], samples, protocol, sys.argv[2], cost=False)\n"
    )
    import pickle

    (tmp_path / "job.pkl").write_bytes(pickle.dumps((triplets, protocol)))
    command = [*IN_TWO_PROCESSES, str(script), str(tmp_path / "job.pkl"), str(tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ON_A_CPU})
    assert done.returncode == 0, done.stderr[-9000:]
    assert files(tmp_path / "two") == files(tmp_path / "one")


@pytest.mark.slow
def test_mini_in_two_processes_and_in_batches_writes_the_same_files(tmp_path, triplets):
    for sample in triplets[:3]:
        sample.keys[0].parent.rename(tmp_path / sample.name)
    protocol = (
        "name: three\nwidth: 64\nheight: 48\nfit: stretch\nguided: both\nmetrics: [psnr, ssim, st-lpips, drift]\n"
    )
    words = ["-m", "nakawari", "evaluate", "mini", "--data", str(tmp_path), "--no-cost"]
    for name, lead, batch in (
        ("one", [sys.executable], 1),
        ("two", IN_TWO_PROCESSES, 1),
        ("four", [sys.executable], 4),
    ):
        (tmp_path / f"{name}.yaml").write_text(protocol + f"batch_size: {batch}\n")
        command = [*lead, *words, "--protocol", str(tmp_path / f"{name}.yaml"), "-o", str(tmp_path / "out" / name)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ON_A_CPU})
        assert done.returncode == 0, done.stderr[-9000:]
    one, two, four = (files(tmp_path / "out" / name) for name in ("one", "two", "four"))
    assert "mini/seed-0.csv" in one and f"{folder_name('mini (unguided)')}/seed-0.csv" in one
    assert two == one
    assert {name for name in one if one[name] != four[name]} == {"protocol.yaml", "aggregates.json"}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_sample_that_fails_is_named_and_gives_no_mean(tmp_path, triplets, protocol, batch_size):
    protocol = protocol.model_copy(update={"batch_size": batch_size})
    broken = [Model("sound", StubPipeline()), Model("stub", StubPipeline(bad=[3], poison=[4], device="meta"))]
    with pytest.raises(NakawariError, match="stub failed on sample s3: it broke; 2 failures"):
        run(tmp_path / "out", triplets, protocol, broken)
    result = json.loads((tmp_path / "out/aggregates.json").read_text())
    sound, stub = result["entries"][-2:]
    assert stub["status"] == "failed" and stub["results"] == {}
    assert set(stub["failures"]) == {"s3", "s4"} and "not finite" in stub["failures"]["s4"]
    assert sound["status"] == "ok" and sound["results"]["tiny"]["psnr"]["all"]["count"] == 6
    assert not (tmp_path / "out/stub/seed-0.csv").exists()
    mended = StubPipeline()
    run(tmp_path / "out", triplets, protocol, [Model("sound", StubPipeline()), Model("stub", mended)])
    assert mended.calls == 4
    run(tmp_path / "whole", triplets, protocol, [Model("sound", StubPipeline()), Model("stub", StubPipeline())])
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_broken_picture_is_a_failure_with_its_name(tmp_path, triplets, protocol):
    triplets[2].truth[0].write_bytes(b"not a picture")
    with pytest.raises(NakawariError, match=r"sample s2: .*frame2\.png"):
        run(tmp_path / "out", triplets, protocol)


def test_rows_share_frames_where_only_the_scoring_differs(tmp_path, triplets):
    pipeline = StubPipeline(0.1)
    protocol = Protocol(
        name="table",
        num_frames=4,
        scored="mid-pair",
        metrics=("psnr", "ssim"),
        rows=(
            Row(name="lower", note="n", change={"scored": "lower"}),
            Row(name="upper", note="n", change={"scored": "upper"}),
            Row(name="pooled", note="n", change={"pool": 4}),
            Row(name="dropped", note="n", change={"drop_worst": 0.2}),
            Row(name="more-steps", note="n", change={"steps": 9}),
        ),
    )
    result = run(tmp_path / "out", triplets, protocol, [Model("stub", pipeline)])
    assert pipeline.calls == 2 * 6
    results = result["entries"][-1]["results"]
    mean = {row: values["psnr"]["all"]["mean"] for row, values in results.items()}
    assert mean["table"] == pytest.approx((mean["lower"] + mean["upper"]) / 2)
    assert mean["lower"] != mean["upper"]
    assert mean["pooled"] < mean["table"] < mean["dropped"]
    assert results["dropped"]["psnr"]["all"]["count"] == 5
    assert list(result["entries"][0]["results"]) == ["table", "lower", "upper", "pooled", "dropped"]


def test_settings_reach_the_pipeline_and_unknown_ones_are_refused(tmp_path, triplets, protocol):
    pipeline = StubPipeline()
    asked = protocol.model_copy(update={"steps": 7, "guidance": 2.0})
    run(tmp_path / "a", triplets, asked, [Model("stub", pipeline, guided=False)])
    assert pipeline.settings == {"steps": 7, "guided": False, "prompt": ["c5"], "guidance": 2.0}
    with pytest.raises(UsageError, match="guidance_rescale"):
        run(tmp_path / "b", triplets, protocol.model_copy(update={"guidance_rescale": 0.7}))


def test_a_folder_holds_one_evaluation(tmp_path, triplets, protocol):
    run(tmp_path / "out", triplets, protocol)
    with pytest.raises(UsageError, match="another folder"):
        run(tmp_path / "out", triplets, protocol.model_copy(update={"steps": 9}))
    with pytest.raises(UsageError, match="another folder"):
        run(tmp_path / "out", triplets[:3], protocol)
    with pytest.raises(UsageError, match="two rows named stub"):
        run(tmp_path / "two", triplets, protocol, [Model("stub", StubPipeline()), Model("stub", StubPipeline())])
    with pytest.raises(UsageError, match="empty"):
        run(tmp_path / "none", [], protocol)


def test_the_record_names_pictures_films_and_resamples(tmp_path, triplets, protocol):
    films = ["x", "x", "x", "y", "y", ""]
    samples = [replace(sample, group=film) for sample, film in zip(triplets, films, strict=True)]
    result = run(tmp_path / "films", samples, protocol)
    plain = run(tmp_path / "plain", triplets, protocol)
    assert result["record"]["films"] == ["x", "x", "x", "y", "y", "s5"]
    assert result["record"]["bootstrap"] == {"resamples": 10_000, "level": 0.95}
    assert result["record"]["data"] == plain["record"]["data"] and len(result["record"]["data"]) == 64
    drawn, alone = (found["entries"][-1]["results"]["tiny"]["psnr"] for found in (result, plain))
    assert (drawn["all"]["films"], drawn["easy"]["films"], alone["all"]["films"]) == (3, 2, 6)
    assert drawn["all"]["mean"] == alone["all"]["mean"] and drawn["all"]["low"] != alone["all"]["low"]
    assert result["paired"][0]["difference"]["films"] == 3
    triplets[1].truth[0].write_bytes(triplets[2].truth[0].read_bytes())
    with pytest.raises(UsageError, match="have changed since"):
        run(tmp_path / "films", samples, protocol)


def test_every_row_that_draws_or_times_otherwise_has_a_cost_of_its_own(tmp_path, triplets):
    rows = (
        Row(name="unguided-cost", note="n", change={"cost_guidance": 1.0}),
        Row(name="more-steps", note="n", change={"steps": 9}),
        Row(name="pooled", note="n", change={"pool": 2}),
    )
    protocol = Protocol(name="table", guidance=7.5, metrics=("psnr",), rows=rows)
    pipeline = StubPipeline()
    entry = evaluate([Model("stub", pipeline)], triplets, protocol, tmp_path / "out", floors=False)["entries"][0]
    assert list(entry["costs"]) == ["unguided-cost", "more-steps"]
    settings = [(cost["guidance"], cost["network_evaluations"]) for cost in (entry["cost"], *entry["costs"].values())]
    assert settings == [(7.5, 4), (1.0, 4), (7.5, 9)]
    assert entry["results"]["unguided-cost"] == entry["results"]["table"]  # quality is measured with guidance
    calls = pipeline.calls
    again = evaluate([Model("stub", pipeline)], triplets, protocol, tmp_path / "out", floors=False)["entries"][0]
    assert pipeline.calls == calls and again == entry


def test_a_samples_stream_depends_on_seed_and_name_alone():
    draw = {key: torch.rand(1, generator=sample_generator(*key)).item() for key in [(0, "a"), (1, "a"), (0, "b")]}
    assert len(set(draw.values())) == 3
    assert draw[0, "a"] == torch.rand(1, generator=sample_generator(0, "a")).item()
