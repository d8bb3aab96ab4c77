"""One objective for all training on noisy latents: what learns × target × terms.

The kinds of a recipe (`adapt`, `denoise`, `repair`, `imitate`, `few_step`) are names for choices of the three; each
module's `build` makes the choice. Losses are written in x0 and noise through the family's process, so they are right
whatever the denoiser answers with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...adapters import adapted_networks, disabled
from ...families.base import Condition, InterpolationPipeline
from ...families.calling import settings_for
from ..collapse import CollapseWatch, deviation_ratios, watched_times
from ..condition_cache import ConditionCache
from ..features import FeatureImitation
from ..guards import check
from ..lora import train_adapter
from ..offload import Offload
from ..teacher import Teacher
from .base import Batch, StepOutput, rand, randn, sample_generator
from .conditions import condition_of, drop_control, drop_parts, keys_of, tracks_of
from .decoded import DecodedTerm
from .params import DenoisingParams
from .pipeline_objective import PipelineObjective
from .pixels import PixelLoss, middle_psnr
from .prior import Prior
from .targets import Noised, Target, choose, marked, random_times
from .terms import LatentTerms


@dataclass(frozen=True)
class Learner:
    """What of a pipeline learns.

    Args:
        begin: unfreezes or adds it; every network is frozen before.
        save: writes it into an empty folder; None = the whole pipeline.
        adapter: only an adapter learns: the base computes in training as afterwards.
        condition: something learns that makes the condition.
        over_base: validation shows what the base draws without the adapter, instead of what adding nothing draws.
    """

    begin: Callable[[], None]
    save: Callable[[Path], None] | None = None
    adapter: bool = False
    condition: bool = False
    over_base: bool = False


@dataclass
class Extras:
    """What only some kinds have.

    Args:
        sampling: how validation draws, in the words of a call.
        cache: of conditions and latents.
        offload: networks that wait in the CPU's memory.
        prior: a second loss on the base's own drawings.
        features: a loss on the blocks' outputs against the teacher's, with this weight.
        watch: over the deviation of the student's latents.
    """

    sampling: dict[str, Any] = field(default_factory=dict)
    cache: ConditionCache | None = None
    offload: Offload = field(default_factory=lambda: Offload([]))
    prior: Prior | None = None
    features: tuple[FeatureImitation, float] | None = None
    watch: CollapseWatch | None = None


class DenoiserObjective(PipelineObjective):
    """The loss of a denoiser's estimate of clean latents, and of the frames that these decode to.

    Args:
        params: shares of what is dropped, the pixel term.
        pipeline: the model.
        learner, target, terms: the three choices.
        extras: see there.

    A batch may hold `known` (B, F), False for frames without a true picture: they are left out of every loss. It may
    hold `tracks`, (F, P, 2) for each clip, which families with point control are told.
    """

    def __init__(
        self,
        params: DenoisingParams,
        pipeline: InterpolationPipeline,
        learner: Learner,
        target: Target,
        terms: LatentTerms,
        extras: Extras | None = None,
    ) -> None:
        super().__init__(pipeline)
        self.params, self.learner, self.target, self.terms = params, learner, target, terms
        self.extras = extras or Extras()
        self.pixel = PixelLoss(params.pixel) if params.pixel else None
        learner.begin()
        self.last: Noised | None = None
        self._ratios: dict[str, float] = {}
        self._drawn: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    @property
    def teacher(self) -> Teacher | None:
        """Who is asked for the target, and stands in memory beside the student."""
        return self.target.teacher

    def forward(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        output = self._step(batch, generators)
        prior = self.extras.prior
        if prior is None:
            return output
        with self.extras.offload.on(batch["frames"].device):
            drawn = prior.batch(batch, generators)
        kept, weight = self._step(drawn, generators), prior.params.weight
        logs = dict(output.logs) | {"prior": kept.loss, "prior_baseline": kept.logs["baseline"]}
        logs["baseline"] = logs["baseline"] + weight * kept.logs["baseline"]
        return StepOutput(output.loss + weight * kept.loss, logs, output.details)

    def _step(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        if self.extras.features is None:
            return self._compared(batch, generators)
        features, weight = self.extras.features
        with features.watching():
            output = self._compared(batch, generators)
            error = weight * features.loss(len(generators))
        # A student without any of the teacher's features is off by their whole energy.
        logs = dict(output.logs) | {"features": error.mean(), "baseline": output.logs["baseline"] + weight}
        return StepOutput(output.loss + error.mean(), logs, output.details)

    def _compared(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        """Noise a batch, ask the network, and compare its estimate with the target."""
        process = self.pipeline.process
        batch = marked(batch, self.target, lambda: rand(generators))
        step = self.noised(batch, generators)
        answer = check("output", self.pipeline.denoise(step.noisy, step.t, step.condition))
        estimate = process.x0(answer, step.noisy, step.t)
        silent = process.x0(torch.zeros_like(answer), step.noisy, step.t)
        target, known = self.target.latents(batch, step), batch.get("known")

        loss = self.terms(process, estimate, target, step.t, known)
        baseline = self.terms(process, silent, target, step.t, known)
        spread = estimate.detach().std() / target.std().clamp(min=1e-8)
        logs = {"latent": loss.mean(), "latent_baseline": baseline.mean(), "spread": spread, "x0_std": target.std()}
        if self.pixel is not None:
            term = DecodedTerm(self.pipeline, self.pixel, self.params.pixel)
            pixel, nothing = term(estimate, target, step, batch, generators)
            loss, baseline = loss + pixel, baseline + nothing
            logs |= {"pixel": pixel.mean(), "pixel_baseline": nothing.mean()}
        logs["baseline"] = baseline.mean()
        return StepOutput(loss.mean(), logs, {"t": step.t, "loss": loss.detach(), "guided": step.guided})

    def noised(self, batch: Batch, generators: Sequence[torch.Generator]) -> Noised:
        """Noise on the clean latents of a batch, and the condition, with its parts dropped at their rates."""
        guided = rand(generators) >= self.params.guide_dropout
        condition, x0 = self._encoded(batch, guided.tolist())
        condition = drop_parts(self.pipeline, condition, self.params, rand(generators))
        t = random_times(self.pipeline, self.target.times, self.params.last_time_share, generators).to(x0.device)
        noise = randn(generators, x0.shape[1:], x0)
        condition = drop_control(condition, self.params.control_dropout, lambda: rand(generators))
        noisy = self.pipeline.process.add_noise(x0, noise, t)
        self.last = Noised(condition, x0, noise, noisy, t, guided)
        return self.last

    @torch.no_grad()
    def prepare(self, batch: Batch, generators: Sequence[torch.Generator]) -> None:
        """Make the teacher's drawings that `forward` will want for this batch, where they are not there."""
        self.noised(marked(batch, self.target, lambda: rand(generators)), generators)

    def _encoded(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        """The condition of a batch, sample i with motion guidance where `guided[i]`, and its clean latents."""
        cache, drawings = self.extras.cache, self.target.drawings
        found = self._encode(batch, guided) if cache is None else cache.encoded(batch, guided, self._encode)
        if drawings is None:
            return found
        condition, x0 = found
        return condition, choose(batch["true"], x0, lambda: drawings.latents(batch, guided).to(x0))

    def _encode(self, batch: Batch, guided: Sequence[bool]) -> tuple[Condition, Tensor]:
        with self.extras.offload.on(batch["frames"].device):
            with torch.set_grad_enabled(self.learner.condition):
                condition = condition_of(self.pipeline, batch, guided)
            with torch.no_grad():
                return condition, check("x0", self.pipeline.encode(batch["frames"], condition).float())

    def train(self, mode: bool = True) -> DenoiserObjective:
        """As for every objective; where an adapter is all that learns, see `train_adapter`."""
        super().train(mode)
        if self.learner.adapter:
            train_adapter(self.networks, mode)
        return self

    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        with self.extras.offload.on(batches[0]["frames"].device):
            return super().validate(batches)

    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        with self.extras.offload.on(batches[0]["frames"].device):
            super().sample(batches, folder)

    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """As elsewhere, with `psnr_teacher` where the target is the end of a teacher's path."""
        found = super().scores(batch)
        if self.target.times is not None:
            found["psnr_teacher"] = middle_psnr(self.draw_taught(batch), batch["frames"])
        return found

    def draw(self, batch: Batch, guided: bool) -> Tensor:
        frames, how = batch["frames"], self.extras.sampling
        wanted = {name: batch.get(name) for name in ("prompt", "fps")} | {
            "tracks": tracks_of(self.pipeline, batch),
            "guided": None if guided else False,
            **how,
        }
        # A sampler that takes no eta is one that adds no noise.
        dispensable = ("guided",) if how.get("eta") else ("guided", "eta")
        drawn = self.pipeline(
            *keys_of(frames),
            num_frames=frames.shape[1],
            generator=[sample_generator(0, index) for index in batch["index"]],
            output_type="pt",
            **settings_for(self.pipeline, wanted, "objective.sampling", dispensable),
        )
        return drawn.frames * 2 - 1

    def draw_nothing(self, batch: Batch, condition: Condition) -> Tensor:
        """What the base draws, for an adapter over it; else what stands there when nothing is added."""
        if not self.learner.over_base:
            return super().draw_nothing(batch, condition)
        return self._once("base", batch, self._draw_base)

    def _draw_base(self, batch: Batch) -> Tensor:
        with disabled(*adapted_networks(self.pipeline)):
            return self.draw(batch, guided=True)

    def draw_taught(self, batch: Batch) -> Tensor:
        """The clips as the teacher draws them; as `draw`."""
        teacher = self.target.teacher
        return self._once("teacher", batch, lambda b: self.pipeline.decode(teacher.draw(b), self.guided_condition(b)))

    def _once(self, what: str, batch: Batch, draw: Callable[[Batch], Tensor]) -> Tensor:
        key = what, tuple(batch["index"])
        if key not in self._drawn:
            self._drawn[key] = draw(batch)
        return self._drawn[key]

    def step_end(self, step: int) -> str | None:
        self._ratios = {}
        watch = self.extras.watch
        if watch is None or not watch.due(step) or self.last is None:
            return None
        self._ratios = self._deviations(self.last)
        return watch.judge(step, self._ratios)

    def observed(self) -> dict[str, float]:
        """Deviation of the student's clean latents over the teacher's, by time, where this step was looked at."""
        return {f"deviation_{name}": ratio for name, ratio in self._ratios.items()}

    def _deviations(self, last: Noised) -> dict[str, float]:
        with evaluating(self.pipeline.denoiser):
            return deviation_ratios(
                self.pipeline.process,
                last.x0,
                last.noise,
                watched_times(self.pipeline.process),
                lambda noisy, t: self.pipeline.denoise(noisy, t, last.condition),
                lambda noisy, t: self.target.teacher.denoise(noisy, t, last.condition),
            )

    def save(self, folder: Path) -> None:
        """What learnt, as `learner.save` writes it, or the whole pipeline."""
        if self.learner.save is None:
            super().save(folder)
        else:
            self.learner.save(folder)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside the block a network is in evaluation mode."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
