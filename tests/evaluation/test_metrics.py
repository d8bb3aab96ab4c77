from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nakawari.errors import NakawariError, UsageError
from nakawari.evaluation.metrics import (
    IDENTICAL_PSNR,
    METRICS,
    Scored,
    available,
    bounded_psnr,
    chamfer,
    line_art,
    missing,
)
from nakawari.media import to_uint8


def drawing(shift: int = 0, noise: float = 0.0) -> np.ndarray:
    """A filled shape with a dark outline on a gradient, (48, 64, 3) uint8."""
    y, x = np.mgrid[:48, :64].astype(float)
    radius = np.hypot(y - 24, x - 28 - shift)
    image = np.stack([120 + x, 140 + y, 200 - x], -1)
    image[radius < 14] = (230, 180, 90)
    image[np.abs(radius - 14) < 1.2] = 20
    return np.clip(image + noise * np.random.default_rng(0).standard_normal(image.shape), 0, 255).astype(np.uint8)


def scored(output, truth, **changes) -> Scored:
    keys = np.stack([drawing(-3), drawing(3)])
    return replace(Scored(output[None], truth[None], keys, keys), **changes)


OTHERS = ("pacing", "strobe", "lag1", "key-step", "line-fade", "line-count", "confidence")  # see test_pacing.py
INSTALLED = available(tuple(METRICS), missing(METRICS))


@pytest.mark.parametrize(
    "metric", [metric for metric in INSTALLED if metric.name not in OTHERS], ids=lambda metric: metric.name
)
def test_identity_is_the_best_value_and_a_difference_is_worse(metric):
    same = metric(scored(drawing(), drawing(), box=(4, 4, 40, 40)))
    worse = metric(scored(drawing(6, noise=9), drawing(), box=(4, 4, 40, 40), ends=np.stack([drawing(), drawing()])))
    best = IDENTICAL_PSNR if "psnr" in metric.name else 1 if "ssim" in metric.name else 0
    assert same == pytest.approx(best, abs=1e-12)
    assert (worse < same) == metric.higher_is_better
    assert worse != same


def _print(name: str, ours: float, theirs: float) -> None:
    print(f"{name}: ours {ours:.8f} theirs {theirs:.8f} difference {abs(ours - theirs):.2e}")


@pytest.mark.parametrize("shift, noise", [(0, 3), (2, 0), (6, 20)])
def test_psnr_and_ssim_agree_with_scikit_image(shift, noise):
    output, truth = drawing(shift, noise), drawing()
    pair = scored(output, truth)
    gaussian = structural_similarity(
        truth, output, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    import cv2

    grey = structural_similarity(*(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (truth, output)))
    for name, theirs in (
        ("psnr", peak_signal_noise_ratio(truth, output)),
        ("ssim", gaussian),
        ("ssim-grey7", grey),
        ("mse", np.mean((truth.astype(float) - output) ** 2)),
    ):
        ours = METRICS[name](pair)
        _print(name, ours, theirs)
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_chamfer_agrees_with_scipy():
    output, truth = drawing(5), drawing()
    assert 100 < line_art(truth).sum() < 700
    weights = np.array([0.299, 0.587, 0.114])
    lines = []
    for frame in (output, truth):
        grey = np.round(frame @ weights)
        lines.append(ndimage.gaussian_filter(grey, 1.6, radius=6) - ndimage.gaussian_filter(grey, 1.0, radius=4) > 4)
    to_truth, to_output = (ndimage.distance_transform_edt(~line) for line in lines[::-1])
    theirs = 1000 * (to_truth[lines[0]].mean() + to_output[lines[1]].mean()) / 2 / np.hypot(48, 64)
    _print("chamfer", chamfer(output, truth), theirs)
    assert chamfer(output, truth) == pytest.approx(theirs, rel=5e-3)


def test_chamfer_grows_with_the_shift_and_knows_empty_drawings():
    blank = np.full_like(drawing(), 255)
    assert 0 < chamfer(drawing(1), drawing()) < chamfer(drawing(4), drawing()) < 1000
    assert chamfer(blank, drawing()) == 1000
    assert chamfer(blank, blank) == 0


def test_flip_is_that_of_the_package():
    flip_evaluator = pytest.importorskip("flip_evaluator")
    theirs = flip_evaluator.evaluate(drawing() / np.float32(255), drawing(4) / np.float32(255), "LDR")[1]
    ours = METRICS["flip"](scored(drawing(4), drawing()))
    _print("flip", ours, theirs)
    assert ours == pytest.approx(theirs, abs=1e-7)


def test_key_drift_counts_levels():
    keys = np.stack([drawing(-3), drawing(3)])
    ends = keys.copy()
    ends[0, ..., 0] = np.where(keys[0, ..., 0] > 128, keys[0, ..., 0] - 6, keys[0, ..., 0] + 6)
    assert METRICS["key-drift"](scored(drawing(), drawing(), ends=ends)) == pytest.approx(6 / 6)


def test_drift_is_the_largest_mean_shift_of_what_is_held():
    keys, truth = np.stack([drawing(-9), drawing(9)]), drawing()
    output = truth.astype(np.int16)
    output[..., 1] -= 3
    output[..., 2] += np.where(np.indices((48, 64)).sum(0) % 2, 5, -5)  # noise that averages out
    output[truth[..., 0] < 60] = 0  # the moving outline is no background
    output = output.clip(0, 255).astype(np.uint8)
    drift = METRICS["drift"]
    found = drift(scored(output, truth, keys=keys))
    held = np.abs(np.diff(np.stack([keys[0], truth, keys[1]]).astype(int), axis=0)).max((0, -1)) == 0
    theirs = [ndimage.mean(output[..., c].astype(float) - truth[..., c], held, True) for c in range(3)]
    _print("drift", found, max(map(abs, theirs)))
    assert found == pytest.approx(max(map(abs, theirs)), abs=1e-12) and 2.9 < found < 3.1
    two = replace(scored(output, truth, keys=keys), output=np.stack([output, truth]), truth=np.stack([truth, truth]))
    assert drift(two) == pytest.approx(found / 2)
    nothing_held = np.stack([truth, 255 - truth])
    assert drift(scored(output, truth, keys=nothing_held)) is None


def test_a_constant_error_does_not_flicker_and_a_jump_does():
    grey = np.full((4, 16, 16, 3), 100, np.uint8)
    steady = Scored(grey[:2] + 5, grey[:2], grey[:2], grey[:2] + 5)
    jump = Scored(grey[:2] + 5, grey[:2], grey[:2], grey[:2])
    assert METRICS["flicker"](steady) == 0
    assert METRICS["flicker"](jump) == pytest.approx(10 / 3)


def test_frames_of_a_sample_are_averaged():
    truth = np.stack([drawing(), drawing()])
    output = np.stack([drawing(2), drawing(5)])
    both = METRICS["psnr"](replace(scored(drawing(), drawing()), output=output, truth=truth))
    alone = [METRICS["psnr"](scored(frame, drawing())) for frame in output]
    assert both == pytest.approx(np.mean(alone))


def test_region_of_interest_is_cut_out_and_may_be_absent():
    output = drawing()
    output[10:20, 30:50] = 0
    roi = METRICS["roi-psnr"]
    assert roi(scored(output, drawing())) is None
    assert roi(scored(output, drawing(), box=(0, 0, 30, 10))) == IDENTICAL_PSNR
    inside = peak_signal_noise_ratio(drawing()[10:20, 30:50], output[10:20, 30:50])
    assert roi(scored(output, drawing(), box=(30, 10, 20, 10))) == pytest.approx(inside)


def test_quantisation_rounds_and_clamps_once():
    values = torch.tensor([-0.2, 0.4 / 255, 0.6 / 255, 1.3]).view(1, 1, 4).expand(3, 1, 4)
    assert to_uint8(values, low=0)[0, :, 0].tolist() == [0, 0, 1, 255]
    with pytest.raises(NakawariError, match="not finite"):
        to_uint8(torch.full((3, 2, 2), torch.nan), low=0)
    assert bounded_psnr(0) == bounded_psnr(1e-12) == IDENTICAL_PSNR


def test_ssim_as_published_is_what_the_published_code_computes():
    """scikit-image on floats in [0, 1] with a data range of 2, uniform window: what AnimeInterp's call comes to."""
    from skimage.metrics import structural_similarity

    output, truth = drawing(2, 6.0), drawing()
    found = METRICS["ssim-atd"](scored(output, truth))
    theirs = structural_similarity(output / 255.0, truth / 255.0, channel_axis=-1, data_range=2)
    print(f"ours {found:.9f}, scikit-image {theirs:.9f}, difference {abs(found - theirs):.1e}")
    assert found == pytest.approx(theirs, abs=1e-9)
    assert found > METRICS["ssim"](scored(output, truth))


def test_region_metrics_need_a_region_as_large_as_their_window():
    output, truth = drawing(2, 6.0), drawing()
    inside = scored(output, truth, box=(4, 4, 20, 16))
    assert METRICS["roi-ssim"](inside) == METRICS["ssim"](scored(output[4:20, 4:24], truth[4:20, 4:24]))
    assert METRICS["roi-ssim"](scored(output, truth, box=(4, 4, 10, 16))) is None
    assert METRICS["roi-ssim-atd"](scored(output, truth)) is None


def test_unknown_and_uninstalled_metrics(monkeypatch):
    with pytest.raises(UsageError, match="'nope'"):
        available(["psnr", "nope"])
    monkeypatch.setattr("nakawari.evaluation.metrics.find_spec", lambda name: None)
    left_out = missing(["flip", "psnr", "lpips-vgg"])
    assert left_out == {"flip": "flip_evaluator is not installed", "lpips-vgg": "lpips is not installed"}
    assert [metric.name for metric in available(["flip", "psnr", "lpips-vgg"], left_out)] == ["psnr"]


def test_frames_smaller_than_the_window_are_named():
    with pytest.raises(NakawariError, match="8x8"):
        METRICS["ssim"](scored(drawing()[:8, :8], drawing()[:8, :8]))
