"""A trigger that is named beside an audit: read, put into test images, and told of in the record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from untrain.core.data import Split
from untrain.core.data.planting import triggered
from untrain.core.errors import BadArgument
from untrain.sources import trigger as triggers
from untrain.verbs.inputs import Say, unsaid


@dataclass(frozen=True)
class Planted:
    """A trigger whose attack is counted, as a user names it.

    Args:
        name: A patch image, or `path/file.py:function`.
        label: The class that it is to bring about, by number or name; that of the samples to forget, where they are of one.
        found: What was read of it.
    """

    name: str
    label: str | None = None
    found: triggers.Read | None = None

    def read(self, say: Say = unsaid) -> Planted:
        """The same, read; says whose code is run."""
        found = triggers.read(self.name)
        for note in found.notes:
            say(note)
        return replace(self, found=found)

    def beside(self, split: Split) -> tuple[Split, dict[str, Any]]:
        """The split with its part `triggered`, and what a record says of the trigger.

        Raises:
            BadArgument: no class is named, and the samples to forget are of several; or there is no such class.
            BadData: what it does to images is not what a trigger does.
        """
        found = self.found or triggers.read(self.name)
        there = split.forget.classes
        if self.label is None and len(there) != 1:
            raise BadArgument(f"--trigger {found.shown} is to bring about a class, and what is to be forgotten has {len(there)}; name the one by --trigger-class")
        part = triggered(split.test, found.put, there[0] if self.label is None else self.label)
        return split.replaced(triggered=part), {"name": found.shown, "sha256": found.sha256, "class": int(part.y[0])}
