"""Where a variant's latents collapse or explode during denoising, compared with its parent at the same seeds.

The measure is the ratio of standard deviations, variant over parent, of x0 (the clean latents predicted by each network
output) and of x_t, as the geometric mean over the samples. With the same seeds, keys and settings both start
from the same x_T, so a ratio other than 1 is caused by the model.

A ratio below 1/sqrt(2) is called a collapse and one above sqrt(2) an explosion: half or twice the parent's variance,
3 dB. A finding is reported if it holds for several consecutive steps (a tenth of all, at least two) or at the last
step, which is decoded; its first step is reported. A single outlier step in between is not a finding.

Without a parent, the true clips are the reference. The marginal of x_t is known, std(x_t)^2 = signal^2 std(x0)^2 +
sigma^2 (Song et al. 2021, eq. 4 for DDIM's marginals), so every step is judged. x0 is compared with the clips at the
last step, but not judged: a posterior mean varies less than the data, and a model that takes few steps, or
corrects its guide, predicts one to the end. What must keep its variance is the image: the contrast of the
decoded in-betweens is compared with that of the true ones through the same autoencoder, clip by clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import NakawariError
from ..families.base import InterpolationPipeline
from .trajectory import Moments, Trajectory, join, recorded

BAND = 2**0.5
"""Allowed factor between a standard deviation and the reference, up or down."""
QUANTITIES = ("x0", "x_t")
PICTURES = "the pictures"


@dataclass(frozen=True)
class Clip:
    """One task. `frames`: (F, 3, H, W) in [-1, 1], first and last the keys; `known`: the frames between are ground
    truth.
    `prompt`: for models with a text encoder."""

    name: str
    frames: Tensor
    known: bool = True
    prompt: str = ""


@dataclass(frozen=True)
class Finding:
    """A finding. `kind`: "collapse", "explosion" or "non-finite"; `quantity`: "x0", "x_t" or `PICTURES`; `step`:
    1-based, where it starts; `worst`: the ratio furthest from 1 from there on."""

    kind: str
    quantity: str
    step: int
    time: float
    worst: float | None

    def sentence(self, steps: int, reference: str) -> str:
        """As a sentence."""
        where = f"from step {self.step} of {steps} (time {self.time:g})"
        if self.worst is None:
            return f"{self.quantity} is not finite {where}."
        word = "collapses" if self.kind == "collapse" else "explodes"
        return f"The variance of {self.quantity} {word} {where}: its deviation is {self.worst:.3g} times {reference}."


@dataclass(frozen=True)
class Mixture:
    """The variant's first output as `own` x the parent's output + `noise` x the noise in the parent's input.

    Least squares over all samples. A healthy variant has own = 1 and noise = 0, a scaled one own = the scale, and one
    that predicts noise in place of the parent's prediction type own = 0 and noise = 1. `explained`: R^2.
    """

    own: float
    noise: float
    explained: float

    def sentence(self) -> str | None:
        """The likely cause, if the coefficients show one."""
        if self.explained < 0.5:
            return None
        if abs(self.noise) > 0.1:
            return (
                f"The first output is {self.own:.2f} x the parent's and {self.noise:.2f} x the noise: the network was "
                "trained to predict noise where the process expects another prediction type."
            )
        if abs(self.own - 1) > 0.1:
            return f"The first output is {self.own:.2f} x the parent's: the network's output is scaled."
        return None


@dataclass(frozen=True)
class Diagnosis:
    """The result of `diagnose`.

    `ratios`: quantity -> one ratio per step, None where there is no reference. `contrast`: standard deviation of the
    decoded in-betweens over that of the true ones; None if the reference is a parent.
    """

    trajectory: Trajectory
    parent: Trajectory | None
    ratios: dict[str, list[float | None]]
    findings: list[Finding]
    mixture: Mixture | None
    contrast: float | None = None

    @property
    def healthy(self) -> bool:
        return not self.findings

    def sentences(self) -> list[str]:
        """The findings and, if recognized, the likely cause."""
        reference = "the parent's" if self.parent else "the true clips'"
        said = [finding.sentence(len(self.trajectory.steps), reference) for finding in self.findings]
        cause = self.mixture.sentence() if self.mixture and self.findings else None
        return [*said, cause] if cause else said

    def to_json(self) -> dict[str, Any]:
        """All fields, JSON-ready: means over the samples, None for values that are not finite."""
        return {
            "healthy": self.healthy,
            "findings": [vars(finding) for finding in self.findings],
            "sentences": self.sentences(),
            "mixture": None if self.mixture is None else {k: _finite(v) for k, v in vars(self.mixture).items()},
            "band": BAND,
            "ratios": self.ratios,
            "contrast": self.contrast,
            "variant": _rows(self.trajectory),
            "parent": None if self.parent is None else _rows(self.parent),
        }


def diagnose(
    variant: InterpolationPipeline,
    clips: Sequence[Clip],
    parent: InterpolationPipeline | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Diagnosis:
    """Denoise `clips` with the variant and its parent, if given, and compare.

    Args:
        seed: sample i starts from the seed `seed + i`, in both.
        progress: called with the number of calls done and in total.
        settings: passed to both pipelines (`num_inference_steps`, `guidance_scale`, ...).

    Raises:
        NakawariError: no parent and a clip without ground truth; no clips; or two models with different step counts.
    """
    if not clips:
        raise NakawariError("There is nothing to denoise; give two keys or a data set with at least one sample.")
    if parent is None and not all(clip.known for clip in clips):
        raise NakawariError(
            "Without true frames there is no reference; give a parent, or data with frames between the keys."
        )
    total = len(clips) * (1 if parent is None else 2)
    tell = progress or (lambda done, total: None)
    own, latents = _follow(variant, clips, seed, lambda done: tell(done, total), settings)
    other, contrast = None, None
    if parent is not None:
        other, _ = _follow(parent, clips, seed, lambda done: tell(len(clips) + done, total), settings)
        if len(other.steps) != len(own.steps):
            raise NakawariError(
                f"The variant takes {len(own.steps)} steps and its parent {len(other.steps)}; give --steps for both."
            )
        references = {name: [getattr(step, name) for step in other.steps] for name in QUANTITIES}
    else:
        references = _expected(variant, clips, own)
        contrast = _contrast(variant, clips, latents)
    ratios, findings = {}, []
    for name in QUANTITIES:
        measured = [getattr(step, name) for step in own.steps]
        ratios[name] = [_ratio(*pair) for pair in zip(measured, references[name], strict=True)]
        judged = ratios[name] if parent is not None or name != "x0" else [None] * len(measured)
        findings += _judge(name, own, judged, measured)
    findings += _judge_contrast(contrast, own)
    mixture = _mixture(own, other, variant) if other is not None else None
    return Diagnosis(own, other, ratios, findings, mixture, contrast)


def _follow(
    pipeline: InterpolationPipeline,
    clips: Sequence[Clip],
    seed: int,
    tell: Callable[[int], None],
    settings: dict[str, Any],
) -> tuple[Trajectory, list[Tensor]]:
    """The joined trajectory, and the final latents of each clip."""
    found, latents = [], []
    for index, clip in enumerate(clips):
        with recorded(pipeline) as trajectory:
            made = pipeline(
                clip.frames[None, 0],
                clip.frames[None, -1],
                num_frames=len(clip.frames),
                prompt=clip.prompt,
                generator=[torch.Generator().manual_seed(seed + index)],
                output_type="latent",
                **settings,
            )
        found.append(trajectory)
        latents.append(made.frames)
        tell(index + 1)
    return join(found), latents


@torch.no_grad()
def _expected(
    pipeline: InterpolationPipeline, clips: Sequence[Clip], own: Trajectory
) -> dict[str, list[Moments | None]]:
    """The moments of the true clips: for x_t at every step, for x0 at the last step."""
    data = Moments.cat([Moments.of(_latents(pipeline, clip)) for clip in clips])
    marginals: list[Moments | None] = [
        Moments(step.signal * data.mean, (step.signal**2 * data.std**2 + step.sigma**2).sqrt(), data.norm)
        for step in own.steps
    ]
    return {"x0": [None] * (len(own.steps) - 1) + [data], "x_t": marginals}


def _latents(pipeline: InterpolationPipeline, clip: Clip) -> Tensor:
    return pipeline.encode(clip.frames[None].to(pipeline.device), _condition(pipeline, clip))


def _condition(pipeline: InterpolationPipeline, clip: Clip) -> Any:
    start, end = (clip.frames[None, index].to(pipeline.device) for index in (0, -1))
    generator = torch.Generator().manual_seed(0)
    return pipeline.condition(start, end, num_frames=len(clip.frames), prompt=clip.prompt, generator=generator)


@torch.no_grad()
def _contrast(pipeline: InterpolationPipeline, clips: Sequence[Clip], latents: Sequence[Tensor]) -> float | None:
    """Geometric mean over the clips of the images' standard deviation over that of the true ones, both decoded."""
    logs = []
    for clip, drawn in zip(clips, latents, strict=True):
        condition = _condition(pipeline, clip)
        true = pipeline.encode(clip.frames[None].to(pipeline.device), condition)
        own, other = (
            pipeline.decode(each, condition)[:, 1:-1].double().std(correction=0).clamp(min=1e-6)
            for each in (drawn, true)
        )
        if len(clip.frames) > 2:
            logs.append((own / other).log().cpu())
    return _finite(torch.stack(logs).mean().exp().item()) if logs else None


def _judge_contrast(contrast: float | None, own: Trajectory) -> list[Finding]:
    if contrast is None or 1 / BAND <= contrast <= BAND:
        return []
    kind = "collapse" if contrast < 1 else "explosion"
    return [Finding(kind, PICTURES, len(own.steps), own.steps[-1].time, contrast)]


def _ratio(measured: Moments, reference: Moments | None) -> float | None:
    """Geometric mean over the samples of measured / reference deviation; None where it is unknown or not finite."""
    if reference is None:
        return None
    tiny = torch.finfo(torch.float64).tiny
    return _finite((measured.std.clamp(min=tiny) / reference.std.clamp(min=tiny)).log().mean().exp().item())


def _judge(name: str, own: Trajectory, ratios: list[float | None], measured: list[Moments]) -> list[Finding]:
    """The findings of one quantity, in order of their first step."""
    for index, moments in enumerate(measured):
        if not torch.isfinite(moments.std).all():
            return [Finding("non-finite", name, index + 1, own.steps[index].time, None)]
    patience = max(2, len(ratios) // 10)
    findings = []
    for kind, worst in (("collapse", min), ("explosion", max)):
        start = _first_lasting(ratios, patience, kind)
        if start is not None:
            later = worst(ratio for ratio in ratios[start:] if ratio is not None)
            findings.append(Finding(kind, name, start + 1, own.steps[start].time, later))
    return sorted(findings, key=lambda finding: finding.step)


def _first_lasting(ratios: list[float | None], patience: int, kind: str) -> int | None:
    """Start of the first run of ratios outside the band that is `patience` long or reaches the end."""
    outside = [r is not None and (r < 1 / BAND if kind == "collapse" else r > BAND) for r in ratios]
    start = None
    for index, out in enumerate(outside):
        if not out:
            start = None
            continue
        start = index if start is None else start
        if index - start + 1 >= patience or index == len(outside) - 1:
            return start
    return None


def _mixture(own: Trajectory, other: Trajectory, pipeline: InterpolationPipeline) -> Mixture | None:
    if own.first is None or other.first is None:
        return None
    noisy, output, times = other.first
    noise = pipeline.process.noise(output, noisy, times).double().flatten()
    target = own.first[1].double().flatten()
    terms = torch.stack([output.double().flatten(), noise], dim=1)
    if not (torch.isfinite(terms).all() and torch.isfinite(target).all() and target.std() > 0):
        return None
    weights = torch.linalg.lstsq(terms, target[:, None]).solution[:, 0]
    rest = (target - terms @ weights).square().sum() / target.square().sum()
    return Mixture(weights[0].item(), weights[1].item(), 1 - rest.item())


def _rows(trajectory: Trajectory) -> list[dict[str, Any]]:
    rows = []
    for index, step in enumerate(trajectory.steps):
        row: dict[str, Any] = {"step": index + 1, "time": step.time, "signal": step.signal, "sigma": step.sigma}
        for name in QUANTITIES:
            moments = getattr(step, name)
            row[name] = {part: _finite(getattr(moments, part).mean().item()) for part in ("mean", "std", "norm")}
        rows.append(row)
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
