import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from nakawari.errors import NakawariError, UsageError
from nakawari.media.sheet import BORDER, KEY_COLOUR, MARGIN
from nakawari.reporting.filmstrips import kept_reference
from nakawari.reporting.page import write_report
from nakawari.reporting.results import load_evidence
from nakawari.reporting.sheet import motion
from reporting.conftest import NAMES, evaluated, recomputed


class Elements(HTMLParser):
    """Every tag with its attributes, and a check that what opens closes."""

    EMPTY = ("meta", "link", "img", "wbr", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def contents(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def report(kept, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "out"
    write_report([kept], folder, cases=1)
    return folder


def test_the_page_stands_alone(report):
    page = Elements((report / "index.html").read_text())
    assert not page.all("script")
    sources = [value for _, attributes in page.found for name, value in attributes.items() if name in ("src", "href")]
    assert sources and all(value.startswith(("data:", "#")) for value in sources)
    text = (report / "index.html").read_text()
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert all(image["alt"] for image in page.all("img"))
    anchors = {attributes.get("id") for _, attributes in page.found}
    assert all(link["href"][1:] in anchors for link in page.all("a"))


def test_the_page_tells_where_it_comes_from(report, kept):
    text = (report / "index.html").read_text()
    record = json.loads((kept / "record.json").read_text())
    for part in (record["machine"]["system"], f"torch {record['packages']['torch']}", "Six discs &amp; squares."):
        assert part in text
    assert re.search(r"seeds</th><td class=\"code\">0, 1<", text)
    assert "is not judged against stub (too few films)" in text
    assert "bootstrap intervals over the 6 samples (BCa, 10,000 resamples)" in text
    assert f"SHA-256 of the pictures {record['data']}" in text
    assert f"SHA-256 of the pictures {record['data']}" in (report / "report.md").read_text()


@pytest.mark.usefixtures("only_svg")
@pytest.mark.parametrize(
    ("films", "words"),
    [
        (
            ["a", "a", "a", "b", "b", "b"],
            "over the 2 films or clips that the samples were cut from (BCa, 10,000 resamples)",
        ),
        (["a"] * 6, "over the 6 samples of one film, so they say nothing about other films (BCa, 10,000 resamples)"),
    ],
)
def test_the_method_says_what_was_drawn(result, tmp_path, films, words):
    recomputed(result, lambda content: content["record"].update(films=films))
    write_report([result], tmp_path / "out", cases=0)
    assert words in (tmp_path / "out/index.html").read_text()
    assert words in (tmp_path / "out/report.md").read_text()


@pytest.mark.usefixtures("only_svg")
def test_the_sheet_shows_the_fastest_first(kept, tmp_path):
    write_report([kept], tmp_path / "out", cases=0, sheet=4)
    assert "sheet.png" in json.loads((tmp_path / "out/report.json").read_text())["files"]
    with Image.open(tmp_path / "out/sheet.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    borders = np.flatnonzero((picture[:, MARGIN] == KEY_COLOUR).all(-1))  # of the start keys, one after the other
    tops = borders[np.flatnonzero(np.diff(borders, prepend=-9) > 1)]
    evidence = load_evidence([kept])
    motions = [motion(kept_reference(evidence, name).keys) for name in evidence.sample_names]
    fastest = np.argsort(motions)[::-1][:4]
    inside = BORDER + 2
    assert [picture[top + inside, MARGIN + inside].max() for top in tops] == [200 - 10 * index for index in fastest]


def test_motion_is_the_length_of_what_moves():
    y, x = np.mgrid[:64, :96].astype(float)
    pictures = [
        np.stack([128 + 60 * np.sin((x - shift) / 5) * np.cos(y / 7)] * 3, -1).astype(np.uint8) for shift in (0, 2, 4)
    ]
    assert motion((pictures[0], pictures[0])) == 0
    assert [motion((pictures[0], other)) for other in pictures[1:]] == pytest.approx([2, 4], abs=0.6)


@pytest.mark.usefixtures("no_plots")
def test_a_sheet_needs_kept_frames(result, tmp_path):
    shutil.rmtree(result / "frames")
    with pytest.raises(NakawariError, match="no pictures for a sheet"):
        write_report([result], tmp_path / "out", sheet=3)


def test_the_same_records_give_the_same_bytes(report, kept, tmp_path):
    write_report([kept], tmp_path / "again", cases=1)
    assert contents(tmp_path / "again") == contents(report)


def test_every_file_is_listed(report):
    names = set(contents(report))
    assert names == set(json.loads((report / "report.json").read_text())["files"])
    assert {"index.html", "report.md", "tables/quality.tex", "tables/quality.csv", "figures/strip-best.pdf"} <= names
    links = re.findall(r"\]\((.+?)\)", (report / "report.md").read_text())
    assert links and set(links) <= names


@pytest.mark.usefixtures("only_svg")
def test_an_earlier_report_is_replaced_and_other_files_stay(report, tmp_path):
    first = evaluated(tmp_path / "small", NAMES[:1], cost=False)
    shutil.copytree(report, tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("mine")
    write_report([first], tmp_path / "out", cases=0)
    write_report([first], tmp_path / "fresh", cases=0)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "fresh"), "notes.txt": b"mine"}


def test_a_folder_of_others_is_left_alone(kept, tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files but no report"):
        write_report([kept], tmp_path)
    assert contents(tmp_path) == {"letter.txt": b"mine"}


def test_a_forged_list_of_files_deletes_nothing(kept, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "letter.txt").write_text("mine")
    (tmp_path / "out/report.json").write_text(json.dumps({"files": ["../letter.txt"]}))
    with pytest.raises(NakawariError, match="not a report's list of files"):
        write_report([kept], tmp_path / "out")
    assert (tmp_path / "letter.txt").is_file()


@pytest.mark.usefixtures("only_svg")
def test_one_model_without_pictures_levels_and_cost(tmp_path):
    folder = evaluated(tmp_path, NAMES[:1], cost=False, guide=False)
    shutil.rmtree(folder / "frames")
    write_report([folder], tmp_path / "out")
    text = (tmp_path / "out/index.html").read_text()
    Elements(text)
    assert "No pictures are shown" in text
    assert 'id="cost"' not in text and 'id="scales"' not in text


@pytest.mark.usefixtures("only_svg")
def test_names_are_escaped(result, tmp_path):
    path = result / "aggregates.json"
    path.write_text(path.read_text().replace("PSNR (dB)", "<script>alert(1)</script>"))
    write_report([result], tmp_path / "out", cases=0)
    assert not Elements((tmp_path / "out/index.html").read_text()).all("script")


@pytest.mark.usefixtures("only_svg")
def test_failed_rows_are_named_without_numbers(result, tmp_path):
    failed = {"status": "failed", "results": {}, "failures": {"s3": "it broke"}}
    recomputed(result, lambda content: content["entries"][-1].update(failed))
    write_report([result], tmp_path / "out", cases=0)
    text = (tmp_path / "out/index.html").read_text()
    assert "stub+runs/show/best@1: 1 sample, first s3 (it broke)" in text
    assert "stub+runs/show/best@1" not in (tmp_path / "out/tables/quality.csv").read_text()
