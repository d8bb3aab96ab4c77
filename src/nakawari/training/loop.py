"""The training loop: one, for every objective. `Trainer.step` is one optimizer step, `Trainer.run` all of them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor

from .. import trained_on
from ..errors import NakawariError, UsageError
from ..files import write_json
from . import checkpoints, sharding
from .accelerating import make_accelerator
from .batches import Samples, StepIndices, batches
from .cards import describe_training
from .ema import WeightAverage
from .guards import PATIENCE_WITHOUT_GRADIENT, finite_or_none, statistics, without_gradient
from .learning import Learning
from .objectives.base import Batch, Objective, StepOutput, collate, sample_generator
from .recipe import Recipe
from .run_log import RunLog
from .run_state import PATIENCE_WITH_NONFINITE, Outcome, Progress, RunState
from .schedule import learning_rate
from .stop_signal import StopSignal
from .tensors import whole_folder
from .trackers import FOLDER, Trackers


def train(
    recipe: Recipe,
    objective: Objective,
    samples: Samples,
    held_out: Sequence[dict[str, Any]],
    run: Path,
    *,
    resume_step: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    seen: Collection[str] = (),
) -> Outcome:
    """Train `objective` as `recipe` says, writing log, checkpoints, best and samples into the folder `run`.

    Args:
        samples: training data, endless and indexed.
        held_out: the validation samples.
        resume_step: the checkpoint to go on from; None starts at step 0.
        progress: called after each step, on the main process.
        seen: fingerprints of what the model will have been trained on, see `nakawari.trained_on`.

    Returns: how it ended; SIGTERM and Ctrl-C end it well, after a checkpoint.
    Raises: `NakawariError` after three non-finite steps in a row, or when the disk is full.
    """
    trainer = Trainer(recipe, objective, samples, held_out, run, seen)
    if resume_step is not None:
        trainer.resume(resume_step)
    return trainer.run(progress)


class Trainer:
    """The parts of one run, and its steps."""

    def __init__(
        self,
        recipe: Recipe,
        objective: Objective,
        samples: Samples,
        held_out: Sequence[dict[str, Any]],
        run: Path,
        seen: Collection[str] = (),
    ) -> None:
        self.recipe, self.optim = recipe, recipe.optim
        self.folder, self.seen = run, seen
        self.objective = objective.train()
        if not objective.trainable_parameters():
            raise UsageError(f"The objective {recipe.objective.kind} has nothing to train; check its parameters.")
        self.accelerator = make_accelerator(self.optim.mixed_precision, recipe.log.trackers, run / FOLDER)
        self.learning, self.model, self.optimizer = self._prepare(objective)
        self.parameters = self.learning.parameters
        self.average = WeightAverage(self.parameters, self.optim.ema) if self.optim.ema else None
        self.samples = samples
        self.held_out = [
            self._to_device(collate([{**sample, "index": index}])) for index, sample in enumerate(held_out)
        ]
        self.state, self.first = RunState(), 0
        self.launcher = os.getppid()
        self.idle: set[str] | None = set(self.parameters)
        """What has had no gradient so far; None once everything has had one."""

    def _prepare(self, objective: Objective) -> tuple[Learning, torch.nn.Module, Any]:
        if not self.recipe.shard:
            learning = Learning(objective.trainable_parameters())
            return learning, *self.accelerator.prepare(objective, _adamw(self.recipe, learning.parameters))
        learning = sharding.shard(objective, self.accelerator)
        return learning, *sharding.prepared(self.accelerator, objective, _adamw(self.recipe, learning.parameters))

    def step(self, data: Iterator[Batch]) -> dict[str, Any]:
        """One optimizer step; returns its log entry."""
        began = time.perf_counter()
        rate = self._set_learning_rate()
        passes = [self._micro_batch(next(data), last=n == 0) for n in reversed(range(self.optim.accumulation))]
        self.learning.take_gradients()
        self._note_gradients()
        loss, logs = self._means([output for _, output in passes])
        norm = self.learning.clip(self.accelerator, self.optim.grad_clip or float("inf"))
        self.state.step += 1
        if np.isfinite(loss) and np.isfinite(norm):
            self._update()
        else:
            self._skip(passes, loss, norm)
        self.optimizer.zero_grad()
        seconds = time.perf_counter() - began
        entry = {"step": self.state.step, "loss": finite_or_none(loss), "baseline": logs.pop("baseline")}
        entry |= {"lr": rate, "grad_norm": finite_or_none(norm)} | logs
        if self.state.nonfinite:
            entry["skipped"] = True
        return entry | {"seconds": round(seconds, 4), "samples_per_second": round(self.optim.batch_size / seconds, 3)}

    def _note_gradients(self) -> None:
        """Refuse to train what has no part in the loss; who gets none in `PATIENCE_WITHOUT_GRADIENT` steps has none."""
        if self.idle is None:
            return
        self.idle = {name for name in self.idle if self.parameters[name].grad is None}
        if not self.idle:
            self.idle = None
        elif self.state.step + 1 - self.first >= PATIENCE_WITHOUT_GRADIENT:
            raise NakawariError(without_gradient(self.idle, len(self.parameters)))

    def _micro_batch(self, batch: Batch, last: bool) -> tuple[Batch, StepOutput]:
        batch = self._to_device(batch)
        generators = [sample_generator(self.recipe.seed, index) for index in batch["index"]]
        # Dropout and the like draw from the global generators: these too follow from the position alone.
        _seed_global(sample_generator(self.recipe.seed, -1 - batch["index"][0]).initial_seed())
        with nullcontext() if last else self.accelerator.no_sync(self.model):
            output = self.model(batch, generators)
            if not output.loss.requires_grad:
                raise NakawariError(without_gradient(self.parameters, len(self.parameters)))
            self.accelerator.backward(output.loss / self.optim.accumulation)
        return batch, output

    def _means(self, outputs: Sequence[StepOutput]) -> tuple[float, dict[str, float | None]]:
        """Loss and logs over the whole step, all processes."""
        names = list(outputs[0].logs)
        rows = [torch.stack([_number(o.loss), *(_number(o.logs[name]) for name in names)]) for o in outputs]
        loss, *values = self.accelerator.reduce(torch.stack(rows).mean(0), "mean").tolist()
        return loss, {name: finite_or_none(value) for name, value in zip(names, values, strict=True)}

    def _update(self) -> None:
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.state.updates)
        self.state.updates += 1
        self.state.nonfinite = 0

    def _skip(self, passes: Sequence[tuple[Batch, StepOutput]], loss: float, norm: float) -> None:
        """Leave the weights alone, and write down what the batch was."""
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.update()
            if np.isfinite(loss) and scaler.get_scale() >= 1:
                return  # an fp16 overflow: the scaler's search for its scale, not a fault
        self.state.nonfinite += 1
        rank = self.accelerator.process_index
        name = f"nonfinite-step-{self.state.step}" + (f"-process-{rank}" if rank else "")
        described = {"step": self.state.step, "loss": finite_or_none(loss), "grad_norm": finite_or_none(norm)}
        write_json(self.folder / f"{name}.json", described | {"batches": [_describe(*pair) for pair in passes]})

    def resume(self, step: int) -> None:
        """Go on from the checkpoint of `step`."""
        values = checkpoints.load(self.folder, step, self.learning, self.optimizer.optimizer, self.average)
        self.state = RunState(**{name: values[name] for name in RunState().to_json()})
        self.first = step
        if self.accelerator.scaler is not None and self.state.scaler:
            self.accelerator.scaler.load_state_dict(self.state.scaler)

    def run(self, progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Train to the end, or to the first reason to stop."""
        state, first, began = self.state, self.state.step, time.perf_counter()
        main = self.accelerator.is_main_process
        log = RunLog(self.folder / "log.jsonl", state.step) if main else None
        self.trackers = Trackers(self.accelerator, self.recipe.name)
        outcome = self._outcome(None, None)
        data = self.data()
        with StopSignal() as signal, log or nullcontext():
            if state.step == 0 and self.held_out and self.objective.over_base:
                self._validate()
            while outcome is None:
                entry = self.step(data)
                reason = self._validate_and_save_samples(entry)
                if log is not None:
                    log.write(entry)
                self.trackers.log(entry)
                if main and progress is not None:
                    left = (self.optim.steps - state.step) * (time.perf_counter() - began) / (state.step - first)
                    progress(Progress(state.step, self.optim.steps, left, entry))
                if state.nonfinite >= PATIENCE_WITH_NONFINITE:
                    raise NakawariError(self._diverged())
                outcome = self._outcome(reason, self._stopped(signal))
                # Between skipped steps the weights stand still, and a checkpoint would only push a good one out.
                due = state.step % self.recipe.checkpoint.every == 0 and self._is_good()
                if outcome is not None or due:
                    self.checkpoint()
        self._finish(outcome)
        self.trackers.end()
        return outcome

    def checkpoint(self) -> None:
        """Write a checkpoint of this step."""
        if self.accelerator.scaler is not None:
            self.state.scaler = self.accelerator.scaler.state_dict()
        parts = self.learning, self.optimizer.optimizer, self.average
        first = self.accelerator.is_main_process
        checkpoints.save(self.folder, *parts, self.state.to_json(), self.recipe.checkpoint.keep, writes=first)
        self.accelerator.wait_for_everyone()

    def data(self) -> Iterator[Batch]:
        """The micro-batches of this process, from the state's step to the last."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        o = self.optim
        indices = StepIndices(self.state.step, o.steps, o.batch_size, o.accumulation, rank, processes)
        return batches(self.samples, indices, self.recipe.workers)

    def _set_learning_rate(self) -> float:
        o = self.optim
        rate = learning_rate(
            self.state.step,
            peak=o.lr,
            schedule=o.schedule,
            warmup_steps=o.warmup_steps,
            steps=o.steps,
            floor=o.floor,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _validate_and_save_samples(self, entry: dict[str, Any]) -> str | None:
        """Validate and save pictures where due, with the scores put into `entry`; returns a reason to stop early."""
        recipe, step = self.recipe, self.state.step
        reason = self.objective.step_end(step)
        if self.accelerator.num_processes > 1:  # each process sees its own samples, and all must stop together
            reason = broadcast_object_list([reason])[0]
        entry |= {name: finite_or_none(value) for name, value in self.objective.observed().items()}
        if self.held_out and (step % recipe.validation.every == 0 or step == self.optim.steps):
            entry["validation"] = self._validate()
            reason = reason or self._impatience()
        if self.held_out and recipe.log.samples_every and step % recipe.log.samples_every == 0:
            self._save_samples(self.folder / "samples" / f"step-{step}")
            self.trackers.pictures(self.folder / "samples" / f"step-{step}", step)
        return reason

    def _save_samples(self, folder: Path) -> None:
        first = self.accelerator.is_main_process
        # Where the denoiser is sharded it draws only if all processes draw; what the others draw is the same.
        with self._as_saved(), whole_folder(folder) if first else TemporaryDirectory() as place:
            self.objective.sample(self.held_out, Path(place))

    def _validate(self) -> dict[str, float | None]:
        rule = self.recipe.validation
        with self._as_saved():
            scores = self.objective.validate(self.held_out)
            # Every process decides by the same figures.
            scores = broadcast_object_list([scores])[0] if self.accelerator.num_processes > 1 else scores
            if rule.metric not in scores:
                allowed = ", ".join(sorted(scores))
                raise UsageError(f"validation.metric '{rule.metric}' is not measured; allowed are {allowed}.")
            error = scores.get(f"{rule.metric}_error", 0.0)
            if self.state.improves(scores[rule.metric], rule.mode, error):
                self._save_best(scores)
        return {name: finite_or_none(score) for name, score in scores.items()}

    def _impatience(self) -> str | None:
        rule = self.recipe.validation
        if rule.patience is None or self.state.stale < rule.patience:
            return None
        return f"{rule.metric} has not improved in {self.state.stale} validations"

    def _save_best(self, scores: Mapping[str, float]) -> None:
        with self.learning.put_together():
            if self.accelerator.is_main_process:
                self._write_best(scores)

    def _write_best(self, scores: Mapping[str, float]) -> None:
        with whole_folder(self.folder / "best") as folder:
            self.objective.save(folder)
            said = {name: finite_or_none(score) for name, score in scores.items()}
            describe_training(folder, self.recipe, self.folder, self.state.step, said, len(self.seen))
            if self.seen:
                trained_on.write(folder, self.seen)

    @contextmanager
    def _as_saved(self) -> Iterator[None]:
        """The weights that a user gets: averaged, in evaluation mode, no gradient."""
        self.objective.eval()
        with self.average.applied() if self.average else nullcontext(), torch.no_grad(), self.accelerator.autocast():
            yield
        self.objective.train()

    def _is_good(self) -> bool:
        """Whether the last step was finite and has left finite weights; the same in every process."""
        if self.state.nonfinite:
            return False
        finite = all(bool(torch.isfinite(one).all()) for one in self.parameters.values())
        return not self._on_any(not finite)

    def _stopped(self, signal: StopSignal) -> str | None:
        """How the run was asked to stop, where any of its processes was; what started several was killed: they stop."""
        if self._on_any(signal.received == Signals.SIGINT):
            return "interrupted"
        alone = self.accelerator.num_processes > 1 and os.getppid() != self.launcher
        return "terminated" if self._on_any(alone or signal.received is not None) else None

    def _outcome(self, reason: str | None, stopped: str | None) -> Outcome | None:
        step, steps = self.state.step, self.optim.steps
        reason = reason or self._impatience()
        if step >= steps:
            return Outcome("finished", step, f"All {steps} steps are done.", self.state.best)
        if reason:
            return Outcome(
                "stopped early", step, f"Stopped early after step {step} of {steps}: {reason}.", self.state.best
            )
        if stopped:
            said = "Interrupted" if stopped == "interrupted" else "Asked to stop"
            again = f"nakawari train {self.folder}/recipe.yaml -o {self.folder} --resume"
            said = f"{said} after step {step} of {steps}; a checkpoint is written, go on with: {again}"
            return Outcome(stopped, step, said, self.state.best)
        return None

    def _finish(self, outcome: Outcome) -> None:
        if not self.held_out and outcome.status == "finished":
            with self._as_saved():
                self._save_best({})
        if self.accelerator.is_main_process:
            trained = sum(self.learning.shape(name).numel() for name in self.parameters)
            write_json(self.folder / "summary.json", asdict(outcome) | {"trained_parameters": trained})
        self.accelerator.wait_for_everyone()

    def _diverged(self) -> str:
        saved = [step for step in checkpoints.saved_steps(self.folder) if checkpoints.is_good(self.folder, step)]
        last = (
            f"the last good checkpoint is {checkpoints.folder_of(self.folder, saved[-1])}" if saved else "no checkpoint"
        )
        return (
            f"Loss or gradient was not finite {PATIENCE_WITH_NONFINITE} steps in a row, up to step {self.state.step}; "
            f"{last}, the batches are described in {self.folder}/nonfinite-step-*.json."
        )

    def _on_any(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum"))

    def _to_device(self, batch: Batch) -> dict[str, Any]:
        device = self.accelerator.device
        return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}


def _adamw(recipe: Recipe, parameters: dict[str, torch.nn.Parameter]) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices and kernels only, not on biases, norms and gains."""
    o = recipe.optim
    decayed = [p for p in parameters.values() if p.ndim > 1]
    others = [p for p in parameters.values() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": o.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=o.betas, eps=o.eps)


def _seed_global(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from it


def _number(value: Tensor | float) -> Tensor:
    return value.detach().float() if isinstance(value, Tensor) else torch.tensor(float(value))


def _describe(batch: Batch, output: StepOutput) -> dict[str, Any]:
    found: dict[str, Any] = {"loss": finite_or_none(float(output.loss.detach()))}
    for key, value in batch.items():
        found[key] = statistics(value) if isinstance(value, Tensor) else [str(item) for item in value]
    for key, value in output.details.items():
        found[key] = [finite_or_none(float(item)) for item in value]
    return found
