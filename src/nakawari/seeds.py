"""Seeds from what is drawn: a hash, so that neighbours are unrelated and batches do not matter."""

from __future__ import annotations

import hashlib
from typing import Literal


def seed_from(about: bytes | str, order: Literal["big", "little"] = "big") -> int:
    """The seed (0 to 2**63 - 1, what `torch.Generator` takes) of whatever `about` tells apart.

    `order`: in which order the bytes of the hash are read; training reads them the other way, as its runs began.
    """
    digest = hashlib.sha256(about.encode() if isinstance(about, str) else about).digest()
    return int.from_bytes(digest[:8], order) >> 1
