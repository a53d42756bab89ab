"""Asked to stop: the step that is being taken is finished, its state is saved, and the program ends; asked again, it ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks: a key, a scheduler that takes the machine away, a terminal that closes."""


class Stopped(KeyboardInterrupt):
    """It was asked to stop, and has.

    Args:
        number: The signal that asked.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


class _Asked:
    """Which signal asked, and how many pieces of work go on that would save their state first."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.works = 0


_asked = _Asked()


@contextmanager
def heeded() -> Iterator[None]:
    """Heed signals while the block runs; what a caller has set for them is left, and so is all outside of the main thread."""
    ours = [n for n in SIGNALS if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)] if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, _hear) for number in ours}
    _asked.number = None
    try:
        yield
    finally:
        _asked.number = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _hear(number: int, _: Any) -> None:
    if _asked.works and _asked.number is None:
        _asked.number = number
        return
    raise Stopped(number)


@contextmanager
def saving_first(possible: bool) -> Iterator[None]:
    """Work that looks after each step whether to stop, by `asked`, and saves its state then, where that is possible."""
    _asked.works += possible
    try:
        yield
    finally:
        _asked.works -= possible
    if possible and not _asked.works:
        refuse_further()


def asked() -> bool:
    """Whether it was asked to stop."""
    return _asked.number is not None


def refuse_further() -> None:
    """Stop, where that was asked.

    Raises:
        Stopped: it was.
    """
    if _asked.number is not None:
        raise Stopped(_asked.number)
