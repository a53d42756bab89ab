"""`unlearn`: copy, check, seed, time, call, guard."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from untrain.core.data import Norm, Prepare, Samples, Split, spread
from untrain.core.data.overlap import refuse_shared
from untrain.core.discover import found, name_of
from untrain.core.engine import Engine, Precision, Progress, bits, peak_memory, seeded, silent
from untrain.core.errors import BadArgument, BadData, Diverged, UntrainError
from untrain.core.host import Host, bare, home, own_copy
from untrain.core.marks import REMEMBERED, correct, marked
from untrain.core.method import Method
from untrain.core.network import Network, uncounted
from untrain.core.trace import phases
from untrain.core.train import Trace
from untrain.core.wording import said


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
    _head: str | None = field(repr=False, default=None)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """`unchanged`, `collapsed` or `remembers`, where that is so: nothing moved, retained accuracy below half of the original's, classes named as before.

        Looked at when asked for, on up to 2,000 retained samples.
        """
        # Without the wrapper of a trainer, since one rank may look alone.
        original, changed = bare(self._original), bare(self.model)
        found = marked(original, changed, self._split.retain, self._head)
        if found:
            return found
        # Of single samples a model that never saw them names most as before.
        if not self._split.classes or not self.method.forgets or not len(self._split.forget):
            return ()
        was, now = (correct(m, self._split.forget.at_most(2000), self._head) for m in (original, changed))
        return ("remembers",) if was > 0 and now >= REMEMBERED * was else ()

    @property
    def advice(self) -> str | None:
        """Which knob to move, where the run is marked."""
        return self.method.advice(self.marks[0]) if self.marks else None


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
        head: Name of the head's layer, where its output is not what the model answers with.
        device: Where to compute; where the model lies, where none is named. The result comes back to where the model lies.
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
    place = None if fabric is not None or accelerator is not None else home(model)
    host = Host.of(fabric, accelerator, device if device is not None else place, precision)
    engine, inside = host.engine, host.outside(model)
    split = prepared(inside, split, norm)
    given = given_to(method, split, recipe)
    began = time.perf_counter()
    # A caller may have turned gradients off for what surrounds this.
    with torch.inference_mode(False), torch.enable_grad():
        module = own_copy(inside)
        # What is kept in half precision is changed in fp32, as noise and small steps would vanish in it; it goes back in the end.
        narrow = {name: value.dtype for name, value in _named(module).items() if value.dtype in (torch.float16, torch.bfloat16)}
        if narrow:
            for name, value in _named(module).items():
                if name in narrow:
                    value.data = value.data.float()
        view = refuse_misfits(module, split, given, head, method)
        modes = {name: part.training for name, part in module.named_modules()}
        wanted = {name: p.requires_grad for name, p in module.named_parameters()}
        if not any(wanted.values()):
            module.requires_grad_(True)
        network = view.like(engine.place(module))
        told = {"method": repr(method), "model": bits(inside), "split": digest(split)} if store is not None else {}
        with seeded(seed, engine=engine, progress=progress, store=store, network=network, told=told) as run:
            try:
                trace = method(network, **given)
            except Diverged as error:
                raise Diverged(error.fact, error.phase, method.advice("diverged", error.phase)) from error
    put_back(module, modes, wanted)
    for name, value in _named(module).items():
        if name in narrow:
            value.data = value.data.to(narrow[name])
    was = unsound(inside, every=True)
    gone = [name for name in unsound(module, every=True) if name not in was]
    if gone:
        raise Diverged(f"{type(method).__name__} left NaN or infinity in {gone[:3]}", way=method.advice("diverged"))
    if place is not None:
        module.to(place)
    passes, trace = _over_ranks(engine, run.passes, trace)
    return Result(host.returned(module, model), trace, method, seed, time.perf_counter() - began, passes, peak_memory(engine), run.report(), inside, split, head)


def _named(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def put_back(module: nn.Module, modes: dict[str, bool], wanted: dict[str, bool]) -> None:
    """Put back modes and which weights want a gradient, by name: a method may have added layers, or taken some away."""
    for name, part in module.named_modules():
        part.training = modes.get(name, modes[""])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(wanted.get(name, parameter.requires_grad))
        parameter.data = parameter.data.contiguous()


def unsound(module: nn.Module, *, every: bool = False) -> list[str]:
    """Names of weights and running statistics that hold NaN or infinity; of `every` buffer where asked, as masks hold it on purpose."""
    buffers = {name: b for name, b in module.named_buffers() if every or name.rpartition(".")[2] in ("running_mean", "running_var")}
    named = {**dict(module.named_parameters()), **buffers}
    return [name for name, value in named.items() if value.is_floating_point() and not bool(torch.isfinite(value.detach()).all())]


def _over_ranks(engine: Engine, passes: int, trace: Trace) -> tuple[int, Trace]:
    """Passes are those of all ranks together."""
    if engine.world == 1:
        return passes, trace
    counts = torch.tensor([passes, *(p.passes for p in trace.values())], device=engine.device)
    engine.sum([counts])
    total, *each = counts.tolist()
    return total, Trace.of(*(replace(p, passes=n) for p, n in zip(trace.values(), each, strict=True)))


def prepared(model: nn.Module, split: Split, norm: Prepare | None = None) -> Split:
    """The split with the network's own normalisation (or this one) where its parts have none."""
    own = getattr(bare(model), "norm", None)
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
        way = "; it is shown samples like the others that the model was never trained on and that are not for testing: name some by --unseen" if "unseen" in unknown else ""
        raise BadArgument(f"{name} needs {unknown}, which this split does not have; it has {sorted(known)}{way}")
    if "recipe" in method.needs and recipe is None:
        way = "name a function that gives build() and train(model, samples), by --recipe FILE:FUNCTION (recipe= in Python)"
        raise BadArgument(f"{name} needs to know how the model was trained: {way}")
    empty = [n for n in method.needs if n not in ("recipe", "shape") and len(known[n]) == 0]
    if "classes" in empty:
        others = [other for other, entry in found("methods").items() if "classes" not in (needs := entry.load().needs) and {"forget", "retain"} & set(needs)]
        raise BadArgument(f"{name} forgets whole classes, and this is a list of samples; {', '.join(others)} take one")
    if empty:
        raise BadArgument(f"{name} needs {empty}, which this split leaves empty")
    if "unseen" in method.needs:
        refuse_shared(known["unseen"], called="unseen part", test=split.test)
    return {n: known[n] for n in method.needs}


def refuse_misfits(model: nn.Module, split: Split, given: dict[str, Any], head: str | None, method: Method | None = None) -> Network:
    """Refuse a model and data that do not go together, before any time is spent; the model's view, its head found.

    Raises:
        BadArgument: a class that the head lacks, or a head that cannot be told or is not the one that answers.
        BadData: the model does not fit the data, or holds NaN.
    """
    weights = dict(model.named_parameters())
    empty = next((n for n, p in weights.items() if p.is_meta or isinstance(p, nn.parameter.UninitializedParameter)), None)
    if empty is not None:
        raise BadData(f"{empty} has no values yet; give a model that is built and filled")
    if not any(p.is_floating_point() for p in weights.values()):
        raise BadData("the model holds no floating-point weights (a quantised one holds none), so there is nothing to change; give the one that it was made from")
    bad = unsound(model)
    if bad:
        raise BadData(f"the model holds NaN or infinity in {bad[:3]}; give a sound one")
    view = Network(model, head=head)
    parts = [v for v in given.values() if isinstance(v, Samples) and len(v)]
    samples = next(iter(parts or [part for part in split.parts.values() if len(part)]))
    for part in parts:
        _refuse_normalised(part)
    try:
        width = width_on(view, samples)
    except UntrainError:
        raise
    except Exception:
        if parts:
            raise
        # What no part of is named may be out of reach: then the head is the last layer, or the one that is named.
        width = view.head.width
    if parts:
        _refuse_probabilities(view, samples)
    for part in parts:
        _refuse_labels(part.y, width)
    names = split.test.names
    if names and len(names) != width:
        raise BadData(f"the model's head answers with {width} classes, the data has {len(names)}; give the model that was trained on this data")
    outside = [c for c in split.classes if not 0 <= c < width]
    if outside:
        raise BadArgument(f"no class {outside[0]} in the model's head, which answers with {width} classes")
    if method is not None:
        # What it edits may need the head, and whether there is one is known now and not after half of the work.
        method.edits(view, split.classes)
    return view


def width_on(view: Network, samples: Samples) -> int:
    """How many logits a network answers with, asked of the first two samples; finds its head.

    Raises:
        BadArgument: the head cannot be told, or is not the one that answers.
        BadData: it does not take such inputs.
    """
    x, _ = samples.batch(torch.arange(min(2, len(samples))), device=view.device)
    if isinstance(x, Tensor) and not x.is_floating_point() and (x.dtype == torch.uint8 or x.ndim > 2):
        raise BadData("pixels are whole numbers and no normalisation is known; give one (norm=Norm(mean, std), --norm imagenet), or floats")
    try:
        return view.locate(x)
    except UntrainError:
        raise
    except Exception as error:
        shape, fact = tuple(x.shape[1:]) if isinstance(x, Tensor) else sorted(x), said(error)
        raise BadData(f"the model does not take inputs of shape {shape}: {fact}; name another model or other data") from error


def refuse_unfit(view: Network, split: Split) -> None:
    """Refuse data that do not fit a model, where an audit would tell numbers of them that look like any others; its head is found.

    Raises:
        BadArgument: the head cannot be told, or is not the one that answers.
        BadData: the data are normalised already, are of other shapes or of more classes than it has, or it answers with probabilities.
    """
    # Not of every part: a trigger may leave the range of pixels.
    parts = (split.forget, split.retain, split.test)
    for part in parts:
        _refuse_normalised(part)
    samples = next(part for part in split.parts.values() if len(part))
    width = width_on(view, samples)
    _refuse_probabilities(view, samples)
    labels = torch.cat([part.y for part in parts])
    # A row that is gone is one way to forget its class.
    _refuse_labels(labels[~torch.isin(labels, torch.tensor(split.classes, dtype=torch.long))], width)


def _refuse_labels(labels: Tensor, width: int) -> None:
    """Refuse labels of classes that a head has no row for."""
    if len(labels) and (int(labels.max()) >= width or int(labels.min()) < 0):
        raise BadData(f"labels run from {int(labels.min())} to {int(labels.max())}, the model's head answers with {width} classes; give the model that was trained on this data")


def _refuse_probabilities(view: Network, samples: Samples) -> None:
    """Refuse a model whose last step makes probabilities: cross-entropy takes logits, and would train on them all the same (a look at 32 samples).

    Logarithms of probabilities pass: they are logits, and their cross-entropy is the same.
    """
    x, _ = samples.batch(spread(len(samples), min(32, len(samples))), device=view.device)
    with view.frozen(), torch.no_grad(), uncounted():
        out = view(x)
    if bool(((out >= 0) & (out <= 1)).all()) and bool(((out > 1e-4) & (out < 1 - 1e-4)).any()):
        summed = bool(torch.allclose(out.sum(1), torch.ones_like(out[:, 0]), atol=1e-3))
        # Small logits may all lie between 0 and 1: what a sigmoid leaves is told by the sigmoid.
        if summed or isinstance(list(view.module.modules())[-1], nn.Sigmoid):
            kind = "a softmax" if summed else "a sigmoid"
            raise BadData(f"the model answers with probabilities, as after {kind}, and logits are needed: cross-entropy on these would train it wrongly; give it without that step")


def _refuse_normalised(samples: Samples) -> None:
    """Refuse floats that a normalisation would be applied to a second time (a look at the first few)."""
    for number, source in enumerate(samples.sources):
        rows = samples.index[samples.which == number][:16]
        if not isinstance(source.prepare, Norm) or not len(rows):
            continue
        x = source.raw(rows)
        if isinstance(x, Tensor) and x.is_floating_point() and x.isfinite().all() and (float(x.min()) < -0.01 or float(x.max()) > 1.01):
            low, high = float(x.min()), float(x.max())
            raise BadData(f"these floats run from {low:.3g} to {high:.3g} and are no pixels from 0 to 1, which the normalisation takes; give raw pixels, or prepare= of your own")


def describe(result: Result) -> dict[str, Any]:
    """A result as the `method`, `run`, `seed` and `environment` of a record."""
    cls = type(result.method)
    preset = next((n for n, m in cls.presets.items() if m == result.method), None)
    default = result.method == cls()
    certificate = result.method.certificate(result.model)
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
            **({} if certificate is None else {"certificate": asdict(certificate)}),
        },
        "environment": environment(result.engine),
    }


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
