"""Train with one of the failing objectives; arguments as for `nakawari train`.

python benchmarks/failures/train.py benchmarks/failures/dead-latents.yaml -o runs/dead
python benchmarks/failures/train.py runs/show/recipe.yaml --set objective.kind=answer-noise -o runs/noise
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from failures import register
from nakawari.cli.training_run import train_and_show
from nakawari.training.recipe import load_recipe


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("recipe", type=Path)
    words.add_argument("-o", "--output", type=Path, required=True)
    words.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = words.parse_args()
    register()
    train_and_show("training", load_recipe(given.recipe, given.set), given.output, resume=False, as_json=False)


if __name__ == "__main__":
    main()
