from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot

from nakawari.reporting.contents import costs, quality
from nakawari.reporting.cost_figures import cost_figures, pareto, spread
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


@pytest.mark.usefixtures("no_plots")
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
    assert spread([0.1, 0.9], [0.05, 0.05]) == pytest.approx([0.1, 0.9])
    crowded = spread([0.99] * 10, [0.05] * 10)
    assert (np.diff(crowded) >= 0.1 - 1e-9).all() and crowded[0] >= 0.05 - 1e-9 and crowded[-1] <= 0.95 + 1e-9


def test_no_label_touches_another_or_is_cut_off(kept, monkeypatch):
    """Fourteen models and six baselines of nearly the same quality: no labels overlap."""
    evidence = load_evidence([kept])
    (first,) = [row for row in evidence.rows if row.name == "stub"]
    floors = [row for row in evidence.rows if row.entry.role in ("floor", "anchor", "peer")]
    models = [replace(first, label=f"runs/of-a-long-name/model-{number}@0.5:int8") for number in range(14)]
    rows = (*floors * 6, *models)

    def look(name, alt, caption, figure):
        figure.draw_without_rendering()
        words = [text for text in figure.axes[0].texts if text.get_text()]
        return [text.get_window_extent() for text in words], figure.bbox

    monkeypatch.setattr("nakawari.reporting.cost_figures.finish", look)
    for boxes, whole in cost_figures(replace(evidence, rows=rows)):
        assert len(boxes) >= 14
        for index, box in enumerate(boxes):
            assert box.y0 >= whole.y0 and box.y1 <= whole.y1 and box.x1 <= whole.x1
            assert not any(box.overlaps(other) for other in boxes[:index])
    pyplot.close("all")


def with_costs(evidence, **changes):
    """The same results with other costs: field -> values by model."""
    models = iter(range(len(evidence.models)))
    rows = []
    for row in evidence.rows:
        if row.entry.role == "model":
            index = next(models)
            cost = {**row.entry.cost, **{name: values[index] for name, values in changes.items()}}
            row = replace(row, entry=row.entry.model_copy(update={"cost": cost}))
        rows.append(row)
    return replace(evidence, rows=tuple(rows))


@pytest.mark.usefixtures("no_plots")
def test_times_of_different_devices_never_share_an_axis(kept):
    evidence = with_costs(load_evidence([kept]), device=["cpu", "cpu", "NVIDIA X"])
    names = [plot.name for plot in cost_figures(evidence)]
    assert [name for name in names if name.endswith("psnr")] == [
        "quality-time-cpu-psnr", "quality-time-nvidia-x-psnr", "quality-evaluations-psnr",
    ]  # fmt: skip


@pytest.mark.usefixtures("no_plots")
def test_a_time_under_load_is_marked_and_not_on_the_front(kept):
    evidence = load_evidence([kept])
    assert "†" not in quality(evidence).caption
    busy = with_costs(evidence, load=[0.0, 0.4, None])
    marked = [line.head for line in quality(busy).lines if any("†" in cell.text for cell in line.cells)]
    assert marked == ["stub+show/best@0.5"] and "† Timed while other" in quality(busy).caption
    assert "more than 10" in costs(busy)[0].caption
    time, evaluations, *_ = cost_figures(busy)
    assert "are not on the front" in time.caption and "stub+show/best@0.5" not in time.alt.split("front:")[1]
    assert "are not on the front" not in evaluations.caption
    everything = with_costs(evidence, load=[0.5, 0.5, 0.5])
    assert cost_figures(everything)[0].alt.endswith("On the Pareto front: none.")
