"""Open Job Description: a template with a task for each chunk of pieces, or for each share. AWS Deadline Cloud accepts
it unchanged, and the program `openjd` runs it locally."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from ..errors import NakawariError
from ..files import write_json
from . import Job, Watch, Wish
from .processes import Command, supervise

TEMPLATE = "openjd.json"
STEP = "Work"
TASK = "Part"


def template_of(job: Job, wish: Wish, command: str = "nakawari") -> dict[str, Any]:
    """The job template: chunks of numbered pieces, or shares, one per worker.

    `command`: the program on the machines that run the job.
    """
    words = ["{{Param.Folder}}" if word == str(job.folder.resolve()) else word for word in job.words]
    part: dict[str, Any] = {"name": TASK, "type": "INT", "range": f"0-{_workers(wish) - 1}"}
    more = ["--share", f"{{{{Task.Param.{TASK}}}}}/{_workers(wish)}"]
    if job.numbered:
        chunks = {"defaultTaskCount": wish.chunk, "rangeConstraint": "CONTIGUOUS"}
        part |= {"type": "CHUNK[INT]", "range": f"0-{job.pieces - 1}", "chunks": chunks}
        more = [job.numbered, f"{{{{Task.Param.{TASK}}}}}"]
    return {
        "specificationVersion": "jobtemplate-2023-09",
        **({"extensions": ["TASK_CHUNKING"]} if job.numbered else {}),
        "name": f"nakawari {job.name}",
        "parameterDefinitions": [
            {
                "name": "Folder",
                "type": "PATH",
                "objectType": "DIRECTORY",
                "dataFlow": "INOUT",
                "default": ".",  # the folder of the template
            },
            {"name": "Nakawari", "type": "STRING", "default": command},
        ],
        "steps": [
            {
                "name": STEP,
                "parameterSpace": {"taskParameterDefinitions": [part]},
                "script": {"actions": {"onRun": {"command": "{{Param.Nakawari}}", "args": [*words, *more]}}},
            }
        ],
    }


def _workers(wish: Wish) -> int:
    return wish.workers or 1


def submit(job: Job, wish: Wish, watch: Watch) -> str:
    """Write the template, and unless `emit` is set, run it locally with `openjd`, in parallel sessions."""
    path = job.folder / TEMPLATE
    if wish.emit:
        write_json(path, template_of(job, wish))
        return f"wrote {path}"
    program = _program()
    own = job.folder.resolve() / ".nakawari"
    write_json(path, template_of(job, wish, str(own)))
    _write_launcher(own)
    parts = chunks_of(job, wish.chunk) if job.numbered else [str(number) for number in range(_workers(wish))]
    ways = [one for one in (parts[number :: _workers(wish)] for number in range(_workers(wish))) if one]
    commands = [_session([program, "run", str(path), "--step", STEP], job, one) for one in ways]
    supervise(job, commands, [{}] * len(commands), watch, died=bool)  # a session ends with its first failed task
    return f"ran {path} in {len(commands)} sessions of openjd"


def chunks_of(job: Job, chunk: int) -> list[str]:
    """The pieces in chunks, as `openjd` writes them: `0-9`."""
    return [f"{first}-{min(first + chunk, job.pieces) - 1}" for first in range(0, job.pieces, chunk)]


def _session(words: list[str], job: Job, parts: list[str]) -> Command:
    """A session with the parts that are not done when it starts; a restarted session would begin with the first
    part."""

    def command() -> list[str]:
        left = None if job.left is None else set(job.left())
        tasks = [{TASK: part} for part in parts if left is None or left.intersection(_numbers(part))]
        more = ["--extensions", "TASK_CHUNKING"] if job.numbered else []
        return [*words, *more, "--tasks", json.dumps(tasks)] if tasks else []

    return command


def _numbers(part: str) -> range:
    first, last = map(int, part.split("-"))
    return range(first, last + 1)


def _program() -> str:
    program = _found()
    if program is None:
        raise NakawariError(
            "The engine openjd needs the package openjd-cli; pip install nakawari[openjd], or give --emit."
        )
    return program


def _found() -> str | None:
    beside = Path(sys.executable).with_name("openjd")
    return str(beside) if beside.exists() else shutil.which("openjd")


def _write_launcher(path: Path) -> None:
    """Write a script that starts this installation from this folder; a session has its own environment and folder."""
    kept = [name for name in ("PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ]
    lines = ["#!/bin/sh", *(f"export {name}={shlex.quote(os.environ[name])}" for name in kept)]
    lines += [f"cd {shlex.quote(str(Path.cwd()))}", f'exec {shlex.quote(sys.executable)} -m nakawari "$@"']
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
