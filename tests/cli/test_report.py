import json
import shutil

import pytest

from reporting.conftest import NAMES, evaluated


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return evaluated(tmp_path_factory.mktemp("evaluation"), NAMES[:2], cost=False)


def test_report(cli, kept, tmp_path):
    result = cli("report", kept, "-o", tmp_path / "out", "--cases", 1)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/index.html").stat().st_size > 10_000
    assert "opens anywhere" in result.output and "figures as PNG, PDF" in result.output


@pytest.mark.usefixtures("only_svg")
def test_json(cli, kept, tmp_path):
    result = cli("report", kept, "-o", tmp_path / "out", "--cases", 0, "--json")
    written = json.loads(result.output)
    assert written["page"] == str(tmp_path / "out/index.html")
    on_disk = {str(file) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert set(written["files"]) == on_disk


@pytest.mark.parametrize(
    ("prepare", "status", "sentence"),
    [
        (lambda folder: None, 2, "has no aggregates.json"),
        (lambda folder: folder.write_text("a file"), 2, "has no aggregates.json"),
        (lambda folder: folder.mkdir(), 2, "has no aggregates.json"),
    ],
)
def test_what_is_no_result(cli, tmp_path, prepare, status, sentence):
    prepare(tmp_path / "thing")
    result = cli("report", tmp_path / "thing", "-o", tmp_path / "out")
    assert result.exit_code == status
    assert sentence in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_csv(cli, kept, tmp_path):
    folder = shutil.copytree(kept, tmp_path / "result")
    (folder / "stub/seed-0.csv").unlink()
    result = cli("report", folder, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "seed-0.csv is missing" in result.stderr and not (tmp_path / "out").exists()


def test_nothing_given(cli, tmp_path):
    assert cli("report", "-o", tmp_path / "out").exit_code == 2
    assert cli("report", tmp_path).exit_code == 2


def test_output_is_a_file(cli, kept, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = cli("report", kept, "-o", tmp_path / "out", "--cases", 0)
    assert result.exit_code == 2
    assert "is a file; give a folder" in result.stderr and (tmp_path / "out").read_text() == "mine"
