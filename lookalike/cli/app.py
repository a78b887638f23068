"""The commands together, and the one place that turns errors into a line and an exit code.

Exit codes: 0 success, 2 for input that the caller must set right, 1 for everything else that failed,
130 after Ctrl-C, and after SIGTERM or SIGHUP where a command takes back what it did.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from lookalike import __version__
from lookalike.cli import calibrate, collection, evaluate, export, index, model, search, serve, synth, train
from lookalike.cli.console import escape_what_cannot_be_printed, plain, stderr
from lookalike.cli.demo import command as demo
from lookalike.cli.options import help_without_command
from lookalike.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    NotSupportedError,
    Reason,
    shown,
)
from lookalike.files.disk import FULL

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
DEBUG_VARIABLE = "LOOKALIKE_DEBUG"
_CALLERS_FAULT = (
    InvalidInputError,
    NotFoundError,
    AlreadyExistsError,
    FailedPreconditionError,
    NotSupportedError,
)
_EXTRAS = {
    "PIL": "serve-embedder",
    "cv2": "synth",
    "lightning": "train",
    "onnxruntime": "serve-embedder",
    "openvino": "serve-embedder",
    "timm": "train",
    "torch": "train",
    "tritonclient": "serve-embedder",
}
"""Package → the extra of this one that installs it."""

app = typer.Typer(
    name="lookalike",
    help="Visual product search: from a photo to the listings of the same product.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("synth")(synth.synth)
app.command("train")(train.train)
app.command("export")(export.export)
app.add_typer(model.app, name="model")
app.add_typer(serve.app, name="serve")
app.command("index")(index.index)
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(collection.app, name="collection")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"lookalike {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    help_without_command(context)
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; prints at most one line about what went wrong.

    Args:
        arguments: What follows the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    try:
        outcome: Any = app(arguments, prog_name="lookalike", standalone_mode=False)
        sys.stdout.flush()  # a full disk shows only now
    except LookalikeError as error:
        _say(f"{error.message} ({error.reason.value})")
        return EXIT_BAD_INPUT if isinstance(error, _CALLERS_FAULT) else EXIT_FAILED
    except TyperException as error:
        _say(f"{error.format_message().removesuffix('.')} ({Reason.CONFIG_INVALID.value})")
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except typer.Abort as error:
        if isinstance(error.__cause__, EOFError):  # typer makes an Abort of it wherever it comes from
            return _failed(error.__cause__)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # who reads the output has left; typer's own answer to that is as quiet
        return EXIT_FAILED
    except Exception as error:
        return _failed(error)
    return outcome if isinstance(outcome, int) else 0


def _failed(error: Exception) -> int:
    """Reports what is not an error of Lookalike's own; returns the exit code."""
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
        _say(f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    if isinstance(error, OSError) and error.errno in FULL:
        what = "the disk is full" if error.errno == errno.ENOSPC else "the disk quota is used up"
        target = error.filename2 or error.filename or "the output"
        _say(f"{what}: cannot write {target}; free some space and try again")
        return EXIT_FAILED
    if isinstance(error, OSError) and error.filename:
        _say(f"cannot use {error.filename}: {error.strerror}")
        return EXIT_BAD_INPUT
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        _say(f"{shown(error.object)} is not Unicode text")
        return EXIT_BAD_INPUT
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in _EXTRAS:
        _say(f"this command needs the package {package}; install lookalike[{_EXTRAS[package]}]")
        return EXIT_BAD_INPUT
    _say(f"{type(error).__name__}: {error} (unexpected; run `lookalike --debug ...` for details)")
    return EXIT_FAILED


def main() -> NoReturn:
    """The entry point of the ``lookalike`` command."""
    escape_what_cannot_be_printed()
    code = run()
    try:
        sys.stdout.flush()
    except OSError:  # run() has reported it; Python would flush again at the exit, with a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _say(message: str) -> None:
    stderr.print(f"error: {plain(message)}", markup=False, highlight=False, soft_wrap=True)
