"""Seeds from a hash of the task, independent of neighbouring tasks and of batching."""

from __future__ import annotations

import hashlib
from typing import Literal


def seed_from(about: bytes | str, order: Literal["big", "little"] = "big") -> int:
    """A seed (0 to 2**63 - 1, the range of `torch.Generator`) from the identifier `about`.

    `order`: byte order of the hash; training uses the other one, for compatibility with its earlier runs.
    """
    digest = hashlib.sha256(about.encode() if isinstance(about, str) else about).digest()
    return int.from_bytes(digest[:8], order) >> 1
