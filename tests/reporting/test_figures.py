from dataclasses import replace

import numpy as np
import pytest

from nakawari.reporting.cost_figures import pareto, spread
from nakawari.reporting.figures import all_figures, scale_figures, sweeps
from nakawari.reporting.results import load_evidence


@pytest.fixture(scope="module")
def plots(kept):
    return all_figures(load_evidence([kept]))


def test_which_figures(plots):
    assert {key: [plot.name for plot in section] for key, section in plots.items()} == {
        "levels": ["levels-psnr", "differences-psnr", "levels-flicker", "differences-flicker"],
        "cost": [
            "quality-time-psnr",
            "quality-evaluations-psnr",
            "quality-time-flicker",
            "quality-evaluations-flicker",
        ],
        "scales": ["scale-1-psnr", "scale-1-flicker"],
    }
    for plot in (plot for section in plots.values() for plot in section):
        assert plot.files["png"].startswith(b"\x89PNG") and plot.files["pdf"].startswith(b"%PDF")
        assert b"<svg" in plot.files["svg"] and b"http://www.w3.org/1999/xlink" in plot.files["svg"]
        assert plot.alt and plot.caption
    assert "best at 0.5" in plots["scales"][0].alt


def test_a_sweep_is_variants_that_differ_in_scale_alone(kept):
    ((label, points),) = sweeps(load_evidence([kept]))
    assert label == "best on stub, fp32"
    assert [(scale, row.name) for scale, row in points] == [
        (0.0, "stub"),
        (0.5, "stub+runs/show/best@0.5"),
        (1.0, "stub+runs/show/best@1"),
    ]


def test_a_sweep_shows_gains_over_its_base_where_the_base_is_there(kept):
    evidence = load_evidence([kept])
    assert "Paired differences from the base" in scale_figures(evidence)[0].caption
    alone = replace(evidence, differences=())
    assert "Means; shaded" in scale_figures(alone)[0].caption


def test_pareto_front_is_what_no_point_beats():
    random = np.random.default_rng(0)
    costs, qualities = random.integers(0, 20, 60), random.integers(0, 20, 60)

    def beaten(i):
        weakly = (costs <= costs[i]) & (qualities >= qualities[i])
        return bool((weakly & ((costs < costs[i]) | (qualities > qualities[i]))).any())

    expected = {(costs[i], qualities[i]) for i in range(60) if not beaten(i)}
    front = pareto(list(costs), list(qualities))
    assert {(costs[i], qualities[i]) for i in front} == expected and len(front) == len(expected)
    assert list(costs[front]) == sorted(costs[front])


def test_labels_are_moved_apart_and_keep_their_order():
    places = spread([0.5, 0.5, 0.51, 0.9], [0.05, 0.05, 0.1, 0.05])
    gaps = np.diff(places)
    assert (gaps >= np.array([0.1, 0.15, 0.15]) - 1e-3).all()
    assert spread([0.1, 0.9], [0.05, 0.05]) == [0.1, 0.9]
