"""How a verb ends: what goes wrong is one line and an exit code, whoever it came from. Importing it imports no torch."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, NoReturn

from cyclopts import CycloptsError

from untrain.cli import show
from untrain.core.errors import BadArgument, Resources, Unforeseen, UntrainError
from untrain.core.memory import ran_out
from untrain.core.stopping import Stopped, heeded
from untrain.core.wording import plain, said, told

LONGEST = 2000
"""Characters of a line; a stranger's name may have any number."""

INTERRUPTED = "interrupted; train and unlearn go on when they are called again with the same arguments"


def guarded(verb: Callable[..., int]) -> Callable[..., int]:
    """A verb that the user's code can neither end nor speak for: what it prints goes to stderr, and its `os._exit` is an error."""

    @wraps(verb)
    def called(*arguments: Any, **given: Any) -> int:
        with show.alone(), _staying(), heeded():
            return verb(*arguments, **given)

    return called


@contextmanager
def _staying() -> Iterator[None]:
    leave, owner = os._exit, os.getpid()

    def stay(status: int) -> NoReturn:
        # A process that was forked off is its own.
        if os.getpid() != owner:
            leave(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = stay
    try:
        yield
    finally:
        os._exit = leave


def ended(error: BaseException) -> UntrainError | None:
    """What an error amounts to, by name; None where it is no refusal but an interruption, or a reader that has gone away."""
    if isinstance(error, UntrainError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return None
    if isinstance(error, CycloptsError):
        return BadArgument(str(error))
    if ran_out(error) or (isinstance(error, RuntimeError) and "start new thread" in said(error)):
        return Resources("memory ran out, or no further thread could be started; use smaller batches or a machine with more")
    where = traceback.extract_tb(error.__traceback__)[-1:]
    # rich exits where its reader has gone, which help and version are drawn by.
    if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError) and any(os.sep + "rich" + os.sep in frame.filename for frame in where):
        return None
    # Nobody's code has run where this was not imported, and importing it imports torch.
    functions = sys.modules.get("untrain.sources.libraries.functions")
    theirs: UntrainError | None = functions.blamed(error) if functions is not None else None
    if theirs is not None:
        return theirs
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError):
        return Resources(f"{error.filename or 'a file'}: {error.strerror or said(error)}; see to its place, rights and space")
    place = f" ({os.path.basename(where[0].filename)}, line {where[0].lineno})" if where else ""  # noqa: PTH119 - a name out of a frame
    return Unforeseen(f"{told(error)}{place}: this is a fault of untrain's own; --debug shows where it came up, and an issue with that is welcome")


def failed(error: BaseException, json: bool, debug: bool) -> int:
    """Say what went wrong, in one line on stderr, and return the exit code; under several ranks the first one says it."""
    if debug:
        with suppress(Exception):
            traceback.print_exception(error)
    known = ended(error)
    if known is None and not isinstance(error, KeyboardInterrupt):
        show.silence(sys.stdout)
        return 0
    stopped = 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)
    line, code = (str(known), known.exit_code) if known is not None else (INTERRUPTED, stopped)
    line = plain(" ".join(line.split())[:LONGEST])
    if show.first():
        try:
            show.put((jsonlib.dumps({"error": line, "exit": code}) if json else f"untrain: {line}") + "\n", sys.stderr)
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            show.silence(sys.stderr)
    return code


def flushed(code: int) -> int:
    """The exit code, once stdout has taken what was said; where it cannot, that is an error too."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        show.silence(sys.stdout)
    except OSError as error:
        code = code or failed(Resources(f"what was to be said on stdout could not be written: {error.strerror or error}; see to its place"), False, False)
        show.silence(sys.stdout)
    except ValueError:
        # It was closed.
        pass
    return code
