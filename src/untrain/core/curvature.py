"""How a loss curves, what solves for a step by that, and the influence of samples.

The Hessian of a linear head whole and factored; of any network products with its Gauss-Newton matrix, by which conjugate gradients or LiSSA solve.
Layer by layer, as Kronecker products, it stands in `kronecker`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from untrain.core.data import Inputs, Samples
from untrain.core.engine import current
from untrain.core.errors import BadArgument, Diverged
from untrain.core.gather import along_them, gather, gradients
from untrain.core.network import Network, uncounted
from untrain.core.rehearse import rehearsal
from untrain.core.trace import Phase, Trace
from untrain.core.trace import phase as timed

OfAnswers = Callable[[Tensor, Tensor], Tensor]
"""The mean loss of answers [n, C] and labels [n]."""


def gauss_newton(model: Network, loss: OfAnswers, samples: Samples, vector: Sequence[Tensor], *, phase: str, batch: int) -> tuple[list[Tensor], Phase]:
    """G v, where G is the mean of J' H J over samples: J the slopes of the answers, H the loss's Hessian in them; 7 passes a sample.

    G has no negative direction where the loss is convex in the answers. For cross-entropy it is the Fisher information, all labels weighted
    by what the model says of them; of a model that is linear in its weights it is the loss's Hessian.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels.
        samples: What it is asked of.
        vector: v, one tensor for each of `model.trainable()`.
        phase: Name for the trace.
        batch: Samples at once.
    """
    weights = model.trainable()

    def along(x: Inputs, y: Tensor) -> Tensor:
        # Fused attention has no second derivative.
        with uncounted(), sdpa_kernel(SDPBackend.MATH):
            out, way = _along(model, x, weights, vector)
            answers = out.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(loss(answers, y), answers, create_graph=True)
            (bent,) = torch.autograd.grad((slope * way).sum(), answers)
        current().passes += 7 * len(y)
        return (bent.detach() * out).sum()

    return gradients(model, along, samples, phase=phase, batch=batch)


def solve(model: Network, loss: OfAnswers, samples: Samples, vector: Sequence[Tensor], *, damping: float, steps: int, phase: str, batch: int) -> tuple[list[Tensor], Phase]:
    """(G + damping I)^-1 v by at most so many steps of conjugate gradients from 0; it ends where what is left is a millionth of v.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels.
        samples: What G is a mean over.
        vector: v, one tensor for each of `model.trainable()`.
        damping: What is added to the diagonal.
        steps: Steps at most; each goes over all samples.
        phase: Name for the trace.
        batch: Samples at once.

    Raises:
        Diverged: the loss does not curve along a step, and there is no damping.
    """
    found, done = [torch.zeros_like(v) for v in vector], Trace.of(Phase(phase))
    left, way = list(vector), list(vector)
    size = start = _product(left, left)
    for _ in range(steps):
        if size <= 1e-12 * start or size == 0:
            break
        bent, looked = gauss_newton(model, loss, samples, way, phase=phase, batch=batch)
        done = Trace.of(*done.values(), looked)
        bent = [b.to(w) + damping * w for b, w in zip(bent, way, strict=True)]
        curved = _product(way, bent)
        if not curved > 0:
            raise Diverged("along a step of conjugate gradients nothing curves", phase, "raise the damping")
        share = size / curved
        found = [f + share * w for f, w in zip(found, way, strict=True)]
        left = [r - share * b for r, b in zip(left, bent, strict=True)]
        before, size = size, _product(left, left)
        way = [r + size / before * w for r, w in zip(left, way, strict=True)]
    return found, done[phase]


def lissa(
    model: Network,
    loss: OfAnswers,
    samples: Samples,
    vector: Sequence[Tensor],
    *,
    damping: float,
    steps: int,
    scale: float,
    phase: str,
    batch: int,
    generator: torch.Generator | None = None,
) -> tuple[list[Tensor], Phase]:
    """(G + damping I)^-1 v by LiSSA (Agarwal et al., 2017, arXiv:1602.03943): u <- v + u - (G_batch + damping I) u / scale, from v on; the answer is u / scale.

    Each step looks at one batch, where conjugate gradients look at all samples; what it finds is a draw about the solution.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels.
        samples: What batches are drawn from.
        vector: v, one tensor for each of `model.trainable()`.
        damping: What is added to the diagonal.
        steps: Batches; the error shrinks by about 1 - damping / scale with each.
        scale: A number above the largest eigenvalue of any batch's G + damping I; with one below half of it, it runs away.
        phase: Name for the trace.
        batch: Samples in a batch.
        generator: What batches are drawn by; the run's own random numbers where there is none.

    Raises:
        Diverged: along u a batch curves by more than the scale, as it does where u runs away.
    """
    u, done = list(vector), Trace.of(Phase(phase))
    for _ in range(steps):
        rows = torch.randperm(len(samples), generator=generator)[:batch]
        found, looked = gauss_newton(model, loss, samples[rows], u, phase=phase, batch=batch)
        done = Trace.of(*done.values(), looked)
        bent = [b.to(w) + damping * w for b, w in zip(found, u, strict=True)]
        curved, size = _products((u, bent), (u, u))
        if not curved <= scale * size:
            if rehearsal() is not None:
                # The few samples of a rehearsal curve more than a batch does.
                continue
            raise Diverged(f"LiSSA runs away, as a batch curves by {curved / size:.3g} along it and the scale is {scale:g}", phase, f"give a scale above {curved / size:.2g}")
        u = [v + w - b / scale for v, w, b in zip(vector, u, bent, strict=True)]
    return [w / scale for w in u], done[phase]


LARGEST = 8192
"""Weights up to which a head's Hessian is held whole: half a gigabyte."""


@dataclass(frozen=True, eq=False)
class Exact:
    """H + damping I of a linear head's weight and bias, factored: called with a vector it answers with (H + damping I)^-1 v.

    Args:
        factor: Its Cholesky factor, in double precision; class by class, a class's bias after its weight.
    """

    factor: Tensor

    def __call__(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """(H + damping I)^-1 v of v, a tensor for the weight [C, ...] and, where there is one, one for the bias [C]."""
        rows = torch.cat([part.double().reshape(len(part), -1) for part in vector], 1)
        solved = torch.cholesky_solve(rows.reshape(-1, 1).to(self.factor), self.factor).reshape(rows.shape)
        widths = [part[0].numel() for part in vector]
        return [found.reshape(part.shape).to(part) for found, part in zip(torch.split(solved, widths, 1), vector, strict=True)]


def exact(model: Network, loss: OfAnswers, samples: Samples, *, damping: float, phase: str, batch: int, more: Tensor | None = None) -> tuple[Exact, Phase]:
    """The Hessian of the mean loss in the weight and bias of a linear head, whole: mean of L''(answers) (x) (features, 1)(features, 1)'.

    Args:
        model: Whose head is asked about; in evaluation mode.
        loss: Mean loss of answers and labels, one whose second derivative in the answers does not hang on the label: softmax, logistic, squares.
        samples: What it is a mean over.
        damping: What is added to the diagonal.
        phase: Name for the trace.
        batch: Samples at once.
        more: What else curves in these weights, class by class, a class's bias after its weight; it is added.

    Raises:
        BadArgument: the answers are not the head's linear function of what it reads, or the head has too many weights.
        Diverged: without damping it has no inverse.
    """
    head = model.head
    with model.frozen(), torch.no_grad(), uncounted():
        x, _ = samples.batch(torch.arange(min(64, len(samples))), device=model.device)
        refuse_bent(model, *model.features(x))
    width, bias = head.matrix.shape[1], head.layer.bias is not None
    size = head.width * (width + bias)
    if size > LARGEST:
        raise BadArgument(f"the head {head.name!r} has {size:,} weights, and its Hessian is held whole up to {LARGEST:,}; solve by cg or lissa")
    total = torch.zeros(head.width, width + bias, head.width, width + bias, dtype=torch.float64, device=model.device)

    def add(_: str, given: Tensor, __: Tensor) -> None:
        read = head.features(given)
        # Of such a loss any label will do.
        curved = bent(loss, _linear(model, read).double(), torch.zeros(len(read), dtype=torch.long, device=read.device))
        read = torch.cat([read, torch.ones_like(read[:, : int(bias)])], 1).double()
        for one in range(head.width):
            for other in range(one, head.width):
                found = (read * curved[:, one, other, None]).T @ read / len(samples)
                total[one, :, other] += found
                if one != other:
                    total[other, :, one] += found

    looked = gather(model, samples, {head.name: head.layer}, add, phase=phase, batch=batch, into={"hessian": total})
    whole = total.reshape(size, size) if more is None else total.reshape(size, size) + more
    whole.diagonal().add_(damping)
    factor, wrong = torch.linalg.cholesky_ex(whole)
    if int(wrong):
        raise Diverged("the head's Hessian has no inverse", phase, "raise the damping")
    return Exact(factor), looked


def bent(loss: OfAnswers, answers: Tensor, y: Tensor) -> Tensor:
    """The second derivative of each sample's loss in its answers [n, k, k]: C of them, or C of each side where rows of answers [n s, C] are s to a sample.

    Args:
        loss: Mean loss of answers and labels.
        answers: The answers.
        y: Labels [n].
    """
    with torch.enable_grad():
        answers = answers.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(answers, y) * len(y), answers, create_graph=True)
        flat = slope.view(len(y), -1)
        rows = [torch.autograd.grad(flat[:, k].sum(), answers, retain_graph=True)[0].view(len(y), -1) for k in range(flat.shape[1])]
    return torch.stack(rows, 1)


def refuse_bent(model: Network, read: Tensor, answers: Tensor) -> None:
    """Refuse a head that is not linear in what it reads.

    Args:
        model: The network.
        read: What its head reads [n, d].
        answers: What it answers with [n, C].

    Raises:
        BadArgument: it is not.
    """
    with torch.no_grad():
        off, size = float((_linear(model, read) - answers).abs().max()), float(answers.abs().max())
    if not off <= 1e-3 * max(size, 1e-3):
        raise BadArgument(
            f"the answers are not a linear function of what the head {model.head.name!r} reads (off by {off:.2g}, where they go up to {size:.2g}), "
            "so there is no exact Hessian of it; name a linear head that answers, or solve by cg or lissa"
        )


def influence(model: Network, loss: OfAnswers, samples: Samples, way: Sequence[Tensor], *, phase: str, batch: int) -> tuple[Tensor, Phase]:
    """The slope of each sample's loss along a way of the weights [n]; 5 passes a sample.

    Along way = -(G + damping I)^-1 grad f it is, to first order, how much f rises for each unit of weight that training gives to a sample
    (Koh and Liang, ICML 2017, arXiv:1703.04730): what is left out has lowered f by that, over the number of samples.

    Args:
        model: Whose weights are asked about; in evaluation mode.
        loss: Mean loss of answers and labels.
        samples: The samples.
        way: One tensor for each of `model.trainable()`.
        phase: Name for the trace.
        batch: Samples at once.
    """
    weights, found = model.trainable(), []
    with timed(phase) as done, sdpa_kernel(SDPBackend.MATH):
        for x, y in samples.stream(((rows, None) for rows in torch.split(torch.arange(len(samples)), batch)), model.device):
            with uncounted():
                out, moved = _along(model, x, weights, way)
            answers = out.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(loss(answers, y) * len(y), answers)
            found.append((slope * moved).sum(1).detach().cpu())
            current().passes += 5 * len(y)
    return torch.cat(found), done


def _along(model: Network, x: Inputs, weights: Sequence[nn.Parameter], vector: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Answers [n, C], and how they move where the weights go this way."""
    out = model(x)
    u = torch.zeros_like(out, requires_grad=True)
    # Sums of products, since what is asked along a way by torch's argument for it imports sympy.
    slopes = torch.autograd.grad((out * u).sum(), weights, create_graph=True, allow_unused=True, materialize_grads=True)
    (way,) = torch.autograd.grad(along_them(slopes, vector), u)
    return out, way


def _linear(model: Network, read: Tensor) -> Tensor:
    """What a linear head answers with to what it reads."""
    made = read.to(model.head.matrix) @ model.head.matrix.T
    return made if model.head.layer.bias is None else made + model.head.layer.bias


def _product(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return _products((a, b))[0]


def _products(*pairs: tuple[Sequence[Tensor], Sequence[Tensor]]) -> list[float]:
    """The product of each pair; the device is waited for once."""
    each = torch.stack([(x.double() * y.double()).sum() for a, b in pairs for x, y in zip(a, b, strict=True)]).tolist()
    wide = len(each) // len(pairs)
    return [float(sum(each[at : at + wide])) for at in range(0, len(each), wide)]
