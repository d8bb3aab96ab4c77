import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from nakawari.errors import NakawariError, UsageError
from nakawari.reporting.contents import quality
from nakawari.reporting.results import _shared, load_evidence, short_names
from reporting.conftest import NAMES, PROTOCOL, evaluated, recomputed


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_rows_levels_and_samples_are_read(kept):
    evidence = load_evidence([kept])
    roles = [row.entry.role for row in evidence.rows]
    assert roles == ["floor", "floor", "anchor", "anchor", "model", "model", "model"]
    assert [row.name for row in evidence.models] == list(NAMES)
    assert evidence.models[1].label == "stub+show/best@0.5"
    assert {name: list(members) for name, members in evidence.levels.items()} == {
        "all": [0, 1, 2, 3, 4, 5],
        "easy": [0, 2, 4],
        "hard": [1, 3, 5],
    }
    stub = evidence.by_name["stub"]
    lines = [(kept / f"stub/seed-{seed}.csv").read_text().splitlines()[1:] for seed in (0, 1)]
    values = np.array([[float(line.split(",")[2]) for line in seed] for seed in lines])
    np.testing.assert_array_equal(stub.samples.mean["psnr"], values.mean(0))
    np.testing.assert_array_equal(stub.samples.first["psnr"], values[0])
    assert evidence.reference == "stub"
    assert [metric.name for metric in evidence.headline] == ["psnr", "flicker"]


def test_two_results_become_one_table_with_the_same_differences(tmp_path, kept):
    first = evaluated(tmp_path / "a", NAMES[:1])
    second = evaluated(tmp_path / "b", NAMES[1:], cost=False)
    joined, whole = load_evidence([first, second]), load_evidence([kept])
    assert [row.name for row in joined.rows] == [row.name for row in whole.rows]

    def found(evidence):
        items = [item for item in evidence.differences_from("stub") if item.entry in NAMES]
        return {(item.entry, item.metric, item.level): item for item in items}

    assert found(joined) == found(whole) and len(found(whole)) == 12
    assert {item.against for item in joined.differences} == {"stub"}


def test_a_part_that_variants_share_stands_in_one_row(kept):
    """Two variants with one autoencoder share its row, found by either name; model rows are never merged."""
    evidence = load_evidence([kept])
    guide = next(row for row in evidence.rows if row.name == "stub: guide alone")
    other = replace(
        guide, entry=guide.entry.model_copy(update={"name": "small: guide alone"}), label="small: guide alone"
    )
    model = evidence.models[0]
    twin = replace(model, entry=model.entry.model_copy(update={"name": "copy"}), label="copy")
    rows = _shared([guide, other, model, twin])
    assert [row.label for row in rows] == ["stub, small: guide alone", "stub", "copy"]
    both = replace(evidence, rows=rows)
    assert both.by_name["small: guide alone"] is both.by_name["stub: guide alone"] is rows[0]
    values = {name: column + 1 for name, column in guide.samples.mean.items()}
    unlike = replace(other, samples=replace(other.samples, mean=values))
    assert len(_shared([guide, unlike])) == 2


def test_the_same_folder_twice_is_one_result(kept):
    assert len(load_evidence([kept, kept]).sources) == 1


def test_one_row_with_two_sets_of_numbers_is_refused(tmp_path, kept):
    other = evaluated(tmp_path, ("stub+runs/show/best@1",), cost=False, guide=False)
    edited = shutil.copytree(other, tmp_path / "edited")
    shutil.move(edited / "stub+runs_show_best@1", edited / "stub")
    text = (edited / "aggregates.json").read_text()
    (edited / "aggregates.json").write_text(text.replace("stub+runs_show_best@1", "stub").replace(NAMES[2], "stub"))
    recomputed(edited, lambda content: content["entries"][-1].update(parent=None))
    with pytest.raises(UsageError, match="different numbers for stub"):
        load_evidence([kept, edited])


def test_protocols_are_never_mixed(tmp_path, kept):
    other = evaluated(tmp_path, NAMES[:1], PROTOCOL.model_copy(update={"seeds": (0, 2)}), cost=False)
    with pytest.raises(UsageError, match=r"different protocols \(seeds: \[0, 1\] and \[0, 2\]\)"):
        load_evidence([kept, other])


def test_pictures_are_never_mixed(result, kept):
    edit(result / "aggregates.json", lambda content: content["record"].update(data="0" * 64))
    with pytest.raises(UsageError, match="different pictures under one name"):
        load_evidence([kept, result])


def test_samples_are_never_mixed(result, kept):
    for file in [*result.glob("*/seed-*.csv"), *result.glob("*/fidelity.csv")]:
        head, *lines = file.read_text().splitlines()
        file.write_text("\n".join([head, *lines[::-1]]) + "\n")
    recomputed(result, lambda content: content["record"]["samples"].reverse())
    with pytest.raises(UsageError, match="have different samples"):
        load_evidence([kept, result])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "stub/seed-1.csv").unlink(), r"stub/seed-1\.csv is missing"),
        (lambda folder: cut(folder / "stub/seed-1.csv", lambda text: text[:-40]), "not a complete record"),
        (lambda folder: cut(folder / "stub/seed-1.csv", lambda _: ""), "not a complete record"),
        (lambda folder: cut(folder / "stub/seed-1.csv", drop_last), "does not hold the 6 samples"),
        (lambda folder: cut(folder / "stub/seed-1.csv", lambda text: put(text, "nan")), "not finite"),
        (lambda folder: cut(folder / "stub/seed-1.csv", lambda text: put(text, "many")), "not a number"),
        (lambda folder: cut(folder / "stub/seed-1.csv", lambda text: put(text, "99.0")), "mean psnr of stub is not"),
        (lambda folder: (folder / "stub/seed-1.csv").write_bytes(b"\xff\xfe\x00"), "not a readable CSV"),
        (lambda folder: (folder / "aggregates.json").write_text("{"), "not a readable JSON"),
        (lambda folder: (folder / "aggregates.json").write_text("[]"), "not a record that this version reads"),
        (lambda folder: edit(folder / "aggregates.json", lambda c: c.update(format=3)), "this version reads"),
        (lambda folder: edit(folder / "aggregates.json", lambda c: c.update(entries=[])), "holds no rows"),
        (lambda folder: edit(folder / "aggregates.json", fail_all), "has no finished row"),
        (lambda folder: edit(folder / "aggregates.json", embellish), "difference of .* is not that of their samples"),
        (lambda folder: edit(folder / "aggregates.json", call_better), "difference of .* is not that of their samples"),
        (lambda folder: edit(folder / "aggregates.json", narrow), "mean psnr of copy of the nearest key is not that"),
        (lambda folder: edit(folder / "aggregates.json", speed_up), "cost of stub is not that"),
        (lambda folder: cut(folder / "stub+runs_show_best@1/fidelity.csv", lambda text: put(text, "99.0")), "fidelity"),
        (lambda folder: (folder / "aggregates.json").unlink(), "unfinished evaluation"),
        (lambda folder: [shutil.rmtree(folder), folder.mkdir()], "not a result of nakawari evaluate"),
        (shutil.rmtree, "not a result of nakawari evaluate"),
    ],
)
def test_broken_records_are_one_sentence(result, damage, message):
    damage(result)
    with pytest.raises(NakawariError, match=message) as caught:
        load_evidence([result])
    assert "\n" not in str(caught.value)


def test_verdicts_of_an_earlier_rule_are_made_anew(result):
    """A file of another rule version is valid, but its verdicts are recomputed."""
    wanted = load_evidence([result]).differences
    edit(result / "aggregates.json", lambda content: (content.pop("rule"), call_better(content)))
    assert load_evidence([result]).differences == wanted != ()
    edit(result / "aggregates.json", embellish)
    with pytest.raises(NakawariError, match="difference of"):
        load_evidence([result])


def as_earlier(content):
    """The same evaluation's record in format 1."""
    content["format"] = 1
    for name in ("format", "pictures", "unreadable", "left_out"):
        content["record"].pop(name)
    content["record"]["bootstrap"]["resamples"] = 2000
    for entry in content["entries"]:
        for name in ("folder", "identity", "made", "seen_in_training"):
            entry.pop(name)
    for item in content["paired"]:
        item.pop("p")
        item["better"] = {"better": True, "worse": False}.get(item.pop("verdict"))
        item["difference"].update(low=item["difference"]["low"] + 0.2)  # intervals were made otherwise
    for metric in content["metrics"]:
        metric.pop("matters")


def test_a_result_of_the_earlier_format_is_read_and_judged_anew(result, kept):
    edit(result / "aggregates.json", as_earlier)
    for file in [*result.glob("*/row.json"), *result.glob("*/fidelity.csv")]:
        file.unlink()
    old, new = load_evidence([result]), load_evidence([kept])
    assert old.differences == new.differences
    assert [row.entry.results for row in old.rows] == [row.entry.results for row in new.rows]
    assert [row.entry.fidelity for row in old.rows] == [row.entry.fidelity for row in new.rows]
    assert [row.frames.is_dir() for row in old.rows] == [True] * len(old.rows)
    shutil.rmtree(result / "frames")
    for file in result.glob("*/fidelity.csv"):
        file.unlink()
    assert all(row.entry.fidelity is None for row in load_evidence([result]).rows)
    edit(result / "aggregates.json", embellish)
    with pytest.raises(NakawariError, match="is not that of their samples"):
        load_evidence([result])


def test_one_name_for_two_models_is_refused(result, kept):
    def other_weights(content):
        next(entry for entry in content["entries"] if entry["name"] == "stub")["identity"]["parts"]["unet"] = "0" * 64

    edit(result / "aggregates.json", other_weights)
    with pytest.raises(UsageError, match=r"different models \(the weights of unet\) for stub"):
        load_evidence([kept, result])


def test_unlike_machines_commits_and_versions_are_said_in_the_caption(result):
    def elsewhere(content):
        made = content["entries"][-1]["made"][0]
        made["machine"]["cores"], made["git"], made["packages"]["torch"] = 96, "0" * 40, "1.0"

    edit(result / "aggregates.json", elsewhere)
    caption = quality(load_evidence([result])).caption
    assert "different versions: torch" in caption and "1.0" in caption
    assert "different commits:" in caption and "0000000000" in caption
    assert "different machines:" in caption and "96 cores" in caption


def cut(path, change):
    path.write_text(change(path.read_text()))


def drop_last(text):
    return "\n".join(text.splitlines()[:-1]) + "\n"


def put(text, word):
    head, first, *others = text.splitlines()
    name, level, _, *values = first.split(",")
    return "\n".join([head, ",".join([name, level, word, *values]), *others]) + "\n"


def embellish(content):
    """Shift all numbers of a headline equally, so that they stay consistent."""
    for item in content["paired"]:
        item["difference"] = {
            name: value + 1 if name in ("mean", "low", "high") else value for name, value in item["difference"].items()
        }


def call_better(content):
    content["paired"][0]["verdict"] = "better"


def narrow(content):
    item = content["entries"][0]["results"]["tiny"]["psnr"]["all"]
    item["low"] = item["mean"] - 0.01


def speed_up(content):
    next(entry for entry in content["entries"] if entry["name"] == "stub")["cost"]["ms_per_frame"]["median"] /= 2


def fail_all(content):
    for entry in content["entries"]:
        entry.update(status="failed", results={}, failures={"s0": "it broke"})


def test_no_folder_is_refused():
    with pytest.raises(UsageError, match="at least one result"):
        load_evidence([])


def test_short_names_stay_apart():
    names = ["mini", "mini+runs/a/best@0.5:fp16", "mini+runs/b/best@0.5:fp16", "/models/x/tc: autoencoder"]
    assert list(short_names(names).values()) == [
        "mini",
        "mini+a/best@0.5:fp16",
        "mini+b/best@0.5:fp16",
        "x/tc: autoencoder",
    ]
    deep = ["m+runs/1/show/best", "m+runs/2/show/best"]
    assert list(short_names(deep).values()) == ["m+1/show/best", "m+2/show/best"]
