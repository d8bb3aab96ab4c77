"""Scaling of episodes: unit costs are measured, then up to 1,000 workers and 100,000 cuts are simulated.

    python benchmarks/episode_scale.py --draw 0.09 30 --load 6 -o benchmarks/results/episode-scale.json

Measured: reading and writing a manifest, locking a cut, reading the plan and listing ended cuts, per cut of a plan.
Given: seconds of a cut and of loading a model on a worker. In the simulation workers draw in parallel, and every access
to a file waits in one queue, that of the shared disk; each row is repeated for a disk ten times slower than this one.
"""

from __future__ import annotations

import argparse
import heapq
import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from nakawari.episode.manifest import DONE, Manifest, Manifests
from nakawari.episode.plan import Episode, Unit
from nakawari.files import write_json

ROUNDS = 3
"""Listings of ended cuts per worker."""
WRITES, LOOKS = 10, 3
"""Files written per cut (two manifests, some drawings, sheet, record) and manifests read."""


def seconds_of(work: Callable[[int], object], count: int) -> float:
    """Seconds per call: the median of seven rounds of `count` calls."""
    rounds = []
    for _ in range(7):
        started = time.perf_counter()
        for number in range(count):
            work(number)
        rounds.append((time.perf_counter() - started) / count)
    return sorted(rounds)[3]


def unit_costs(cuts: int = 500) -> dict[str, float]:
    """Seconds of each operation on this machine."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        units = tuple(Unit(f"c{number:06d}", folder / f"c{number:06d}") for number in range(cuts))
        episode, manifests = Episode(folder, units), Manifests(folder)

        def take(number: int) -> None:
            with manifests.taken(units[number].name):
                pass

        found = {
            "write a manifest": seconds_of(lambda n: manifests.put(Manifest(units[n].name, DONE)), cuts),
            "read a manifest": seconds_of(lambda n: manifests.get(units[n].name), cuts),
            "take a cut": seconds_of(take, cuts),
        }
        episode.save()
        found["list what has ended, per cut"] = seconds_of(lambda n: manifests.ended(), 1) / cuts
        found["read the plan, per cut"] = seconds_of(lambda n: Episode.load(folder), 1) / cuts
    return found


def simulate(cuts: int, workers: int, draw: float, load: float, costs: dict[str, float], slower: float) -> dict:
    """Seconds until all cuts are drawn and all workers have ended, and their breakdown."""
    write, read = costs["write a manifest"] * slower, costs["read a manifest"] * slower
    each = WRITES * write + LOOKS * read + costs["take a cut"] * slower
    begin = costs["read the plan, per cut"] * cuts + load
    disk = drawn = 0.0
    shares = [cuts * (number + 1) // workers - cuts * number // workers for number in range(workers)]
    waiting = [(begin, number, share) for number, share in enumerate(shares)]
    heapq.heapify(waiting)
    while waiting:
        now, number, left = heapq.heappop(waiting)
        if left:
            disk = max(disk, now + draw) + each
            drawn = max(drawn, disk)
            heapq.heappush(waiting, (disk, number, left - 1))
    listing = costs["list what has ended, per cut"] * slower * cuts * ROUNDS
    ended = max(disk, drawn) + workers * listing
    ideal = cuts * draw / workers
    return {
        "draw": draw,
        "workers": workers,
        "cuts": cuts,
        "slower": slower,
        "drawn after": round(drawn, 1),
        "workers end after": round(ended, 1),
        "ideal": round(ideal, 1),
        "cuts per second": round(cuts / drawn, 3),
        "efficiency": round(ideal / drawn, 3),
        "disk busy": round(min(1.0, cuts * each / drawn), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", type=float, nargs="+", required=True, help="seconds of one cut on a worker")
    parser.add_argument("--load", type=float, required=True, help="seconds of imports and a model's load")
    parser.add_argument("-o", "--output", type=Path, required=True)
    words = parser.parse_args()
    costs = unit_costs()
    grid = [(100, 1), (100, 2), (1000, 10), (10_000, 100), (100_000, 100), (100_000, 1000)]
    rows = [
        simulate(*one, draw, words.load, costs, slower) for draw in words.draw for slower in (1.0, 10.0) for one in grid
    ]
    for row in rows:
        print(json.dumps(row))
    rounded = {name: float(f"{value:.3g}") for name, value in costs.items()}
    write_json(words.output, {"load": words.load, "costs": rounded, "rows": rows})


if __name__ == "__main__":
    main()
