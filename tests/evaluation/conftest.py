import pytest
from evaluation_stubs import picture
from PIL import Image

from nakawari.data.samples import Region, Sample
from nakawari.evaluation.protocol import Protocol


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch, request):
    """Hide installed peers, so that tables always have the same rows."""
    if request.module.__name__.rpartition(".")[2] != "test_peers":
        monkeypatch.setattr("nakawari.evaluation.runner.installed_peers", lambda *_: ())


@pytest.fixture
def write_triplet(tmp_path):
    """Writes a triplet of 40x32; the red value of its start key's first pixel is its number."""

    def write(number: int) -> Sample:
        folder = tmp_path / "data" / f"s{number}"
        folder.mkdir(parents=True)
        start, middle, end = (folder / f"frame{index}.png" for index in (1, 2, 3))
        for index, path in enumerate((start, middle, end)):
            Image.fromarray(picture(index * (number + 1), number)).save(path)
        level = ("easy", "hard")[number % 2]
        roi = Region(4, 4, 20, 20) if number else None
        return Sample(f"s{number}", (start, end), (middle,), (0.5,), level, roi=roi, caption=f"c{number}")

    return write


@pytest.fixture
def triplets(write_triplet):
    return [write_triplet(number) for number in range(6)]


@pytest.fixture
def protocol():
    return Protocol(name="tiny", metrics=("psnr", "ssim", "roi-psnr"), seeds=(0, 1))
