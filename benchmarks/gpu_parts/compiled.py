"""Parts b and c with `torch.compile`: compilation in parallel with other parts, then timing with the device alone."""

from __future__ import annotations

import time

import torch
import torch._dynamo as dynamo
from torch import Tensor

from nakawari.families.base import Condition, InterpolationPipeline

from . import models
from .session import Found, Session, synchronise, timed, weighed
from .speed import networks_of, whole


def run(session: Session, family: str, precision: str) -> None:
    """Compile the networks that run at every step, then time steps and a whole call, and draw a second sample."""
    settings = session.settings
    label = f"{precision} together, compiled"
    built: list[tuple[InterpolationPipeline, Condition, Tensor]] = []

    def compile_once() -> Found:
        built.append(prepared(session, family, precision))
        pipe, told, x = built[0]
        plain = models.evaluate(pipe, x, told).float()
        dynamo.reset()
        for name in networks_of(family):
            getattr(pipe, name).compile(backend="eager" if settings.tiny else "inductor")
        began = time.perf_counter()
        out = models.evaluate(pipe, x, told).float()
        synchronise()
        spent = time.perf_counter() - began
        difference = ((out - plain).norm() / plain.norm()).item()
        return {"compile_s": spent, "difference_to_eager": difference} | counts()

    done = session.measure(f"{label}: compilation", 60, compile_once)
    session.wait()
    if done is None:
        return
    pipe, told, x = built[0]

    def steps() -> Found:
        found = weighed(lambda: models.evaluate(pipe, x, told))
        return found | timed(lambda: models.evaluate(pipe, x, told), 7)

    session.measure(label, 4, steps)
    count = 2 if settings.tiny else models.STEPS[family]
    session.measure(f"call {precision}, compiled", 15, lambda: whole(pipe, session, count))

    def again() -> Found:
        before = counts()
        models.call(pipe, settings, 2, seed=1)
        after = counts()
        return {"graphs_before": before["graphs"], "new_graphs": after["graphs"] - before["graphs"]}

    session.measure(f"second picture {precision}, compiled", 5, again)


def prepared(session: Session, family: str, precision: str) -> tuple[InterpolationPipeline, Condition, Tensor]:
    """The pipeline, both branches of its condition, and noise for them."""
    settings = session.settings
    models.set_tf32(precision)
    pipe = models.pipeline(settings, family, models.dtype_of(precision))
    if precision not in models.HALVES and models.dtype_of(precision) != torch.float32:
        pipe.register_modules(unet=models.at_precision(pipe.unet, precision))
    told = models.both_branches(pipe, models.condition(pipe, settings))
    return pipe, told, models.noise(pipe, told)


def counts() -> Found:
    """Number of graphs so far in this process, and of graph breaks."""
    counters = dynamo.utils.counters
    found = {"graphs": int(counters["stats"].get("unique_graphs", 0))}
    return found | {
        "graph_breaks": sum(counters["graph_break"].values()),
        "break_reasons": [reason[:200] for reason in list(counters["graph_break"])[:3]],
    }
