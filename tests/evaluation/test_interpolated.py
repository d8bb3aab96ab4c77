"""Rows drawn as by `nakawari interpolate`, and rows of the plain model call."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from evaluation_stubs import StubPipeline

from crossfade import CrossFade
from nakawari.errors import UsageError
from nakawari.evaluation.contestants import Interpolated, Model, Task
from nakawari.evaluation.protocol import Protocol, load_protocol
from nakawari.evaluation.runner import contestants, evaluate


def square(left: int) -> np.ndarray:
    board = np.full((64, 96, 3), (140, 198, 238), np.uint8)
    board[20:44, left : left + 24] = (220, 50, 60)
    return board


def test_a_row_is_what_interpolate_draws_or_what_the_model_gives():
    task = Task("square", np.stack([square(8), square(56)]), square(32)[None], 3, (0.5,))
    protocol = Protocol(name="cels")
    shipped = Interpolated("a", CrossFade()).draw([task], protocol, 0)[0]
    network = Model("b", CrossFade()).draw([task], protocol, 0)[0]
    assert np.array_equal(shipped[1], square(32))
    assert not np.array_equal(network[1], square(32))
    assert np.array_equal(shipped[[0, 2]], task.keys)


def test_protocols_say_which_way_and_both_are_two_rows():
    def names(drawing: str) -> list[tuple[str, str | None]]:
        protocol = Protocol(name="ways", guided="both", drawing=drawing)
        rows = contestants(["mini"], protocol, floors=False)
        return [(row.name, row.drawing) for row in rows]

    assert names("network") == [("mini", None), ("mini (unguided)", None)]
    assert names("interpolate") == [("mini", "interpolate"), ("mini (unguided)", None)]
    assert names("both") == [("mini", "interpolate"), ("mini (network)", None), ("mini (unguided)", None)]
    assert load_protocol("quick").drawing == load_protocol("atd12k").drawing == "interpolate"


class Passed(StubPipeline):
    """A stub that `interpolate` can call."""

    config = CrossFade().config


def test_a_row_of_one_way_does_not_go_on_in_the_other(tmp_path, triplets):
    protocol = Protocol(name="tiny", metrics=("psnr",))
    words = {"floors": False, "cost": False}
    evaluate([Model("stub", Passed())], triplets, protocol, tmp_path / "out", **words)
    with pytest.raises(UsageError, match="the drawing method changed"):
        evaluate([Interpolated("stub", Passed())], triplets, protocol, tmp_path / "out", **words)
    evaluate([Interpolated("stub", Passed())], triplets, protocol, tmp_path / "other", **words)
    made = [json.loads((tmp_path / name / "stub/row.json").read_text())["identity"] for name in ("out", "other")]
    assert [one["drawing"] for one in made] == [None, "interpolate"]


def test_a_folder_of_an_earlier_revision_goes_on_as_the_network_that_it_was(tmp_path, triplets):
    protocol, out = Protocol(name="tiny", metrics=("psnr",)), tmp_path / "out"
    evaluate([Model("stub", StubPipeline())], triplets[:3], protocol, out, floors=False, cost=False)
    kept = yaml.safe_load((out / "protocol.yaml").read_text())
    del kept["drawing"]
    (out / "protocol.yaml").write_text(yaml.safe_dump(kept))
    row = json.loads((out / "stub/row.json").read_text())
    del row["identity"]["drawing"]
    (out / "stub/row.json").write_text(json.dumps(row))
    result = evaluate([Model("stub", StubPipeline())], triplets, protocol, out, floors=False, cost=False)
    assert result["entries"][0]["results"]["tiny"]["psnr"]["all"]["count"] == 6


def test_how_sure_a_row_is_of_its_frames_is_a_column_without_verdicts(tmp_path, write_triplet):
    protocol = Protocol(name="sure", metrics=("confidence", "psnr"), keep_frames=False)
    samples = [write_triplet(number) for number in range(20)]
    models = [Model("good", StubPipeline(0.0)), Model("bad", StubPipeline(0.4))]
    found = evaluate(models, samples, protocol, tmp_path / "out", floors=False, cost=False)
    good, bad = (entry["results"]["sure"]["confidence"]["all"]["mean"] for entry in found["entries"])
    assert 0 <= bad < good <= 1
    verdicts = {item["metric"]: item["verdict"] for item in found["paired"] if item["level"] == "all"}
    assert verdicts == {"confidence": None, "psnr": "worse"}
