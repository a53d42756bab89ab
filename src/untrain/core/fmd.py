"""FMD, fast model debiasing: Newton steps of the last layers towards data in which what is not to matter does not tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.curvature import exact, influence, solve
from untrain.core.data import Prepare, Samples, Split, spread
from untrain.core.data.pairs import Pairs
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument
from untrain.core.gather import gradients
from untrain.core.kronecker import ekfac
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.rest import Rest, beside, up_to_head
from untrain.core.trace import Phase, Trace, phase
from untrain.core.unlearn import Result, unlearn

LENGTHS = tuple(2.0**-j for j in range(7))
"""Lengths of a step that are tried on the pairs held back."""


@dataclass(frozen=True)
class FMD(Method):
    """Remove a bias by counterfactual pairs (c, c') alone, in the last layers.

        B(W) = mean |P(y | c) - P(y | c')|
        J(W) = CE of both sides + pull mean (P(y | c) - P(y | c'))^2
        W <- W - t (G + damping I)^-1 grad J(W),      G the Gauss-Newton matrix of J

    `paper` takes the paper's one step, of H^-1 (grad CE(c') - grad CE(c)), but for its length. What is ours is `fit`: the penalty, whose pull grows threefold with
    each step, so that classes are told first and alike after it; several steps, since one of a softmax that is sure of itself does not arrive; and a layer
    ahead of the head, since of what a biased body hands on no head whatever makes what was aimed at (`docs/debias.md`).

    The length t is that of 1, 1/2, ... with the least J on pairs that are held back, among those with less bias there than before and an accuracy (both
    sides) within `give` of the best so far; where there is none the next step tries, under three times the pull. The published code takes the absolute value of
    gradients, multiplies by 3000, and accepts a step by accuracy on the very pairs that it reports: not so here.

    Args:
        layers: Last layers that move, at most: linear ones and convolutions, as far back as the answer hangs on what one reads alone and no weight is shared.
        pull: Weight of the penalty at the first step; it grows threefold with each. Chosen with `layers`, `steps`, `give` on training digits (ratio .985) and rows, seeds 10 to 15.
        steps: Newton steps, at most; 1 in the paper.
        damping: What is added to the diagonal of G; 1e-3 in the published code.
        way: `fit`, or `paper`: the difference of the gradients of the two sides.
        held: Share of the pairs that is held back to choose the length by.
        give: Accuracy on them that may be lost.
        curved: Pairs that G is a mean over, at most.
        solver: `cg` goes by products; `exact` holds the matrix whole, of a linear head of up to 8,192 weights that moves alone (`layers` 1); `ekfac` by Kronecker products.
        solve_steps: Steps of `cg`, at most.
        batch: Pairs at once.
    """

    paper = "Chen et al., Fast Model Debias with Machine Unlearning, NeurIPS 2023, arXiv:2310.12560"
    forgets: ClassVar = False
    knobs: ClassVar = {"unchanged": {"give": +1, "damping": +1}, "collapsed": {"give": -1}, "diverged": {"damping": +1}}

    layers: int = 2
    pull: float = 0.05
    steps: int = 10
    damping: float = 1e-2
    way: Literal["fit", "paper"] = "fit"
    held: float = 0.25
    give: float = 0.01
    curved: int = 1000
    solver: Literal["exact", "cg", "ekfac"] = "cg"
    solve_steps: int = 10
    batch: int = 500

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """The last layers."""
        moved = list(up_to_head(model).items())[-self.layers :]
        return {f"{name}.{key}": None for name, layer in moved for key in layer.state_dict()}

    def __call__(self, model: Network, *, pairs: Samples, twins: Samples) -> Trace:
        """Read what the last layers read, and step."""
        rest, (one, other), held, read = self.reads(model, pairs, twins)
        return Trace.of(read, *self.stepped(model, rest, beside(other, one), beside(*held)).values())

    def reads(self, model: Network, *sides: Samples) -> tuple[Rest, tuple[Samples, Samples], tuple[Samples, Samples], Phase]:
        """The network from its last layers on, and what these read of pairs: those to step by, and those held back.

        Raises:
            BadArgument: too few of them, or layers that the solver cannot move.
        """
        n = len(sides[0])
        away = round(n * self.held)
        if not 0 < away < n:
            raise BadArgument(f"of {n} pairs {away} would be held back to choose the step by; give more pairs, or another held between 0 and 1")
        if self.layers < 1 or (self.solver == "exact" and self.layers > 1):
            raise BadArgument(f"layers={self.layers}: at least one moves, and with solver='exact' the head alone; give layers=1")
        model.eval()
        rest, order = Rest.of(model, self.layers, sides[0]), torch.randperm(n)
        with phase("read") as read:
            one, other = (rest.read(model, side) for side in sides)
        return rest, (one[order[away:]], other[order[away:]]), (one[order[:away]], other[order[:away]]), read

    def stepped(self, model: Network, rest: Rest, pairs: Samples, held: Samples, *, swapped: Samples | None = None, both: bool = True) -> Trace:
        """Newton steps of the last layers, and these put back into the network.

        Args:
            model: The network.
            rest: Its last layers.
            pairs: What they read of pairs [n, 2, ...].
            held: The same of pairs by which the length is chosen.
            swapped: Pairs whose second side gave way to the first; all, where none are named.
            both: Whether the cross-entropy is that of both sides, and not of the first alone.
        """
        done, few, network = Trace(), pairs[spread(len(pairs), min(len(pairs), self.curved))], rest.network
        _, bias, best = rest.told(held, self.batch)
        for number in range(1 if self.way == "paper" else self.steps):
            loss = OfPairs(self.pull * 3**number if self.way == "fit" else 0.0, both)
            asked, of = (_exchange, swapped or pairs) if self.way == "paper" else (loss, pairs)
            slope, looked = gradients(network, lambda x, y, asked=asked: asked(network(x), y), of, phase="gradient", batch=self.batch)  # type: ignore[misc]
            step, solved = self.solved(network, loss, few, slope)
            done = Trace.of(*done.values(), looked, solved)
            start, now, good = [w.detach().clone() for w in network.trainable()], float(loss(rest.told(held, self.batch)[0], held.y)), list[tuple[float, float, float, float]]()
            for t in LENGTHS:
                _walk(network, start, step, t)
                answers, less, right = rest.told(held, self.batch)
                found = (float(loss(answers, held.y)), less, right, t)
                if good and found > min(good):
                    # Shorter ones are higher again.
                    break
                if less < bias and right >= best - self.give and (found[0] < now or self.way == "paper"):
                    good.append(found)
            _walk(network, start, step, min(good)[3] if good else 0.0)
            if good:
                _, bias, right, _ = min(good)
                best = max(best, right)
                done = Trace.of(*done.values(), Phase("step", [bias], 1))
        rest.put(model)
        return done

    def solved(self, network: Network, loss: OfPairs, pairs: Samples, slope: list[Tensor]) -> tuple[list[Tensor], Phase]:
        """(G + damping I)^-1 g."""
        if self.solver == "cg":
            return solve(network, loss, pairs, slope, damping=self.damping, steps=self.solve_steps, phase="solve", batch=self.batch)
        if self.solver == "ekfac":
            blocks, looked = ekfac(network, loss, pairs, damping=self.damping, phase="curvature", batch=self.batch)
            return blocks(slope), looked
        inverse, looked = exact(
            network, lambda a, y: replace(loss, pull=0.0)(a, y[::2]) / 2, pairs, damping=self.damping, phase="hessian", batch=self.batch, more=loss.bent(network, pairs)
        )
        return inverse(slope), looked


@dataclass(frozen=True)
class Replacing(FMD):
    """The same with the training data: of those that raise the bias most the counterfactuals take the place.

        I(z) = -grad B(W)' (G + damping I)^-1 grad CE(z),      G that of CE on the training data

    I is the influence of a training sample on the bias: how much B rises with its weight. The share `harmful` with the largest are replaced by
    their counterfactuals, and Newton steps go down J with the CE of the changed training data, and the penalty over each sample and its counterfactual.

    Args:
        harmful: Share of the training samples that is replaced.
        layers: Last layers that move, at most.
        pull: Weight of the penalty at the first step; it grows threefold with each.
        steps: Newton steps, at most; 1 in the paper.
        damping: What is added to the diagonal of G; 1e-3 in the published code.
        way: `fit`, or `paper`: the difference of the gradients of what is replaced and what replaces it.
        held: Share of the pairs that is held back to choose the length by.
        give: Accuracy on them that may be lost.
        curved: Samples that G is a mean over, at most.
        solver: `cg`, `exact` or `ekfac`.
        solve_steps: Steps of `cg`, at most.
        batch: Samples at once.
    """

    harmful: float = 0.5

    def __call__(self, model: Network, *, retain: Samples, replaced: Samples, pairs: Samples, twins: Samples) -> Trace:  # type: ignore[override]
        """Read, weigh the training samples, and step."""
        if not 0 < self.harmful <= 1:
            raise BadArgument(f"harmful={self.harmful}: a share of the training samples, above 0 and up to 1")
        rest, sides, held, read = self.reads(model, pairs, twins)
        with phase("read") as more:
            training, others = rest.read(model, retain), rest.read(model, replaced)
        found, looked = self.weighed(rest.network, beside(training, others), beside(*sides))
        worst = found.argsort(descending=True, stable=True)[: max(1, round(self.harmful * len(training)))]
        stays = torch.ones(len(training), dtype=torch.bool)
        stays[worst] = False
        swapped = beside(others[worst], training[worst])
        changed = beside(training[stays], others[stays]) + swapped if bool(stays.any()) else swapped
        trace = self.stepped(model, rest, changed, beside(*held), swapped=swapped, both=False)
        return Trace.of(read, more, *looked.values(), *trace.values())

    def weighed(self, network: Network, training: Samples, pairs: Samples) -> tuple[Tensor, Trace]:
        """The influence on the bias of each training sample [n], the first side of `training`."""
        loss, few = OfPairs(0.0, both=False), training[spread(len(training), min(len(training), self.curved))]
        slope, first = gradients(network, lambda x, y: _shift(network(x).view(len(y), 2, -1), y).abs().mean(), pairs, phase="gradient", batch=self.batch)
        way, second = self.solved(network, loss, few, slope)
        found, third = influence(network, loss, training, [-w for w in way], phase="influence", batch=self.batch)
        return found[::2], Trace.of(first, second, third)


@dataclass(frozen=True)
class OfPairs:
    """CE of answers [2 n, C] to both sides of n pairs, or to the first, and the penalty on how far P(y) lies apart within a pair.

    About where the answers are the penalty is the square of a linear function of them: the same slope, and as second derivative its Gauss-Newton matrix.

    Args:
        pull: Weight of the penalty.
        both: Whether the CE is that of both sides.
    """

    pull: float
    both: bool = True

    def __call__(self, answers: Tensor, y: Tensor) -> Tensor:
        """The mean over pairs, from answers and labels [n]."""
        sides = answers.view(len(y), 2, -1)
        asked = sides if self.both else sides[:, :1]
        loss = F.cross_entropy(asked.flatten(0, 1), y.repeat_interleave(asked.shape[1]))
        if not self.pull:
            return loss
        at = sides.detach()
        off = _shift(at, y) + (_shift_slope(at, y) * (sides - at)).sum((1, 2))
        return loss + self.pull * off.square().mean()

    def bent(self, network: Network, pairs: Samples) -> Tensor:
        """The penalty's Gauss-Newton matrix in the weights of a head that reads pairs [n, 2, d] alone, as `exact` orders them."""
        x, y = pairs.batch(torch.arange(len(pairs)), device=network.device)
        assert isinstance(x, Tensor)
        with torch.no_grad():
            slope = _shift_slope(network(x).view(len(y), 2, -1), y)
        read = torch.cat([x, torch.ones_like(x[..., : int(network.head.layer.bias is not None)])], 2)
        rows = torch.einsum("nsc,nsd->ncd", slope, read).flatten(1)
        return 2 * self.pull / len(y) * rows.T @ rows


def _shift(sides: Tensor, y: Tensor) -> Tensor:
    """P(y | the first side) - P(y | the second) of each pair [n], from answers [n, 2, C]."""
    p = sides.softmax(2).gather(2, y[:, None, None].expand(-1, 2, 1))
    return p[:, 0, 0] - p[:, 1, 0]


def _shift_slope(sides: Tensor, y: Tensor) -> Tensor:
    """The slope of that in the answers [n, 2, C]."""
    p = sides.softmax(2)
    slope = p.gather(2, y[:, None, None].expand(-1, 2, 1)) * (F.one_hot(y, sides.shape[2])[:, None] - p)
    return slope * slope.new_tensor([1.0, -1.0])[:, None]


def _exchange(answers: Tensor, y: Tensor) -> Tensor:
    """CE of the first side less that of the second."""
    sides = answers.view(len(y), 2, -1)
    return F.cross_entropy(sides[:, 0], y) - F.cross_entropy(sides[:, 1], y)


@torch.no_grad()
def _walk(network: Network, start: list[Tensor], step: list[Tensor], t: float) -> None:
    """Set the weights to start - t step."""
    for weight, at, way in zip(network.trainable(), start, step, strict=True):
        weight.copy_(at - t * way)


def debias(
    model: nn.Module,
    pairs: Pairs,
    *,
    training: Pairs | None = None,
    method: FMD | None = None,
    seed: int = 0,
    norm: Prepare | None = None,
    head: str | None = None,
    device: str | torch.device | None = None,
    progress: Progress = silent,
    store: Path | None = None,
) -> Result:
    """Remove a bias from a copy of the model; the model that is given is left alone.

    Args:
        model: A classifier.
        pairs: Counterfactual pairs that it was not trained on, nor will be measured on.
        training: Training samples beside their counterfactuals, for `Replacing`.
        method: `FMD`, or `Replacing` where training pairs are given; those by default.
        seed: Same seed, same bits.
        norm: Preparation of raw pixels; the network's own `norm` where none is given.
        head: Name of the head's layer, where its output is not what the model answers with.
        device: Where to compute; where the model lies, where none is named.
        progress: Told of each step.
        store: Folder where finished work is kept, so that a killed run goes on.

    Raises:
        BadArgument: a head that is not linear, too few pairs, training pairs without a method that uses them or the other way about.
        BadData: the model does not fit the data.
        Diverged: it went to NaN or infinity.
    """
    chosen = method or (Replacing() if training is not None else FMD())
    if isinstance(chosen, Replacing) != (training is not None):
        raise BadArgument("Replacing takes training samples beside their counterfactuals (training=), and FMD takes none")
    return unlearn(model, split_of_pairs(pairs, training), chosen, seed=seed, norm=norm, head=head, device=device, progress=progress, store=store)


def split_of_pairs(pairs: Pairs, training: Pairs | None = None, **parts: Samples) -> Split:
    """The parts that debiasing is given, by name.

    Args:
        pairs: The pairs.
        training: Training samples beside their counterfactuals.
        **parts: Further parts; `test` is the first side of the pairs where none is given.
    """
    more = {} if training is None else {"replaced": training.other}
    retain = pairs.one if training is None else training.one
    return Split(pairs.one[:0], retain, parts.pop("test", pairs.one), (), pairs=pairs.one, twins=pairs.other, **more, **parts)
