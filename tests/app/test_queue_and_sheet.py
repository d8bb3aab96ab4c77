"""The queue with a stub process, and a time sheet dropped among the keys; no browser, no model."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.drawings import ball
from app.waiting import PATIENCE
from nakawari.app import sides, strip
from nakawari.app.jobs import Queue, words_job
from nakawari.app.process import Ended
from nakawari.app.sequence import player_value, sheet_of
from nakawari.app.status import of_ticket
from nakawari.app.unfinished import shown_value
from nakawari.app.ways import gap_choices
from nakawari.app.words import interpolate_words
from nakawari.app.work import Work, Works
from nakawari.errors import UsageError
from nakawari.interpolation.drawn import Gap
from nakawari.interpolation.gaps import GapStore
from nakawari.media import read_rgb


class Slow:
    """Runs a job until it is released or interrupted."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.ran, self.stopped = list[list[str]](), False

    def run(self, job: dict[str, Any], hear: Any) -> Ended:
        self.ran.append(job["words"])
        hear("in-betweens", 1, 4, "step 1 of 2")
        self.begun.set()
        self.go.wait(PATIENCE)
        self.go.clear()
        if self.stopped:
            self.stopped = False
            return Ended(130, "", ("nakawari: interrupted; 1 of 2 gaps are kept.",))
        return Ended(0, "{}", ("nakawari: warning: gap 2: a cut?",))

    def interrupt(self) -> None:
        self.stopped = True
        self.go.set()

    def renew(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def work(tmp_path: Path) -> Work:
    works = Works(tmp_path / "work")
    return works.open(works.new_token())


def test_one_queue_says_the_place_of_each(work: Work) -> None:
    runs = Slow()
    queue = Queue(runs)
    tickets = [queue.put(f"user{number}", "draw", work.folder, [words_job("interpolate")]) for number in range(3)]
    assert runs.begun.wait(PATIENCE)
    assert [queue.place(ticket) for ticket in tickets] == [0, 1, 2]
    assert of_ticket(queue, work, tickets[2], "")["words"] == "In the queue: 2 before this one."
    assert of_ticket(queue, work, tickets[0], "")["words"] == "in-betweens: 1 of 4, step 1 of 2"
    with pytest.raises(UsageError, match="has a running job"):
        queue.put("user0", "draw", work.folder, [])
    queue.cancel(tickets[1])
    assert tickets[1].state == "stopped" and queue.place(tickets[2]) == 1
    queue.cancel(tickets[0])
    assert tickets[0].over.wait(PATIENCE)
    assert of_ticket(queue, work, tickets[0], "")["words"] == "Stopped: interrupted; 1 of 2 gaps are kept."
    runs.go.set()
    assert tickets[2].over.wait(PATIENCE)
    assert (tickets[2].state, tickets[2].warnings) == ("done", ["gap 2: a cut?"])
    assert len(runs.ran) == 2


def test_a_sheet_sets_order_and_timing(work: Work, tmp_path: Path) -> None:
    names = ("A3.png", "A1.png", "A2.png")
    sent = [{"path": str(ball(work.works.uploads / name, 30)), "name": name} for name in names]
    sheet = work.works.uploads / "sheet.csv"
    sheet.write_text("A\n1\n\n○\n○\n2\n\n3\n", encoding="utf-8")
    sent.append({"path": str(sheet), "name": "sheet.csv"})
    assert strip.act(work, {"action": "add", "files": sent}) == []
    asked = work.asked()
    assert [key.name for key in asked.keys] == ["A1.png", "A2.png", "A3.png"]
    assert asked.between == [2, 0]
    assert asked.spacing[0] == [0.5, 0.75]


def test_the_sheet_of_a_sequence_has_its_exposures() -> None:
    frames = [{"number": 1, "length": 2, "key": "a.png"}, {"number": 3, "length": 2, "key": None}]
    sheet = sheet_of({"frames": [*frames, {"number": 5, "length": 2, "key": "b.png"}], "fps": 24.0})
    assert sheet.duration == 6 and sorted(sheet.levels[0].cells) == [0, 2, 4]
    assert [cell.name for cell in sheet.levels[0].cells.values()] == ["1", "3", "5"]


def test_what_is_on_the_page_as_words(work: Work) -> None:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        work.add_key(ball(work.works.uploads / name, 30 + 20 * number), name)
    strip.act(work, {"action": "between", "gap": 1, "count": 2})
    strip.act(work, {"action": "shares", "gap": 1, "shares": [0.2, 0.9]})
    strip.act(work, {"action": "move", "place": 2, "to": 0})
    words = interpolate_words(work.asked())
    assert words[:6] == ["interpolate", "keys/c.png", "keys/a.png", "keys/b.png", "-o", "out"]
    assert words[words.index("--between") + 1] == "7,2"
    assert [words[at + 1] for at, word in enumerate(words) if word == "--spacing"] == ["even", "0.2,0.9"]


def test_the_player_shows_the_gaps_that_are_done(work: Work) -> None:
    for number in range(3):
        work.add_key(ball(work.works.uploads / "k.png", 30 + 20 * number), f"k{number}.png")
    store = GapStore(work.output)
    plan = {"gaps": ["first", "second"], "between": [2, 1], "keys": ["k0.png", "k1.png", "k2.png"]}
    plan |= {"begins": [1, 3, 5, 7, 9, 11], "lengths": [2] * 6, "fps": 12, "size": [160, 96], "channels": "RGB"}
    store.put_plan(plan | {"loop": False, "model": "mini", "seed": 0})
    grey = np.full((96, 160, 3), 128, np.uint8)
    store.put("second", Gap([grey], None, (0.5,), {"drawn_by": "model", "confidence": [0.75]}))
    value = shown_value(work)
    assert value is not None
    frames = [(frame["number"], frame["key"], frame.get("confidence")) for frame in value["frames"]]
    assert frames == [(1, "k0.png", None), (7, "k1.png", None), (9, None, 0.75), (11, "k2.png", None)]
    drawing = work.inside(value["frames"][2]["url"].partition("?")[0].split("/", 2)[2])
    assert read_rgb(drawing).tolist() == grey.tolist()
    assert shown_value(work) == value
    store.put("first", Gap([grey, grey], None, (0.3, 0.6), {"drawn_by": "model", "confidence": [1, 1]}))
    assert len((shown_value(work) or {"frames": ()})["frames"]) == 6
    store.clear()
    assert shown_value(work) is None and not (work.folder / "drawing").exists()


def test_an_adapter_is_offered_with_the_model_it_was_taught_on(work: Work) -> None:
    for run, recipe in {"show": "model: {base: framer-tiny}", "old": "model: [", "other": None}.items():
        best = work.folder / "teach" / run / "best"
        best.mkdir(parents=True)
        (best / "pytorch_lora_weights.safetensors").touch()
        if recipe:
            (best.parent / "recipe.yaml").write_text(recipe)
    offered = [name for _, name in sides.choices(work) if "+" in name]
    assert [name for name in offered if "show" in name] == ["framer-tiny+teach/show"]
    models = ["mini", "mini/small", "framer-tiny"]
    assert [name for name in offered if "show" not in name] == [
        f"{m}+teach/{r}" for r in ("old", "other") for m in models
    ]


def test_pairs_and_cuts_as_words(work: Work) -> None:
    for number, name in enumerate(("a_end.png", "a_start.png", "b_end.png", "b_start.png")):
        work.add_key(ball(work.works.uploads / name, 30 + 20 * number), name)
    work.order_pairs()
    strip.act(work, {"action": "between", "gap": 2, "count": 3})
    with work.changing() as asked:
        asked.on_cut = "fade"
    words = interpolate_words(work.asked())
    assert words[1:5] == ["keys/a_start.png", "keys/a_end.png", "keys/b_start.png", "keys/b_end.png"]
    assert words[words.index("--between") + 1] == "7,3"
    assert words[words.index("--on-cut") + 1] == "fade"
    assert [gap["name"] for gap in strip.strip_value(work)["gaps"] if not gap["apart"]] == ["pair 1", "pair 2"]
    assert gap_choices(work.asked())[1] == ("Pair 2: b_start.png to b_end.png", 3)
    work.remove_key(3)
    assert work.asked().between == [7, 0] and not work.asked().pairs()


def test_the_core_does_not_import_the_app() -> None:
    code = "import nakawari, nakawari.cli.main, sys; print([m for m in sys.modules if 'gradio' in m or '.app.' in m])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_player_hears_what_the_record_doubts(work: Work) -> None:
    (work.output).mkdir()
    for number in (1, 2, 3, 4):
        ball(work.output / f"000{number}.png", 30 * number)
    names = [("a.png", 1), (None, 2), ("b.png", 3), ("c.png", 4)]
    nothing = {"shares": [], "drawn_by": None, "confidence": None, "cut": None, "notes": None}
    record = {
        "tool": "nakawari interpolate",
        "files": [],
        "frames": [{"file": f"000{n}.png", "number": n, "length": 1, "key": key} for key, n in names],
        "gaps": [{"shares": [0.5], "drawn_by": "model", "confidence": [0.25], "cut": True, "notes": []}, nothing],
    } | {"fps": 12, "size": [160, 96], "channels": "RGB", "loop": False, "model": "mini", "seed": 0}
    (work.output / "interpolation.json").write_text(json.dumps(record))
    value = player_value(work, work.output)
    assert value is not None
    assert [frame.get("confidence") for frame in value["frames"]] == [None, 0.25, None, None]
    assert value["warnings"] == ["Gap 1: a cut? Little of one key is found in the other."]
