"""The view of a model that methods and audits are handed: inputs to logits, the head, the features it reads."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from untrain.core.data import Inputs, take
from untrain.core.engine import Run, going_on
from untrain.core.errors import BadArgument, BadData
from untrain.core.head import Head as Head
from untrain.core.head import Pool, candidates, pooled
from untrain.core.host import bare, copied


class Network:
    """A thin view over a user's module that maps a batch's x to logits [n, C]. Never in its state dict.

    Forward calls are counted in passes: forward 1, backward to the input 1, full backward 2.

    Args:
        module: The model; of a DataParallel or another wrapper the module within.
        head: Name of the head's layer; found by its output (`locate`) or else taken to be the last linear layer or convolution where none is named.
            Of a network with exits the names of all their heads with commas between, `exit1,exit2,deep`; the last is the one that counts where one answer is asked for.
    """

    def __init__(self, module: nn.Module, *, head: str | None = None) -> None:
        self.module = bare(module)
        named = exits_of(head)
        self._exits = named if len(named) > 1 else ()
        self._head = named[-1] if named else None
        self._pool: Pool = "mean"
        self._answers: dict[str, tuple[int, Pool]] = {}
        self._lost = False
        self._exit: int | None = None
        run = going_on()
        if run is not None:
            run.register(self)

    def __call__(self, x: Inputs) -> Tensor:
        """Logits [n, C] of the inputs x."""
        return self._told(x, lambda output: logits(output, self._exit))

    def answers(self, x: Inputs) -> tuple[Tensor, ...]:
        """Logits [n, C] of each exit, the one that counts last; of a network without exits its only ones. One forward, however many there are."""
        if not self._exits:
            return (self(x),)
        places = [place for place, _ in self._places().values()]
        return self._told(x, lambda output: torch.stack([logits(output, place) for place in places])).unbind()

    def _told(self, x: Inputs, pick: Callable[[Any], Tensor]) -> Tensor:
        """What is picked of the module's output."""
        run = going_on()
        n = len(next(iter(x.values()))) if isinstance(x, dict) else len(x)
        x = self._ready(x)
        if run is None:
            return pick(called(self.module, x))
        with run.engine.autocast():
            out = pick(called(self.module, x))
        if _uncounted.get():
            return out
        run.passes += n
        if out.requires_grad:
            # A backward is counted where one is made, and as often: 2 where a weight wants its gradient, 1 to the input, or to what is put in its place, alone.
            backward = 2 if any(p.requires_grad for p in self.module.parameters()) else 1
            cast(Any, out).register_hook(lambda _: _count(run, n * backward))
        return out

    def _ready(self, x: Inputs) -> Inputs:
        """Inputs in the type and layout of the weights."""
        if isinstance(x, dict):
            return {name: value.to(self.dtype) if value.is_floating_point() else value for name, value in x.items()}
        if x.is_floating_point():
            x = x.to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and not _uncounted.get() else x

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    def parameters(self) -> list[nn.Parameter]:
        """The weights."""
        return list(self.module.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.module.parameters())).device

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The weights by name."""
        return dict(self.module.named_parameters())

    def trainable(self) -> list[nn.Parameter]:
        """The weights that want a gradient: those of a frozen layer are left out."""
        return [p for p in self.module.parameters() if p.requires_grad]

    def layers(self, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
        """The layers of these kinds, by name, in the order in which they were put in."""
        return {name: part for name, part in self.module.named_modules() if isinstance(part, kinds)}

    def at(self, layer: str, x: Inputs) -> Callable[[Tensor], Tensor]:
        """The network from a layer's output on: a function of that output that answers with logits.

        Args:
            layer: The layer's name.
            x: One input or more; what lies ahead of the layer runs on the first of them, and its answer is thrown away.

        Raises:
            BadArgument: no such layer.
        """
        parts = dict(self.module.named_modules())
        if layer not in parts:
            raise BadArgument(f"no layer {layer!r} in the model; there are {list(parts)[1:6]}, ...")

        def run(output: Tensor) -> Tensor:
            first = torch.zeros(len(output), dtype=torch.long)
            handle = parts[layer].register_forward_hook(lambda *_: output)
            try:
                return self(take(x, first))
            finally:
                handle.remove()

        return run

    def buffers(self) -> list[Tensor]:
        """The buffers, such as BatchNorm's running statistics."""
        return list(self.module.buffers())

    def train(self) -> None:
        """Set training mode: BatchNorm uses and updates batch statistics."""
        self.module.train()

    def eval(self) -> None:
        """Set evaluation mode: BatchNorm uses its running statistics and leaves them."""
        self.module.eval()

    def become(self, module: nn.Module) -> None:
        """Take over another network's weights and buffers, those outside of its state dict too, and which of its weights want a gradient.

        Raises:
            BadData: it has other layers.
        """
        own, theirs = dict(self.module.named_parameters()), dict(module.named_parameters())
        if own.keys() != theirs.keys() or any(own[name].shape != value.shape for name, value in theirs.items()):
            differ = sorted(name for name in own.keys() | theirs.keys() if name not in own or name not in theirs or own[name].shape != theirs[name].shape)
            raise BadData(f"the network that is built anew has other weights, such as {differ[0]}; give the recipe of this model")
        self.module.load_state_dict(module.state_dict())
        buffers = dict(module.named_buffers())
        with torch.no_grad():
            for name, value in self.module.named_buffers():
                if name in buffers and buffers[name].shape == value.shape:
                    value.copy_(buffers[name])
        for name, value in own.items():
            value.requires_grad_(theirs[name].requires_grad)

    def teacher(self) -> Network:
        """A deep copy, frozen, in evaluation mode: what it knows now, whatever becomes of this one."""
        return self._seen_by(_Teacher(copied(self.module).eval().requires_grad_(False), head=self._head))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Evaluation mode and no weight gradients, for as long as the block runs."""
        modes = [(m, m.training) for m in self.module.modules()]
        wanted = [(p, p.requires_grad) for p in self.module.parameters()]
        try:
            self.module.eval().requires_grad_(False)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, want in wanted:
                parameter.requires_grad_(want)

    @property
    def head(self) -> Head:
        """The head: the named layer, or the one that was found; the last linear layer or convolution where none was looked for.

        Raises:
            BadArgument: no such layer, or none whose output is what the model answers with.
        """
        layers = candidates(self.module)
        if self._head is not None and self._head not in layers:
            raise BadArgument(f"no linear layer or convolution {self._head!r} in the model; there are {list(layers)[-5:]}")
        if not layers:
            raise BadArgument("the model has no linear layer and no convolution that could be its head")
        if self._head is None and self._lost:
            raise BadArgument(
                f"no layer's output is what the model answers with; there are {list(layers)[-5:]}: name the head by head= (--head), or give a model whose last step is one"
            )
        return self._headed(self._head if self._head is not None else next(reversed(layers)), self._pool)

    @property
    def heads(self) -> tuple[Head, ...]:
        """The head of each exit, the one that counts last; of a network without exits its only one."""
        return tuple(self._headed(name, pool) for name, (_, pool) in self._places().items()) or (self.head,)

    def _places(self) -> dict[str, tuple[int, Pool]]:
        """Which answer is each exit's, and how it comes from its head."""
        if self._exits and not self._answers:
            raise BadArgument(f"the exits {', '.join(self._exits)} are not found yet; call locate(x) with an input or two")
        return self._answers

    def _headed(self, name: str, pool: Pool) -> Head:
        layers = candidates(self.module)
        weight = layers[name].weight
        tied = tuple(f"{n}.{k}" for n, part in self.module.named_modules() if n != name for k, p in part.named_parameters(recurse=False) if p is weight)
        return Head(name, layers[name], pool, tied)

    def locate(self, x: Inputs) -> int:
        """Find the head by its output on these inputs, and which of several answers is its; the number of classes.

        Raises:
            BadArgument: the layer that is named as the head has other classes than the answer, or there are several answers and none is named.
        """
        seen: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks, self.frozen(), torch.no_grad(), uncounted():
            for name, layer in candidates(self.module).items():
                hooks.callback(layer.register_forward_hook(lambda _, given, out, name=name: seen.__setitem__(name, out)).remove)
            answers = exits(called(self.module, self._ready(x)))
        if self._exits:
            self._answers = _matched(self._exits, seen, answers)
            self._exit, self._pool = self._answers[self._exits[-1]]
            return int(answers[self._exit].shape[1])
        named = seen.get(self._head) if self._head is not None else None
        if len(answers) > 1 and self._exit is None:
            fits = [i for i, answer in enumerate(answers) if named is not None and pooled(named, answer)]
            if not fits:
                shapes = ", ".join(str(list(a.shape)) for a in answers)
                raise BadArgument(
                    f"the model answers with {len(answers)} sets of logits ({shapes}); name the head whose answer counts by head= (--head), one of {list(seen)[-5:]}; "
                    "of exits that answer the same question all of them, with commas between"
                )
            self._exit = fits[0]
        out = logits(answers[self._exit or 0] if len(answers) > 1 else answers[0])
        width = out.shape[1]
        if self._head is not None:
            if self._head in candidates(self.module) and self.head.width != width:
                raise BadArgument(f"the layer {self._head!r} has {self.head.width} rows, and the model answers with {width} classes; name the layer that answers")
            self._pool = (pooled(named, out) if named is not None else None) or "mean"
            return width
        for name in reversed(seen):
            pool = pooled(seen[name], out)
            if pool is not None:
                self._head, self._pool = name, pool
                return width
        self._lost = True
        return width

    def like(self, module: nn.Module) -> Network:
        """The view of another module with the same layers: its head is this one's."""
        return self._seen_by(Network(module, head=self._head))

    def _seen_by(self, other: N) -> N:
        """Another view, with the head and the exits that were found for this one."""
        other._pool, other._lost, other._exit, other._exits, other._answers = self._pool, self._lost, self._exit, self._exits, self._answers
        return other

    def features(self, x: Inputs) -> tuple[Tensor, Tensor]:
        """What the head reads [n, d], mean over positions, and the logits [n, C]."""
        seen: list[Tensor] = []
        head = self.head
        handle = head.layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        try:
            out = self(x)
        finally:
            handle.remove()
        return head.features(seen[-1]), out


N = TypeVar("N", bound=Network)

_uncounted: ContextVar[bool] = ContextVar("untrain_uncounted", default=False)


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """Passes of this block are counted by who runs it, since they are not those of a plain forward and backward; nor is the layout of images changed."""
    token = _uncounted.set(True)
    try:
        yield
    finally:
        _uncounted.reset(token)


class _Teacher(Network):
    """A network that may not move for as long as the run goes on."""

    def __init__(self, module: nn.Module, *, head: str | None = None) -> None:
        run = going_on()
        if run is not None:
            self.module = module
            run.register(self, sealed=True)
        super().__init__(module, head=head)


def _count(run: Run, passes: int) -> None:
    run.passes += passes


def called(module: nn.Module, x: Inputs) -> Any:
    """A module's answer. Of a dict it gets each entry by name where its `forward` takes them so, as those of transformers and their wrappers do."""
    if isinstance(x, dict):
        known = inspect.signature(module.forward).parameters
        free = any(p.kind is p.VAR_KEYWORD for p in known.values())
        missing = [n for n, p in known.items() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and n not in x]
        if x.keys() <= known.keys() or (free and not missing):
            return module(**x)
    return module(x)


def exits_of(head: str | None) -> tuple[str, ...]:
    """The layers that `head` names, with commas between.

    >>> exits_of("exit1, deep"), exits_of("fc"), exits_of(None)
    (('exit1', 'deep'), ('fc',), ())
    """
    return tuple(name.strip() for name in head.split(",")) if head is not None else ()


def _matched(names: tuple[str, ...], seen: dict[str, Tensor], answers: list[Any]) -> dict[str, tuple[int, Pool]]:
    """By the name of its head, which of a model's answers is an exit's, and how it comes from the head's output.

    Raises:
        BadArgument: a name that is no such layer or stands there twice, a layer whose output is none of the answers, or answers of several widths.
    """
    found: dict[str, tuple[int, Pool]] = {}
    for name in names:
        if name not in seen:
            raise BadArgument(f"no linear layer or convolution {name!r} that the model's answer goes through; there are {list(seen)[-5:]}")
        fits = [(i, pool) for i, answer in enumerate(answers) if isinstance(answer, Tensor) and (pool := pooled(seen[name], answer)) is not None]
        if not fits or name in found:
            fact = f"is named twice as a head; there are {list(seen)[-5:]}" if name in found else f"gives none of the model's {len(answers)} answers"
            raise BadArgument(f"the layer {name!r} {fact}; an exit is a layer whose output the model answers with, in a tuple, a list or a dict")
        found[name] = fits[0]
    widths = {name: int(answers[place].shape[1]) for name, (place, _) in found.items()}
    if len(set(widths.values())) > 1:
        raise BadArgument(f"exits answer the same question, and these have {', '.join(f'{w} ({n})' for n, w in widths.items())} classes; name those of one width")
    return found


def exits(output: Any) -> list[Any]:
    """The answers of a model, of which each may be logits: those of a plain tuple, list or dict with several [n, C], else the answer itself."""
    parts = output.values() if isinstance(output, dict) and "logits" not in output else output
    if isinstance(output, tuple | list | dict) and not hasattr(output, "logits"):
        several = [part for part in parts if isinstance(part, Tensor) and part.ndim == 2]
        if len(several) > 1 and len({part.shape[0] for part in several}) == 1:
            return several
    return [output]


def logits(output: Any, number: int | None = None) -> Tensor:
    """The logits [n, C] in what a model answers with: a tensor, or a `logits` entry or attribute, or the first of a tuple.

    Args:
        output: What the model answers with.
        number: Which of several answers counts, where there are several.

    Raises:
        BadData: nothing of that kind in it.
    """
    found = output
    if number is not None and len(several := exits(output)) > number:
        found = several[number]
    elif isinstance(output, dict):
        found = output.get("logits")
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, tuple | list) and output:
        found = output[0]
    if not isinstance(found, Tensor) or found.ndim != 2:
        shape = tuple(found.shape) if isinstance(found, Tensor) else f"{type(output).__name__} of {list(output)[:4]}" if isinstance(output, dict) else type(output).__name__
        raise BadData(f"the model answers with {shape}, not with logits [n, C]; give a module whose answer is logits, or holds them under `logits`")
    return found if found.dtype == torch.float64 else found.float()
