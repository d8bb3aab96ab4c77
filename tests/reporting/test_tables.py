import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from nakawari.reporting.contents import all_tables, findings, styles
from nakawari.reporting.latex import latex
from nakawari.reporting.results import load_evidence
from nakawari.reporting.tables import Cell, Column, Line, Table, comma_separated, digits, markdown, number
from reporting.conftest import recomputed


@pytest.fixture(scope="module")
def tables(kept):
    return {table.name: table for section in all_tables(load_evidence([kept])).values() for table in section}


@pytest.fixture(scope="module")
def record(kept):
    return json.loads((kept / "aggregates.json").read_text())


def read(table):
    return {row["name"]: row for row in csv.DictReader(io.StringIO(comma_separated(table)))}


def test_captions_are_whole_sentences(tables):
    for table in tables.values():
        assert not set(table.caption) & set("{}") and table.caption.endswith("."), table.caption
    assert (
        "No verdict if there are too few films: one comparison needs 7, 24 together need 14."
        in tables["differences"].caption
    )


def test_sections(tables):
    assert list(tables) == [
        *("quality", "gain", "differences", "wins-psnr", "wins-flicker", "levels-psnr", "levels-flicker", "cost"),
        *("departures-stub", "departures-stub-runs-show-best-0-5", "departures-stub-runs-show-best-1"),
    ]


def test_quality_repeats_the_record_exactly(tables, record):
    rows = read(tables["quality"])
    for entry in record["entries"]:
        row = rows[entry["name"]]
        for metric in ("psnr", "flicker"):
            found = entry["results"]["tiny"][metric]["all"]
            assert [float(row[metric + tail]) for tail in ("", "_low", "_high")] == [
                found[name] for name in ("mean", "low", "high")
            ]
        if entry.get("fidelity"):
            assert float(row["fidelity"]) == entry["fidelity"]["mean"]
        else:
            assert row["fidelity"] == ""
        cost = entry.get("cost")
        assert row["ms_per_frame"] == (repr(cost["ms_per_frame"]["median"]) if cost else "")
    best = [line.full_name for line in tables["quality"].lines if line.cells[0].best]
    assert best == ["stub+runs/show/best@0.5"]  # the least noise; the floors, which are better still, do not count


def test_differences_and_levels_repeat_the_record_exactly(tables, record):
    rows = read(tables["differences"])
    for item in record["paired"]:
        if item["row"] == "tiny" and item["level"] == "all":
            row, metric = rows[item["entry"]], item["metric"]
            assert float(row[metric]) == item["difference"]["mean"]
            assert [int(row[f"{metric}_{name}"]) for name in ("wins", "losses", "ties")] == [
                item[name] for name in ("wins", "losses", "ties")
            ]
    levels = read(tables["levels-psnr"])
    entry = next(entry for entry in record["entries"] if entry["name"] == "stub")
    for level in ("all", "easy", "hard"):
        assert float(levels["stub"][level]) == entry["results"]["tiny"]["psnr"][level]["mean"]


def test_wins_are_counted_from_the_samples(tables, kept):
    evidence = load_evidence([kept])
    rows = read(tables["wins-flicker"])
    models = ("stub", "stub+runs/show/best@0.5", "stub+runs/show/best@1")
    others = ("copy of the nearest key", "average of the keys", "DIS flow, both ways", "stub: guide alone")
    assert list(rows) == [f"{model} over {other}" for model in models for other in others]
    ours, theirs = (evidence.by_name[name].samples.mean["flicker"] for name in (models[1], others[0]))
    row = rows[f"{models[1]} over {others[0]}"]
    for level, members in evidence.levels.items():
        won = int((ours[members] < theirs[members]).sum())  # less flicker is better
        assert (int(row[f"{level}_wins"]), float(row[level])) == (won, won / len(members))
    cell = tables["wins-psnr"].lines[0].cells[0]
    assert cell.text == "0\u00a0%" and cell.note == "0 : 6"


def test_styles_are_means_over_the_samples_that_are_tagged(kept):
    evidence = load_evidence([kept])
    tags = {"s0": ["flat", "east"], "s1": ["flat"], "s4": ["flat", "east"], "s2": ["lonely"]}
    record = evidence.record.model_copy(update={"tags": tags})
    tagged = replace(evidence, sources=(replace(evidence.sources[0], record=record),))
    table = styles(tagged)[0]
    assert [column.title for column in table.columns] == ["flat (3)", "east (2)"]
    for line in table.lines:
        values = evidence.by_name[line.full_name].samples.mean["psnr"]
        assert dict(line.cells[0].raw)[""] == pytest.approx(values[[0, 1, 4]].mean(), abs=1e-12)
        assert dict(line.cells[1].raw)[""] == pytest.approx(values[[0, 4]].mean(), abs=1e-12)
    assert styles(evidence) == []


def test_gain_is_the_difference_from_the_guide(tables, record):
    means = {entry["name"]: entry["results"]["tiny"]["psnr"]["all"]["mean"] for entry in record["entries"]}
    rows = read(tables["gain"])
    assert list(rows) == ["stub", "stub+runs/show/best@0.5", "stub+runs/show/best@1"]
    for name, row in rows.items():
        assert float(row["psnr"]) == pytest.approx(means[name] - means["stub: guide alone"], abs=1e-9)
    assert [line.cells[0].verdict for line in tables["gain"].lines] == ["too few films"] * 3
    assert tables["gain"].caption.endswith(
        "No verdict if there are too few films: one comparison needs 7, 24 together need 14."
    )


def test_departures_stand_beside_the_protocol(tables, record):
    rows = read(tables["departures-stub"])
    entry = next(entry for entry in record["entries"] if entry["name"] == "stub")
    assert list(rows) == ["tiny", "pooled"]
    assert float(rows["pooled"]["psnr"]) == entry["results"]["pooled"]["psnr"]["all"]["mean"]
    assert rows["pooled"]["ms_per_frame"] == rows["tiny"]["ms_per_frame"]  # it only scores anew


def test_a_departure_that_costs_otherwise_shows_its_own_cost(result):
    cost = {"ms_per_frame": {"median": 7.0}, "network_evaluations": 2.0}
    (result / "stub/cost.pooled.json").write_text(json.dumps(cost))
    recomputed(result, lambda content: None)
    entry = json.loads((result / "stub/cost.json").read_text())
    found = all_tables(load_evidence([result]))["departures"]
    rows = read(next(table for table in found if table.name == "departures-stub"))
    assert (rows["pooled"]["ms_per_frame"], rows["pooled"]["network_evaluations"]) == ("7.0", "2.0")
    assert float(rows["tiny"]["ms_per_frame"]) == entry["ms_per_frame"]["median"] != 7.0


def test_findings_say_what_the_intervals_say(kept):
    evidence = load_evidence([kept])
    assert "is not judged against stub (too few films)" in findings(evidence)[0]
    judged = tuple(item.model_copy(update={"verdict": "better"}) for item in evidence.differences)
    first, second = findings(replace(evidence, differences=judged))
    assert first.startswith("stub+show/best@0.5 is better than stub in PSNR (dB): +")
    assert first.endswith("6 samples won, 0 lost.")
    assert second.startswith("stub+show/best@1 is better than stub")


WORD = Cell("p|q", raw=(("", "p|q"),))
TABLE = Table(
    "t",
    "T",
    "50 % of A_b & c",
    "Row",
    (Column("x", "X (‰)", "higher"), Column("w", "Word", text=True)),
    (
        Line("a_b", "floors", (Cell("1.0", "[0.5, 1.5]", raw=(("", 1.0), ("_low", 0.5))), WORD)),
        Line("m", "models", (Cell("−2.0", "", "3 : 4", "worse", True, (("", -2.0),)), Cell("–"))),
    ),
)  # fmt: skip


def test_markdown():
    assert markdown(TABLE) == (
        "| Row | X (‰) ↑ | Word |\n| --- | ---: | --- |\n"
        "| a\\_b | 1.0 [0.5, 1.5] | p\\|q |\n| m | ▼ **−2.0** (3 : 4) | – |\n"
    )


def test_latex():
    text = latex(TABLE)
    assert r"\caption{50 \% of A\_b \& c}" in text
    assert r"\begin{tabular}{@{}lrl@{}}" in text
    assert r"{\raggedleft X (\textperthousand{}) $\uparrow$} & \parbox[b]{38pt}{\raggedright Word} \\" in text
    first = r"\parbox[t]{92pt}{\raggedright a\_b} & 1.0 & p|q \\" + "\n" + r" & \scriptsize {[}0.5, 1.5{]} &  \\"
    assert first + "\n\\midrule\n" in text
    second = r"\parbox[t]{92pt}{\raggedright m} & $\bigtriangledown$ \textbf{$-$2.0} & -- \\"
    assert second + "\n" + r" & \scriptsize 3 : 4 &  \\" in text
    assert text.isascii()


def test_a_wide_table_is_several_tabulars_that_fit(tables):
    wide = tables["quality"]
    columns = tuple(replace(wide.columns[0], key=f"c{n}") for n in range(9))
    lines = tuple(replace(line, cells=line.cells[:1] * 9) for line in wide.lines)
    text = latex(replace(wide, columns=columns, lines=lines))
    assert text.count(r"\begin{tabular}") == 3 and text.count(r"\caption") == 1
    heads = re.findall(r"\\parbox\[b\]\{(\d+)pt\}", text)
    assert len(heads) == 9 + 3  # every column once, and the first one again in each


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="LaTeX is not installed")
def test_every_table_compiles_within_the_text_of_an_article(tables, tmp_path):
    inputs = "\n".join(f"\\input{{{name}}}\\clearpage" for name in tables)
    for name, table in tables.items():
        (tmp_path / f"{name}.tex").write_text(latex(table))
    body = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + inputs + r"\end{document}"
    (tmp_path / "all.tex").write_text(body)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:]
    assert "Overfull" not in done.stdout, re.findall(r"Overfull.*", done.stdout)


def test_every_table_is_plain_latex(tables):
    for table in tables.values():
        text = latex(table).replace("×", "")
        assert text.isascii(), [character for character in text if not character.isascii()]
        assert text.count("{") == text.count("}")


def test_csv():
    assert comma_separated(TABLE) == "name,group,x,x_low,w\na_b,floors,1.0,0.5,p|q\nm,models,-2.0,,\n"


def test_numbers():
    assert [number(value, 2, sign=True) for value in (1.234, -1.234, -0.001, 0.0)] == ["+1.23", "−1.23", "0.00", "0.00"]
    assert [digits([value]) for value in (27.3, -3.0, 0.4, 0.0)] == [2, 3, 4, 4]
