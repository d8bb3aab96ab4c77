"""Parts b and c: one evaluation of the network in every precision, the decoder, whole calls, profiles."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from nakawari.families.base import Condition, InterpolationPipeline
from nakawari.families.cache import LEVELS, CacheLevel
from nakawari.quantization.precisions import weight_bytes

from . import models
from .session import Found, Session, clean, memory, peak, synchronise, timed, weighed

EXACT = "fp32-strict"
CORE = ("bf16", "fp16", "fp32")
"""Timed with both guidance branches batched and separate."""
MORE = {"tooncrafter": ("tf32", "int8", "int8-dynamic", "fp8", "fp8-dynamic"), "framer": ("int8", "fp8-dynamic")}
"""Timed batched only."""


class Rounded:
    """A float32 pipeline and its condition; copies in other precisions are timed.

    Args:
        exact: whether strict float32 is timed, too, not only kept as the reference of the others.
    """

    def __init__(self, session: Session, family: str, exact: bool) -> None:
        self.session = session
        self.pipe = models.pipeline(session.settings, family, torch.float32)
        self.told = models.condition(self.pipe, session.settings)
        self._whole = {name: getattr(self.pipe, name) for name in networks_of(family)}
        counted = session.measure("operations", 3, lambda: {"tflop": _tflop(self.pipe, self.told)})
        self.tflop = (counted or {}).get("tflop", 0.0)
        self._answer: list[Tensor] = []
        if exact:
            self.time(EXACT, 2)
        else:
            models.set_tf32(EXACT)
            self._answer.append(answer(self.pipe, models.both_branches(self.pipe, self.told)))

    def cast(self, precision: str) -> None:
        """Convert the pipeline to this precision."""
        for name, network in self._whole.items():
            # The denoiser is packed; the ControlNet is cast.
            exact_beside = models.dtype_of(precision) == torch.float32
            own = precision if name == "unet" else EXACT if exact_beside else "bf16"
            self.pipe.register_modules(**{name: models.at_precision(network, own)})
        models.set_tf32(precision)

    def time(self, precision: str, branches: int, label: str = "", seconds: float = 5) -> None:
        """One measurement of the pipeline in its current precision."""
        name = f"{precision} {'apart' if branches == 1 else 'together'}{label}"
        self.session.measure(
            name, seconds, lambda: forward(self.pipe, self.told, precision, branches, self.tflop, self._answer)
        )


def steps(session: Session, family: str) -> None:
    """Time of a step in 16 bits and in float32."""
    network = Rounded(session, family, exact=True)
    for precision in CORE:
        network.cast(precision)
        for branches in (2, 1):
            network.time(precision, branches)


def more(session: Session, family: str) -> None:
    """The other precisions, and other whole calls."""
    network = Rounded(session, family, exact=False)
    for precision in MORE[family]:
        network.cast(precision)
        network.time(precision, 2)
    del network
    clean()
    settings = session.settings
    if family == "tooncrafter":
        pipe = models.pipeline(settings, family, torch.bfloat16)
        pipe.batched_guidance = False
        session.measure("call bf16, branches apart", 15, lambda: whole(pipe, session, steps_of(session, family)))
        del pipe
        clean()
    pipe = models.pipeline(settings, family, torch.float32)
    models.set_tf32("fp32")
    session.measure("call fp32, few steps", 15, lambda: whole(pipe, session, 2 if settings.tiny else 4))


def where(session: Session, family: str) -> None:
    """Time and memory profile of a bf16 step, and settings that may make it faster."""
    network = Rounded(session, family, exact=False)
    network.cast("bf16")
    pipe, told = network.pipe, network.told
    session.measure("bf16 kernels", 6, lambda: kernels(pipe, models.both_branches(pipe, told)))
    tried(network)
    session.measure("bf16 memory by layer", 4, lambda: {"layers": by_layer(pipe, told)})
    network.cast(EXACT)
    session.measure(f"{EXACT} memory by layer", 4, lambda: {"layers": by_layer(pipe, told)})


def tried(network: Rounded) -> None:
    """torch settings that may make convolutions faster; all are restored."""
    torch.backends.cudnn.benchmark = True
    network.time("bf16", 2, ", cudnn.benchmark")
    torch.backends.cudnn.benchmark = False
    parts = [getattr(network.pipe, name) for name in networks_of(network.pipe.family)]
    flat = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    for layer in flat:
        layer.to(memory_format=torch.channels_last)
    network.time("bf16", 2, ", channels-last weights")
    for layer in flat:
        layer.to(memory_format=torch.contiguous_format)


def networks_of(family: str) -> list[str]:
    """The networks that run at every step."""
    return ["unet", "controlnet"] if family == "framer" else ["unet"]


@torch.no_grad()
def answer(pipe: InterpolationPipeline, told: Condition) -> Tensor:
    """The network output for the same noise at every call, in float32."""
    torch.manual_seed(0)
    return models.evaluate(pipe, models.noise(pipe, told), told).float()


@torch.no_grad()
def forward(
    pipe: InterpolationPipeline, told: Condition, precision: str, branches: int, tflop: float, exact: list[Tensor]
) -> Found:
    """One evaluation of one branch, or of both as one batch, compared with `exact`, which strict float32 fills."""
    models.set_tf32(precision)
    told = models.both_branches(pipe, told) if branches == 2 else told
    torch.manual_seed(0)
    x = models.noise(pipe, told)
    found = weighed(lambda: models.evaluate(pipe, x, told))
    found["weights_gb"] = sum(weight_bytes(getattr(pipe, name)) for name in networks_of(pipe.family)) / 1e9
    if branches == 2:
        out = answer(pipe, told)
        if precision == EXACT:
            exact.append(out)
        if exact:
            found["error"] = ((out - exact[0]).norm() / exact[0].norm()).item()
    slow = timed(lambda: models.evaluate(pipe, x, told), 1, 0)["ms"]
    found |= timed(lambda: models.evaluate(pipe, x, told), 5 if slow < 600 else 2, 0)
    return found | {"tflops": 1000 * tflop * branches / found["ms"]}


def _tflop(pipe: InterpolationPipeline, told: Condition) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    x = models.noise(pipe, told)
    with FlopCounterMode(display=False) as counter:
        models.evaluate(pipe, x, told)
    return counter.get_total_flops() / 1e12


@torch.no_grad()
def by_layer(pipe: InterpolationPipeline, told: Condition, most: int = 8) -> list[Found]:
    """The layers with the largest memory increase during their call, workspace included."""
    rows: list[Found] = []
    handles = []

    def before(*_: Any) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        begun.append(memory())

    def after(layer: nn.Module, inputs: tuple[Any, ...], _: Any, name: str) -> None:
        above = peak().get("allocated_gb", 0.0) - begun.pop()
        shape = list(inputs[0].shape) if inputs else []
        rows.append({"layer": name, "kind": type(layer).__name__, "input": shape, "above_gb": round(above, 3)})

    begun: list[float] = []
    for network in networks_of(pipe.family):
        for name, layer in getattr(pipe, network).named_modules():
            if not list(layer.children()):
                handles.append(layer.register_forward_pre_hook(before))
                handles.append(
                    layer.register_forward_hook(
                        lambda layer, inputs, out, name=f"{network}.{name}": after(layer, inputs, out, name)
                    )
                )
    try:
        models.evaluate(pipe, models.noise(pipe, told), told)
    finally:
        for handle in handles:
            handle.remove()
    return sorted(rows, key=lambda row: -row["above_gb"])[:most]


@torch.no_grad()
def kernels(pipe: InterpolationPipeline, told: Condition, most: int = 25) -> Found:
    """Profile of one evaluation: milliseconds by operation and by device kernel."""
    from torch.profiler import ProfilerActivity, profile

    x = models.noise(pipe, told)
    models.evaluate(pipe, x, told)
    cuda = torch.cuda.is_initialized()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as watched:
        models.evaluate(pipe, x, told)
        synchronise()
    spent: dict[str, dict[str, list[float]]] = {"operations": defaultdict(lambda: [0, 0]), "kernels": {}}
    spent["kernels"] = defaultdict(lambda: [0, 0])
    for event in watched.key_averages():
        on_device = str(event.device_type).endswith("CUDA")
        own = event.self_device_time_total if cuda else event.self_cpu_time_total
        if own > 0:
            row = spent["kernels" if on_device else "operations"][event.key[:110]]
            row[0] += own / 1000
            row[1] += event.count
    return {
        kind: [{"name": name, "ms": round(ms, 3), "calls": int(calls)} for name, (ms, calls) in top(rows, most)]
        for kind, rows in spent.items()
    }


def top(rows: dict[str, list[float]], most: int) -> list[tuple[str, list[float]]]:
    """The largest first."""
    return sorted(rows.items(), key=lambda item: -item[1][0])[:most]


@torch.no_grad()
def decoding(session: Session, family: str) -> None:
    """The decoder on a whole clip and in chunks, and the encoder on the two keys, in bf16."""
    settings = session.settings
    pipe = models.pipeline(settings, family, torch.bfloat16)
    told = models.condition(pipe, settings)
    torch.manual_seed(0)
    latents = models.noise(pipe, told) * 0.18
    chunks: list[int | None] = [None, 7, 4, 2, 1] if family == "framer" else [None]
    whole = pipe.decode(latents, told)
    for chunk in chunks:

        def run(chunk: int | None = chunk) -> Found:
            found = weighed(lambda: pipe.decode(latents, told, chunk=chunk))
            found |= timed(lambda: pipe.decode(latents, told, chunk=chunk), 3, 0)
            drawn = pipe.decode(latents, told, chunk=chunk)
            return found | {"largest_difference": (drawn - whole).abs().max().item()}

        session.measure(f"decode {'whole' if chunk is None else f'{chunk} frames'} bf16", 5, run)
    start, end = models.keys(settings, family)
    pair = torch.stack([start, end], dim=1)
    session.measure(
        "encode 2 keys bf16", 3, lambda: weighed(lambda: pipe.encode(pair)) | timed(lambda: pipe.encode(pair), 3, 0)
    )


def steps_of(session: Session, family: str) -> int:
    """Number of steps of a whole call."""
    return 2 if session.settings.tiny else models.STEPS[family]


def whole_calls(session: Session, family: str) -> None:
    """Whole calls of the pipeline, and the time of their parts."""
    pipe = models.pipeline(session.settings, family, torch.bfloat16)
    session.measure("call, first bf16", 6, lambda: whole(pipe, session, 2))
    session.measure("call bf16", 15, lambda: whole(pipe, session, steps_of(session, family)))
    for name, level in LEVELS.items():
        if level is not None:
            session.measure(
                f"call bf16, cache {name}",
                10,
                lambda level=level: {"level": asdict(level)} | whole(pipe, session, steps_of(session, family), level),
            )


def whole(pipe: InterpolationPipeline, session: Session, steps: int, cache: CacheLevel | None = None) -> Found:
    """One call; seconds by part include device synchronization, which adds a little to the total."""
    spent: dict[str, float] = defaultdict(float)
    inner = ("network",) if pipe.family == "framer" else ("denoise", "denoise_in_part")
    replaced = {name: getattr(pipe, name) for name in ("condition", *inner, "decode")}
    for name, method in replaced.items():
        object.__setattr__(pipe, name, _clocked(name, method, spent))
    clean()
    began = time.perf_counter()
    try:
        frames = models.call(pipe, session.settings, steps, **({} if cache is None else {"cache": cache}))
        synchronise()
    finally:
        for name in replaced:
            object.__delattr__(pipe, name)
    seconds = time.perf_counter() - began
    found = {"seconds": seconds, "steps": steps, "ms_per_frame": 1000 * seconds / frames.shape[1], **peak()}
    found |= {"ms_per_step": 1000 * sum(spent[name] for name in inner) / steps, "by_part_s": dict(spent)}
    return found | {"finite": bool(frames.isfinite().all())}


def _clocked(name: str, method: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        synchronise()
        began = time.perf_counter()
        out = method(*args, **options)
        synchronise()
        spent[name] += time.perf_counter() - began
        return out

    return run


def card(session: Session) -> None:
    """Peak performance of this card, for comparison."""

    def run() -> Found:
        side = 512 if session.settings.tiny else 8192
        a = torch.randn(side, side, device=session.settings.device, dtype=torch.bfloat16)
        source = torch.empty(2**20 if session.settings.tiny else 2**28, device=session.settings.device)
        target = torch.empty_like(source)
        product, copied = timed(lambda: a @ a, 10, 3)["ms"], timed(lambda: target.copy_(source), 10, 3)["ms"]
        return {"bf16_tflops": 2 * side**3 / product / 1e9, "copy_tb_s": 8 * source.numel() / copied / 1e9}

    session.measure("card", 3, run)


TOPICS = {"steps": steps, "decoder": decoding, "calls": whole_calls, "kernels": where, "more": more}


def run(session: Session, family: str, *topics: str) -> None:
    """Measurements without compilation."""
    card(session)
    for topic in topics:
        TOPICS[topic](session, family)
        clean()
