"""The laws that every method keeps: a function for each, and `check_method`, which runs them all.

A law runs the method on a small case: a network trained on five digits, two of which are to be forgotten.
Where the method breaks it, `LawBroken` (an AssertionError) names the law, the method and the fact.

>>> from untrain.methods.headonly import HeadOnly
>>> check_the_repr_is_python(HeadOnly())
"""

from __future__ import annotations

import ast
import contextlib
import copy
import gc
import math
import random
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from untrain.core.data import CropFlip, Inputs, Samples, Split, mix
from untrain.core.engine import Run, seeded
from untrain.core.errors import BadArgument, Diverged
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.run import prepared, unlearn
from untrain.core.store import weights_hash
from untrain.core.train import Phase, Trace, rate
from untrain.methods.finetune import FineTune
from untrain.methods.nothing import Nothing
from untrain.methods.retrain import Retrain
from untrain.zoo import recipes
from untrain.zoo.networks import DigitsNet
from untrain.zoo.sets import digits

Law = Callable[..., None]
"""`(method, case=None)`: a law makes a case of its own where none is given."""


class LawBroken(AssertionError):
    """A method breaks a law.

    Args:
        law: The law, a function of this module.
        method: The culprit.
        fact: What it did.
    """

    def __init__(self, law: Law, method: Method, fact: str) -> None:
        super().__init__(f"{sentence(law)}: {method!r} {fact}")
        self.law, self.method, self.fact = law, method, fact


def sentence(law: Law) -> str:
    """A law in words.

    >>> sentence(check_the_weights_move)
    'the weights move'
    """
    return law.__name__.removeprefix("check_").replace("_", " ")


# The case


CLASSES = 5
GONE = (0, 2)
OTHERS = (1, 3)
SIZES = {"train": 16, "test": 6, "valid": 6, "holdout": 6, "unseen": 6, "spare": 16}
"""Images of each class, part by part."""


class Closed(RuntimeError):
    """Something was read that the method does not name."""


class Shelf(Dataset[Tensor]):
    """Images read one by one; those at closed places raise.

    Args:
        x: The images.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.closed: set[int] = set()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> Tensor:
        if place in self.closed:
            raise Closed(f"the image at place {place}")
        return self.x[place]


@dataclass
class SmallRecipe:
    """A training of a few steps.

    Args:
        epochs: Passes over the samples.
        lr: Highest learning rate.
        skipped: Random numbers drawn before the network is built, so that another recipe builds another one.
        closed: Whether it raises when used.
    """

    epochs: int = 2
    lr: float = 0.05
    skipped: int = 0
    closed: bool = False

    def build(self) -> nn.Module:
        """The network before training."""
        self._open()
        torch.rand(self.skipped)
        return DigitsNet(CLASSES)

    def train(self, model: Network, samples: Samples) -> Phase:
        """Train it on these samples."""
        self._open()
        return recipes.Recipe("digits", CLASSES, self.epochs, self.lr, batch=16).train(model, samples)

    def _open(self) -> None:
        if self.closed:
            raise Closed("the recipe")


@dataclass(eq=False)
class Case:
    """What a law runs a method on. Classes 0 and 2 of the digits 0 to 4 are to be forgotten.

    Args:
        model: A trained network.
        split: Forget, retain, test, and the further parts valid, holdout and unseen.
        recipe: A training of a few steps.
        spare: Images in no part, to exchange a part for.
    """

    model: nn.Module
    split: Split
    recipe: SmallRecipe
    spare: Samples

    @classmethod
    def fresh(cls, *, lazy: bool = False) -> Case:
        """A case that shares nothing with another; the same bits each time, read image by image where it is lazy."""
        cut = {name: _samples(x.clone(), y.clone(), lazy) for name, (x, y) in _pixels().items()}
        split = Split.by_class(cut.pop("train"), cut.pop("test"), forget=GONE, valid=cut["valid"], holdout=cut["holdout"], unseen=cut["unseen"])
        model = DigitsNet(CLASSES)
        model.load_state_dict(_trained())
        # In training mode, as training leaves it: what needs evaluation mode has to ask for it.
        return cls(model.train(), split, SmallRecipe(), cut["spare"])

    @property
    def prepared(self) -> Split:
        """The split as `unlearn` hands it out: pixels normalised as the network wants them."""
        return prepared(self.model, self.split)

    def given(self, method: Method, **exchanged: Any) -> dict[str, Any]:
        """What the method names, with some things exchanged for others."""
        known = {**self.prepared.parts, "classes": self.split.classes, "recipe": self.recipe, **exchanged}
        return {name: known[name] for name in method.needs}

    def other(self, name: str) -> Samples:
        """Other images of the same number and classes as this part's."""
        part = self.split.parts[name]
        return self.spare[torch.isin(self.spare.y, torch.tensor(part.classes))].first(len(part) // len(part.classes))

    @contextlib.contextmanager
    def spoilt(self, but: Collection[str]) -> Iterator[None]:
        """Spoil everything but what is named, in place, so that whoever kept a reference meets it; mend it afterwards."""
        parts = [part for name, part in self.split.parts.items() if name not in but]
        places = [(source, part.index[part.which == i]) for part in parts for i, source in enumerate(part.sources)]
        kept = [(source, source.y.clone(), source.x.clone() if isinstance(source.x, Tensor) else None) for source, _ in places]
        classes = self.split.classes
        try:
            for source, at in places:
                source.y[at] = (source.y[at] + 1) % CLASSES
                if isinstance(source.x, Tensor):
                    source.x[at] = 255 - source.x[at]
                elif isinstance(source.x, Shelf):
                    source.x.closed.update(at.tolist())
            self.split.classes = classes if "classes" in but else OTHERS
            self.recipe.closed = "recipe" not in but
            yield
        finally:
            self.split.classes, self.recipe.closed = classes, False
            for source, y, x in kept:
                source.y.copy_(y)
                if isinstance(source.x, Tensor) and x is not None:
                    source.x.copy_(x)
                elif isinstance(source.x, Shelf):
                    source.x.closed.clear()


def _samples(x: Tensor, y: Tensor, lazy: bool) -> Samples:
    return Samples(Shelf(x) if lazy else x, y, names=[str(i) for i in range(CLASSES)], augment=CropFlip(1, flip=False))


@cache
def _pixels() -> dict[str, tuple[Tensor, Tensor]]:
    pool = digits().train
    source, y = pool.sources[0], pool.y
    assert isinstance(source.x, Tensor)
    place = torch.stack([(y == c).cumsum(0) - 1 for c in range(CLASSES)])
    out, start = {}, 0
    for name, size in SIZES.items():
        keep = (y < CLASSES) & (place.gather(0, y.clamp(max=CLASSES - 1)[None])[0] >= start) & (place.gather(0, y.clamp(max=CLASSES - 1)[None])[0] < start + size)
        out[name] = (source.x[pool.index[keep]], y[keep])
        start += size
    return out


@cache
def _trained() -> dict[str, Tensor]:
    x, y = _pixels()["train"]
    with seeded(0) as run:
        module = DigitsNet(CLASSES)
        run.network = Network(module)
        recipes.Recipe("digits", CLASSES, epochs=10, lr=0.05, batch=16).train(run.network, _samples(x, y, lazy=False).prepared(module.norm))
    return {name: value.clone() for name, value in module.state_dict().items()}


# Running a method


def _left(law: Law, method: Method, case: Case, *, seed: int = 0, split: Split | None = None, recipe: Any = None) -> nn.Module:
    """What `unlearn` leaves."""
    try:
        return unlearn(case.model, split or case.split, method, seed=seed, recipe=recipe or case.recipe).model
    except Diverged as error:
        raise LawBroken(law, method, f"ended in {error}") from error


def _bits(law: Law, method: Method, case: Case, **how: Any) -> str:
    return weights_hash(_left(law, method, case, **how).state_dict())


def _no_watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
    """Look at nothing."""


def _watched(
    method: Method,
    case: Case,
    *,
    module: nn.Module | None = None,
    watch: Callable[[Network, str, Any, Tensor], None] = _no_watch,
    after: Callable[[Network, str, int], None] | None = None,
    **exchanged: Any,
) -> tuple[nn.Module, Trace, Run]:
    """Run a method by itself, at seed 0, and look at each batch before its step (`watch`) and at the weights behind it (`after`)."""
    network = Network(copy.deepcopy(module or case.model))

    def progress(phase: str, step: int, steps: int) -> None:
        if after is not None:
            after(network, phase, step)

    with seeded(0, network=network, progress=progress) as run:
        run.watch = lambda phase, x, y: watch(network, phase, x, y)
        trace = method(network, **case.given(method, **exchanged))
    return network.module, trace, run


def _small(method: Any) -> Any:
    """The same method with several batches to an epoch."""
    return replace(method, **{f.name: min(16, getattr(method, f.name)) for f in fields(method) if f.name.startswith("batch")})


def _unequal(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [name for name in {**a, **b} if name not in a or name not in b or a[name] != b[name]]


def _bytes(value: Tensor | None) -> bytes | None:
    return None if value is None else value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _manners(module: nn.Module) -> dict[str, Any]:
    """What a model carries beside its values: modes, gradients, hooks, which weights want a gradient."""
    out: dict[str, Any] = {}
    for name, part in module.named_modules():
        out[f"the mode of {name or 'the model'}"] = part.training
        out[f"the hooks of {name or 'the model'}"] = {k: list(v) for k, v in vars(part).items() if k.endswith("_hooks") and v}
    for name, weight in module.named_parameters():
        out[f"requires_grad of {name}"] = weight.requires_grad
        out[f"the gradient of {name}"] = _bytes(weight.grad)
        out[f"the graph of {name}"] = weight.grad_fn
        out[f"the hooks of {name}"] = [len(getattr(weight, k, None) or ()) for k in ("_backward_hooks", "_post_accumulate_grad_hooks")]
    return out


def _values(module: nn.Module) -> dict[str, Any]:
    return {name: (value.dtype, tuple(value.shape), _bytes(value)) for name, value in [*module.named_parameters(), *module.named_buffers()]}


# Laws of all methods


def check_the_given_model_is_left_alone(method: Method, case: Case | None = None) -> None:
    """Weights, buffers, modes, gradients, `requires_grad` and hooks of the model that is given stay as they were."""
    case = case or Case.fresh()
    first, *_, last = [m for m in case.model.modules() if list(m.parameters(recurse=False))]
    # A model as it may come: half of it in training mode, a layer frozen, a gradient and a hook on another.
    first.eval().requires_grad_(False)
    weight = next(last.parameters())
    weight.grad = torch.ones_like(weight)
    handle = last.register_forward_hook(lambda *_: None)
    before = _values(case.model) | _manners(case.model)
    _left(check_the_given_model_is_left_alone, method, case)
    changed = _unequal(before, _values(case.model) | _manners(case.model))
    handle.remove()
    if changed:
        raise LawBroken(check_the_given_model_is_left_alone, method, f"changed {', '.join(changed[:3])} of the model that it was given")


def check_the_weights_move(method: Method, case: Case | None = None) -> None:
    """At least one weight is another than before, unless the method is `Nothing`."""
    case = case or Case.fresh()
    left = dict(_left(check_the_weights_move, method, case).named_parameters())
    moved = [name for name, weight in case.model.named_parameters() if not torch.equal(weight, left[name])]
    if not moved and not isinstance(method, Nothing):
        raise LawBroken(check_the_weights_move, method, "moved no weight")
    if moved and isinstance(method, Nothing):
        raise LawBroken(check_the_weights_move, method, f"moved {moved[0]}")


def check_it_sees_only_what_it_names(method: Method, case: Case | None = None) -> None:
    """With all that it does not name spoilt in place (in lazy data: raising when read), it leaves the same bits."""
    law = check_it_sees_only_what_it_names
    if "test" in method.needs:
        raise LawBroken(law, method, "names the test samples")
    left = {}
    for here in [case] if case else [Case.fresh(), Case.fresh(lazy=True)]:
        clean = _bits(law, method, here)
        try:
            with here.spoilt(but=method.needs):
                left[clean] = _bits(law, method, here)
        except Closed as error:
            raise LawBroken(law, method, f"read {error}, though it names {list(method.needs)} alone") from error
        if left[clean] != clean:
            raise LawBroken(law, method, f"names {list(method.needs)} alone, but leaves other bits when the rest is spoilt")
    if len(left) > 1:
        raise LawBroken(law, method, "leaves other bits when the same data are read one by one")


def check_each_part_that_it_names_matters(method: Method, case: Case | None = None) -> None:
    """Each part that it names, exchanged for another of the same size, changes the bits; so do `classes` and `recipe`."""
    law, case = check_each_part_that_it_names_matters, case or Case.fresh()
    clean, split = _bits(law, method, case), case.split
    for name in method.needs:
        if name == "classes":
            bits = _bits(law, method, case, split=Split(**{**split.parts, "classes": OTHERS}))  # type: ignore[arg-type]
        elif name == "recipe":
            bits = _bits(law, method, case, recipe=SmallRecipe(lr=0.03, skipped=1))
        else:
            bits = _bits(law, method, case, split=split.replaced(**{name: case.other(name)}))
        if bits == clean:
            raise LawBroken(law, method, f"names {name}, but leaves the same bits when it is exchanged for another")


def check_the_same_seed_gives_the_same_bits(method: Method, case: Case | None = None) -> None:
    """Run again at the same seed, it leaves the same bits."""
    law, case = check_the_same_seed_gives_the_same_bits, case or Case.fresh()
    if _bits(law, method, case, seed=1) != _bits(law, method, case, seed=1):
        raise LawBroken(law, method, "left other bits at the same seed")


def check_another_seed_gives_other_bits(method: Method, case: Case | None = None) -> None:
    """At another seed it leaves other bits; the same ones at every seed, where it declares that it draws nothing."""
    law, case = check_another_seed_gives_other_bits, case or Case.fresh()
    bits = {_bits(law, _small(method), case, seed=seed) for seed in range(3)}
    if method.draws and len(bits) < 3:
        raise LawBroken(law, method, "left the same bits at different seeds; where it draws nothing, it says so: draws = False")
    if not method.draws and len(bits) > 1:
        raise LawBroken(law, method, "left different bits at different seeds, though it declares that it draws nothing")


def check_the_random_state_of_the_caller_is_neither_used_nor_moved(method: Method, case: Case | None = None) -> None:
    """The caller's torch, numpy and `random` may stand anywhere, and stand there still afterwards."""
    law, case = check_the_random_state_of_the_caller_is_neither_used_nor_moved, case or Case.fresh()
    own, bits = _random_states(), set()
    try:
        for start in (1, 2):
            torch.manual_seed(start)
            np.random.seed(start)
            random.seed(start)
            before = _random_states()
            bits.add(_bits(law, method, case))
            moved = _unequal(before, _random_states())
            if moved:
                raise LawBroken(law, method, f"moved the caller's random state of {', '.join(moved)}")
    finally:
        torch.set_rng_state(torch.frombuffer(bytearray(own["torch"]), dtype=torch.uint8))
        np.random.set_state(own["numpy"])
        random.setstate(own["random"])
    if len(bits) > 1:
        raise LawBroken(law, method, "left other bits when the caller's random state was another")


def _random_states() -> dict[str, Any]:
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {"torch": _bytes(torch.get_rng_state()), "numpy": (name, tuple(keys.tolist()), *rest), "random": random.getstate()}


def check_the_mode_of_the_given_model_is_nothing_to_it(method: Method, case: Case | None = None) -> None:
    """A model that comes in evaluation mode leaves with the bits of one that comes in training mode: each phase sets its own."""
    law, case = check_the_mode_of_the_given_model_is_nothing_to_it, case or Case.fresh()
    bits = set()
    for mode in (True, False):
        case.model.train(mode)
        bits.add(_bits(law, method, case))
    if len(bits) > 1:
        raise LawBroken(law, method, "leaves other bits when the model comes in evaluation mode")


MODES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "autocast": (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
}
"""Settings of the whole process that a method could leave turned: how to read each, and how to set it."""


def check_nothing_is_left_behind(method: Method, case: Case | None = None) -> None:
    """No gradient, mode, hook or optimizer stays behind; the model keeps its keys, shapes and types, the data its pixels and labels."""
    law, case = check_nothing_is_left_behind, case or Case.fresh()
    # Partly in evaluation mode, and frozen whole, as a model for inference may come.
    next(case.model.requires_grad_(False).children()).eval()
    modes, data, optimizers = {k: read() for k, (read, _) in MODES.items()}, _data(case), _optimizers()
    try:
        left = _left(law, method, case)
        turned = _unequal(modes, {k: read() for k, (read, _) in MODES.items()})
    finally:
        for name, (_, turn) in MODES.items():
            turn(modes[name])
    alive = _optimizers() - optimizers
    if alive:
        raise LawBroken(law, method, f"left {len(alive)} optimizer(s) alive")
    if turned:
        raise LawBroken(law, method, f"left torch's {turned[0]} changed")
    changed = _unequal(data, _data(case))
    if changed:
        raise LawBroken(law, method, f"changed {changed[0]}")
    odd = _unequal(_manners(case.model), _manners(left)) or _unequal(*({k: v[:2] for k, v in _values(m).items()} for m in (case.model, left)))
    if odd:
        raise LawBroken(law, method, f"left {odd[0]} other than it was")


def _data(case: Case) -> dict[str, Any]:
    out = {}
    for name, part in case.split.parts.items():
        out[f"the labels of {name}"] = _bytes(part.y)
        out[f"the pixels of {name}"] = _bytes(part.sources[0].raw(part.index))  # type: ignore[arg-type]
    return out


def _optimizers() -> set[int]:
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if issubclass(type(thing), torch.optim.Optimizer)}


def check_every_number_that_it_leaves_is_finite(method: Method, case: Case | None = None) -> None:
    """Weights, buffers and the logits of every part are neither NaN nor infinite."""
    law, case = check_every_number_that_it_leaves_is_finite, case or Case.fresh()
    left = _left(law, method, case).eval()
    for name, value in left.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise LawBroken(law, method, f"left NaN or infinity in {name}")
    with torch.no_grad():
        for name, part in case.prepared.parts.items():
            x, _ = part.batch(torch.arange(len(part)))
            if not bool(torch.isfinite(left(x)).all()):
                raise LawBroken(law, method, f"left a model that answers {name} with NaN or infinity")


def counts_steps(name: str) -> bool:
    """Whether a field counts steps or epochs, by its name.

    >>> [counts_steps(name) for name in ("epochs", "noise_steps", "lr")]
    [True, True, False]
    """
    return re.search(r"(^|_)(steps|epochs)$", name) is not None


def check_without_steps_it_changes_what_it_edits_and_nothing_else(method: Method, case: Case | None = None) -> None:
    """With every field that counts steps or epochs at 0, the bits stay, but for the entries that the method declares as edited."""
    law, case = check_without_steps_it_changes_what_it_edits_and_nothing_else, case or Case.fresh()
    still = replace(method, **{f.name: 0 for f in fields(method) if counts_steps(f.name)})
    edits = still.edits(Network(copy.deepcopy(case.model)), case.split.classes)
    left = _left(law, still, case, recipe=SmallRecipe(epochs=0)).state_dict()
    for name, value in case.model.state_dict().items():
        moved, rows = _moved_rows(value, left[name]), edits.get(name, ())
        declared = set(range(len(value.reshape(-1)) if value.ndim == 0 else len(value)) if rows is None else rows)
        if moved - declared:
            raise LawBroken(law, method, f"takes no step, but changes the rows {sorted(moved - declared)[:5]} of {name}, which it does not declare as edited")
        if declared and not moved:
            raise LawBroken(law, method, f"declares that it edits {name}, but leaves it as it was")
    unknown = edits.keys() - left.keys()
    if unknown:
        raise LawBroken(law, method, f"declares that it edits {sorted(unknown)}, which the model does not have")


def _moved_rows(a: Tensor, b: Tensor) -> set[int]:
    one, two = (t.detach().reshape(-1, 1) if t.ndim < 2 else t.detach().flatten(1) for t in (a, b))
    return set((one.contiguous().view(torch.uint8) != two.contiguous().view(torch.uint8)).any(1).nonzero().flatten().tolist())


def check_retrain_without_steps_is_the_network_as_built(method: Method, case: Case | None = None) -> None:
    """`Retrain` under a recipe that takes no step leaves exactly `recipe.build()` at that seed, and no drawn entry is the original's."""
    law, case = check_retrain_without_steps_is_the_network_as_built, case or Case.fresh()
    if not isinstance(method, Retrain):
        return
    recipe, original = SmallRecipe(epochs=0), case.model.state_dict()
    for seed in (0, 1):
        left = _left(law, method, case, seed=seed, recipe=recipe).state_dict()
        built, elsewhere = ({k: v.clone() for k, v in _built(recipe, s).items()} for s in (seed, seed + 7))
        drawn = {name: _moved_rows(value, elsewhere[name]) for name, value in built.items()}
        assert any(drawn.values()), "a network is built alike at every seed"
        for name, value in built.items():
            if not torch.equal(left[name], value):
                raise LawBroken(law, method, f"left another {name} than recipe.build() gives at seed {seed}")
            kept = drawn[name] - _moved_rows(left[name], original[name])
            if kept:
                raise LawBroken(law, method, f"kept the original's rows {sorted(kept)[:5]} of {name}")


def _built(recipe: SmallRecipe, seed: int) -> dict[str, Tensor]:
    with seeded(seed):
        return dict(recipe.build().state_dict())


def check_every_field_is_documented(method: Method, case: Case | None = None) -> None:
    """Every field has an entry under `Args:` in its class's docstring, and every entry there is a field."""
    names, told = [f.name for f in fields(method)], _documented(type(method))
    missing = [n for n in names if not told.get(n)]
    if missing:
        raise LawBroken(check_every_field_is_documented, method, f"does not say what {', '.join(missing)} is, under Args: in its docstring")
    beyond = [n for n in told if n not in names]
    if beyond:
        raise LawBroken(check_every_field_is_documented, method, f"documents {', '.join(beyond)}, which is no field of it")


def check_the_knobs_that_it_names_are_its_own(method: Method, case: Case | None = None) -> None:
    """Each knob is a number among its fields that goes up or down, for a failure that there is; where it has a rate, each failure has advice."""
    law, failures = check_the_knobs_that_it_names_are_its_own, ("unchanged", "collapsed", "diverged")
    for failure, moves in method.knobs.items():
        if failure not in failures:
            raise LawBroken(law, method, f"states knobs for {failure!r}; there are {', '.join(failures)}")
        for name, way in moves.items():
            value = getattr(method, name, None) if name in [f.name for f in fields(method)] else None
            if not isinstance(value, int | float) or isinstance(value, bool) or way not in (-1, 1):
                raise LawBroken(law, method, f"states the knob {name}={way} for {failure}, which is no number of its fields to be raised or lowered")
    for failure in failures:
        own = [f"--{f.name.replace('_', '-')} " for f in fields(method)]
        if any(f.name == "lr" or f.name.endswith("_lr") for f in fields(method)) and not any(flag in method.advice(failure) for flag in own):
            raise LawBroken(law, method, f"advises {method.advice(failure)!r} where it is {failure}, though it has a rate")


def _documented(cls: type[Any]) -> dict[str, str]:
    out: dict[str, str] = {}
    for base in cls.__mro__:
        _, _, args = (base.__dict__.get("__doc__") or "").partition("Args:\n")
        for line in args.splitlines():
            entry = re.match(r"\s{8}(\w+): (.*\S)", line)
            if entry:
                out.setdefault(entry[1], entry[2])
            elif line.strip() and not line.startswith(" " * 8):
                break
    return out


def check_every_field_is_used(method: Method, case: Case | None = None) -> None:
    """Every field, changed alone, changes the bits of the method, of its default settings, or of at least one preset."""
    law, case = check_every_field_is_used, case or Case.fresh()
    cls, bits = type(method), dict[Method, str]()
    hints = typing.get_type_hints(cls)
    settings = [s for s in dict.fromkeys([method, cls(), *cls.presets.values()]) if type(s) is cls]
    for name in [f.name for f in fields(method) if f.init]:
        tried = [(s, value) for s in settings for value in _others(hints[name], getattr(s, name))]
        if not tried:
            raise LawBroken(law, method, f"has a field {name} of type {hints[name]}, of which no other value is known; number, bool, Literal or a tuple of them")
        if not any(_matters(law, s, {name: value}, case, bits) for s, value in tried):
            raise LawBroken(law, method, f"never uses {name}: changed alone, it changes no bit of {len(settings)} setting(s)")


def _matters(law: Law, method: Method, change: dict[str, Any], case: Case, bits: dict[Method, str]) -> bool:
    try:
        changed = replace(method, **change)
    except BadArgument:
        return False
    if method not in bits:
        bits[method] = _bits(law, method, case)
    try:
        return weights_hash(unlearn(case.model, case.split, changed, recipe=case.recipe).model.state_dict()) != bits[method]
    except Diverged:
        return False


def _others(hint: Any, value: Any) -> list[Any]:
    """Other values of a field."""
    options = list(typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return [v for v in options if v != value]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return [v for option in options for v in ([None] if option is type(None) else _others(option, 1 if value is None else value)) if v != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [v for v in dict.fromkeys([8, 2, 25, value + 1, value // 2, 0]) if v != value]
    if isinstance(value, float):
        return [v for v in dict.fromkeys([value / 2, value * 1.5, 0.1, 0.0]) if v != value]
    if isinstance(value, tuple) and value:
        return [value[:-1], *((v, *value[1:]) for v in _others(type(value[0]), value[0]))]
    return []


def check_the_repr_is_python(method: Method, case: Case | None = None) -> None:
    """The repr is a call of the class with literals, and gives an equal method."""
    law, cls = check_the_repr_is_python, type(method)
    try:
        call = ast.parse(repr(method), mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, ast.Name)
        assert call.func.id == cls.__name__
        again = cls(*map(ast.literal_eval, call.args), **{k.arg or "": ast.literal_eval(k.value) for k in call.keywords})
    except (SyntaxError, ValueError, TypeError, AssertionError) as error:
        raise LawBroken(law, method, f"has a repr that is no call of {cls.__name__} with literals ({error})") from error
    if again != method or type(again) is not cls:
        raise LawBroken(law, method, f"has a repr that makes {again!r}")


def check_a_small_first_step_moves_the_loss_as_declared(method: Method, case: Case | None = None) -> None:
    """In each phase, a small step where the first one goes moves the cross-entropy of its batch the way that `moves` says."""
    law, case = check_a_small_first_step_moves_the_loss_as_declared, case or Case.fresh()
    begun: dict[str, tuple[nn.Module, Inputs, Tensor]] = {}
    stepped: dict[str, nn.Module] = {}

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase not in begun:
            # An aimed image's label says what it is moved towards, not what it should be called.
            own = ~torch.isin(y, torch.tensor(GONE)) if phase == "repair" and getattr(method, "aimed", 0.0) > 0 else torch.ones(len(y), dtype=torch.bool)
            begun[phase] = (copy.deepcopy(network.module), copy.deepcopy(x)[own], y[own].clone())

    def after(network: Network, phase: str, step: int) -> None:
        if step == 1 and phase not in stepped:
            stepped[phase] = copy.deepcopy(network.module)

    _watched(method, case, watch=watch, after=after)
    found = {phase: _direction(*begun[phase], module) for phase, module in stepped.items()}
    for phase, way in method.moves.items():
        if getattr(method, f"{phase}_epochs", 1) == 0:
            continue
        if phase not in found:
            raise LawBroken(law, method, f"declares how {phase} moves the loss, but took no step of that name")
        if way and found[phase] != way:
            raise LawBroken(law, method, f"declares {phase}={way:+d}, but its first step goes {found[phase]:+d}")
    silent = [phase for phase, way in found.items() if way and phase not in method.moves]
    if silent:
        raise LawBroken(law, method, f"moves weights in {silent[0]}, and does not declare which way the loss goes")


def _direction(before: nn.Module, x: Inputs, y: Tensor, after: nn.Module) -> int:
    """Which way cross-entropy goes on the way from `before` to `after`: -1, +1, or 0 where no weight moved."""
    start = [p.detach().double() for p in before.parameters()]
    step = [p.detach().double() - s for p, s in zip(after.parameters(), start, strict=True)]
    length, size = (float(torch.cat([t.reshape(-1) for t in ts]).norm()) for ts in (step, start))
    if length == 0:
        return 0

    def loss(share: float) -> float:
        module = copy.deepcopy(before).double()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for p, s, d in zip(module.parameters(), start, step, strict=True):
                p.copy_(s + share * d)
            return float(F.cross_entropy(Network(module)(x), y))

    return 1 if loss(min(1.0, 1e-3 * size / length)) > loss(0.0) else -1


def check_the_order_of_classes_is_nothing_to_it(method: Method, case: Case | None = None) -> None:
    """Classes handed to the method itself as (2, 0) and as (0, 2) leave the same bits."""
    law, case = check_the_order_of_classes_is_nothing_to_it, case or Case.fresh()
    if "classes" not in method.needs:
        return
    one, two = (weights_hash(_watched(method, case, classes=classes)[0].state_dict()) for classes in (GONE, GONE[::-1]))
    if one != two:
        raise LawBroken(law, method, f"leaves other bits for the classes {GONE[::-1]} than for {GONE}")


# Laws of UNSIR: of every method that learns noise


@dataclass
class Noise:
    """Noise as a method learns it, and the samples it stands beside.

    Args:
        x: Noise images.
        y: Their labels.
        kept: The retained samples that the method uses.
        phases: What learning them did.
    """

    x: Tensor
    y: Tensor
    kept: Samples
    phases: list[Phase] = field(default_factory=list)


def _learns(method: Any) -> bool:
    """Whether it is an UNSIR whose noise is learned to maximize the error, as the paper's; its controls' is not."""
    return hasattr(method, "learn_noise") and method.noise > 0 and method.noise_steps > 0 and method.kind == "maximizing"


def _noise(method: Any, case: Case, **change: Any) -> Noise:
    """What the method learns at seed 0, with some fields changed."""
    method = replace(method, **change)
    network, kept = Network(copy.deepcopy(case.model)), case.prepared.retain.at_most(method.samples)
    with seeded(0, network=network):
        made, phases = method.learn_noise(network, kept, GONE)
    x, y = made.batch(torch.arange(len(made)))
    return Noise(x, y, kept, phases)


def _error(case: Case, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each image, in evaluation mode, the original model answering."""
    return F.cross_entropy(copy.deepcopy(case.model).eval()(x), y, reduction="none")


def check_learned_noise_is_what_the_model_errs_on(method: Any, case: Case | None = None) -> None:
    """Learned noise has a higher cross-entropy than the noise it began as and than the forgotten images, and a lower objective than at first."""
    law, case = check_learned_noise_is_what_the_model_errs_on, case or Case.fresh()
    if not _learns(method):
        return
    began, learned = _noise(method, case, noise_steps=0), _noise(method, case)
    images, labels = cast(tuple[Tensor, Tensor], case.prepared.forget.batch(torch.arange(len(case.split.forget))))
    scale = method.penalty * min(1.0, 3072 / began.x[0].numel())
    with torch.no_grad():
        for label in GONE:
            first, last, seen = (float(_error(case, x, y)[y == label].mean()) for x, y in ((began.x, began.y), (learned.x, learned.y), (images, labels)))
            if not last > max(first, seen):
                raise LawBroken(law, method, f"learned noise {label} with a cross-entropy of {last:.3f}; it began at {first:.3f}, and the forgotten images have {seen:.3f}")
        start, end = (float(scale * n.x.square().flatten(1).sum(1).mean() - _error(case, n.x, n.y).mean()) for n in (began, learned))
    told = [value for phase in learned.phases for value in phase.losses]
    if not (end < start and told and told[-1] < told[0]):
        raise LawBroken(law, method, f"began learning noise at an objective of {start:.3f} and ended at {end:.3f}")


def check_a_control_of_the_noise_is_what_it_says(method: Any, case: Case | None = None) -> None:
    """Noise of the kind `minimizing` has a lower cross-entropy than it began with, and noise of the kind `black` is zero."""
    law, case = check_a_control_of_the_noise_is_what_it_says, case or Case.fresh()
    if not hasattr(method, "learn_noise") or method.noise == 0 or method.kind == "maximizing":
        return
    made = _noise(method, case)
    if method.kind == "black" and bool(made.x.any()):
        raise LawBroken(law, method, f"is black, but its noise reaches {float(made.x.abs().max()):.3f}")
    if method.kind == "minimizing":
        began = _noise(method, case, noise_steps=0)
        with torch.no_grad():
            first, last = (float(_error(case, n.x, n.y).mean()) for n in (began, made))
        if not last < first:
            raise LawBroken(law, method, f"learned class-like noise with a cross-entropy of {last:.3f}; it began at {first:.3f}")


def check_noise_carries_the_class_that_it_was_learned_for(method: Any, case: Case | None = None) -> None:
    """The first step of learning goes where the objective falls for the label that each image carries, and impairing meets it under that label."""
    law, case = check_noise_carries_the_class_that_it_was_learned_for, case or Case.fresh()
    if not _learns(method):
        return
    began, step = (_noise(method, case, copies=1, noise_steps=n) for n in (0, 1))
    if not torch.equal(began.y, step.y):
        raise LawBroken(law, method, "labels noise by how long it is learned")
    x = began.x.clone().requires_grad_()
    scale = method.penalty * min(1.0, 3072 / x[0].numel())
    objective = scale * x.square().flatten(1).sum(1) - _error(case, x, began.y)
    (slope,) = torch.autograd.grad(objective.sum(), x)
    agree = ((step.x - began.x).sign() == -slope.sign()).double().flatten(1).mean(1)
    for label in GONE:
        share = float(agree[began.y == label].mean())
        if not share >= 0.98:
            raise LawBroken(law, method, f"labels noise {label} that is not learned for {label}: of its pixels {share:.0%} go where the objective for {label} falls")
    learned = _noise(method, case)
    met = _met_in_impair(law, method, case)
    if met != Counter({(_key(x), int(y)): n * method.impair_epochs for (x, y), n in _tally(learned).items()}):
        raise LawBroken(law, method, "impairs on other noise, or under other labels, than it learned")


def check_the_count_of_noise_is_right(method: Any, case: Case | None = None) -> None:
    """Beside each retained sample stands `noise` noise images in all, shared evenly, the remainder to the lowest classes; none more than `copies` times."""
    law, case = check_the_count_of_noise_is_right, case or Case.fresh()
    if not hasattr(method, "learn_noise"):
        return
    # 8.7 images: rounded, not cut, and an odd number for two classes, so that there is a remainder.
    for asked in [method, replace(method, samples=24), replace(method, noise=8.7 / 48), replace(method, noise=8.7 / 48, copies=2)]:
        met, kept = _met_in_impair(law, asked, case), case.split.retain.at_most(asked.samples)
        total = round(asked.noise * len(kept))
        due = {label: total // len(GONE) + (i < total % len(GONE)) if asked.impair_epochs else 0 for i, label in enumerate(GONE)}
        seen = Counter[int]()
        for (_, label), n in met.items():
            seen[label] += n
        if {k: n / max(1, asked.impair_epochs) for k, n in seen.items() if n} != {k: n for k, n in due.items() if n}:
            raise LawBroken(law, asked, f"impairs with {dict(seen)} noise images in {asked.impair_epochs} epoch(s), where {due} are due in each")
        often = max(met.values(), default=0) / max(1, asked.impair_epochs)
        if often > asked.copies and asked.kind != "black":
            raise LawBroken(law, asked, f"shows a noise image {often:.0f} times in an epoch")


def _key(x: Tensor) -> bytes:
    return _bytes(x) or b""


def _tally(noise: Noise) -> Counter[tuple[Any, Any]]:
    met: dict[tuple[bytes, int], tuple[Tensor, Tensor]] = {(_key(x), int(y)): (x, y) for x, y in zip(noise.x, noise.y, strict=True)}
    counts = Counter((_key(x), int(y)) for x, y in zip(noise.x, noise.y, strict=True))
    return Counter({met[k]: n for k, n in counts.items()})


def _met_in_impair(law: Law, method: Any, case: Case) -> Counter[tuple[bytes, int]]:
    """How often each noise image was met in the impair step, under which label; the rest must be each retained sample, once an epoch."""
    kept = case.prepared.retain.at_most(method.samples)
    known = Counter((_key(x), int(y)) for x, y in zip(*kept.batch(torch.arange(len(kept))), strict=True))
    met = Counter[tuple[bytes, int]]()

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "impair":
            met.update((_key(image), int(label)) for image, label in zip(x, y, strict=True))

    _watched(method, case, watch=watch)
    for image, n in known.items():
        if met.pop(image, 0) != n * method.impair_epochs:
            raise LawBroken(law, method, "does not impair on each of its retained samples once in each epoch")
    return met


def check_the_noise_step_leaves_the_model_alone(method: Any, case: Case | None = None) -> None:
    """When impairing begins, no buffer and no weight has moved, and no gradient was left."""
    law, case = check_the_noise_step_leaves_the_model_alone, case or Case.fresh()
    if not _learns(method):
        return
    moved: list[list[str]] = []
    before = _values(case.model)

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "impair" and not moved:
            gradients = [f"the gradient of {name}" for name, p in network.named_parameters().items() if p.grad is not None]
            moved.append(_unequal(before, _values(network.module)) + gradients)

    _watched(method, case, watch=watch)
    if not moved:
        raise LawBroken(law, method, "never impairs")
    if moved[0]:
        raise LawBroken(law, method, f"moved {', '.join(moved[0][:3])} while it learned noise")


def check_without_noise_it_is_two_finetunes(method: Any, case: Case | None = None) -> None:
    """With no noise image, repair by labels at a constant rate without augmentation, and the old row: two `FineTune`s by Adam in one run, bit for bit."""
    law, case = check_without_noise_it_is_two_finetunes, case or Case.fresh()
    if not hasattr(method, "learn_noise"):
        return
    plainest = replace(method, noise=0.0, repair="labels", schedule="constant", augment=False, new_row=False)
    # Besides the law's own case: several batches of some of the samples, and the method's own schedule and augmentation.
    settings: list[Any] = [plainest, replace(_small(plainest), samples=24), replace(plainest, schedule=method.schedule, augment=method.augment)]
    for plain in settings:
        network, retain = Network(copy.deepcopy(case.model)), case.prepared.retain
        common: dict[str, Any] = {"samples": plain.samples, "batch": plain.batch, "optimizer": "adam", "weight_decay": 0.0}
        with seeded(0, network=network):
            FineTune(lr=plain.impair_lr, epochs=plain.impair_epochs, schedule="constant", augment=False, **common)(network, retain=retain)
            FineTune(lr=plain.repair_lr, epochs=plain.repair_epochs, schedule=plain.schedule, augment=plain.augment, **common)(network, retain=retain)
        left = _watched(plain, case)[0]
        other = _unequal(_values(network.module), _values(left))
        if other:
            raise LawBroken(law, plain, f"is not the two fine-tunings that it should be: {len(other)} tensors differ, {other[0]} first")


def check_the_distilled_repair_is_the_naive_loop(method: Any, case: Case | None = None) -> None:
    """From where repair begins, a plain loop whose teacher was copied before the run comes to the same weights, to 1e-5 of each tensor's norm."""
    law, case = check_the_distilled_repair_is_the_naive_loop, case or Case.fresh()
    if not hasattr(method, "learn_noise") or method.repair != "distill":
        return
    # fp64: a bias before BatchNorm has no gradient but rounding, which Adam would blow up to full steps in fp32.
    module, method = copy.deepcopy(case.model).double(), _small(method)
    teacher, begun = copy.deepcopy(module).eval(), list[nn.Module]()

    def watch(network: Network, phase: str, x: Any, y: Tensor) -> None:
        if phase == "repair" and not begun:
            begun.append(copy.deepcopy(network.module))

    left, _, run = _watched(method, case, module=module, watch=watch)
    if not begun:
        raise LawBroken(law, method, "takes no step of repair")
    student, stay = begun[0].train(), [c for c in range(CLASSES) if c not in GONE]
    kept, t = case.prepared.retain.at_most(method.samples), method.temperature
    aimed = round(method.aimed * len(kept))
    towards = [sorted(GONE)[i % len(GONE)] for i in range(aimed)]
    both = kept + kept[torch.arange(aimed)].labelled(torch.tensor(towards)) if aimed else kept
    batches = both.batches(method.batch, epochs=method.repair_epochs, augment=method.augment)
    adam = torch.optim.Adam(student.parameters(), lr=method.repair_lr)
    for step, (x, y, _) in enumerate(batches.run(mix(0, run.calls))):
        assert isinstance(x, Tensor)
        assert y is not None
        share = 0.5 * (1 + math.cos(math.pi * step / len(batches))) if method.schedule == "cosine" else rate(method.schedule, step, len(batches))
        adam.param_groups[0]["lr"] = method.repair_lr * share
        x = x.double()
        with torch.no_grad():
            p = torch.softmax(teacher(x)[:, stay] / t, 1)
        for i, label in enumerate(y.tolist() if aimed else ()):
            if label in GONE:
                row = x[i : i + 1].clone().requires_grad_()
                (slope,) = torch.autograd.grad(torch.logsumexp(teacher(row), 1).sum() - teacher(row)[0, label], row)
                x[i] = x[i] - method.aim * slope[0].sign()
        log_q = torch.log_softmax(student(x) / t, 1)[:, stay]
        loss = t**2 * (p * (p.log() - log_q)).sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    for name, value in student.state_dict().items():
        apart = float((left.state_dict()[name].double() - value.double()).norm())
        if apart > 1e-5 * float(value.double().norm()):
            raise LawBroken(law, method, f"repairs {name} to {apart:.1e} off what a plain loop makes of it, at a norm of {float(value.double().norm()):.1e}")


# All of them


LAWS: tuple[Law, ...] = (
    check_every_field_is_documented,
    check_the_knobs_that_it_names_are_its_own,
    check_the_repr_is_python,
    check_the_given_model_is_left_alone,
    check_the_weights_move,
    check_it_sees_only_what_it_names,
    check_each_part_that_it_names_matters,
    check_the_same_seed_gives_the_same_bits,
    check_another_seed_gives_other_bits,
    check_the_random_state_of_the_caller_is_neither_used_nor_moved,
    check_the_mode_of_the_given_model_is_nothing_to_it,
    check_nothing_is_left_behind,
    check_every_number_that_it_leaves_is_finite,
    check_without_steps_it_changes_what_it_edits_and_nothing_else,
    check_retrain_without_steps_is_the_network_as_built,
    check_a_small_first_step_moves_the_loss_as_declared,
    check_the_order_of_classes_is_nothing_to_it,
    check_learned_noise_is_what_the_model_errs_on,
    check_a_control_of_the_noise_is_what_it_says,
    check_noise_carries_the_class_that_it_was_learned_for,
    check_the_count_of_noise_is_right,
    check_the_noise_step_leaves_the_model_alone,
    check_without_noise_it_is_two_finetunes,
    check_the_distilled_repair_is_the_naive_loop,
    check_every_field_is_used,
)
"""All laws, the quick ones first. One that does not concern a method lets it pass."""


def check_method(method: Method) -> None:
    """Run every law on a method, wherever it lives.

    Raises:
        LawBroken: the first law that it breaks.
    """
    for law in LAWS:
        law(method)
