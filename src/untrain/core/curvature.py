"""How a loss curves: products with its Gauss-Newton matrix, and what solves for a step by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from untrain.core.data import Inputs, Samples
from untrain.core.engine import current
from untrain.core.gather import along_them, gradients
from untrain.core.network import Network, uncounted
from untrain.core.trace import Phase, Trace

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
            out = model(x)
            u = torch.zeros_like(out, requires_grad=True)
            # Sums of products, since what is asked along a way by torch's argument for it imports sympy.
            slopes = torch.autograd.grad((out * u).sum(), weights, create_graph=True, allow_unused=True, materialize_grads=True)
            (way,) = torch.autograd.grad(along_them(slopes, vector), u)
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
        share = size / _product(way, bent)
        found = [f + share * w for f, w in zip(found, way, strict=True)]
        left = [r - share * b for r, b in zip(left, bent, strict=True)]
        before, size = size, _product(left, left)
        way = [r + size / before * w for r, w in zip(left, way, strict=True)]
    return found, done[phase]


def _product(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return float(sum(float((x.double() * y.double()).sum()) for x, y in zip(a, b, strict=True)))
