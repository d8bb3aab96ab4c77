"""Every shipped recipe, at tiny size, minimises today what it minimised when its losses were written down.

`python tests/training/test_recipe_losses.py` (with `tests` on the path) writes them down again: only where a loss is
meant to change.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
KEPT = Path(__file__).parents[1] / "data_files" / "recipe_losses.json"
TIMES = ("seconds", "samples_per_second")
FAILURES = {
    f"distill/{name}": ROOT / "benchmarks" / "failures" / f"{name}.yaml" for name in ("dead-latents", "wrong-target")
}
FILES = {
    str(path.relative_to(RECIPES).with_suffix("")): path
    for path in sorted(RECIPES.rglob("*.yaml"))
    if path.parent.name != "cluster"
} | FAILURES


def tiny_base(name: str, folder: Path) -> tuple[str, str | None]:
    """A tiny model in the place of the one that a recipe names, and one like it in the place of its teacher."""
    import tiny_framer
    from tiny_models import mini_model, plain_model, shaken, towered_model

    if name.startswith("framer/") or "framer" in name:
        tiny_framer.tiny().save_pretrained(folder / "base")
        return str(folder / "base"), None
    if name == "adapt/tooncrafter":
        towered_model(projector=8).save_pretrained(folder / "base")
        return str(folder / "base"), None
    # Four bits hardly change the tiny mini.
    teacher = plain_model() if name.startswith("quantize/") else mini_model()
    teacher.save_pretrained(folder / "teacher")
    if name.startswith("quantize/"):
        return f"{folder}/teacher:int4", str(folder / "teacher")
    shaken(teacher.unet, seed=3)  # another denoiser, the same autoencoder
    teacher.save_pretrained(folder / "base")
    return str(folder / "base"), str(folder / "teacher")


def tiny_recipe(name: str, folder: Path) -> dict[str, Any]:
    """A recipe with its objective and optimizer as they ship, and everything else small."""
    from nakawari.training.recipe_yaml import read_yaml

    values = read_yaml(FILES[name])
    base, teacher = tiny_base(name, folder)
    objective = values["objective"]
    if "teacher" in objective:
        objective["teacher"] = teacher
    for key in ("cache",):
        if objective.get(key):
            objective[key] = str(folder / key)
    if name == "adapt/tooncrafter":
        # The tiny model's towers are as random in bf16 as in fp32, and a step takes milliseconds.
        objective |= {"base_dtype": "fp32", "sampling": {"steps": 2, "guidance": 7.5, "eta": 1.0}}
    kinds = [source["kind"] for source in values["data"]["sources"]]
    framer = "framer" in name
    source = {"kind": "drags"} if "drags" in kinds else {"kind": "synthetic"}
    values["model"] = {"base": base}
    values["data"] = {
        "sources": [source],
        "size": [64, 96] if framer else [32, 48],
        "frames": [5 if framer else 3],
        "tracks": values["data"].get("tracks", 0),
        "augment": True,
    }
    values["optim"] |= {"steps": 2, "batch_size": 2, "accumulation": 1, "mixed_precision": "no", "warmup_steps": 0}
    values["validation"] = {"every": 2, "samples": 1}
    return values | {"workers": 0, "log": {}}


def losses(name: str, folder: Path) -> list[dict[str, Any]]:
    """What the log of two steps and a validation says."""
    from nakawari.training.recipe import parse_recipe
    from nakawari.training.run import train_recipe
    from nakawari.training.run_log import read_log

    train_recipe(parse_recipe(tiny_recipe(name, folder)), folder / "run")
    return [{k: v for k, v in entry.items() if k not in TIMES} for entry in read_log(folder / "run" / "log.jsonl")]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of the failing objectives are known in these tests alone."""
    from failures import KINDS
    from nakawari.training.objectives import OBJECTIVES

    for kind, module in KINDS.items():
        monkeypatch.setitem(OBJECTIVES, kind, module)


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_recipe_minimises_what_it_minimised(name: str, tmp_path: Path):
    kept = json.loads(KEPT.read_text())
    for found, before in zip(losses(name, tmp_path), kept[name], strict=True):
        scores, scores_before = found.pop("validation", {}), before.pop("validation", {})
        assert found == pytest.approx(before, rel=1e-5, abs=1e-12)
        assert scores == pytest.approx(scores_before, rel=1e-5)


def main() -> None:
    from failures import register

    register()
    found = {}
    for name in FILES:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = losses(name, Path(folder))
        print(name, [entry["loss"] for entry in found[name]], file=sys.stderr)
    KEPT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
