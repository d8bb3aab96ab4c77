"""`nakawari evaluate`: variants, one data set, one protocol; per-sample CSV, costs, intervals, paired differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .early import check
from .evaluation_engines import Engine, Evaluation
from .progress import Bars
from .training_options import LogWith


def command(
    variants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VARIANT…]", help="BASE[+ADAPTER@SCALE][:PRECISION]; the others are compared with the first."
        ),
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Data set: ATD-12K, triplets, sequences or pairs, optionally with captions.")
    ],
    protocol: Annotated[
        str, typer.Option("--protocol", help="quick, atd12k, atd12k-published, reference-table, steps, or a YAML file.")
    ] = "quick",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Results folder; default: results/ and the protocol's name.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Number of samples, spread over the films; default: all.")
    ] = None,
    floors: Annotated[
        bool, typer.Option(help="Include baselines, installed peers and the autoencoder's reconstruction.")
    ] = True,
    cost: Annotated[bool, typer.Option(help="Measure time and memory with the settings of the quality run.")] = True,
    frames: Annotated[
        list[str] | None,
        typer.Option("--frames", metavar="NAME=DIR", help="Score pictures that another program drew; see --list."),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Write the keys and the list of pictures to draw, and stop.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/WORKERS", help="Evaluate only this share, numbered from 0. Without it shares are joined."
        ),
    ] = None,
    engine: Annotated[
        Engine | None, typer.Option(help="Start a worker for each share, and join the shares when all are done.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=10000, help="Number of workers that the engine starts.")
    ] = None,
    log_with: LogWith = None,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the aggregates as JSON.")] = False,
) -> None:
    """Score variants by one protocol: quality, cost, intervals."""
    if not (variants or frames or list_only):
        raise UsageError("Give a variant to evaluate, such as mini, or --frames NAME=DIR.")
    if engine is not None and (share is not None or list_only):
        raise UsageError("--engine starts a worker for each share; leave out --share and --list.")
    if workers is not None and engine is None:
        raise UsageError("--workers is for --engine; give one, such as --engine local.")
    check(variants=variants or [], folders=[data], output=output)
    if log_with:
        from ..training.trackers import check_installed

        check_installed(log_with)
    words = Evaluation(tuple(variants or ()), data, protocol, output, limit, tuple(frames or ()), floors, device)
    how, samples, results = words.asked
    if list_only:
        from ..evaluation.drawn import to_draw

        typer.echo(f"{to_draw(samples, how, results)}: pictures to draw, from the keys in {results / 'keys'}")
        return
    if engine is not None:
        said = words.by_engine(engine, workers)
        if engine is Engine.slurm:  # does not wait
            typer.echo(f"{said}; when it has ended, the same command without --engine joins the shares in {results}")
            return
    with Bars("sample") as bars:
        found = words.run(cost=cost, share=share, progress=bars.show)
    if share is not None:
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
    """The aggregates as lines: rows in order of evaluation, one column per metric, the first metric also per level."""
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
