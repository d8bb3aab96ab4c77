"""Pack finished runs as a model that ships: half precision, with the record of what made it and how it scores.

python recipes/mini/pack.py runs/mini/1-draw runs/mini/2-settle --steps 1
nakawari evaluate mini --data DATA --protocol quick -o results/quick
python recipes/mini/pack.py --results results/quick

python recipes/mini/pack.py runs/framer/1-autoencoder runs/framer/2-denoiser -o src/nakawari/assets/framer-tiny
"""

from __future__ import annotations

import argparse
import gzip
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from nakawari.families.tooncrafter.attention import SpatialTransformer, TemporalTransformer
from nakawari.families.tooncrafter.blocks import Downsample, ResBlock, Upsample
from nakawari.files import atomic_path, read_json, write_json
from nakawari.variants import MINI, load


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="*", type=Path, help="the runs in order; the last one holds the model")
    words.add_argument("--steps", type=int, help="sampling steps of a call that names none; see benchmarks/steps.py")
    words.add_argument(
        "--stream-scale",
        type=float,
        help="factor on all that the denoiser's blocks hand on; normalised wherever it is read, it may grow past fp16",
    )
    words.add_argument(
        "--results", type=Path, help="an evaluation of the packed model, to put its scores in the record"
    )
    words.add_argument("-o", "--output", type=Path, default=MINI)
    arguments = words.parse_args()
    if arguments.results is None:
        pack(arguments)
    else:
        add_scores(arguments.output, arguments.results)


def pack(words: argparse.Namespace) -> None:
    """Write model, record and logs; the scores come later, from an evaluation of what was packed."""
    runs, output = words.runs, words.output
    pipeline = load(str(runs[-1])).pipeline
    if words.stream_scale is not None:
        scale_stream(pipeline.unet, words.stream_scale)
    pipeline.to(torch.float16)
    pipeline.register_to_config(_name_or_path=output.name)
    for name in ("unet", "vae", "controlnet"):
        # Where the run stood on the machine that made it is nobody's business.
        if pipeline.components.get(name) is not None:
            pipeline.components[name].register_to_config(_name_or_path=f"{output.name}/{name}")
    if words.steps is not None:
        pipeline.register_to_config(default_steps=words.steps)
    with atomic_path(output) as folder:
        pipeline.save_pretrained(folder)
        write_json(folder / "record.json", {"runs": [described(run) for run in runs]})
        for number, run in enumerate(runs, start=1):
            with (
                (run / "log.jsonl").open("rb") as log,
                gzip.GzipFile(folder / f"log-{number}.jsonl.gz", "wb", mtime=0) as to,
            ):
                shutil.copyfileobj(log, to)


@torch.no_grad()
def scale_stream(unet: torch.nn.Module, factor: float) -> None:
    """Scale what a ToonCrafter denoiser's blocks add to and hand on; group norms undo it where it is read."""
    writers = [unet.input_blocks[0][0], *(getattr(unet, n)[-1] for n in ("guide_in", "match_in") if hasattr(unet, n))]
    carriers = []
    for module in unet.modules():
        if isinstance(module, ResBlock):
            writers.append(module.out_layers[-1])
            if module.temporal_conv is not None:
                writers.append(module.temporal_conv.conv4[-1])
            carriers.append(module.skip_connection)
        elif isinstance(module, (SpatialTransformer, TemporalTransformer)):
            writers.append(module.proj_out)
        elif isinstance(module, Downsample):
            carriers.append(module.op)
        elif isinstance(module, Upsample):
            carriers.append(module.conv)
    for layer in writers:
        layer.weight.mul_(factor)
    for layer in (*writers, *carriers):
        if getattr(layer, "bias", None) is not None:
            layer.bias.mul_(factor)


def described(run: Path) -> dict[str, Any]:
    """A run in the record: its recipe, whole, where data and code stood, and how it ended."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    provenance = recipe.pop("provenance")
    for source in recipe["data"]["sources"]:
        if "path" in source:
            source["path"] = Path(source["path"]).name
    if recipe["model"]["base"]:
        recipe["model"]["base"] = Path(recipe["model"]["base"]).name
    for part in ("data", "objective"):
        recipe[part].pop("cache", None)
    summary = read_json(run / "summary.json")
    return {"recipe": recipe, "provenance": provenance, "steps": summary["step"], "best": summary["best"]}


def add_scores(folder: Path, results: Path) -> None:
    """Put the means of an evaluation into the record."""
    found = read_json(results / "aggregates.json")
    name = found["protocol"]["name"]
    scores = {
        entry["name"]: {
            metric: {level: round(value["mean"], 5) for level, value in levels.items()}
            for metric, levels in entry["results"].get(name, {}).items()
        }
        for entry in found["entries"]
    }
    record = read_json(folder / "record.json")
    write_json(folder / "record.json", record | {"scores": {"protocol": found["protocol"], "means": scores}})


if __name__ == "__main__":
    main()
