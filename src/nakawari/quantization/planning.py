"""Make a plan: measure each layer, solve under the budget, check the result by sampling with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import NakawariError, UsageError
from ..families.base import InterpolationPipeline
from .formats import stored_bytes
from .layers import packable, packed_as, packed_layers
from .plans import Plan, fingerprint, parse_budget, predicted, shorten, upgrades, weights_size, within
from .precisions import check_runs, uniform, weight_bytes
from .sensitivity import Calibration, Progress, Sensitivity, Settings, calibrate, drawn, measure, psnr

CANDIDATES = ("int4", "int8", "fp16")


@dataclass(frozen=True)
class Trial:
    """A measured assignment: bytes of the denoiser, and PSNR of the frames to the parent's, dB."""

    bytes: int
    psnr: float


@dataclass(frozen=True)
class Planned:
    """A plan, its measurements, and its result beside those of each uniform precision."""

    plan: Plan
    precisions: dict[str, str]
    sensitivity: Sensitivity
    trials: dict[str, Trial]


class _Bench:
    """Samples the calibration clips with the denoiser packed by a given assignment."""

    def __init__(self, pipeline: InterpolationPipeline, calibration: Calibration) -> None:
        self.pipeline, self.calibration = pipeline, calibration
        self.parent = drawn(pipeline, calibration)

    def __call__(self, precisions: dict[str, str]) -> Trial:
        with packed_as(self.pipeline.denoiser, precisions):
            return Trial(
                weight_bytes(self.pipeline.denoiser), psnr(drawn(self.pipeline, self.calibration), self.parent)
            )


def make_plan(
    pipeline: InterpolationPipeline,
    *,
    budget: str | None = None,
    min_psnr: float | None = None,
    candidates: Sequence[str] = CANDIDATES,
    settings: Settings | None = None,
    progress: Progress = lambda done, total: None,
) -> Planned:
    """The best assignment under `budget` (of the whole denoiser), or the smallest with at least `min_psnr` dB.

    Raises:
        UsageError: neither or both goals, a budget too small for any assignment, or a denoiser that is quantized
        already. NakawariError: no assignment reaches the required PSNR.
    """
    if (budget is None) == (min_psnr is None):
        raise UsageError("A plan needs either --budget or --min-psnr-to-parent.")
    denoiser, settings = pipeline.denoiser, settings or Settings()
    layers = packable(denoiser)
    if packed_layers(denoiser):
        raise UsageError("This denoiser is quantized already; make a plan for the model it was made from.")
    for precision in candidates:
        check_runs(precision, denoiser.device)
    other = weight_bytes(denoiser) - sum(layer.weight.nbytes for layer in layers.values())
    halves = sum(tensor.numel() for tensor in denoiser.state_dict().values()) * 2
    room = None if budget is None else parse_budget(budget, halves) - other
    if room is not None:
        _check_room(room, layers, candidates)
    calibration = calibrate(pipeline, settings)
    sensitivity = measure(pipeline, calibration, candidates, progress)
    bench = _Bench(pipeline, calibration)
    if room is not None:
        chosen = within(sensitivity, room)
    else:
        chosen = _cheapest(sensitivity, lambda precisions: bench(precisions).psnr, float(min_psnr or 0))
    trials = {"plan": bench(chosen)}
    trials |= {precision: bench(uniform(denoiser, precision)) for precision in candidates}
    about: dict[str, Any] = {
        "budget": budget,
        "min_psnr_to_parent": min_psnr,
        "weights_bytes": weights_size(sensitivity, chosen),
        "predicted_x0_snr": round(min(sensitivity.decibel(predicted(sensitivity, chosen)), 999.0), 2),
        "calibration": asdict(settings)
        | {"size": list(settings.size), "folder": None if settings.folder is None else settings.folder.name},
        "trials": {
            name: {"bytes": trial.bytes, "psnr": round(min(trial.psnr, 999.0), 2)} for name, trial in trials.items()
        },
    }
    return Planned(Plan(fingerprint(denoiser), shorten(chosen), about), chosen, sensitivity, trials)


def _check_room(room: int, layers: dict[str, Any], candidates: Sequence[str]) -> None:
    """Report a budget that is too small before anything is measured."""
    least = sum(min(stored_bytes(layer.weight.shape, c) for c in candidates) for layer in layers.values())
    if room < least:
        raise UsageError(
            f"The budget leaves {max(room, 0) / 1e6:.3g} MB for the weights, which need at least {least / 1e6:.3g} MB "
            f"in {', '.join(candidates)}; raise the budget."
        )


def _cheapest(sensitivity: Sensitivity, fidelity: Callable[[dict[str, str]], float], wanted: float) -> dict[str, str]:
    """The shortest prefix of the upgrades that reaches at least `wanted` dB, by bisection."""
    start, steps = upgrades(sensitivity)

    def after(count: int) -> dict[str, str]:
        return start | dict(steps[:count])

    low, high = 0, len(steps)
    best = fidelity(after(high))
    if best < wanted:
        raise NakawariError(
            f"{wanted:g} dB to the parent cannot be reached: the finest of these precisions gives {best:.2f} dB."
        )
    while low < high:
        middle = (low + high) // 2
        if fidelity(after(middle)) >= wanted:
            high = middle
        else:
            low = middle + 1
    return after(high)
