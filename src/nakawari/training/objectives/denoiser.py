"""One objective for all training on noisy latents: trained parameters × target × loss terms.

The kinds of a recipe (`adapt`, `denoise`, `repair`, `imitate`, `few_step`) are names for combinations; each
module's `build` makes one. Losses are written in x0 and noise through the family's process, so they are correct
for any prediction type.
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
from ...errors import UsageError
from ...families.base import Condition, InterpolationPipeline
from ...families.calling import settings_for
from ..collapse import CollapseWatch, deviation_ratios, watched_times
from ..condition_cache import ConditionCache
from ..features import FeatureImitation
from ..guards import check
from ..lora import train_adapter
from ..offload import Offload
from ..teacher import Teacher
from .base import Batch, StepOutput, rand, randn
from .conditions import condition_of, drop_control, drop_parts
from .decoded import DecodedTerm
from .params import DenoisingParams
from .pipeline_objective import HeldOut, PipelineObjective
from .pixels import PixelLoss, middle_psnr
from .prior import Prior
from .shardable import check_shardable
from .targets import Noised, Target, choose, marked, random_times
from .terms import LatentTerms


@dataclass(frozen=True)
class Learner:
    """The trained parameters of a pipeline.

    Args:
        begin: unfreezes or adds them; every network is frozen before.
        save: writes them into an empty folder; None = the whole pipeline.
        adapter: only an adapter is trained; the base stays in evaluation mode.
        condition: a trained parameter influences the condition.
        over_base: validation compares with the base without the adapter instead of with a zero prediction.
    """

    begin: Callable[[], None]
    save: Callable[[Path], None] | None = None
    adapter: bool = False
    condition: bool = False
    over_base: bool = False


@dataclass
class Extras:
    """Options of some kinds.

    Args:
        sampling: arguments of the pipeline's call in validation.
        cache: of conditions and latents.
        offload: networks offloaded to CPU memory.
        prior: a second loss on the base's own drawings.
        features: a loss on the blocks' outputs against the teacher's, with this weight.
        watch: collapse detection on the student's latents.
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
        params: dropout rates, the pixel term.
        pipeline: the model.
        learner, target, terms: the three choices.
        extras: see there.

    A batch may hold `known` (B, F), False for frames without a true picture, which are excluded from every loss. It may
    hold `tracks`, (F, P, 2) for each clip, the condition of families with point control.
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
        self.over_base = learner.over_base
        self.nothing = "base" if learner.over_base else self.nothing
        self.params, self.learner, self.target, self.terms = params, learner, target, terms
        self.extras = extras or Extras()
        self.pixel = PixelLoss(params.pixel) if params.pixel else None
        learner.begin()
        self.last: Noised | None = None
        self._ratios: dict[str, float] = {}
        self._drawn: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    @property
    def teacher(self) -> Teacher | None:
        """The teacher of the target, in memory beside the student."""
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
        # The relative error of zero features is 1.
        logs = dict(output.logs) | {"features": error.mean(), "baseline": output.logs["baseline"] + weight}
        return StepOutput(output.loss + error.mean(), logs, output.details)

    def _compared(self, batch: Batch, generators: Sequence[torch.Generator]) -> StepOutput:
        """Add noise to a batch, evaluate the network, and compare its estimate with the target."""
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
        """The noised latents of a batch, and the condition with dropout applied."""
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
        """Make the missing drawings of the teacher that `forward` needs for this batch."""
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
        """As for every objective; if only an adapter is trained, see `train_adapter`."""
        super().train(mode)
        if self.learner.adapter:
            train_adapter(self.networks, mode)
        return self

    def network_to_shard(self) -> nn.Module:
        check_shardable(self.pipeline)
        if self.extras.prior is not None:
            raise UsageError(
                "objective.prior draws a clip when it is first wanted, which one process of a sharded run cannot do "
                "alone; leave the prior out, or set shard to false."
            )
        return self.pipeline.denoiser

    def validate(self, batches: Sequence[Batch]) -> dict[str, float]:
        with self.extras.offload.on(batches[0]["frames"].device):
            return super().validate(batches)

    def sample(self, batches: Sequence[Batch], folder: Path) -> None:
        with self.extras.offload.on(batches[0]["frames"].device):
            super().sample(batches, folder)

    def scores(self, held_out: HeldOut) -> dict[str, Tensor]:
        """See the parent; adds `psnr_teacher` if the target is the end of the teacher's trajectory."""
        found = super().scores(held_out)
        if self.target.times is not None:
            found["psnr_teacher"] = middle_psnr(self.draw_taught(held_out), held_out.batch["frames"])
        return found

    def draw(self, held_out: HeldOut) -> Tensor:
        how = self.extras.sampling
        # A sampler without eta adds no noise.
        dispensable = () if how.get("eta") else ("eta",)
        drawn = self.pipeline(
            condition=held_out.condition,
            generator=held_out.noise(),
            output_type="pt",
            **settings_for(self.pipeline, how, "objective.sampling", dispensable),
        )
        return drawn.frames * 2 - 1

    def draw_nothing(self, held_out: HeldOut) -> Tensor:
        """The base's frames for an adapter, otherwise those of a zero prediction."""
        if not self.over_base:
            return super().draw_nothing(held_out)
        return self._once("base", held_out, self._draw_base)

    def _draw_base(self, held_out: HeldOut) -> Tensor:
        with disabled(*adapted_networks(self.pipeline)):
            return self.draw(held_out)

    def draw_taught(self, held_out: HeldOut) -> Tensor:
        """The clips drawn by the teacher; as `draw`."""
        teacher = self.target.teacher
        return self._once(
            "teacher", held_out, lambda asked: self.pipeline.decode(teacher.draw(asked.batch), asked.condition)
        )

    def _once(self, what: str, held_out: HeldOut, draw: Callable[[HeldOut], Tensor]) -> Tensor:
        key = what, tuple(held_out.batch["index"])
        if key not in self._drawn:
            self._drawn[key] = draw(held_out)
        return self._drawn[key]

    def step_end(self, step: int) -> str | None:
        self._ratios = {}
        watch = self.extras.watch
        if watch is None or not watch.due(step) or self.last is None:
            return None
        self._ratios = self._deviations(self.last)
        return watch.judge(step, self._ratios)

    def observed(self) -> dict[str, float]:
        """Deviation of the student's clean latents over the teacher's, by timestep, if this step was checked."""
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
        """Save the trained parameters by `learner.save`, or the whole pipeline."""
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
