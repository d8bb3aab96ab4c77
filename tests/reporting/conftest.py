"""One small evaluation, made by the evaluation's code, for all tests of the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossfade import CrossFade
from nakawari.data.samples import Sample
from nakawari.evaluation.aggregate import aggregate
from nakawari.evaluation.contestants import Model
from nakawari.evaluation.floors import Floor, average
from nakawari.evaluation.protocol import Protocol, Row
from nakawari.evaluation.runner import evaluate
from nakawari.evaluation.schema import Aggregates
from nakawari.files import read_json, write_json
from nakawari.reporting import drawing

PROTOCOL = Protocol(
    name="tiny",
    description="Six discs & squares.",
    metrics=("psnr", "flicker"),
    seeds=(0, 1),
    rows=(Row(name="pooled", note="errors pooled", change={"pool": 2}),),
)
NAMES = ("stub", "stub+runs/show/best@0.5", "stub+runs/show/best@1")


class Faulty(CrossFade):
    """A cross-fade with more noise for brighter keys; its denoiser is called for every clip."""

    def __init__(self, noise: float) -> None:
        super().__init__(noise=noise)
        self.denoiser = torch.nn.Identity()
        self.components = {"unet": self.denoiser}

    def __call__(self, *args, **options):
        self.denoiser(args[0])
        return super().__call__(*args, **options)


def samples(folder: Path) -> list[Sample]:
    """Six triplets of 48 x 32 of two levels; the disc goes farther in later ones."""
    found = []
    y, x = np.mgrid[:32, :48]
    for number in range(6):
        paths = []
        for index in range(3):
            picture = np.full((32, 48, 3), 200 - 10 * number, np.uint8)
            picture[np.hypot(y - 16, x - 12 - index * (number + 1)) < 7] = (220, 40, 30)
            path = folder / f"s{number}" / f"frame{index + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
            paths.append(path)
        level = ("easy", "hard")[number % 2]
        found.append(Sample(f"s{number}", (paths[0], paths[2]), (paths[1],), (0.5,), level))
    return found


def evaluated(
    folder: Path, names=NAMES, protocol: Protocol = PROTOCOL, *, cost: bool = True, guide: bool = True
) -> Path:
    """An evaluation of stub models, the first the noisiest; returns its folder."""
    noises = dict(zip(NAMES, (0.3, 0.1, 0.2), strict=True))
    rows = [Floor("stub: guide alone", average, "anchor")] if guide else []
    models = [Model(name, Faulty(noises.get(name, 0.05)), parent=None if name == "stub" else "stub") for name in names]
    with pytest.MonkeyPatch.context() as patch:  # the same rows whatever else is installed
        patch.setattr("nakawari.evaluation.runner.installed_peers", lambda *_: ())
        patch.setattr("nakawari.evaluation.efficiency.others", lambda: nullcontext([0.0]))  # however busy it is here
        evaluate([*rows, *models], samples(folder / "data"), protocol, folder / "result", cost=cost)
    return folder / "result"


def recomputed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the record of a result, and recompute its numbers with the evaluation's code."""
    content = read_json(folder / "aggregates.json")
    change(content)
    said = Aggregates.model_validate(content)
    found = aggregate(folder, said.protocol, said.record, said.entries)
    write_json(folder / "aggregates.json", found.model_dump(mode="json"))


@pytest.fixture(scope="session", autouse=True)
def _quick_fonts():
    """Figures with fonts that are quick to embed."""
    before = drawing._STYLE["pdf.fonttype"]
    drawing._STYLE["pdf.fonttype"] = 3
    yield
    drawing._STYLE["pdf.fonttype"] = before


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation; read only."""
    return evaluated(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture
def result(kept: Path, tmp_path: Path) -> Path:
    """A copy of the evaluation for tests that modify it."""
    return shutil.copytree(kept, tmp_path / "result")
