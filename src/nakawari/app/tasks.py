"""What the pages need computed that no command of the program gives; it runs in the process beside the server."""

from __future__ import annotations

from pathlib import Path

from ..errors import NakawariError

MATCHES = 8


def match(first: str, second: str, seed: int) -> list[list[list[float]]]:
    """Points that are the same in two key drawings, as straight ways [[x, y], [x, y]] in their pixels.

    Raises:
        NakawariError: nothing matches.
    """
    from ..families.framer.matching import match_keys
    from ..media import flatten, read_image

    ends = [flatten(read_image(Path(name))) for name in (first, second)]
    found = match_keys(ends[0], ends[1], rule="max_score_even", count=MATCHES * 4, seed=seed)
    if found is None:
        raise NakawariError("Nothing in these two keys matches; set the points by hand.")
    sure = found[:, :MATCHES]
    height, width = ends[0].shape[:2]
    sure[..., 0], sure[..., 1] = sure[..., 0].clip(0, width - 1), sure[..., 1].clip(0, height - 1)
    return [[start.tolist(), end.tolist()] for start, end in zip(*sure, strict=True)]
