import pytest

from nakawari.errors import UsageError
from nakawari.evaluation.protocol import Protocol, load_protocol, selection


@pytest.mark.parametrize("name", ["quick", "atd12k", "reference-table", "steps"])
def test_shipped_protocols_load_and_round_trip(name, tmp_path):
    protocol = load_protocol(name)
    assert protocol.name == name
    path = tmp_path / "again.yaml"
    path.write_text(protocol.to_yaml())
    assert load_protocol(path) == protocol
    assert protocol.fit != "stretch"


def test_what_the_shipped_protocols_promise():
    quick, published, table = (load_protocol(name) for name in ("quick", "atd12k", "reference-table"))
    assert (quick.size, quick.num_frames, quick.scored, quick.steps) == ((256, 160), 3, "middle", None)
    assert quick.metrics == ("psnr", "ssim", "st-lpips", "drift") and quick.seeds == (0,)
    assert len(published.seeds) >= 3 and "roi-psnr" in published.metrics
    rows = {row.name: row for row in table.variants()}
    assert rows["frame-7"].scored == "lower" and rows["frame-8"].scored == "upper"
    assert rows["autocast"].generation() != table.variants()[0].generation()
    assert rows["frame-7"].generation() == table.variants()[0].generation()


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\nsteeps: 3", "steeps.*known keys are name"),
        ("name: x\nmetrics: [psnr, lpips]", "unknown metric.*lpips-vgg"),
        ("name: x\nnum_frames: 16", "16 frames have none at t = 0.5"),
        ("name: x\nwidth: 256", "width and height together"),
        ("name: x\nseeds: [1, 1]", "distinct numbers"),
        ("name: x\nrows: [{name: a, note: b, change: {stepz: 2}}]", "row a.*stepz"),
        ("name: x\nfit: squash", "fit"),
        ("name: [", "not readable YAML"),
    ],
)
def test_wrong_words_are_named_in_one_sentence(tmp_path, text, words):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        load_protocol(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_protocol_lists_the_shipped_ones():
    with pytest.raises(UsageError, match="atd12k, atd12k-published, quick, reference-table"):
        load_protocol("fast")


@pytest.mark.parametrize(
    "frames, scored, expected",
    [
        (3, "middle", [[1]]),
        (17, "middle", [[8]]),
        (16, "lower", [[7]]),
        (16, "upper", [[8]]),
        (16, "mid-pair", [[7], [8]]),
        (17, "mid-pair", [[8]]),
        (5, "all", [[2]]),
    ],
)
def test_which_frame_stands_for_the_middle(frames, scored, expected):
    assert selection([0.5], frames, scored) == expected


def test_every_true_in_between_of_a_clip_is_scored_at_its_time():
    times = [k / 16 for k in range(1, 16)]
    assert selection(times, 17, "all") == [list(range(1, 16))]
    assert selection([0.25, 0.5], 16, "mid-pair") == [[3, 7], [4, 8]]
    assert selection([1 / 3, 2 / 3], 4, "all") == [[1, 2]]
    with pytest.raises(UsageError, match=r"clip7 has a true frame at t = 0.0625 where 16 frames have none"):
        selection(times, 16, "all", "clip7")
    with pytest.raises(UsageError, match="for triplets"):
        selection(times, 17, "middle")


def test_generation_ignores_only_what_scoring_decides():
    protocol = Protocol(name="a")
    same = protocol.model_copy(update={"metrics": ("psnr",), "pool": 4, "drop_worst": 0.1, "cost_guidance": 1.0})
    assert same.generation() == protocol.generation()
    for change in ({"steps": 3}, {"width": 64, "height": 64}, {"precision": "autocast-bfloat16"}, {"seeds": (1,)}):
        assert protocol.model_copy(update=change).generation() != protocol.generation()
