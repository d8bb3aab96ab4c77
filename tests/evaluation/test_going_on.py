"""Resuming an evaluation: allowed changes, refused changes, and recovery after a kill."""

import csv
import json
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_stubs import StubPipeline

from nakawari import files as whole_files
from nakawari.errors import NakawariError, UsageError
from nakawari.evaluation.contestants import Model
from nakawari.evaluation.floors import Floor, average
from nakawari.evaluation.folder import beside_others
from nakawari.evaluation.processes import share_of
from nakawari.evaluation.protocol import Protocol
from nakawari.evaluation.runner import evaluate

ONE_SEED = Protocol(name="tiny", metrics=("psnr",))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(folder, samples, models=None, protocol=ONE_SEED, floors=False):
    return evaluate(models or [Model("stub", StubPipeline())], samples, protocol, folder, floors=floors, cost=False)


def noisy(pipeline):
    with torch.no_grad():
        pipeline.denoiser.weight += 0.01
    return pipeline


def test_a_model_whose_weights_changed_is_refused(tmp_path, triplets):
    found = run(tmp_path / "out", triplets)
    identity = found["entries"][0]["identity"]
    assert set(identity["parts"]) == {"unet"} and len(identity["parts"]["unet"]) == 64
    with pytest.raises(UsageError, match=r"stub differs from the row in .*: the weights of unet changed"):
        run(tmp_path / "out", triplets, [Model("stub", noisy(StubPipeline()))])


def test_half_a_row_of_one_model_is_not_finished_by_another(tmp_path, triplets):
    pipeline = StubPipeline(bad=[3])
    with pytest.raises(NakawariError, match="failed on sample s3"):
        run(tmp_path / "out", triplets, [Model("stub", pipeline)])
    pipeline.bad = ()
    with pytest.raises(UsageError, match="the weights of unet changed"):
        run(tmp_path / "out", triplets, [Model("stub", noisy(pipeline))])


def test_a_second_variant_joins_the_table(tmp_path, triplets):
    first, second = StubPipeline(0.02), StubPipeline(0.2)
    run(tmp_path / "two", triplets, [Model("a", first)], floors=True)
    calls = first.calls
    joined = run(tmp_path / "two", triplets, [Model("b", second)], floors=True)
    assert [entry["name"] for entry in joined["entries"]][-2:] == ["a", "b"]
    assert joined["reference"] == "a" and first.calls == calls
    once = run(tmp_path / "once", triplets, [Model("a", first), Model("b", second)], floors=True)
    assert joined["paired"] == once["paired"]


def test_samples_can_be_added_and_not_taken_away(tmp_path, triplets):
    pipeline = StubPipeline()
    run(tmp_path / "grown", triplets[1:4], [Model("stub", pipeline)])
    run(tmp_path / "grown", triplets, [Model("stub", pipeline)])
    assert pipeline.calls == 6
    run(tmp_path / "whole", triplets, [Model("stub", pipeline)])
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")
    with pytest.raises(UsageError, match="can be added but not removed"):
        run(tmp_path / "grown", triplets[:3], [Model("stub", pipeline)])


def test_frames_of_sequences_have_a_table_of_their_own(tmp_path, triplets):
    """One line per true frame; a sample's score is the mean of its lines; unchanged after interruption and resuming."""
    pairs = zip(triplets[::2], triplets[1::2], strict=True)
    long = [replace(a, truth=(*a.truth, *b.truth), times=(1 / 3, 2 / 3)) for a, b in pairs]
    protocol = Protocol(name="tiny", metrics=("psnr", "flicker"), scored="all", num_frames=4)
    run(tmp_path / "out", long, protocol=protocol)
    lines = list(csv.DictReader((tmp_path / "out/stub/frames-0.csv").open()))
    assert [line["name"] for line in lines] == [f"{one.name}@{t}" for one in long for t in ("0.3333", "0.6667")]
    assert set(lines[0]) == {"name", "level", "psnr"}
    means = [float(line["psnr"]) for line in csv.DictReader((tmp_path / "out/stub/seed-0.csv").open())]
    each = np.array([float(line["psnr"]) for line in lines]).reshape(-1, 2)
    np.testing.assert_allclose(each.mean(1), means, atol=1e-6)
    with pytest.raises(NakawariError, match="failed on sample"):
        run(tmp_path / "cut", long, [Model("stub", StubPipeline(bad=[2]))], protocol)
    assert not (tmp_path / "cut/stub/frames-0.csv").exists()
    run(tmp_path / "cut", long, protocol=protocol)
    whole = contents(tmp_path / "out")
    assert {name: data for name, data in contents(tmp_path / "cut").items() if name in whole} == whole
    run(tmp_path / "short", triplets)
    assert not list((tmp_path / "short").rglob("frames-*.csv"))


def test_a_row_that_lacks_added_samples_says_so_and_has_no_mean(tmp_path, triplets):
    models = [Model("a", StubPipeline()), Model("b", StubPipeline())]
    run(tmp_path / "out", triplets[:3], models)
    found = run(tmp_path / "out", triplets, models[:1])
    assert [entry["status"] for entry in found["entries"]] == ["ok", "failed"]
    assert found["entries"][1]["failures"] == dict.fromkeys(["s3", "s4", "s5"], "not run")


@pytest.mark.parametrize("mended", [True, False], ids=["mended", "taken away"])
def test_one_broken_picture_does_not_lose_the_run(tmp_path, triplets, mended):
    picture = triplets[2].truth[0]
    sound = picture.read_bytes()
    picture.write_bytes(b"not a picture")
    pipeline = StubPipeline()
    with pytest.raises(NakawariError, match=r"1 of 6 samples are unreadable .*s2: .*frame2\.png"):
        run(tmp_path / "out", triplets, [Model("stub", pipeline)])
    found = json.loads((tmp_path / "out/aggregates.json").read_text())
    assert found["entries"][0]["results"]["tiny"]["psnr"]["all"]["count"] == 5
    assert list(found["record"]["unreadable"]) == ["s2"]
    picture.write_bytes(sound)
    rest = triplets if mended else [sample for sample in triplets if sample.name != "s2"]
    run(tmp_path / "out", rest, [Model("stub", pipeline)])
    assert pipeline.calls == len(rest)
    run(tmp_path / "whole", rest, [Model("stub", pipeline)])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_names_that_fold_to_one_are_told_apart(tmp_path, triplets):
    samples = [replace(triplets[1], name="a/b"), replace(triplets[5], name="a b"), replace(triplets[3], name="a_b")]
    rows = [Floor("x:y", average), Floor("x y", average)]
    found = run(tmp_path / "out", samples, rows)
    assert [entry["name"] for entry in found["entries"]] == ["x:y", "x y"]
    folders = [entry["folder"] for entry in found["entries"]]
    assert len(set(folders)) == 2
    for folder in ["reference", *(f"{folder}/seed-0" for folder in folders)]:
        kept = [path.read_bytes() for path in sorted((tmp_path / "out/frames" / folder).glob("*/t0.5000.png"))]
        assert len(kept) == 3 and len(set(kept)) == 3
    again = run(tmp_path / "out", samples, rows[::-1])
    assert again["entries"] == found["entries"]


def test_a_result_of_an_earlier_version_is_not_continued(tmp_path, triplets):
    run(tmp_path / "out", triplets)
    record = json.loads((tmp_path / "out/record.json").read_text())
    (tmp_path / "out/record.json").write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(UsageError, match="written by an earlier version"):
        run(tmp_path / "out", triplets)


def test_a_run_killed_between_any_two_files_goes_on_to_the_same_bytes(tmp_path, triplets, monkeypatch):
    samples, pipeline = triplets[:2], StubPipeline()
    models = [Model("a", pipeline), Model("b", pipeline, parent="a")]
    run(tmp_path / "whole", samples, models)
    replaced = whole_files._replace
    for kill_at in range(40):
        writes = 0

        def killed(temporary, path, kill_at=kill_at):
            nonlocal writes
            writes += 1
            if writes > kill_at:
                temporary.rename(path.with_name(f".{path.stem}.0badcafe{path.suffix}"))
                raise KeyboardInterrupt
            replaced(temporary, path)

        monkeypatch.setattr(whole_files, "_replace", killed)
        folder = tmp_path / f"cut{kill_at}"
        try:
            run(folder, samples, models)
            break
        except KeyboardInterrupt:
            monkeypatch.setattr(whole_files, "_replace", replaced)
            run(folder, samples, models)
            assert contents(folder) == contents(tmp_path / "whole"), kill_at
    assert kill_at > 15  # every file of a whole run was reached


WORK = """
import pickle, sys, time
sys.path.insert(0, sys.argv[3])
from evaluation_stubs import StubPipeline
from nakawari.evaluation import runner
from nakawari.evaluation.contestants import Model
samples, protocol = pickle.load(open(sys.argv[1], 'rb'))
runner.installed_peers = lambda *_: ()
print('ready', flush=True)
models = [Model('a', StubPipeline()), Model('b', StubPipeline(0.1), parent='a')]
runner.evaluate(models, samples, protocol, sys.argv[2], cost=False)
"""


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_the_same_bytes(tmp_path, triplets):
    (tmp_path / "job.pkl").write_bytes(pickle.dumps((triplets, ONE_SEED)))
    words = [sys.executable, "-c", WORK, str(tmp_path / "job.pkl")]
    tail = [str(Path(__file__).parent)]
    begun = time.perf_counter()
    subprocess.run([*words, str(tmp_path / "whole"), *tail], check=True)
    seconds = time.perf_counter() - begun
    random = np.random.default_rng(0)
    killed = 0
    for _ in range(10):
        with subprocess.Popen([*words, str(tmp_path / "cut"), *tail], stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.1 * seconds))
            process.kill()
        killed += process.returncode == -signal.SIGKILL
    subprocess.run([*words, str(tmp_path / "cut"), *tail], check=True)
    assert killed >= 5
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_shares_that_know_nothing_of_each_other_are_joined_to_the_same_bytes(tmp_path, triplets):
    def run(folder, share=None):
        models = [Model("stub", StubPipeline()), Model("other", StubPipeline(0.2))]
        words = None if share is None else share_of(share)
        return evaluate(models, triplets, ONE_SEED, tmp_path / folder, cost=False, share=words)

    run("whole")
    assert run("cut", "2/3") == {} and run("cut", "0/3") == {}
    parts = sorted(path.name for path in (tmp_path / "cut/stub").glob("*.csv"))
    assert parts == ["seed-0.part-0.csv", "seed-0.part-2.csv"] and not (tmp_path / "cut/aggregates.json").exists()
    with beside_others(tmp_path / "cut", 0), pytest.raises(UsageError, match="Another evaluation"):
        run("cut", "0/3")
    with beside_others(tmp_path / "cut", 0), pytest.raises(UsageError, match="Another evaluation"):
        run("cut")
    with beside_others(tmp_path / "cut", 0):
        run("cut", "1/3")
    calls = StubPipeline()
    evaluate([Model("stub", calls)], triplets, ONE_SEED, tmp_path / "cut", cost=False)
    assert calls.calls == 0  # all of it was there
    run("cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_share_that_fails_says_so_and_the_run_that_joins_tries_again(tmp_path, triplets):
    bad = Model("stub", StubPipeline(bad=(1,)))
    evaluate([bad], triplets, ONE_SEED, tmp_path, cost=False, share=share_of("0/2"))
    with pytest.raises(NakawariError, match=r"failed on 1 samples of this share, such as s1: "):
        evaluate([bad], triplets, ONE_SEED, tmp_path, cost=False, share=share_of("1/2"))
    found = evaluate([Model("stub", StubPipeline())], triplets, ONE_SEED, tmp_path, cost=False)
    assert found["entries"][-1]["status"] == "ok"
    for text in ("2/2", "1", "a/b", "-1/2"):
        with pytest.raises(UsageError, match="is not NUMBER/WORKERS"):
            share_of(text)
