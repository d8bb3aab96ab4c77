"""`nakawari episode` with a stub model and stub processes of the local engine."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from typer.testing import Result

from crossfade import CrossFade
from cut_sheets import document, spelled, write
from nakawari.engines import Job
from nakawari.engines.processes import Command, again, supervise
from nakawari.episode.manifest import MOST_DEATHS, Manifest, Manifests
from nakawari.episode.plan import PLAN, Episode, Unit
from nakawari.episode.unit import Models, carry_out, largest
from nakawari.episode.worker import job_of, work

Cli = Callable[..., Result]


class Killed(BaseException):
    """Ends a worker without a message, like SIGKILL."""


@pytest.fixture
def stub(stub: CrossFade, monkeypatch: pytest.MonkeyPatch) -> CrossFade:
    """Run the local engine's workers in this process; restart those that die."""
    stub.noise, stub.draws_any_time = 0.0, True

    def run_here(job: Job, commands: list[Command], places: object, watch: Any) -> None:
        waiting = list(commands)
        while waiting:
            try:
                job.call(waiting[0]()[-1])
            except Killed:
                continue
            waiting.pop(0)

    monkeypatch.setattr("nakawari.engines.local.supervise", run_here)
    return stub


def key(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (level,) * 3).save(path)
    return path


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Two cuts of keys and one of a sheet, with four missing drawings in three gaps."""
    folder = tmp_path / "shots"
    for name in ("a", "b"):
        key(folder / name / "key_0001.png", 0)
        key(folder / name / "key_0003.png", 100)
    key(folder / "c" / "A" / "1.png", 10)
    key(folder / "c" / "A" / "2.png", 90)
    write(folder / "c" / "c.xdts", document({"A": spelled("1@0 o@2 o@4 2@6")}, 8))
    (folder / "notes").mkdir()
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def states(cli: Cli, out: Path) -> dict[str, str]:
    rows = json.loads(cli("episode", "status", out, "--json").stdout)["cuts"]
    return {row["name"]: row["state"] for row in rows}


def test_every_cut_is_what_the_command_cut_makes(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path):
    out = tmp_path / "out"
    result = cli("episode", "submit", shots, "-o", out, "--workers", 2)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "drawn by 2 processes here: 3 done\n"
    assert len(stub.calls) == 3
    assert cli("cut", shots / "a", "-o", tmp_path / "one").exit_code == 0
    sheet = shots / "c" / "c.xdts"
    assert cli("cut", sheet, "--drawings", shots / "c", "-o", tmp_path / "two").exit_code == 0
    assert listing(out / "cuts" / "a") == listing(tmp_path / "one")
    assert listing(out / "cuts" / "c") == listing(tmp_path / "two")
    assert (out / "cuts/a/a/key_0002.png").exists()
    assert cli("episode", "status", out).stdout.startswith("3 cuts: 3 done; 4 drawings, ")


def test_twice_there_is_nothing_to_do_and_a_changed_key_is_drawn_anew(cli: Cli, stub: CrossFade, shots: Path, tmp_path):
    words = ("episode", "submit", shots, "-o", tmp_path / "out")
    assert cli(*words).exit_code == 0
    before, calls = listing(tmp_path / "out" / "cuts"), len(stub.calls)
    assert cli(*words).exit_code == 0
    assert listing(tmp_path / "out" / "cuts") == before
    key(shots / "b" / "key_0003.png", 50)
    assert cli(*words).exit_code == 0
    assert len(stub.calls) == calls + 1
    changed = {name for name, data in listing(tmp_path / "out" / "cuts").items() if before[name] != data}
    assert {name.split("/")[0] for name in changed} == {"b"}


@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_worker_that_is_killed_loses_nothing(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
):
    assert cli("episode", "submit", shots, "-o", tmp_path / "uncut").exit_code == 0
    calls, draw, killed = len(stub.calls), CrossFade.__call__, []
    stub.calls.clear()

    def dying(self, *args, **options):
        if len(self.calls) == call and not killed:
            killed.append(call)
            raise Killed
        return draw(self, *args, **options)

    monkeypatch.setattr(CrossFade, "__call__", dying)
    out = tmp_path / "out"
    (out / "cuts").mkdir(parents=True)
    (out / "cuts" / ".a.0123abcd").mkdir()  # half a folder of a worker that was killed while it wrote
    Episode(out, ()).save()
    assert cli("episode", "submit", shots, "-o", out).exit_code == 0
    assert killed
    assert len(stub.calls) == calls
    assert listing(out / "cuts") == listing(tmp_path / "uncut" / "cuts")
    assert not [path for path in (out / "cuts").iterdir() if path.name.startswith(".")]
    assert sum(row["deaths"] for row in json.loads(cli("episode", "status", out, "--json").stdout)["cuts"]) == 1


def test_a_cut_that_kills_its_workers_is_given_up_by_name(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mend = refusing_b(monkeypatch, Killed)
    result = cli("episode", "submit", shots, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert f"b: {MOST_DEATHS} workers died while drawing it" in result.stdout
    assert states(cli, tmp_path / "out") == {"b": "failed", "a": "done", "c": "done"}
    mend()
    assert cli("episode", "retry", tmp_path / "out").exit_code == 0
    assert set(states(cli, tmp_path / "out").values()) == {"done"}


def refusing_b(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> Callable[[], None]:
    """Make the drawing of cut b fail; returns a function that repairs it."""
    from nakawari.cut import work as module

    draw = module.draw

    def refuse(keys: Any, *args: Any) -> Any:
        if "/b/" in str(keys[0].path):
            raise error
        return draw(keys, *args)

    monkeypatch.setattr(module, "draw", refuse)
    return lambda: monkeypatch.setattr(module, "draw", draw)


def test_workers_that_die_before_they_draw_are_no_fault_of_the_cut(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Workers that are killed while loading the model do not fail a cut."""
    deaths = []

    def load(self: Models, episode: Episode) -> CrossFade:
        if len(deaths) < 2 * MOST_DEATHS:
            deaths.append(episode.model)
            raise Killed
        return stub

    monkeypatch.setattr(Models, "pipeline", load)
    assert cli("episode", "submit", shots, "-o", tmp_path / "out").exit_code == 0
    assert set(states(cli, tmp_path / "out").values()) == {"done"}


def full_disk(monkeypatch: pytest.MonkeyPatch, shots: Path) -> Callable[[], None]:
    from nakawari.cut import work as module

    written = module.write_json

    def refuse(path: Path, value: Any) -> None:
        if value["sheet"].endswith("/b"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written(path, value)

    monkeypatch.setattr(module, "write_json", refuse)
    return lambda: monkeypatch.setattr(module, "write_json", written)


def broken_key(monkeypatch: pytest.MonkeyPatch, shots: Path) -> Callable[[], None]:
    path = shots / "b" / "key_0003.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    return lambda: path.write_bytes(whole) and None


def no_memory(monkeypatch: pytest.MonkeyPatch, shots: Path) -> Callable[[], None]:
    return refusing_b(monkeypatch, MemoryError)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [(full_disk, "No space left on device"), (broken_key, "key_0003.png is"), (no_memory, "Memory ran out")],
)
def test_one_cut_fails_by_name_the_rest_goes_on_and_retry_mends_it(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, sentence: str
):
    out = tmp_path / "out"
    mend = spoil(monkeypatch, shots)
    result = cli("episode", "submit", shots, "-o", out)
    assert result.exit_code == 1
    assert states(cli, out) == {"b": "failed", "a": "done", "c": "done"}
    line = cli("episode", "status", out).stdout.splitlines()[1]  # what needs somebody stands first
    assert line.startswith("b") and sentence in line
    calls = len(stub.calls)
    assert cli("episode", "retry", out, "a").exit_code == 2
    mend()
    assert cli("episode", "retry", out, "b").exit_code == 0
    assert set(states(cli, out).values()) == {"done"}
    assert len(stub.calls) == calls + 1 or spoil is full_disk  # there the gap was kept already
    assert cli("episode", "status", out).stdout.startswith("3 cuts: 3 done; 4 drawings, ")  # whoever drew them


def test_two_workers_never_have_one_cut(stub: CrossFade, shots: Path, tmp_path: Path):
    episode = Episode(tmp_path / "out", (Unit("a", shots / "a"),))
    with Manifests(episode.folder).taken("a") as ours:
        assert ours
        assert carry_out(episode, episode.units[0], Models()) is None
    became = carry_out(episode, episode.units[0], Models())
    assert became is not None and became.state == "done"


def test_a_model_is_loaded_once_per_worker(stub: CrossFade, shots: Path, tmp_path: Path):
    loaded = []
    models = Models(lambda episode: loaded.append(episode.model) or stub)
    episode = Episode(tmp_path / "out", tuple(Unit(name, shots / name) for name in ("a", "b")))
    episode.save()
    assert work(episode.folder, models=models) == 0
    assert loaded == ["mini"]


def test_a_worker_with_nothing_left_ends_before_it_imports_what_draws(
    stub: CrossFade, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A restarted openjd session repeats its finished tasks, which must return immediately."""
    episode = Episode(tmp_path / "out", (Unit("a", shots / "a"), Unit("b", shots / "b")))
    episode.save()
    Manifests(episode.folder).put(Manifest("a", "done"))
    asked: list[str] = []
    monkeypatch.setattr("nakawari.episode.worker.import_module", asked.append)
    assert work(episode.folder, names=["a"]) == 0
    assert asked == []
    assert work(episode.folder, models=Models(lambda episode: stub)) == 0
    assert asked == ["nakawari.cut.work"]


def test_the_largest_cut_says_how_every_worker_holds_the_model(cli: Cli, shots: Path, tmp_path: Path):
    """With the real plan of mini; nothing is started."""
    for number in (1, 3):
        Image.new("RGB", (96, 64), (40 * number,) * 3).save(shots / "b" / f"key_{number:04d}.png")
    (shots / "a" / "key_0001.png").write_bytes(b"broken")
    words = ("episode", "submit", shots, "-o", tmp_path / "out", "--emit", "--engine", "openjd", "--device", "cpu")
    assert "96x64 do not fit into 1 MB with mini" in cli(*words, "--memory", "1MB").stderr
    result = cli(*words, "--memory", "40GB")
    assert result.exit_code == 0 and "chosen: model mini" in result.stderr
    episode = Episode.load(tmp_path / "out")
    assert (episode.offload, episode.model) == ("none", "mini")
    assert largest(episode) == ((64, 96), [1, 2])  # of b and c; a fails when its turn comes


def test_a_worker_places_the_model_as_the_episode_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stub, placed = CrossFade(), []
    loaded = SimpleNamespace(pipeline=stub)
    monkeypatch.setattr("nakawari.variants.load", lambda model, device, place=True: None if place else loaded)
    monkeypatch.setattr("nakawari.resources.applying.apply", lambda *words, **more: placed.append((words, more)))
    episode = Episode(tmp_path, (), device="cpu", offload="towers", together=False)
    models = Models()
    assert models.pipeline(episode) is models.pipeline(episode) is stub
    assert placed == [((stub, "cpu", "towers"), {"together": False})]


def test_a_page_with_contact_sheets_least_sure_first_and_a_folder_to_hand_over(
    cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path
):
    out = tmp_path / "out"
    assert cli("episode", "submit", shots, "-o", out, "--preview", "none").exit_code == 0
    for name, sure in (("a", 0.9), ("b", 0.2), ("c", None)):
        path = out / "cuts" / name / "cut.json"
        record = json.loads(path.read_text())
        for drawing in (drawing for level in record["levels"] for drawing in level["drawings"]):
            drawing["confidence"] = sure
        path.write_text(json.dumps(record))
    assert cli("episode", "status", out, "--page", "--price", "2").exit_code == 0
    page = (out / "status.html").read_text()
    assert page.index('id="b"') < page.index('id="a"') < page.index('id="c"')
    for source in ("cuts/a/contact-a.png", "cuts/c/contact-A.png"):
        assert f'src="{source}"' in page
        assert (out / source).is_file()
    assert cli("episode", "collect", out, "-o", tmp_path / "all").exit_code == 0
    assert listing(tmp_path / "all") == listing(out / "cuts")
    assert cli("episode", "collect", out, "-o", tmp_path / "all").exit_code == 2


def test_an_episode_file_lists_cuts(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path):
    file = shots / "episode.yaml"
    file.write_text(
        "cuts:\n- {keys: a, name: first, between: 2, exposure: 2}\n- {sheet: c/c.xdts}\n- {keys: b}\n", encoding="utf-8"
    )
    assert cli("episode", "submit", file, "-o", tmp_path / "out").exit_code == 0
    names = sorted(path.name for path in (tmp_path / "out" / "cuts").iterdir())
    assert names == ["b", "c", "first"]
    drawn = json.loads((tmp_path / "out/cuts/first/cut.json").read_text())["levels"][0]["drawings"]
    assert [one["name"] for one in drawn] == ["key_0001", "key_0001a", "key_0001b", "key_0003"]


BAD: dict[str, tuple[str, str]] = {
    "not YAML": ("cuts: [", "cannot be read as YAML"),
    "another key": ("cuts: [{keys: a, sheep: b}]", "cuts.0.sheep"),
    "no cuts": ("cuts: []", "cuts"),
    "a list": ("[]", "the episode"),
    "neither": ("cuts: [{name: a}]", "needs either a sheet and drawings, or keys"),
    "both": ("cuts: [{keys: a, sheet: b.xdts}]", "needs either a sheet and drawings, or keys"),
    "between of a sheet": ("cuts: [{sheet: c/c.xdts, between: 2}]", "has a sheet, which sets the timing"),
    "twice": ("cuts: [{keys: a}, {keys: a}]", "Two cuts are named a"),
    "a path as a name": ("cuts: [{keys: a, name: ../a}]", "cannot be the name of a cut"),
    "exposure": ("cuts: [{keys: a, exposure: 0}]", "cuts.0.exposure"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_episode_file_is_one_sentence(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path, case: str):
    words, sentence = BAD[case]
    (shots / "e.yaml").write_text(words, encoding="utf-8")
    result = cli("episode", "submit", shots / "e.yaml", "-o", tmp_path / "out")
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("submit", "nowhere", "-o", "out"), "does not exist"),
        (("submit", "shots/notes", "-o", "out"), "holds no cuts"),
        (("submit", "shots", "-o", "shots"), "holds other files"),
        (
            ("submit", "shots", "-o", "out", "--device", "cpu", "--offload", "model"),
            "--offload moves networks from a GPU",
        ),
        (("status", "shots"), "episode.json does not exist"),
        (("retry", "shots"), "episode.json does not exist"),
        (("work", "shots", "--share", "2/2"), "is not NUMBER/WORKERS"),
    ],
)
def test_wrong_words_are_one_sentence(
    cli: Cli, stub: CrossFade, shots: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
):
    monkeypatch.chdir(shots.parent)
    result = cli("episode", *words)
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_two_sheets_in_one_folder_and_numbers_out_of_the_plan(cli: Cli, stub: CrossFade, shots: Path, tmp_path: Path):
    (shots / "c" / "d.xdts").write_bytes((shots / "c" / "c.xdts").read_bytes())
    assert "holds two time sheets" in cli("episode", "submit", shots, "-o", tmp_path / "out").stderr
    (shots / "c" / "d.xdts").unlink()
    assert cli("episode", "submit", shots, "-o", tmp_path / "out").exit_code == 0
    assert "numbers from 0 to 2" in cli("episode", "work", tmp_path / "out", "--cuts", "1-3").stderr
    assert cli("episode", "work", tmp_path / "out", "--cuts", "0-1,2").exit_code == 0


def test_a_process_that_is_killed_is_started_again(tmp_path: Path):
    episode = Episode(tmp_path, (Unit("a", tmp_path),))
    script = (
        "import os, pathlib, signal, sys\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        "if not mark.exists():\n    mark.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "pathlib.Path(sys.argv[2]).mkdir(parents=True)\n"
        '(pathlib.Path(sys.argv[2]) / \'a.json\').write_text(\'{"name": "a", "state": "done"}\')\n'
    )
    seen: list[int] = []
    command = [sys.executable, "-c", script, str(tmp_path / "mark"), str(tmp_path / "manifests" / "ended")]
    supervise(job_of(episode), [again(command)], [{}], lambda ended, cuts: seen.append(ended))
    assert Manifests(tmp_path).get("a") == Manifest("a", "done")
    assert (seen[0], seen[-1]) == (0, 1)


def test_processes_that_only_die_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    episode = Episode(tmp_path, (Unit("a", tmp_path),))
    command = [sys.executable, "-S", "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"]
    from nakawari.errors import NakawariError

    monkeypatch.setattr("nakawari.engines.processes.MOST_FRUITLESS", 3)
    with pytest.raises(NakawariError, match="Workers died 4 times"):
        supervise(job_of(episode), [again(command)], [{}], lambda ended, cuts: None)


def test_real_processes_draw_an_episode(shots: Path, tmp_path: Path):
    """Two workers with the bundled model, in separate processes."""
    words = [sys.executable, "-m", "nakawari", "episode", "submit", str(shots), "-o", str(tmp_path / "out")]
    words += ["--workers", "2", "--model", "mini/small", "--steps", "1", "--device", "cpu", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cuts"] == {"done": 3}
    assert (tmp_path / "out" / PLAN).exists()
