"""The program `nakawari`: its commands, and the handling of errors.

Commands are in the order of `--help`. To add one, write `cli/NAME.py` with a function `command` (or, for a group of
commands, a `typer.Typer` named `app`) and add NAME to `COMMANDS`. These files import nothing heavy at the top.
"""

from __future__ import annotations

import errno
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import __version__
from ..errors import Interrupted, NakawariError, NakawariWarning, UsageError
from ..memory import ran_out
from ..processes import is_first
from .option_groups import GroupedCommand

COMMANDS = (
    "interpolate",
    "sheet",
    "cut",
    "episode",
    "train",
    "adapt",
    "distill",
    "recipes",
    "merge",
    "quantize",
    "plan",
    "evaluate",
    "report",
    "data",
    "convert",
    "diagnose",
    "app",
    "demo",
    "examples",
)


class Program(TyperGroup):
    """The group of all commands; every error becomes one sentence on stderr and an exit status.

    Exit status: 0 success, 1 the work failed, 2 invalid usage, 130 interrupted. Of several processes only the first
    writes to stdout. `--debug`, anywhere before a `--`, shows the traceback first; commands find it as `context.obj`.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of `COMMANDS`; Typer would list groups last."""
        return list(COMMANDS)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer would end an interrupted one without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(str(error) or "interrupted.") from error

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:
        words, debug = _without_debug(list(sys.argv[1:] if args is None else args))
        extra |= {"standalone_mode": False, "obj": debug}
        with (
            reporting_errors(debug),
            warnings.catch_warnings(),
            redirect_stdout(sys.stdout if is_first() else StringIO()),
        ):
            if not debug:
                warnings.simplefilter("ignore")
            warnings.simplefilter("default", NakawariWarning)
            warnings.showwarning = _show_warning
            sys.exit(super().main(words, "nakawari", **extra) or 0)


@contextmanager
def reporting_errors(debug: bool = False) -> Iterator[None]:
    """Errors inside the block become one sentence on stderr, after the traceback if `debug`, and an exit status."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        sentence, status = _message_and_status(error)
        # All processes of a launch get the same invalid arguments; only one reports them.
        if sentence and (is_first() or not isinstance(error, UsageError)):
            print(f"nakawari: {' '.join(sentence.split())}", file=sys.stderr)
        sys.exit(status)


def _show_warning(message: Warning | str, *about: Any) -> None:
    if is_first():
        print(f"nakawari: warning: {message}", file=sys.stderr)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, and whether it was given; arguments after a `--` are unchanged."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _message_and_status(error: BaseException) -> tuple[str, int]:
    """One sentence for the user and the exit status."""
    if isinstance(error, Interrupted):
        return str(error), 130
    if isinstance(error, NakawariError):
        return str(error), 2 if isinstance(error, UsageError) else 1
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return str(error) or "interrupted.", 130
    if hasattr(error, "format_message"):  # typer's own usage errors, whichever click it is built on
        return f"{error.format_message().rstrip('.?')}; see nakawari --help.", 2
    if isinstance(error, BrokenPipeError):
        return "", 1
    if ran_out(error):
        return "Memory ran out; make the job smaller, or close other programs.", 1
    if isinstance(error, OSError):
        return _system_message(error), 1
    message = str(error).strip().rstrip(".")
    return f"unexpected {type(error).__name__}{': ' + message if message else ''}; run again with --debug.", 1


def _system_message(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device; free some and run again."
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}; check the path, its permissions and the disk, or run again with --debug."


app = typer.Typer(
    cls=Program,
    help="In-betweens for 2D animation: interpolate, adapt, distill, quantize, evaluate and report.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _name in COMMANDS:
    _module = import_module(f".{_name}", __package__)
    if hasattr(_module, "command"):
        app.command(_name, cls=GroupedCommand)(_module.command)
    else:
        app.add_typer(_module.app, name=_name)


def run() -> None:
    """The entry point of the installed program."""
    app()
