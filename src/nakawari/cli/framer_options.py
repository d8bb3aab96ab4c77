"""The options of `nakawari interpolate` that are Framer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

_Option = partial(typer.Option, rich_help_panel="Framer")
_COMPARED = "euler,dpm++,lcm"


@dataclass(frozen=True)
class Framer:
    """The parsed options. `options`: further arguments of the pipeline's call; `compared`: samplers to compare."""

    tracks: tuple[str, ...]
    auto_tracks: bool
    overlay: bool
    scheduler: str | None
    compared: tuple[str, ...]
    options: Mapping[str, Any]

    def check(self, guidance: float | None, formats: str | None) -> None:
        """Refuse conflicts with the options of all families."""
        from ..errors import UsageError

        ramp = {"min_guidance_scale", "max_guidance_scale", "middle_max_guidance"} & self.options.keys()
        if guidance is not None and ramp:
            raise UsageError(
                "--guidance sets one value for all frames; leave out either it or the options of the ramp."
            )
        if self.compared and formats is not None:
            raise UsageError("--compare writes a sheet and GIFs, so --format does not apply; leave it out.")

    def settings(self, gaps: int) -> dict[str, Any]:
        """The fields of `interpolation.Settings` set by these options, for a job of `gaps` gaps."""
        drags: Mapping[int, Any] = {}
        if self.tracks:
            from ..interpolation import parse_tracks

            drags = parse_tracks(self.tracks, gaps)
        return {
            "scheduler": self.scheduler,
            "drags": drags,
            "auto_tracks": self.auto_tracks,
            "options": self.options,
        }


def framer(
    *,
    track: Annotated[
        list[str] | None,
        _Option(metavar="TRACK", help='"x,y x,y ...", "GAP: x,y ..." or a JSON file; may be repeated, tracks add up.'),
    ] = None,
    auto_tracks: Annotated[
        bool, _Option("--auto-tracks", help="Match points between the keys and move them along straight tracks.")
    ] = False,
    control_scale: Annotated[float | None, _Option(min=0, max=10, help="Strength of the tracks.")] = None,
    control_range: Annotated[
        str | None, _Option(metavar="FROM,TO", help="Share of the steps with track control, such as 0,0.5.")
    ] = None,
    overlay: Annotated[bool, _Option(help="Draw the tracks over contact sheet and GIF.")] = True,
    min_guidance: Annotated[float | None, _Option(min=0, max=100, help="Guidance of the first frame.")] = None,
    max_guidance: Annotated[float | None, _Option(min=0, max=100, help="Guidance of the last frame.")] = None,
    peak_guidance: Annotated[
        bool, _Option("--peak-guidance", help="Highest guidance in the middle frame instead of the last.")
    ] = False,
    motion_bucket: Annotated[int | None, _Option(min=1, max=255, help="Motion bucket: amount of motion.")] = None,
    noise_aug: Annotated[float | None, _Option(min=0, max=10, help="Noise on the keys.")] = None,
    scheduler: Annotated[
        str | None, _Option(metavar="NAME", help="euler, dpm++, lcm or dpm++-reference; default: the model's.")
    ] = None,
    compare: Annotated[
        bool, _Option("--compare", help="Draw with several schedulers and show the difference.")
    ] = False,
    schedulers: Annotated[
        str | None, _Option(metavar="NAMES", help=f"Schedulers of --compare; default: {_COMPARED}.")
    ] = None,
) -> Framer:
    """The options, checked against each other; `UsageError` if one needs another."""
    from ..errors import UsageError

    if schedulers is not None and not compare:
        raise UsageError("--schedulers is for --compare; add --compare, or give one --scheduler.")
    if scheduler is not None and compare:
        raise UsageError("--scheduler and --compare exclude each other; name the schedulers with --schedulers.")
    led = {"--control-scale": control_scale, "--control-range": control_range}
    for name, value in led.items():
        if value is not None and not track and not auto_tracks:
            raise UsageError(f"{name} has no effect without tracks; add --track or --auto-tracks.")
    given = {
        "control_scale": control_scale,
        "control_range": None if control_range is None else _range(control_range),
        "min_guidance_scale": min_guidance,
        "max_guidance_scale": max_guidance,
        "middle_max_guidance": peak_guidance or None,
        "motion_bucket_id": motion_bucket,
        "noise_aug_strength": noise_aug,
    }
    return Framer(
        tracks=tuple(track or ()),
        auto_tracks=auto_tracks,
        overlay=overlay,
        scheduler=None if scheduler is None else _names(scheduler)[0],
        compared=_names(schedulers or _COMPARED) if compare else (),
        options={name: value for name, value in given.items() if value is not None},
    )


def _range(text: str) -> tuple[float, float]:
    from ..errors import UsageError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise UsageError(
            f"--control-range {text!r} is not a range of the steps; give FROM,TO with 0 <= FROM <= TO <= 1."
        )
    return low, high


def _names(text: str) -> tuple[str, ...]:
    """Scheduler names from a comma-separated list, each once."""
    from ..errors import UsageError
    from ..families.framer.names import SCHEDULERS

    names = tuple(dict.fromkeys(text.replace(" ", "").split(",")))
    for name in names:
        if name not in SCHEDULERS:
            raise UsageError(f"There is no scheduler {name!r}; give some of {', '.join(SCHEDULERS)}.")
    return names
