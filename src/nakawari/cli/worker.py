"""A process that runs commands for the app, one after the other, with all heavy modules imported: `python -m
nakawari.cli.worker`.

It reads a JSON object per line on stdin: `words`, the arguments of a command (without `nakawari`), or `task` and
`values`, the name of a function in `nakawari.app.tasks` and its arguments; and `folder`, its working directory. It
writes JSON objects to stdout: `ready` once; `begun` when a job can be interrupted; `progress`, [what, done, total,
note], while it runs; at its end `status` (the exit status), `said` (its stdout) and `notes` (its lines on stderr).
SIGINT interrupts only the running job, as Ctrl-C does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TextIO

HEAVY = ("nakawari.interpolation.draw", "nakawari.interpolation.job", "nakawari.families.mini.pipeline")
NICER = 5
"""Niceness of jobs relative to the server, which must stay responsive."""


def main() -> None:
    """Run jobs until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keep the output of libraries out of the answers
    if hasattr(os, "nice"):
        os.nice(NICER)
    from .main import app
    from .progress import listen

    for name in HEAVY:
        import_module(name)
    listen(lambda what, done, total, note: _answer(answers, {"progress": [what, done, total, note]}))
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _answer(answers, _run(json.loads(line), app, answers))


def _answer(answers: TextIO, value: Mapping[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _run(job: Mapping[str, Any], app: Any, answers: TextIO) -> dict[str, Any]:
    said, notes = io.StringIO(), io.StringIO()
    os.chdir(job["folder"])
    status = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(notes):
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _answer(answers, {"begun": True})
            if "words" in job:
                app([str(word) for word in job["words"]])
            else:
                _task(job, said)
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except KeyboardInterrupt:
            status = 130
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return {"status": status, "said": said.getvalue(), "notes": notes.getvalue().splitlines()}


def _task(job: Mapping[str, Any], said: TextIO) -> None:
    """Run a function of `nakawari.app.tasks`; its errors are reported like those of a command."""
    from ..app import tasks
    from .main import reporting_errors

    with reporting_errors():
        json.dump(getattr(tasks, job["task"])(**job["values"]), said)


if __name__ == "__main__":
    main()
