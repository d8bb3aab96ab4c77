"""Runs the program's commands in turn, in one process or in those of one launch, and tells what each run held.

python commands_in_turn.py SIZES WORDS..., each WORDS a JSON list. Into the folder SIZES goes, for each process and
command, `PROCESS-COMMAND.json`: bytes in this process of the denoiser's frozen weights, and of all weights that learn,
of the optimizer's state and of the averages; `outside` those of other networks than the denoiser.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from torch.distributed.tensor import DTensor

from nakawari.cli.main import run
from nakawari.training import loop


def held(trainer: loop.Trainer) -> dict[str, int]:
    """Bytes in this process."""
    network, state = trainer.objective.pipeline.denoiser, trainer.optimizer.optimizer.state
    name = next(name for name, part in trainer.objective.networks.items() if part is network)
    found = {"frozen": size(value for value in network.parameters() if not value.requires_grad)}
    for part, names in (
        ("", trainer.parameters),
        (" outside", [one for one in trainer.parameters if not one.startswith(f"networks.{name}.")]),
    ):
        learning = [trainer.parameters[one] for one in names]
        found["learning" + part] = size(learning)
        found["optimizer" + part] = size(value for one in learning for value in state[one].values())
        found["average" + part] = size(trainer.average.shadow[one] for one in names) if trainer.average else 0
    return found


def size(tensors: Iterable[Tensor]) -> int:
    return sum((value.to_local() if isinstance(value, DTensor) else value).nbytes for value in tensors)


def main() -> None:
    finish, (_, folder, *commands) = loop.Trainer._finish, sys.argv
    for number, words in enumerate(commands):
        place = Path(folder) / f"{os.environ.get('RANK', 0)}-{number}.json"

        def noting(trainer: loop.Trainer, outcome: loop.Outcome, place: Path = place) -> None:
            place.write_text(json.dumps(held(trainer)))
            finish(trainer, outcome)

        loop.Trainer._finish = noting
        sys.argv[:] = ["nakawari", *json.loads(words)]
        try:
            run()
        except SystemExit as ended:
            if ended.code:
                raise


if __name__ == "__main__":
    main()
