"""Files and runs of the engines; without their packages a one-sentence error."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from nakawari.engines import ENGINES, Wish, openjd, slurm
from nakawari.episode.manifest import DONE, Manifest, Manifests
from nakawari.episode.plan import Episode, Unit
from nakawari.episode.worker import job_of

Cli = Callable[..., Result]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Three cuts without missing drawings, for which workers need no model."""
    for name in ("a", "b", "c"):
        (tmp_path / "shots" / name).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (16, 12), (60 * number,) * 3).save(tmp_path / "shots" / name / f"key_{number:04d}.png")
    return tmp_path / "shots"


def yaml_of(shots: Path) -> Path:
    path = shots / "episode.yaml"
    path.write_text("cuts:\n" + "".join(f"- {{keys: {name}, between: 0}}\n" for name in "abc"), encoding="utf-8")
    return path


def submitted(cli: Cli, shots: Path, out: Path, engine: str, *words: object) -> Result:
    return cli("episode", "submit", yaml_of(shots), "-o", out, "--engine", engine, "--preview", "none", *words)


def test_the_command_names_every_engine():
    from nakawari.cli.episode import Engine

    assert [engine.value for engine in Engine] == list(ENGINES)


@pytest.mark.parametrize(
    ("engine", "files"),
    [
        ("openjd", ["openjd.json"]),
        ("slurm", ["slurm.sh"]),
        ("opencue", ["opencue.py"]),
        ("deadline", ["deadline-job.txt", "deadline-plugin.txt"]),
    ],
)
def test_files_are_written_and_nothing_is_started(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, engine: str, files: list[str]
):
    result = submitted(cli, shots, tmp_path / "out", engine, "--emit", "--chunk", 2)
    assert result.exit_code == 0, result.stderr
    assert "3 waiting" in result.stdout
    for name in files:
        assert str(tmp_path / "out" / name) in result.stdout
        text = (tmp_path / "out" / name).read_text()
        assert str(tmp_path / "out") in text or engine == "openjd"
    if engine in ("opencue", "deadline"):
        assert "untested" in result.stdout
        assert "never run by its authors" in (tmp_path / "out" / files[0]).read_text()
    if engine == "opencue":
        ast.parse((tmp_path / "out" / "opencue.py").read_text())
    if engine == "slurm":
        subprocess.run(["bash", "-n", str(tmp_path / "out" / "slurm.sh")], check=True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("local", "--emit"), "The engine local writes no files"),
        (("ray", "--emit"), "The engine ray writes no files"),
        (("openjd", "--emit", "--address", "10.0.0.1:6379"), "--address is for a Ray cluster"),
    ],
)
def test_words_that_an_engine_does_not_know_start_nothing(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
):
    result = submitted(cli, shots, tmp_path / "out", *words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert sentence in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_template_is_valid_where_its_library_is(tmp_path: Path):
    model = pytest.importorskip("openjd.model")
    episode = Episode(tmp_path, tuple(Unit(str(number), tmp_path) for number in range(25)))
    template = openjd.template_of(job_of(episode), Wish(chunk=10))
    assert template["steps"][0]["parameterSpace"]["taskParameterDefinitions"][0]["range"] == "0-24"
    model.decode_job_template(template=template, supported_extensions=["TASK_CHUNKING"])


def test_a_session_that_starts_again_has_only_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Otherwise it would start with the first task every time."""
    episode = Episode(tmp_path, tuple(Unit(str(number), tmp_path) for number in range(5)))
    monkeypatch.setattr(openjd, "_found", lambda: "openjd")
    commands: list[Callable[[], list[str]]] = []
    monkeypatch.setattr(openjd, "supervise", lambda job, ways, *more, **words: commands.extend(ways))
    openjd.submit(job_of(episode), Wish(workers=1, chunk=2), print)
    (command,) = commands
    assert f"cd {Path.cwd()}\n" in (tmp_path / ".nakawari").read_text()  # where a model's name may count from
    assert json.loads(command()[-1]) == [{"Part": "0-1"}, {"Part": "2-3"}, {"Part": "4-4"}]
    for name in ("0", "1", "2"):
        Manifests(tmp_path).put(Manifest(name, DONE))
    assert json.loads(command()[-1]) == [{"Part": "2-3"}, {"Part": "4-4"}]
    for name in ("3", "4"):
        Manifests(tmp_path).put(Manifest(name, DONE))
    assert command() == []


def test_openjd_runs_its_template_here(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path):
    pytest.importorskip("openjd.cli")
    result = submitted(cli, shots, tmp_path / "out", "openjd", "--workers", 2, "--chunk", 2, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["cuts"] == {"done": 3}  # in one process Ray prints before it


def test_ray_draws_on_a_cluster_of_its_own(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path):
    pytest.importorskip("ray")
    result = submitted(cli, shots, tmp_path / "out", "ray", "--workers", 2, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["cuts"] == {"done": 3}  # in one process Ray prints before it


def test_a_cluster_that_does_not_answer_is_one_sentence(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Since 2.59 a head node with a token requires it, and a driver with an address does not send it by default."""

    def init(**words: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    errors = SimpleNamespace(RayError=RuntimeError)
    stand_in = SimpleNamespace(is_initialized=lambda: False, init=init, exceptions=errors)
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    result = submitted(cli, shots, tmp_path / "out", "ray", "--address", "10.0.0.1:6379")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "Could not connect to a Ray cluster at 10.0.0.1:6379" in result.stderr and "RAY_AUTH_MODE" in result.stderr


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("openjd", "openjd-cli")])
def test_a_package_that_is_not_there_is_named(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(openjd, "_found", lambda: None)
    result = submitted(cli, shots, tmp_path / "out", engine)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert package in result.stderr and f"pip install nakawari[{engine}]" in result.stderr


def test_slurm_says_where_sbatch_is_not(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    result = submitted(cli, shots, tmp_path / "out", "slurm")
    assert (result.exit_code, "needs sbatch, which is not installed here" in result.stderr) == (1, True)


def test_a_refusal_of_slurm_is_passed_on(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch):
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'sbatch: error: no partition' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    result = submitted(cli, shots, tmp_path / "out", "slurm")
    assert (result.exit_code, "error: no partition" in result.stderr) == (1, True)
    assert shutil.which("sbatch") == str(program)
