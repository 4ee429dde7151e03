"""How a command ends when it fails: the message, the exit code, and where a traceback is kept."""

from __future__ import annotations

import functools
import os
import tempfile
import traceback
from collections.abc import Callable
from typing import ParamSpec

import typer

from edgesim.errors import EdgesimError, UserError

USER = 2
"""Exit code for the user's mistake."""
OURS = 1
"""Exit code for our fault, or a learner's."""
STOPPED = 130
"""Exit code after Ctrl-C, as shells give it."""

P = ParamSpec("P")


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Decorate a command: what it raises becomes a message and an exit code, never a traceback on the screen."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except UserError as error:
            complain(str(error))
            raise typer.Exit(USER) from None
        except KeyboardInterrupt:
            complain("stopped")
            raise typer.Exit(STOPPED) from None
        except SystemExit as error:
            complain(
                f"edgesim was ended by code that called sys.exit({error.code!r}), a learner's or a model's\n"
                f"The traceback is in {keep_traceback(error)}"
            )
            raise typer.Exit(OURS) from None
        except EdgesimError as error:
            complain("\n".join([str(error), *notes(error), f"The traceback is in {keep_traceback(error)}"]))
            raise typer.Exit(OURS) from None
        except Exception as error:
            complain(
                f"edgesim failed, which is a mistake of ours: {type(error).__name__}: {error}\n"
                f"The traceback is in {keep_traceback(error)}; please report it"
            )
            raise typer.Exit(OURS) from None

    return guarded


def notes(error: BaseException) -> list[str]:
    """What was added to an error on its way up."""
    return list(getattr(error, "__notes__", ()))


def complain(message: str) -> None:
    """Write to standard error."""
    typer.echo(message, err=True)


def keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file of its own and return the file's name."""
    handle, name = tempfile.mkstemp(prefix="edgesim-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    return name
