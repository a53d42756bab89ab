"""What a question is, and the evidence that it is asked of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from untrain.report.figures import Figure

BASE = "unsir"
"""The setting that the questions are about, in its defaults."""


PLAIN = {"original": "original", "unlearned": "unlearned", "retrained": "retrained"}
"""Slots of the columns that every audit has."""


@dataclass(frozen=True)
class Asked:
    """A run that the page asks for.

    Args:
        setting: A method, or a method and preset.
        file: Name of its record.
        record: The record; None where it is not there yet.
        changes: Fields of the setting that have other values.
        after: Classes forgotten before it, one after the other.
        audits: The audits asked for; all where none are named.
        classes: What it forgets.
    """

    setting: str
    file: str
    record: dict[str, Any] | None
    changes: tuple[tuple[str, Any], ...] = ()
    after: tuple[int, ...] = ()
    audits: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """All that the page is drawn from.

    Args:
        asked: The runs.
        folder: Where their records lie, seen from the page.
        about: What the runs stand on, for the page's head.
        saliency: The record of saliency maps.
        saliency_file: Its file, seen from the page.
    """

    asked: tuple[Asked, ...]
    folder: str
    about: tuple[tuple[str, str], ...] = ()
    saliency: dict[str, Any] | None = None
    saliency_file: str = ""

    def of(self, *settings: str) -> list[Asked]:
        """The plain runs of these settings, in their order; of several, that of the most audits."""
        plain = [a for a in self.asked if not a.changes and not a.after]
        return [next(iter(sorted(mine, key=lambda a: bool(a.audits)))) for s in settings if (mine := [a for a in plain if a.setting == s])]

    def sweep(self, changed: str) -> list[Asked]:
        """The runs in which one field has other values."""
        return [a for a in self.asked if a.setting == BASE and [n for n, _ in a.changes] == [changed]]

    def chain(self) -> list[Asked]:
        """The runs of one class after another: of several chains the longest, from its first class on."""
        last = max((a for a in self.asked if a.after), key=lambda a: len(a.after), default=None)
        if last is None:
            return []
        way, like = (*last.after, *last.classes), [a for a in self.asked if (a.setting, a.changes, a.audits) == (last.setting, last.changes, last.audits)]
        return [run for i in range(len(way)) for run in [a for a in like if (a.after, a.classes) == (way[:i], way[i : i + 1])][:1]]


@dataclass(frozen=True)
class Picture:
    """A figure and where it comes from.

    Args:
        figure: The figure.
        used: The runs it was drawn from.
        n: What was counted, in words with numbers of the records.
    """

    figure: Figure
    used: Sequence[Asked]
    n: str


@dataclass(frozen=True)
class Answer:
    """What the records say to a question.

    Args:
        needed: The runs that it takes.
        said: Sentences.
        pictures: Pictures.
        more: Further HTML, such as images.
        left: What is missing that is no run.
    """

    needed: Sequence[Asked]
    said: Sequence[Markup] = ()
    pictures: Sequence[Picture] = ()
    more: Markup = field(default_factory=Markup)
    left: Sequence[str] = ()


@dataclass(frozen=True)
class Question:
    """A question.

    Args:
        id: Its anchor.
        title: The question.
        how: What was done to answer it.
        answer: The function that answers.
    """

    id: str
    title: str
    how: str
    answer: Callable[[Evidence], Answer]
