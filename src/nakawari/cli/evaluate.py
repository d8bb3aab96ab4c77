"""`nakawari evaluate`: variants, one data set, one protocol; per-sample CSV, costs, intervals, paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .early import check
from .progress import Bars
from .training_run import LogWith


def command(
    variants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VARIANT…]", help="BASE[+ADAPTER@SCALE][:PRECISION]; the others are held against the first."
        ),
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Data set: ATD-12K, triplets, sequences, pairs or captions beside.")
    ],
    protocol: Annotated[
        str, typer.Option("--protocol", help="quick, atd12k, atd12k-published, reference-table, steps, or a YAML file.")
    ] = "quick",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Results folder; default: results/ and the protocol's name.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only so many samples, spread over the films.")
    ] = None,
    floors: Annotated[
        bool, typer.Option(help="Put floors, flow anchor, installed peers and ceiling into the table.")
    ] = True,
    cost: Annotated[bool, typer.Option(help="Measure time and memory with the settings of the quality run.")] = True,
    frames: Annotated[
        list[str] | None,
        typer.Option("--frames", metavar="NAME=DIR", help="Score pictures that another program drew; see --list."),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Write the keys and what must be drawn from them, and evaluate nothing.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/WORKERS", help="Only this share, from 0; others beside it. Without it shares are joined."
        ),
    ] = None,
    log_with: LogWith = None,
    device: Annotated[str, typer.Option(help="Where the models run: cpu, cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the aggregates as JSON.")] = False,
) -> None:
    """Score variants by one protocol: quality, cost, intervals."""
    if not (variants or frames or list_only):
        raise UsageError("Give a variant to evaluate, such as mini, or --frames NAME=DIR.")
    check(variants=variants or [], folders=[data], output=output)
    if log_with:
        from ..training.trackers import check_installed

        check_installed(log_with)
    from ..data.samples import spread
    from ..data.triplets import open_dataset
    from ..evaluation.drawn import Drawn, parse_frames, to_draw
    from ..evaluation.processes import share_of
    from ..evaluation.protocol import load_protocol
    from ..evaluation.runner import evaluate

    how = load_protocol(protocol)
    drawn = parse_frames(frames or [])
    samples = spread(open_dataset(data, how.split), limit)
    results = output or Path("results") / how.name
    if list_only:
        typer.echo(f"{to_draw(samples, how, results)}: what must be drawn, from the keys in {results / 'keys'}")
        return
    own = None if share is None else share_of(share)
    rows = [*(variants or []), *(Drawn(name, folder, samples, how) for name, folder in drawn.items())]
    with Bars("sample") as bars:
        found = evaluate(
            rows, samples, how, results, floors=floors, cost=cost, device=device, progress=bars.show, share=own
        )
    if own is not None:
        typer.echo(f"share {share} is done; the same command without --share joins all of them in {results}")
        return
    if log_with:
        from .evaluation_trackers import tell

        tell(log_with, results, found)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for line in table(found):
        typer.echo(line)
    typer.echo(f"{len(samples)} samples, protocol {how.name}; all numbers: {results}")


def table(found: dict[str, Any]) -> list[str]:
    """The aggregates as lines: rows as evaluated, one column per metric, the first metric also per level."""
    name = found["protocol"]["name"]
    metrics, levels = found["metrics"], [level for level in found["levels"] if level != "all"]
    heads = [metric["title"] for metric in metrics] + levels + ["ms/frame"]
    first = metrics[0]["name"]
    rows = [["", *heads]]
    for entry in found["entries"]:
        results = entry["results"].get(name, {})
        cells = [_mean(results, metric["name"], "all") for metric in metrics]
        cells += [_mean(results, first, level) for level in levels]
        cells.append(_number(((entry.get("cost") or {}).get("ms_per_frame") or {}).get("median")))
        rows.append([entry["name"], *cells])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _mean(results: dict[str, Any], metric: str, level: str) -> str:
    return _number(results.get(metric, {}).get(level, {}).get("mean"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}"
