"""Callbacks that audit inside someone else's training: of Lightning's Trainer, and of that of transformers.

They look at the user's own module and change nothing: not a weight, not a mode, not the random state. The trainer,
its module and its optimizer stay the user's. The base classes are imported when a callback is made.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core import files
from untrain.core.audit import Audit, audit
from untrain.core.data import Prepare, Split
from untrain.core.engine import Engine
from untrain.core.errors import BadArgument, MissingExtra
from untrain.core.host import bare
from untrain.core.unlearn import environment
from untrain.core.vision import import_torchvision, import_transformers
from untrain.evidence import record

SCHEMA = "untrain.looks/1"
"""Name and version of what `out` holds."""


@dataclass
class Looks:
    """What audits found at the times that a training was looked at.

    Args:
        split: The data; its parts as for `audit`.
        audits: What to ask.
        every: Look at the end of each n-th epoch too; at the end of the training alone where it is None.
        out: JSON file, renewed after each look; None writes none.
        original: The model before, for audits that compare.
        retrained: Models that never saw the forgotten data, trained as the original was.
        norm: Preparation of raw pixels, where the network has none of its own.
        head: Name of the head's layer, where it is not the last.
        device: Where to audit; where the module is, if none is named.
        seed: Seed of what the audits draw.
        pick: What to audit of the module, such as `lambda module: module.net`; the module itself where it is None.

    Raises:
        BadArgument: no audits, `every` below 1, or a file that is there already.
    """

    split: Split
    audits: Sequence[Audit]
    every: int | None = None
    out: Path | None = None
    original: nn.Module | None = None
    retrained: Sequence[nn.Module] = ()
    norm: Prepare | None = None
    head: str | None = None
    device: str | None = None
    seed: int = 0
    pick: Callable[[Any], nn.Module] | None = None
    looks: list[dict[str, Any]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if not self.audits:
            raise BadArgument("audits=[] asks nothing; name audits, such as [untrain.Accuracy()]")
        if self.every is not None and self.every < 1:
            raise BadArgument(f"every={self.every} is too small; give a number of epochs from 1 up")
        if self.out is not None:
            self.out = Path(self.out)
            if self.out.exists():
                raise BadArgument(f"out={self.out.name} exists; give another file, or remove it")

    def epoch(self, module: nn.Module, epoch: int, step: int) -> None:
        """An epoch ended: look if this one is due."""
        if self.every is not None and epoch % self.every == 0:
            self.look(module, epoch, step)

    def end(self, module: nn.Module, epoch: int, step: int) -> None:
        """The training ended: look, unless the last epoch was looked at just now."""
        last = self.looks[-1] if self.looks else {}
        # By its weights too: another training with this callback may end at the same step.
        if last.get("step") != step or last["weights_sha256"] != files.weights_hash(self._seen(module).state_dict()):
            self.look(module, epoch, step)

    def look(self, module: nn.Module, epoch: int, step: int) -> None:
        """Audit the module as it is, and keep what was found."""
        seen = self._seen(module)
        device = self.device or str(next((p.device for p in seen.parameters()), "cpu"))
        sha256 = files.weights_hash(seen.state_dict())
        # A trainer may call with gradients off; an audit that trains its copy needs them.
        with torch.enable_grad():
            found = audit(seen, self.split, self.audits, original=self.original, retrained=self.retrained, norm=self.norm, head=self.head, device=device, seed=self.seed)
        self.looks.append(record.finite({"epoch": epoch, "step": step, "weights_sha256": sha256, "audits": found}))
        engine = Engine.of(device)
        if self.out is not None and engine.rank == 0:
            counts = {name: len(part) for name, part in self.split.parts.items()}
            about = {"classes": list(self.split.classes), "counts": counts, "seed": self.seed, "environment": environment(engine.report())}
            files.write(self.out, record.dumps({"schema": SCHEMA, **about, "looks": self.looks}))

    def _seen(self, module: nn.Module) -> nn.Module:
        """What is audited of the module."""
        return bare(module) if self.pick is None else self.pick(bare(module))


def lightning_audit(split: Split, audits: Sequence[Audit], **options: Any) -> Any:
    """A callback for Lightning's Trainer that audits the module at the end of `fit`; `callback.looks` holds what it found.

    Args:
        split: The data.
        audits: What to ask.
        **options: As `Looks` takes them: `every`, `out`, `original`, `pick`, ...

    Raises:
        MissingExtra: Lightning is not installed.
        BadArgument: an option that does not fit.
    """
    with contextlib.suppress(MissingExtra):
        import_torchvision()
    try:
        base: Any = importlib.import_module("lightning.pytorch").Callback
    except ImportError as error:
        raise MissingExtra("lightning is not installed: pip install 'untrain[lightning]'") from error
    kept = _looks(split, audits, options)

    class LightningAudit(base):  # type: ignore[misc]
        """Audits, and changes nothing."""

        looks = kept.looks

        def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
            """An epoch ended."""
            kept.epoch(pl_module, int(trainer.current_epoch) + 1, int(trainer.global_step))

        def on_fit_end(self, trainer: Any, pl_module: nn.Module) -> None:
            """The training ended."""
            kept.end(pl_module, int(trainer.current_epoch), int(trainer.global_step))

    return LightningAudit()


def trainer_audit(split: Split, audits: Sequence[Audit], **options: Any) -> Any:
    """A callback for the Trainer of transformers that audits the model at the end of training; `callback.looks` holds what it found.

    Args:
        split: The data.
        audits: What to ask.
        **options: As `Looks` takes them: `every`, `out`, `original`, `pick`, ...

    Raises:
        MissingExtra: transformers is not installed.
        BadArgument: an option that does not fit.
    """
    base: Any = import_transformers().TrainerCallback
    kept = _looks(split, audits, options)

    class TrainerAudit(base):  # type: ignore[misc]
        """Audits, and changes nothing."""

        looks = kept.looks

        def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            """An epoch ended."""
            kept.epoch(given["model"], _begun(state.epoch), int(state.global_step))

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
            """The training ended."""
            kept.end(given["model"], _begun(state.epoch or 0.0), int(state.global_step))

    return TrainerAudit()


def _begun(epochs: float) -> int:
    """The epoch that so many epochs end in: one that `max_steps` cuts short is counted, as by Lightning."""
    return math.ceil(round(epochs, 6))


def _looks(split: Split, audits: Sequence[Audit], options: dict[str, Any]) -> Looks:
    try:
        return Looks(split, audits, **options)
    except TypeError as error:
        raise BadArgument(f"{str(error).removeprefix('Looks.__init__() ')}; there are {', '.join(n for n in Looks.__dataclass_fields__ if n != 'looks')}") from error
