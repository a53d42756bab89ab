"""A data set: its parts, and a hash of what they were read from."""

from __future__ import annotations

from dataclasses import dataclass

from untrain.core.data.samples import Samples


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its name, training and test samples, and a hash of its files.

    Args:
        name: Its name, or the name of its folder or file.
        train: Training samples.
        test: Test samples.
        sha256: Hash of the bytes it was read from, with names and labels.
        holdout: Samples of the same kind that no model was trained on, where there are any.
        whole: What train and test were cut from, where the data had no test part of its own.
        notes: How it was read, a sentence each: what was set aside, resized, left out.
        unseen: The same as holdout, for a method that is shown some.
        canaries: Samples under wrong labels, of which those that a coin chose stand in `train`, where canaries were drawn.
    """

    name: str
    train: Samples
    test: Samples
    sha256: str
    holdout: Samples | None = None
    whole: Samples | None = None
    notes: tuple[str, ...] = ()
    unseen: Samples | None = None
    canaries: Samples | None = None

    @property
    def beside(self) -> dict[str, Samples]:
        """The further parts, by the names that a split has for them."""
        return {name: part for name in ("holdout", "unseen", "canaries") if (part := getattr(self, name)) is not None}

    @property
    def classes(self) -> int:
        """Number of classes: of their names, or up to the highest label."""
        return len(self.train.names) or 1 + max(int(part.y.max()) for part in (self.train, self.test))
