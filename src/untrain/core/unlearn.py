"""`unlearn`: copy, check, seed, time, call, guard."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core.data import Norm, Prepare, Samples, Split
from untrain.core.discover import found, name_of
from untrain.core.engine import Precision, Progress, bits, peak_memory, seeded, silent
from untrain.core.errors import BadArgument, BadData, Diverged
from untrain.core.host import Host, bare, own_copy
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.train import Trace, predict


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Args:
        model: The changed copy, of the class that was given.
        trace: Losses, steps, passes and seconds of each phase.
        method: What ran.
        seed: Its seed.
        seconds: Wall time of the method, copying included.
        passes: Images through any network: forward 1, backward to the input 1, full backward 2.
        peak_memory: Largest resident memory of the process so far, or allocated on the GPU, in bytes.
        engine: Device, precision, threads, ranks.
    """

    model: nn.Module
    trace: Trace
    method: Method
    seed: int
    seconds: float
    passes: int
    peak_memory: int
    engine: dict[str, Any]
    _original: nn.Module = field(repr=False)
    _split: Split = field(repr=False)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """`unchanged` and `collapsed`, where that is so: nothing moved, or retained accuracy below half of the original's.

        Looked at when asked for, on up to 2,000 retained samples.
        """
        # Without the wrapper of a trainer, since one rank may look alone.
        changed = bare(self.model)
        if all(torch.equal(a, b) for a, b in zip(self._original.state_dict().values(), changed.state_dict().values(), strict=True)):
            return ("unchanged",)
        before, after = (correct(m, self._split.retain.at_most(2000)) for m in (self._original, changed))
        return ("collapsed",) if after < before / 2 else ()

    @property
    def advice(self) -> str | None:
        """Which knob to move, where the run is marked."""
        return self.method.advice(self.marks[0]) if self.marks else None


def correct(module: nn.Module, samples: Samples) -> float:
    """Share of samples that a model names rightly."""
    logits, labels, _ = predict(Network(module), samples)
    return float((logits.argmax(1) == labels).double().mean())


def unlearn(
    model: nn.Module,
    split: Split,
    method: Method,
    *,
    seed: int = 0,
    recipe: Any = None,
    norm: Prepare | None = None,
    head: str | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    progress: Progress = silent,
    store: Path | None = None,
    fabric: Any = None,
    accelerator: Any = None,
) -> Result:
    """Run a method on a copy of the model; the model that is given is left alone.

    Args:
        model: A classifier, unwrapped.
        split: What to forget, what to keep, what to test on.
        method: A method with its settings.
        seed: Same seed, same bits, on the same kind of machine.
        recipe: How the original came about, for methods that need to know: `build()` and `train(model, samples)`.
        norm: Preparation of raw pixels; the network's own `norm` where none is given.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        device: Where to compute; the CPU where none is named.
        precision: `fp32`, or `bf16` autocast.
        progress: Told of each step.
        store: Folder where finished work is kept, so that a killed run goes on.
        fabric: A Lightning Fabric to run in: its device, precision and ranks. A module that it set up comes back set up.
        accelerator: The same for an Accelerator of Accelerate.

    Raises:
        BadArgument: the method needs what the split or the call leaves out, or a class that the head lacks.
        BadData: the model does not fit the data, or holds NaN.
        Diverged: it went to NaN or infinity.
    """
    host = Host.of(fabric, accelerator, device, precision)
    engine, inside = host.engine, host.outside(model)
    split = prepared(inside, split, norm)
    given = given_to(method, split, recipe)
    began = time.perf_counter()
    module = own_copy(inside)
    refuse_misfits(module, split, given, head)
    modes = [m.training for m in module.modules()]
    wanted = [p.requires_grad for p in module.parameters()]
    if not any(wanted):
        module.requires_grad_(True)
    network = Network(engine.place(module), head=head)
    told = {"method": repr(method), "model": bits(inside), "split": digest(split)} if store is not None else {}
    with seeded(seed, engine=engine, progress=progress, store=store, network=network, told=told) as run:
        try:
            trace = method(network, **given)
        except Diverged as error:
            raise Diverged(error.fact, error.phase, method.advice("diverged", error.phase)) from error
    for part, mode in zip(module.modules(), modes, strict=True):
        part.training = mode
    for parameter, want in zip(module.parameters(), wanted, strict=True):
        parameter.requires_grad_(want)
        parameter.data = parameter.data.contiguous()
    gone = [name for name, value in module.state_dict().items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if gone:
        raise Diverged(f"{type(method).__name__} left NaN or infinity in {gone[:3]}", way=method.advice("diverged"))
    return Result(host.returned(module, model), trace, method, seed, time.perf_counter() - began, run.passes, peak_memory(engine), engine.report(), inside, split)


def prepared(model: nn.Module, split: Split, norm: Prepare | None = None) -> Split:
    """The split with the network's own normalisation (or this one) where its parts have none."""
    own = getattr(model, "norm", None)
    return split.prepared(norm or (own if isinstance(own, Norm) else None))


def digest(split: Split) -> str:
    """Hash of a split's parts, their labels and values, and the classes to forget."""
    made = hashlib.sha256(repr(split.classes).encode())
    for name, part in split.parts.items():
        made.update(name.encode() + part.rows_digest())
    return made.hexdigest()


def given_to(method: Method, split: Split, recipe: Any) -> dict[str, Any]:
    """What the method names, and nothing else."""
    known: dict[str, Any] = {**split.parts, "classes": split.classes, "recipe": recipe}
    name = type(method).__name__
    if "test" in method.needs:
        raise BadArgument(f"{name} names the test samples, which no method is handed")
    if "shape" in method.needs:
        # Of one input, as the network reads it; whose it is does not matter.
        known["shape"] = next(part for part in split.parts.values() if len(part)).shape
    unknown = [n for n in method.needs if n not in known]
    if unknown:
        raise BadArgument(f"{name} needs {unknown}, which this split does not have; it has {sorted(known)}")
    if "recipe" in method.needs and recipe is None:
        raise BadArgument(f"{name} needs to know how the model was trained: give recipe=, with build() and train(model, samples)")
    empty = [n for n in method.needs if n not in ("recipe", "shape") and len(known[n]) == 0]
    if "classes" in empty:
        others = [other for other, entry in found("methods").items() if "classes" not in (needs := entry.load().needs) and {"forget", "retain"} & set(needs)]
        raise BadArgument(f"{name} forgets whole classes, and this is a list of samples; {', '.join(others)} take one")
    if empty:
        raise BadArgument(f"{name} needs {empty}, which this split leaves empty")
    return {n: known[n] for n in method.needs}


def refuse_misfits(model: nn.Module, split: Split, given: dict[str, Any], head: str | None) -> None:
    """Refuse a model and data that do not go together, before any time is spent."""
    bad = [n for n, v in model.state_dict().items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise BadData(f"the model holds NaN or infinity in {bad[:3]}; give a sound one")
    view = Network(model, head=head)
    samples = next((v for v in given.values() if isinstance(v, Samples)), None)
    names = split.test.names
    if samples is None:
        width = view.head.width
    else:
        width = width_on(view, samples)
        labels = samples.y
        if int(labels.max()) >= width or int(labels.min()) < 0:
            raise BadData(
                f"labels run from {int(labels.min())} to {int(labels.max())}, the model's head answers with {width} classes; give the model that was trained on this data"
            )
    if names and len(names) != width:
        raise BadData(f"the model's head answers with {width} classes, the data has {len(names)}; give the model that was trained on this data")
    outside = [c for c in split.classes if not 0 <= c < width]
    if outside:
        raise BadArgument(f"no class {outside[0]} in the model's head, which answers with {width} classes")


def width_on(view: Network, samples: Samples) -> int:
    """How many logits a network answers with, asked of the first sample.

    Raises:
        BadData: it does not take such inputs.
    """
    x, _ = samples.batch(torch.tensor([0]), device=view.device)
    if isinstance(x, torch.Tensor) and not x.is_floating_point():
        raise BadData("pixels are whole numbers and no normalisation is known; give one (norm=Norm(mean, std), --norm imagenet), or floats")
    try:
        with view.frozen(), torch.no_grad():
            return view(x).shape[1]
    except (RuntimeError, TypeError, ValueError) as error:
        shape = tuple(x.shape[1:]) if isinstance(x, torch.Tensor) else sorted(x)
        raise BadData(f"the model does not take inputs of shape {shape}: {str(error).splitlines()[0]}; name another model or other data") from error


def describe(result: Result) -> dict[str, Any]:
    """A result as the `method`, `run`, `seed` and `environment` of a record."""
    cls = type(result.method)
    preset = next((n for n, m in cls.presets.items() if m == result.method), None)
    default = result.method == cls()
    return {
        "method": {
            "name": name_of(result.method),
            "preset": "default" if default else preset,
            "settings": asdict(result.method),
            "paper": cls.paper,
            "needs": list(cls.needs),
        },
        "seed": result.seed,
        "run": {
            "phases": phases(result.trace),
            "seconds": result.seconds,
            "passes": result.passes,
            "peak_memory_bytes": result.peak_memory,
            "marks": list(result.marks),
            "advice": result.advice,
        },
        "environment": environment(result.engine),
    }


def phases(trace: Trace) -> list[dict[str, Any]]:
    """The `run.phases` of a record."""
    return [
        {"name": p.name, "steps": p.steps, "passes": p.passes, "seconds": p.seconds, "losses": thinned(p.losses), "every": max(1, -(-len(p.losses) // POINTS))}
        for p in trace.values()
    ]


def environment(engine: dict[str, Any]) -> dict[str, Any]:
    """The `environment` of a record: versions, kind of machine, and what the engine reports."""
    return {
        "untrain": version("untrain"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        **engine,
    }


POINTS = 200
"""Points of a loss curve that a record keeps."""


def thinned(losses: list[float]) -> list[float]:
    """At most POINTS means of neighbouring steps.

    >>> len(thinned([0.0] * 1001)), thinned([1.0, 2.0])
    (167, [1.0, 2.0])
    """
    every = max(1, -(-len(losses) // POINTS))
    pieces = [losses[i : i + every] for i in range(0, len(losses), every)]
    return [sum(p) / len(p) for p in pieces]
