import pytest
from evaluation_stubs import picture
from PIL import Image

from nakawari.data.samples import Region, Sample
from nakawari.evaluation.protocol import Protocol


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch, request):
    """The tables here have the same rows whatever else is installed."""
    if request.module.__name__.rpartition(".")[2] != "test_peers":
        monkeypatch.setattr("nakawari.evaluation.runner.installed_peers", lambda *_: ())


@pytest.fixture
def triplets(tmp_path):
    """Six triplets of 40x32; the red value of a start key's first pixel is the sample's number."""
    samples = []
    for number in range(6):
        paths = []
        for index in range(3):
            path = tmp_path / "data" / f"s{number}" / f"frame{index + 1}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(index * (number + 1), number)).save(path)
            paths.append(path)
        level = ("easy", "hard")[number % 2]
        roi = Region(4, 4, 20, 20) if number else None
        samples.append(
            Sample(f"s{number}", (paths[0], paths[2]), (paths[1],), (0.5,), level, roi=roi, caption=f"c{number}")
        )
    return samples


@pytest.fixture
def protocol():
    return Protocol(name="tiny", metrics=("psnr", "ssim", "roi-psnr"), seeds=(0, 1))
