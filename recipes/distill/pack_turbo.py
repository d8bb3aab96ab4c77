"""Put the turbo adapter of a finished run into its base's folder, in half precision, with the record of what made it.

python recipes/distill/pack_turbo.py runs/turbo
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from nakawari.adapters import SAMPLING, WEIGHTS, adapter_folder
from nakawari.files import atomic_path, read_json, write_json
from nakawari.variants import TURBO, model_folder


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("run", type=Path, help="a run of recipes/distill/turbo.yaml")
    words.add_argument("--base", default="mini", help="the model that it was trained on")
    arguments = words.parse_args()
    pack(arguments.run, model_folder(arguments.base) / TURBO)


def pack(run: Path, output: Path) -> None:
    """Write the adapter, its sampling and its record as the folder `output`."""
    adapter = adapter_folder(run)
    with safe_open(adapter / WEIGHTS, "pt") as file:
        weights = {name: file.get_tensor(name).to(torch.float16).contiguous() for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    provenance, summary = recipe.pop("provenance"), read_json(run / "summary.json")
    for source in recipe["data"]["sources"]:
        if "path" in source:
            source["path"] = Path(source["path"]).name
    recipe["data"].pop("cache", None)
    # Where base and teacher stood on the machine that trained it is nobody's business.
    for part, key in ((recipe["model"], "base"), (recipe["objective"], "teacher")):
        part[key] = Path(part[key]).name
    with atomic_path(output) as folder:
        folder.mkdir()
        save_file(weights, folder / WEIGHTS, metadata=metadata)
        write_json(folder / SAMPLING, read_json(adapter / SAMPLING))
        record = {"recipe": recipe, "provenance": provenance, "steps": summary["step"], "best": summary["best"]}
        write_json(folder / "record.json", record)


if __name__ == "__main__":
    main()
