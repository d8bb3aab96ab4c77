"""The named API endpoints, and their handling of bad input."""

from __future__ import annotations

import random
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from app.drawings import ball
from nakawari.app.ways import take_ways
from nakawari.app.work import Work, Works
from nakawari.errors import NakawariError

client_of = pytest.importorskip("gradio_client", reason="the extra app is not installed")


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    """A client of the running app."""
    return client_of.Client(server.url, verbose=False)


def call(client: Any, name: str, *values: Any) -> Any:
    return client.predict(*values, api_name=f"/{name}")


def with_two_keys(client: Any, folder: Path) -> str:
    user = call(client, "start")
    files = [client_of.handle_file(ball(folder / "a.png", 30)), client_of.handle_file(ball(folder / "b.png", 90))]
    said = call(client, "add_keys", user, files)
    assert said["complaints"] == []
    return user


def test_a_program_draws(client: Any, server: Any, tmp_path: Path) -> None:
    user = with_two_keys(client, tmp_path)
    asked = call(client, "ask", user, {"between": [3], "spacing": [[0.1, 0.2, 0.9]]})
    assert asked["between"] == [3]
    assert call(client, "draw", user)["state"] in ("waiting", "running")
    done = call(client, "wait", user, "draw", 120)
    assert done["state"] == "done", done
    shares = [frame["share"] for frame in done["result"]["frames"] if frame["key"] is None]
    assert shares == [0.1, 0.2, 0.9]
    assert sorted(path.name for path in (server.work / "users" / user / "out").glob("0*.png")) == [
        f"000{number}.png" for number in range(1, 6)
    ]
    with urllib.request.urlopen(server.url + done["files"][0]["url"]) as zipped:
        assert zipped.read(2) == b"PK"


def test_pairs_are_drawn_one_by_one(client: Any, server: Any, tmp_path: Path) -> None:
    user = call(client, "start")
    names = {"b_end": 120, "a_end": 60, "b_start": 100, "a_start": 40}
    files = [client_of.handle_file(ball(tmp_path / f"{name}.png", place)) for name, place in names.items()]
    assert call(client, "add_keys", user, files)["complaints"] == []
    asked = call(client, "ask", user, {"between": [2, 5, 1], "on_cut": "hold"})
    assert [key["name"] for key in asked["keys"]] == ["b_start.png", "b_end.png", "a_start.png", "a_end.png"]
    assert asked["between"] == [2, 0, 1]
    call(client, "draw", user)
    done = call(client, "wait", user, "draw", 120)
    assert done["state"] == "done", done
    assert [frame["of"] for frame in done["result"]["frames"] if frame["key"] is None] == ["pair 1", "pair 1", "pair 2"]
    with pytest.raises(Exception, match="'never' is not a choice for on_cut"):
        call(client, "ask", user, {"on_cut": "never"})


def test_a_program_compares_with_the_truth(client: Any, server: Any, tmp_path: Path) -> None:
    user = with_two_keys(client, tmp_path)
    call(client, "ask", user, {"between": [1]})
    call(client, "draw", user)
    assert call(client, "wait", user, "draw", 120)["state"] == "done"
    folder = server.work / "users" / user
    (folder / "truth").mkdir()
    shutil.copy(folder / "out" / "0002.png", folder / "truth" / "1.png")
    call(client, "compare", user, "result:out", "mini/small")
    done = call(client, "wait", user, "compare", 120)
    assert done["state"] == "done", done
    assert '"PSNR (dB)": "100"' in done["said"][-1]


def test_errors_are_the_sentences_of_the_command_line(client: Any) -> None:
    user = call(client, "start")
    with pytest.raises(Exception, match=r"In-betweens need two or more key drawings; add key drawings\."):
        call(client, "draw", user)
    with pytest.raises(Exception, match="This browser has no work folder yet"):
        call(client, "draw", "../../etc")


def any_value(source: random.Random, depth: int = 0) -> Any:
    """Any JSON value, often an almost valid one."""
    simple = [None, True, -1, 0, 1, 2, 1e308, -0.5, "", "1", "<img src=x onerror=alert(1)>", "../../etc/passwd", [], {}]
    kind = source.random()
    if depth > 4 or kind < 0.4:
        return source.choice([*simple, source.uniform(-50, 300), source.randint(-5, 300)])
    if kind < 0.7:
        return [any_value(source, depth + 1) for _ in range(source.randint(0, 4))]
    keys = ["gap", "ways", "__proto__", "x"]
    return {source.choice(keys): any_value(source, depth + 1) for _ in range(source.randint(0, 3))}


def nearly_right(source: random.Random) -> Any:
    places = [10, 20.5, 30, 40, 50, 60, 70, None, "x", 1e9]
    ways = [[[source.choice(places) for _ in range(2)] for _ in range(source.randint(1, 3))]]
    return {"gap": source.choice([1, 1, 1, 2, True, "1"]), "ways": ways}


def set_here(work: Work, value: Any) -> int | str:
    """What the endpoint's own code answers."""
    try:
        return take_ways(work, value)
    except NakawariError as error:
        return str(error)


def set_there(client: Any, user: str, value: Any) -> int | str:
    """What the app answers."""
    try:
        return int(call(client, "lead", user, value))
    except client_of.exceptions.AppError as error:
        return str(error)


def test_200_random_values_are_one_sentence_or_ways(client: Any, tmp_path: Path) -> None:
    """All of them by the endpoint's code; every ninth by a program, too, which is told the same."""
    user, works = with_two_keys(client, tmp_path), Works(tmp_path / "work")
    work = works.open(works.new_token())
    for name in ("a.png", "b.png"):
        work.add_key(tmp_path / name, name)
    source = random.Random(0)
    values = [any_value(source) if number % 2 else nearly_right(source) for number in range(200)]
    answers = [set_here(work, value) for value in values]
    for value, answer in list(zip(values, answers, strict=True))[::9]:
        assert set_there(client, user, value) == answer
    taken = 0
    for sentence in answers:
        if isinstance(sentence, int):
            taken += 1
        else:
            assert sentence.rstrip().endswith("."), sentence
            assert "Traceback" not in sentence and "\n" not in sentence.strip(), sentence
            assert "unexpected" not in sentence
    assert 0 < taken < 100
    assert call(client, "lead", user, {"gap": 1, "ways": [[[10, 20], [30, 20]]]}) == 1


def test_two_users_do_not_see_each_other(client: Any, server: Any, tmp_path: Path) -> None:
    first, second = with_two_keys(client, tmp_path), call(client, "start")
    assert call(client, "ask", second, {})["keys"] == []

    def status_of(path: str) -> int:
        try:
            with urllib.request.urlopen(server.url + path) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status_of(f"own/{first}/previews/a.png.png") == 200
    climbs = [
        f"own/{second}/../{first}/previews/a.png.png",
        f"own/{second}/%2e%2e/{first}/previews/a.png.png",
        f"own/{second}/..%2f{first}%2fpreviews/a.png.png",
        f"common/users/{first}/previews/a.png.png",
        f"common/%2e%2e/users/{first}/previews/a.png.png",
        f"own/{first}/work.json",
        "common/worker.log",
        f"gradio_api/file={server.work}/users/{first}/previews/a.png.png",
        f"gradio_api/file={server.work}/worker.log",
        "gradio_api/file=/etc/passwd",
    ]
    assert {path: status_of(path) for path in climbs if status_of(path) == 200} == {}
    for name in (f"result:../{first}/out", f"result:users/{first}/out", "result:../../../etc", "result:/etc"):
        with pytest.raises(Exception, match="is outside the work folder"):
            call(client, "compare", second, name, name)


def test_thirty_broken_files_are_a_sentence_each(tmp_path: Path) -> None:
    from nakawari.app import strip

    whole = ball(tmp_path / "whole.png", 30).read_bytes()
    works = Works(tmp_path / "work")
    work = works.open(works.new_token())
    source, broken = random.Random(0), []
    for number in range(30):
        suffix = ["png", "jpg", "gif", "psd", "tif", "webp", "bmp", "kra", "ora", "exe"][number % 10]
        content = bytearray(whole[: source.randint(0, len(whole) - 30)])
        for place in range(0, len(content), 7):
            content[place] = source.randint(0, 255) if number % 3 else content[place]
        path = works.uploads / f"{number}.{suffix}"
        path.write_bytes(bytes(content))
        broken.append({"path": str(path), "name": f"broken{number}.{suffix}"})
    complaints = strip.act(work, {"action": "add", "files": broken})
    assert len(complaints) == 30 and work.asked().keys == []
    assert all(one.endswith(".") and "\n" not in one and str(tmp_path) not in one for one in complaints), complaints


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", None, 7, "", "users"])
def test_only_what_was_sent_is_taken(tmp_path: Path, path: Any) -> None:
    from nakawari.app import strip

    works = Works(tmp_path)
    work = works.open(works.new_token())
    (said,) = strip.act(work, {"action": "add", "files": [{"path": path, "name": "a.png"}]})
    assert said == "This file was not uploaded to this page; add it again."


def test_a_name_cannot_climb_or_be_markup(tmp_path: Path) -> None:
    from nakawari.app.work import plain_name

    works = Works(tmp_path)
    work = works.open(works.new_token())
    assert plain_name("../../../etc/cron.d/x.png") == "x.png"
    assert plain_name("<img src=x onerror=alert(1)>.png") == "_img src_x onerror_alert(1)_.png"
    assert plain_name("..") == "drawing"
    for name in ("../x", "/etc", "a/../../x", "\0"):
        with pytest.raises(NakawariError):
            work.inside(name)
    with pytest.raises(NakawariError):
        works.open("../users")
