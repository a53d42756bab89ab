"""What can go wrong, one name each; the exit code of the command line stands beside it. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from untrain.core.wording import told


class UntrainError(Exception):
    """Base of all errors that untrain raises on purpose: one line with culprit, fact and way out."""

    exit_code = 1


class BadArgument(UntrainError, ValueError):
    """A refused argument: a class, a name, a field's value."""

    exit_code = 2


class BadData(UntrainError, ValueError):
    """Refused data or a refused model: a wrong shape, a truncated file, NaN pixels."""

    exit_code = 5


class OtherHead(BadData):
    """A model whose head has not a row for each class of the data."""


class BadCode(BadData):
    """Code that was named by the user ended in an error, or would have ended the program."""


class Diverged(UntrainError, ArithmeticError):
    """A loss or a weight went to NaN or infinity; nothing is written.

    Args:
        fact: What went wrong.
        phase: The piece of work that it went wrong in, where that is known.
        way: What to do about it.
    """

    exit_code = 6

    def __init__(self, fact: str, phase: str = "", way: str = "lower its learning rate") -> None:
        super().__init__(f"{phase}: {fact}; {way}" if phase else f"{fact}; {way}")
        self.fact, self.phase, self.way = fact, phase, way


class Shared(UntrainError, RuntimeError):
    """A method let a frozen network move, or two networks share their weights: what it did is not what it says."""

    exit_code = 1


class MissingExtra(UntrainError, ImportError):
    """An optional package is not installed; names the extra that brings it."""

    exit_code = 2


class Resources(UntrainError, OSError):
    """Disk or memory ran out, or a file could not be written."""

    exit_code = 7


class Locked(UntrainError, OSError):
    """Another process writes to the same folder."""

    exit_code = 8


class Unforeseen(UntrainError, RuntimeError):
    """What should not happen: a fault of untrain's own; `--debug` shows where."""

    exit_code = 9


@contextmanager
def wall(what: str, way: str = "get it anew") -> Iterator[None]:
    """Whatever goes wrong while something of others' making is read is a refusal that names it.

    Files that end in an error that nobody foresaw are the rule under attack, and not a fault that deserves a traceback.

    Args:
        what: What is read.
        way: What to do about it.

    Raises:
        BadData: it is not as it should be.
    """
    try:
        yield
    except (UntrainError, OSError, MemoryError):
        raise
    except Exception as error:
        raise BadData(f"{what} is not as it should be ({told(error)}); {way}") from error


FAILED = "it failed: "
"""How the reason begins for which an audit that was asked has no answer."""


def refuse_both(*pairs: tuple[str, bool, str, bool, str]) -> None:
    """Refuse flags of which one would undo the other without a word.

    Args:
        pairs: A flag and whether it is given, another and whether that is, and why they do not go together.

    Raises:
        BadArgument: both of a pair are given.
    """
    for one, first, other, second, why in pairs:
        if first and second:
            raise BadArgument(f"{one} and {other} do not go together: {why}; leave one of them out")
