"""No step of sampling waits for the device, or copies from or to it.

The meta device stands in for a GPU: its tensors have no values, so whatever reads one fails, as `item`, `tolist`, `cpu`
and a branch on a comparison do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import tiny_framer
from nakawari.families.base import InterpolationPipeline
from nakawari.families.framer.schedulers import make_scheduler
from tiny_models import plain_model, towered_model

TRACKS = np.linspace([[4.0, 6.0]], [[20.0, 9.0]], 5)


class Copies(TorchDispatchMode):
    """Counts copies of more than one number between the CPU and the device while it watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watching, self.found = False, []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        if self.watching and isinstance(out, torch.Tensor):
            kinds = {tensor.device.type for tensor in [*tensors, out] if tensor.ndim}
            if kinds == {"cpu", "meta"}:
                self.found.append(str(function))
        return out


def watched(pipeline: InterpolationPipeline, **options: Any) -> Copies:
    """Copies from the end of the first step to the end of the last; the first step fills tables."""
    copies = Copies()

    def step(_: Any, index: int, *__: Any) -> dict[str, Any]:
        copies.watching = index < 3
        return {}

    keys = [torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    told = {"num_frames": 5, "num_inference_steps": 4, "output_type": "latent", "callback_on_step_end": step}
    generators = [torch.Generator().manual_seed(0)]
    pipeline.set_progress_bar_config(disable=True)
    with copies:
        frames = pipeline.to("meta")(*keys, **told, generator=generators, **options).frames
    assert frames.device.type == "meta"
    return copies


@pytest.mark.parametrize(
    "options", [{}, {"guidance_scale": 5.0}, {"sampler": "consistency"}, {"cache": "low"}], ids=str
)
@pytest.mark.parametrize("model", [plain_model, lambda: towered_model(8)], ids=["plain", "towers"])
def test_tooncrafter(model: Any, options: dict[str, Any]) -> None:
    assert watched(model(), **options).found == []


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        # Branches and the ControlNet are evaluated between two steps of whatever scheduler;
        ("euler", {}),
        ("euler", {"tracks": TRACKS}),
        # what is left out is decided by the noise levels, which each has of its own.
        *((scheduler, {"guidance_scale": 1.0}) for scheduler in ("euler", "dpm++", "lcm")),
        *((scheduler, {"cache": "low"}) for scheduler in ("euler", "dpm++", "lcm")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "guided",
)
def test_framer(scheduler: Any, options: dict[str, Any]) -> None:
    pipeline = tiny_framer.tiny()
    pipeline.register_modules(scheduler=make_scheduler(scheduler))
    assert watched(pipeline, **options).found == []


def test_what_waits_is_found() -> None:
    pipeline = plain_model()
    combine = pipeline.scheduler.step

    def waiting(output: torch.Tensor, *rest: Any, **options: Any) -> Any:
        output.mean().item()
        return combine(output, *rest, **options)

    pipeline.scheduler.step = waiting
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        watched(pipeline)
