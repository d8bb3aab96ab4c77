"""`nakawari data`: check a folder of footage, cut it into clips and triplets, show samples."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .progress import Bar

app = typer.Typer(
    help="Check a data folder, cut footage into clips, show samples.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Format(StrEnum):
    """Format of written clips."""

    h264 = "h264"
    png = "png"


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Clips, triplets or pairs.")],
    min_frames: Annotated[int, typer.Option(help="Clips with fewer frames are too short.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Print counts, sizes and every fault; exit status 0 without faults, 1 with faults."""
    from ..data.check import check as look

    with Bar("checking", "clip") as bar:
        report = look(folder, min_frames=min_frames, progress=bar.show)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        kinds = ", ".join(f"{count} {kind}{'s' if count != 1 else ''}" for kind, count in report.items.items())
        typer.echo(f"{folder}: layout {report.layout}, {kinds or 'no clips'}, {report.frames} frames")
        typer.echo(f"  {report.held_frames} frames repeat the previous drawing; {report.bytes / 1e6:.1f} MB")
        for title, table in (("size", report.sizes), ("frames", report.lengths), ("fps", report.frame_rates)):
            _histogram(title, table)
        for note in report.notes:
            typer.echo(f"note: {note}")
        for fault in report.faults:
            typer.echo(f"{fault.kind:<14} {fault.sentence}")
        count = len(report.faults)
        typer.echo(f"{count or 'no'} fault{'s' if count != 1 else ''}")
    if report.faults:
        raise typer.Exit(1)


def _histogram(title: str, table: dict[str, int], rows: int = 8) -> None:
    total = sum(table.values())
    for index, (key, count) in enumerate(table.items()):
        if index == rows:
            typer.echo(f"  {title:<8}{len(table) - rows} more")
            return
        typer.echo(f"  {title:<8}{key:<12}{count:>7}  {'#' * max(1, round(30 * count / total))}")


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(metavar="VIDEO|DIR", help="A video, or a folder of footage.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    min_frames: Annotated[int, typer.Option(help="Shorter pieces are dropped.")] = 9,
    max_hold: Annotated[float, typer.Option(help="Longest hold of one drawing, in seconds.")] = 0.5,
    distinct: Annotated[bool, typer.Option("--distinct", help="Write each drawing once.")] = False,
    format: Annotated[Format, typer.Option(help="H.264 4:4:4 videos, or PNG sequences.")] = Format.h264,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Cut footage at scene changes, without static and flashing stretches, into clips with an index.json."""
    from ..data.prepare import Settings
    from ..data.prepare import prepare as make

    settings = Settings(min_frames, max_hold, distinct, format.value)
    with Bar("preparing", "video") as bar:
        made = make(source, output, settings, progress=bar.show)
    if as_json:
        clips = [clip.to_json() for clip in made.clips]
        typer.echo(
            json.dumps({"output": str(output), "clips": clips, "dropped": made.dropped, "skipped": made.skipped})
        )
        return
    frames = sum(clip.count for clip in made.clips)
    typer.echo(f"{len(made.clips)} clips, {frames} frames in {output}")
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items() if count)
    typer.echo(f"  frames left out: {dropped or 'none'}")
    for sentence in made.skipped:
        typer.echo(f"skipped: {sentence}")


@app.command()
def triplets(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="Clips: videos or image sequences.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A new folder.")],
    per_clip: Annotated[int, typer.Option(min=1, help="Most triplets of one clip.")] = 6,
    gaps: Annotated[str, typer.Option(help="Frames from picture to picture, used in turn.")] = "1,2,4,8",
    min_change: Annotated[float, typer.Option(min=0, help="Least change between the keys, of 255.")] = 1.0,
) -> None:
    """Cut clips into triplets (key, true middle, key) to evaluate on."""
    from ..data.triplet_cutting import cut_triplets
    from ..errors import UsageError

    if not all(word.strip().isdigit() for word in gaps.split(",")):
        raise UsageError(f"--gaps {gaps!r} is not a list of frame counts; give a list such as 1,2,4,8.")
    steps = [int(word) for word in gaps.split(",")]
    found = cut_triplets(source, output, per_clip=per_clip, gaps=steps, min_change=min_change)
    for sentence in found.left_out:
        typer.echo(f"left out: {sentence}")
    typer.echo(f"{len(found.cuts)} triplets of {len({cut.clip.name for cut in found.cuts})} clips in {output}")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Clips, triplets or pairs.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture.")] = Path("sheet.png"),
    rows: Annotated[int, typer.Option(min=1, max=200, help="Clips on the sheet, evenly chosen.")] = 12,
    columns: Annotated[int, typer.Option(min=2, max=32, help="Frames of a clip, evenly chosen.")] = 6,
) -> None:
    """Write a contact sheet of a folder."""
    from ..data.inventory import take_inventory
    from ..data.show import show as draw
    from ..errors import UsageError
    from ..media import write_image

    shown = (file.resolve() for item in take_inventory(folder).items for file in item.files)
    if output.exists() and output.resolve() in shown:
        raise UsageError(f"{output} is a file of {folder}, which would be replaced by the sheet; give another output.")
    found = draw(folder, rows=rows, columns=columns)
    write_image(output, found.sheet)
    typer.echo(f"{found.shown} of {found.total} on {output}")
    for sentence in found.skipped:
        typer.echo(f"skipped: {sentence}")
