"""Image and clip metrics, one value per sample, on frames rounded to 8 bits.

Frames are uint8 RGB numpy arrays, (H, W, 3) one frame, (F, H, W, 3) several. `METRICS` lists every metric by name;
a metric whose library is not installed is not in `available()`, and its column is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..decibels import psnr_of
from ..errors import NakawariError, UsageError
from . import pacing
from .scored import Frames, Scored

IDENTICAL_PSNR = 100.0
"""The PSNR of two equal frames, in dB: finite, so that a static clip has a mean."""


@dataclass(frozen=True)
class Metric:
    """One column.

    Args:
        name: in protocols and CSV files.
        title: in tables, with the unit.
        higher_is_better: the direction.
        needs: `pair`: `function(output, truth)` of one frame each, averaged over the sample's frames; `roi`: the same
            inside the region of interest; `clip`: `function(scored)`.
        function: computes it.
        modules: required modules besides the core dependencies.
        matters: equivalence margin: smaller differences count as equal.
        judged: whether verdicts are given; not for metrics that do not compare with the truth.
    """

    name: str
    title: str
    higher_is_better: bool
    needs: Literal["pair", "clip", "roi"]
    function: Callable[..., float | None]
    modules: tuple[str, ...] = ()
    matters: float | None = None
    judged: bool = True

    def __call__(self, scored: Scored) -> float | None:
        """The value for one sample; None if it is undefined there (no region, nothing held)."""
        if self.needs == "clip":
            value = self.function(scored)
            return None if value is None else float(value)
        return self.over(self.each(scored))

    def over(self, frames: list[float]) -> float | None:
        """The value for one sample from the values of its frames."""
        value = float(np.mean(frames)) if frames else np.nan
        return None if self.needs == "roi" and np.isnan(value) else value

    def each(self, scored: Scored) -> list[float]:
        """The value of every frame; none for a metric of whole clips, or without a region of interest."""
        output, truth = scored.output, scored.truth
        if self.needs == "clip" or (self.needs == "roi" and scored.box is None):
            return []
        if self.needs == "roi" and scored.box is not None:
            x, y, width, height = scored.box
            output, truth = (frames[:, y : y + height, x : x + width] for frames in (output, truth))
        return [self.function(a, b) for a, b in zip(output, truth, strict=True)]


def mse(output: Frames, truth: Frames) -> float:
    """Mean squared error over pixels and channels, in squared 8-bit levels."""
    return float(np.mean((output.astype(np.float64) - truth.astype(np.float64)) ** 2))


def psnr(output: Frames, truth: Frames) -> float:
    """Peak signal-to-noise ratio of one frame in dB (peak 255, RGB); `IDENTICAL_PSNR` at most."""
    return bounded_psnr(mse(output, truth))


def bounded_psnr(error: float) -> float:
    """PSNR in dB of a mean squared error in squared 8-bit levels, `IDENTICAL_PSNR` at most."""
    return min(IDENTICAL_PSNR, psnr_of(error))


def _ssim(a: np.ndarray, b: np.ndarray, window: np.ndarray, covariance: float, peak: float = 255.0) -> float:
    """SSIM of (H, W) or (H, W, 3) float64 images in levels, over the pixels whose window is inside the image."""
    import cv2

    radius = len(window) // 2
    if min(a.shape[:2]) < len(window):
        raise NakawariError(
            f"SSIM needs frames of at least {len(window)} pixels a side, got {a.shape[1]}x{a.shape[0]}; "
            "use larger frames or leave this metric out."
        )

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(image, -1, window, window)[radius:-radius, radius:-radius]

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    cross = mean(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + c1) * (2 * covariance * cross + c2)
    denominator = (mean_a**2 + mean_b**2 + c1) * (covariance * (variance_a + variance_b) + c2)
    return float(np.mean(numerator / denominator))


def ssim(output: Frames, truth: Frames) -> float:
    """Structural similarity (Wang et al. 2004): RGB, Gaussian 11x11 window of sigma 1.5, no sample covariance."""
    offsets = np.arange(-5, 6, dtype=np.float64)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    return _ssim(output.astype(np.float64), truth.astype(np.float64), window / window.sum(), 1.0)


def ssim_grey7(output: Frames, truth: Frames) -> float:
    """Structural similarity of the grey images, uniform 7x7 window, sample covariance (scikit-image's default).

    Not for new results; it shows the effect of this choice.
    """
    import cv2

    grey = [
        cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY).astype(np.float64) for frame in (output, truth)
    ]
    return _ssim(*grey, np.full(7, 1 / 7), 49 / 48)


def ssim_atd(output: Frames, truth: Frames) -> float:
    """Structural similarity as in published tables on ATD-12K (AnimeInterp, Li et al. 2021), higher than regular SSIM.

    Its code calls scikit-image on float pictures in [0, 1] without a data range, for which scikit-image uses 2, the
    span of [-1, 1], and passes a Gaussian-window argument that scikit-image ignores: so RGB, a uniform 7x7
    window, sample covariance, and constants for a peak of 2.
    """
    return _ssim(output.astype(np.float64), truth.astype(np.float64), np.full(7, 1 / 7), 49 / 48, 2 * 255.0)


def _within(metric: Callable[[Frames, Frames], float], side: int) -> Callable[[Frames, Frames], float]:
    """A metric that is undefined on a region with a side below `side` pixels."""

    def measured(output: Frames, truth: Frames) -> float:
        return metric(output, truth) if min(output.shape[:2]) >= side else np.nan

    return measured


@cache
def _perceptual() -> torch.nn.Module:
    from ..perceptual import load_perceptual

    return load_perceptual()


def _signed(frame: Frames) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frame)).movedim(-1, 0)[None].float() / 127.5 - 1


def st_lpips(output: Frames, truth: Frames) -> float:
    """Shift-tolerant LPIPS, AlexNet variant (Ghildyal & Liu 2022); see `nakawari.perceptual`."""
    with torch.no_grad():
        return _perceptual()(_signed(output), _signed(truth)).item()


@cache
def _lpips(net: str) -> torch.nn.Module:
    import lpips

    return lpips.LPIPS(net=net, verbose=False).eval()


def lpips_vgg(output: Frames, truth: Frames) -> float:
    """Canonical LPIPS v0.1 with the VGG trunk (Zhang et al. 2018), by the package `lpips`."""
    with torch.no_grad():
        return _lpips("vgg")(_signed(output), _signed(truth)).item()


def lpips_alex(output: Frames, truth: Frames) -> float:
    """Canonical LPIPS v0.1 with the AlexNet trunk (Zhang et al. 2018), by the package `lpips`."""
    with torch.no_grad():
        return _lpips("alex")(_signed(output), _signed(truth)).item()


def flip(output: Frames, truth: Frames) -> float:
    """Mean LDR-FLIP at 67 pixels per degree (Andersson et al. 2020), by the package `flip-evaluator`."""
    import flip_evaluator

    frames = [frame.astype(np.float32) / 255 for frame in (truth, output)]
    return float(flip_evaluator.evaluate(*frames, "LDR", applyMagma=False)[1])


def line_art(frame: Frames) -> np.ndarray:
    """The line pixels of a drawing, (H, W) bool.

    A difference of Gaussians (sigma 1 and 1.6) of the grey image, as in Chen & Zwicker 2022: a pixel is on a line when
    it is more than 4 of 255 levels darker than its surroundings. The dark side of a colour edge counts as a line.
    """
    return pacing.line_depth(frame) > 4.0


def chamfer(output: Frames, truth: Frames) -> float:
    """Chamfer distance of the lines of two drawings, in 1/1000 of the image diagonal; lines found by `line_art`.

    The mean distance from a line pixel of one to the nearest line of the other, averaged over both directions. If
    only one has lines it is the whole diagonal (1000), if none has, 0.
    """
    import cv2

    lines = [line_art(frame) for frame in (output, truth)]
    if not (lines[0].any() and lines[1].any()):
        return 0.0 if lines[0].any() == lines[1].any() else 1000.0
    distances = [cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for line in lines]
    mean = (distances[1][lines[0]].mean(dtype=np.float64) + distances[0][lines[1]].mean(dtype=np.float64)) / 2
    return float(1000 * mean / np.hypot(*output.shape[:2]))


def key_drift(scored: Scored) -> float:
    """Mean absolute difference of the output's first and last frame from the keys, in 8-bit levels."""
    return float(np.abs(scored.ends.astype(np.float64) - scored.keys.astype(np.float64)).mean())


def drift(scored: Scored) -> float | None:
    """Colour drift of held background, in 8-bit levels; None if less than 1 % of the picture is held.

    Held pixels are equal in both keys and the true frames, to one level. For every frame: the mean signed difference
    from the truth over held pixels, per channel; the largest magnitude of the three. Noise averages out, a
    colour cast does not. The mean over the frames.
    """
    still = np.concatenate([scored.keys, scored.truth])
    held = (np.ptp(still, axis=0) <= 1).all(-1)
    if held.mean() < 0.01:
        return None
    change = scored.output[:, held].astype(np.float64) - scored.truth[:, held]
    return float(np.abs(change.mean(1)).max(-1).mean())


def flicker(scored: Scored) -> float:
    """Temporal flicker: mean absolute change of the error from frame to frame, 8-bit levels.

    Over the sequence first output frame, scored frames, last output frame, against start key, truths, end key; a
    constant error does not count.
    """
    made = np.concatenate([scored.ends[:1], scored.output, scored.ends[1:]]).astype(np.float64)
    true = np.concatenate([scored.keys[:1], scored.truth, scored.keys[1:]]).astype(np.float64)
    return float(np.abs(np.diff(made - true, axis=0)).mean())


def confidence(scored: Scored) -> float:
    """The confidence of `nakawari interpolate` in the frames, 0 to 1, from the keys and the frames alone.

    It does not compare with the truth: a frame that repeats a key has the highest confidence.
    """
    from ..interpolation.confidence import Keys

    keys = Keys((scored.keys[0], scored.keys[1]))
    return float(np.mean([keys.judge(f, share).frame for f, share in zip(scored.output, scored.shares, strict=True)]))


_ALL = (
    Metric("psnr", "PSNR (dB)", True, "pair", psnr, matters=0.05),
    Metric("ssim", "SSIM (RGB, Gaussian 11×11)", True, "pair", ssim, matters=0.0005),
    Metric("st-lpips", "ST-LPIPS (Alex)", False, "pair", st_lpips, matters=0.001),
    Metric("flip", "FLIP (67 ppd)", False, "pair", flip, ("flip_evaluator",), matters=0.001),
    Metric("lpips-vgg", "LPIPS (VGG)", False, "pair", lpips_vgg, ("lpips", "torchvision"), matters=0.001),
    Metric("lpips-alex", "LPIPS (Alex)", False, "pair", lpips_alex, ("lpips", "torchvision"), matters=0.001),
    Metric("chamfer", "Line chamfer (‰ of diagonal)", False, "pair", chamfer, matters=0.05),
    Metric("key-drift", "Key drift (levels)", False, "clip", key_drift, matters=0.05),
    Metric("drift", "Background drift (levels)", False, "clip", drift, matters=0.05),
    Metric("flicker", "Flicker (levels)", False, "clip", flicker, matters=0.05),
    Metric("roi-psnr", "PSNR in region of interest (dB)", True, "roi", psnr, matters=0.05),
    Metric("pacing", "Pace (0 as the truth)", False, "clip", pacing.pacing, matters=0.02),
    Metric("strobe", "Strobe (period 2)", False, "clip", pacing.strobe, matters=0.02),
    Metric("lag1", "Lag-1 of the pace, minus the truth's", True, "clip", pacing.lag1, matters=0.02),
    Metric("key-step", "Colour step at a key (levels)", False, "clip", pacing.key_step, matters=0.05),
    Metric("line-fade", "Lines paler by (%)", False, "pair", pacing.line_fade, matters=0.5),
    Metric("line-count", "Line pixels off by (%)", False, "pair", pacing.line_count, matters=0.5),
    Metric("new-colours", "New colours (‰ of pixels)", False, "clip", pacing.new_colours, matters=0.1),
    Metric(
        "new-colours-region",
        "New colours in the worst region (%)",
        False,
        "clip",
        pacing.new_colours_region,
        matters=0.5,
    ),
    Metric("confidence", "Confidence (1 is sure)", True, "clip", confidence, judged=False),
    Metric("roi-ssim", "SSIM in region of interest", True, "roi", _within(ssim, 11), matters=0.0005),
    Metric("ssim-atd", "SSIM (as published on ATD-12K)", True, "pair", ssim_atd, matters=0.0005),
    Metric("roi-ssim-atd", "SSIM in region (as published)", True, "roi", _within(ssim_atd, 7), matters=0.0005),
    Metric("mse", "MSE (levels²)", False, "pair", mse),
    Metric("ssim-grey7", "SSIM (grey, uniform 7×7)", True, "pair", ssim_grey7, matters=0.0005),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def available(names: list[str] | tuple[str, ...], left_out: Container[str] = ()) -> list[Metric]:
    """The named metrics without those `left_out`, in the order of the names.

    Raises:
        UsageError: a name is unknown.
    """
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        raise UsageError(f"Unknown metric {unknown[0]!r}; known are {', '.join(METRICS)}.")
    return [METRICS[name] for name in names if name not in left_out]


def missing(names: Iterable[str]) -> dict[str, str]:
    """The named metrics whose libraries are not installed -> the missing library."""
    absent = {name: [module for module in METRICS[name].modules if not find_spec(module)] for name in names}
    return {name: f"{modules[0]} is not installed" for name, modules in absent.items() if modules}
