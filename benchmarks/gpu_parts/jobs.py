"""The process of one job: imports, waits for its turn, measures.

    python -m gpu_parts.jobs SETTINGS NAME [ARGUMENT ...]

Its turn is a line on standard input with the time by which it must end.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys

from diffusers.utils import logging

from .session import Session, Settings, send

MODULES = {name: f"gpu_parts.{name}" for name in ("compiled", "capped", "speed", "reference", "lora", "few", "checks")}


def turn() -> float:
    """Wait for the next turn; returns its end in seconds of `time.time()`."""
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)  # the parent has ended
    return float(line)


def main() -> None:
    settings = Settings(**json.loads(sys.argv[1]))
    name, *arguments = sys.argv[2:]
    module = importlib.import_module(MODULES[name])
    gc.freeze()  # exclude imports from collection: scanning them at every `clean` takes half a second
    session = Session(settings, turn())

    def wait() -> None:
        send({"waits": True})
        session.deadline = turn()

    session.wait = wait
    logging.set_verbosity_error()
    send({"about": machine(settings)})
    module.run(session, *(float(word) if word.replace(".", "").isdigit() else word for word in arguments))


def machine(settings: Settings) -> dict[str, str]:
    """Device and versions."""
    import platform

    import diffusers
    import torch
    import transformers

    found = {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}
    name = torch.cuda.get_device_name() if settings.cuda else platform.processor() or "cpu"
    return {"device": name, "python": platform.python_version(), **found}


if __name__ == "__main__":
    main()
