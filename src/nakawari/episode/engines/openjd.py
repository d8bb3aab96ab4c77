"""Open Job Description: a template with a task for each chunk of cuts. AWS Deadline Cloud takes it as it is, and the
program `openjd` runs it here."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ...errors import NakawariError
from ...files import write_json
from ..plan import Episode
from . import Watch, Wish
from .processes import supervise

TEMPLATE = "openjd.json"
STEP = "Draw"


def template_of(episode: Episode, chunk: int, command: str = "nakawari") -> dict[str, Any]:
    """The job template: cuts by their numbers, in chunks of about `chunk`.

    `command`: the program as the machines that run the job find it.
    """
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": f"nakawari {episode.folder.resolve().name}",
        "parameterDefinitions": [
            {
                "name": "Episode",
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
                "parameterSpace": {
                    "taskParameterDefinitions": [
                        {
                            "name": "Cuts",
                            "type": "CHUNK[INT]",
                            "range": f"0-{len(episode.units) - 1}",
                            "chunks": {"defaultTaskCount": chunk, "rangeConstraint": "CONTIGUOUS"},
                        }
                    ]
                },
                "script": {
                    "actions": {
                        "onRun": {
                            "command": "{{Param.Nakawari}}",
                            "args": ["episode", "work", "{{Param.Episode}}", "--cuts", "{{Task.Param.Cuts}}"],
                        }
                    }
                },
            }
        ],
    }


def submit(episode: Episode, wish: Wish, watch: Watch) -> str:
    """Write the template, and unless only that is wished, run it here with `openjd`, in some sessions side by side."""
    path = episode.folder / TEMPLATE
    if wish.emit:
        write_json(path, template_of(episode, wish.chunk))
        return f"wrote {path}"
    program = _program()
    own = episode.folder.resolve() / ".nakawari"
    _write_launcher(own)
    write_json(path, template_of(episode, wish.chunk, str(own)))
    workers, starts = wish.workers or 1, range(0, len(episode.units), wish.chunk)
    commands = []
    for number in range(workers):
        chunks = [f"{first}-{min(first + wish.chunk, len(episode.units)) - 1}" for first in starts[number::workers]]
        if chunks:
            tasks = json.dumps([{"Cuts": chunk} for chunk in chunks])
            commands.append(
                [program, "run", str(path), "--step", STEP, "--extensions", "TASK_CHUNKING", "--tasks", tasks]
            )
    supervise(episode, commands, [{}] * len(commands), watch, died=bool)  # a session ends with its first dead task
    return f"ran {path} in {len(commands)} sessions of openjd"


def _program() -> str:
    program = _found()
    if program is None:
        raise NakawariError("The engine openjd needs the package openjd-cli; pip install nakawari[openjd], or --emit.")
    return program


def _found() -> str | None:
    beside = Path(sys.executable).with_name("openjd")
    return str(beside) if beside.exists() else shutil.which("openjd")


def _write_launcher(path: Path) -> None:
    """A script that starts this very installation: a session has an environment of its own."""
    kept = "".join(
        f"export {name}='{os.environ[name]}'\n" for name in ("PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ
    )
    path.write_text(f"#!/bin/sh\n{kept}exec '{sys.executable}' -m nakawari \"$@\"\n")
    path.chmod(0o755)
