"""Certified removal: a Newton step of a linear model that was trained with noise, and a bound on all that the forgotten leave in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from untrain.core.data import Samples
from untrain.core.engine import current
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Phase, Trace, phase

BENDS = {"logistic": 1 / (6 * math.sqrt(3)), "squares": 0.0}
"""The largest third derivative of a sample's loss in the answer: how fast the second one changes."""

AT_ONCE = 2000
"""Samples that are read at once."""


class Perturbed(nn.Module):
    """A linear model of flattened inputs, a logit a class, with what its certificate hangs on.

    Args:
        width: Numbers of an input.
        classes: Classes.
    """

    noise: Tensor
    spent: Tensor
    terms: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes, dtype=torch.float64)
        # The noise is as secret as the data: who knows it sees through it.
        self.register_buffer("noise", torch.zeros(classes, width + 1, dtype=torch.float64))
        self.register_buffer("spent", torch.zeros((), dtype=torch.float64))
        self.register_buffer("terms", torch.zeros(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [n, C]."""
        answers: Tensor = self.linear(x.flatten(1).to(self.linear.weight))
        return answers


@dataclass(frozen=True)
class Certificate:
    """(epsilon, delta): for every set of models M,  P(removed in M) <= e^epsilon P(trained without in M) + delta, and the other way about.

    Args:
        epsilon: The factor's logarithm.
        delta: What is beyond it.
        spent: Bound on the length of what the gradient is off 0 by, summed over all removals since the last training.
        budget: How much of that the noise hides.
    """

    epsilon: float
    delta: float
    spent: float
    budget: float


@dataclass(frozen=True)
class CertifiedRemoval(Method):
    """Remove samples from a linear model that was trained with noise, so that what is left of them is hidden by the noise.

        L(w; D) = sum_D l(w'x, y) + lam n/2 |w|^2 + b'w,   b ~ N(0, sigma^2)           prepare: w = argmin L
        w <- w + H^-1 Delta,   Delta = lam m w + sum_removed grad l,   H = the Hessian of L(w; D_r)
        spent <- spent + g/2 |X| |(X v)^2|,   v = H^-1 Delta                         at least |grad L(w; D_r)|; X the retained, row by row
        certificate: spent <= sigma epsilon / sqrt(2 log(1.5 / delta)); where it is not, train anew on D_r with new noise, and nothing is spent

    n and m are the samples in all and those removed; one class against the others for each class, whose lengths are joined; x has a 1 for the bias. l is the
    logistic loss, or half the square, for which the step is exact and costs nothing. g bounds the third derivative of l: 1 / (6 sqrt 3) of the logistic. The paper's
    bound is g |X| |v| |X v| with g = 1/4 and |x| <= 1; ours goes the same way, integrates along the step, and asks nothing of |x|. What the solver leaves is spent too.

    The certificate holds for what is convex, has the penalty, and was trained with the noise: the linear model that `untrain.prepare(CertifiedRemoval(), train)` makes.
    Any other is refused. A deep network has no such bound, and its head's would leave out what the layers before it learned of the forgotten: take what a network that
    never saw them makes of the samples, and hand that in as the data. It says that nobody can tell the model from one trained without, not that this one names the
    forgotten no more; and it holds where requests do not hang on the model. Other samples than those it was trained on are refused, by the gradient that they leave.
    All samples are held at once, in double precision.

    Args:
        lam: L2 penalty for each sample; 1e-4 to 1e-2 in the paper, whose inputs have length 1. It goes with the square of that: ours was chosen for the digits, of length 7.
        sigma: Size of the noise; 1 to 10 in the paper. It goes with the length. More hides more removals, and costs accuracy.
        epsilon: Of the certificate; 1 in the paper, and here no more, as the theorem's Gaussian form is for up to 1.
        delta: Of the certificate; 1e-4 in the paper.
        loss: logistic, or squares.
    """

    paper = "Guo et al., Certified Data Removal from Machine Learning Models, ICML 2020, arXiv:1911.03030"
    small: ClassVar = {"lam": 10.0, "sigma": 20.0, "epsilon": 0.5}
    knobs: ClassVar = {"unchanged": {"lam": -1}, "remembers": {"lam": -1}, "collapsed": {"sigma": -1, "lam": -1}}

    lam: float = 0.1
    sigma: float = 10.0
    epsilon: float = 1.0
    delta: float = 1e-4
    loss: Literal["logistic", "squares"] = "logistic"

    def __post_init__(self) -> None:
        """Refuse what no certificate can be given for.

        Raises:
            BadArgument: an epsilon above 1, a delta that is no probability, or no penalty.
        """
        super().__post_init__()
        if not (0 < self.epsilon <= 1 and 0 < self.delta < 1 and self.lam > 0):
            raise BadArgument(f"{self!r}: a certificate has an epsilon above 0 and up to 1, a delta between 0 and 1, and a penalty lam above 0")

    @property
    def budget(self) -> float:
        """The longest gradient that the noise hides."""
        return self.sigma * self.epsilon / math.sqrt(2 * math.log(1.5 / self.delta))

    @property
    def terms(self) -> list[float]:
        """What of these settings the original was trained with: lam, sigma, and which loss."""
        return [self.lam, self.sigma, float(list(BENDS).index(self.loss))]

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """All of it, by one step."""
        return dict.fromkeys(model.module.state_dict())

    def certificate(self, model: nn.Module) -> Certificate:
        """What is certified of a model that it prepared, after all removals so far.

        Raises:
            BadArgument: a model that it did not prepare, or other settings than it was prepared by.
        """
        spent = float(self.own(model).spent)
        if spent > self.budget:
            raise BadArgument(f"{spent:.3g} is spent, and {self!r} hides {self.budget:.3g}: no certificate; a removal by these settings trains anew")
        return Certificate(self.epsilon, self.delta, spent, self.budget)

    def own(self, model: nn.Module) -> Perturbed:
        """The model, where it is one that these settings prepared.

        Raises:
            BadArgument: it is not.
        """
        if type(model) is not Perturbed:
            raise BadArgument(
                f"CertifiedRemoval has no bound for {type(model).__name__}: there is one for a linear model, convex, with the penalty, and trained with the noise; "
                "untrain.prepare(CertifiedRemoval(), train) trains one, on features of a network that never saw the forgotten, if need be"
            )
        lam, sigma, loss = model.terms.tolist()
        if [lam, sigma, loss] != self.terms:
            raise BadArgument(f"{self!r} is to remove from what was prepared with lam={lam:g}, sigma={sigma:g} and loss={list(BENDS)[int(loss)]!r}; give these")
        return model

    def prepare(self, *, train: Samples) -> tuple[Perturbed, Trace]:  # type: ignore[override]
        """Train the linear model, with noise."""
        device = current().engine.device
        X, Y = _rows(train, max(train.classes) + 1 if not train.names else len(train.names), device)
        model = Perturbed(X.shape[1] - 1, Y.shape[1]).to(device)
        model.terms.copy_(torch.tensor(self.terms, dtype=torch.float64))
        return model, Trace.of(self.fitted(model, X, Y))

    def shell(self, build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> Perturbed:
        """A linear model as wide as the noise."""
        if "noise" not in state or state["noise"].ndim != 2:
            raise BadData("no noise is there, which it was trained with")
        return Perturbed(state["noise"].shape[1] - 1, state["noise"].shape[0])

    def fitted(self, model: Perturbed, X: Tensor, Y: Tensor) -> Phase:
        """Draw the noise, and go to where the loss with it is least, by Newton steps cut down until it falls."""
        with phase("train") as done, torch.no_grad():
            # Drawn on the CPU, so that every device draws alike.
            b = (self.sigma * torch.randn(Y.shape[1], X.shape[1], dtype=torch.float64)).to(X)
            w = torch.zeros_like(b)
            value = self.value(w, X, Y, b)
            for _ in range(100):
                G = self.slope(w, X, Y) + b
                if float(G.norm()) < 1e-9 * len(X):
                    break
                step = self.solved(w, X, G)
                length = 1.0
                while float(self.value(w - length * step, X, Y, b)) > float(value) and length > 1e-9:
                    length /= 2
                w = w - length * step
                value = self.value(w, X, Y, b)
                current().passes += 3 * len(X)
            _put(model, w)
            model.noise.copy_(b)
            model.spent.copy_((self.slope(w, X, Y) + b).norm())
        return done

    def value(self, w: Tensor, X: Tensor, Y: Tensor, b: Tensor) -> Tensor:
        """L."""
        answers = X @ w.T
        sizes = F.softplus(answers) - Y * answers if self.loss == "logistic" else (answers - Y).square() / 2
        return sizes.sum() + self.lam * len(X) / 2 * w.square().sum() + (b * w).sum()

    def slope(self, w: Tensor, X: Tensor, Y: Tensor) -> Tensor:
        """The gradient of L without that of the noise [C, d + 1]."""
        said = X @ w.T
        return ((said.sigmoid() if self.loss == "logistic" else said) - Y).T @ X + self.lam * len(X) * w

    def solved(self, w: Tensor, X: Tensor, G: Tensor) -> Tensor:
        """H^-1 G, class by class."""
        said = (X @ w.T).sigmoid()
        bent = said * (1 - said) if self.loss == "logistic" else torch.ones_like(said)
        ridge = self.lam * len(X) * torch.eye(X.shape[1]).to(X)
        return torch.stack([torch.linalg.solve(X.T @ (bent[:, c, None] * X) + ridge, G[c]) for c in range(len(G))])

    def bound(self, X: Tensor, v: Tensor) -> float:
        """What |grad L(w; D_r)| is at most, by this one step."""
        return BENDS[self.loss] / 2 * float(torch.linalg.matrix_norm(X, 2) * (X @ v.T).square().norm())

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Take the step, and train anew where the noise does not hide what it leaves.

        Raises:
            BadArgument: a model that these settings did not prepare.
            BadData: the gradient of retained and forgotten samples together is longer than what is spent, so that they are not what it was trained on.
        """
        own = self.own(model.module)
        (X, Y), (gone, labels) = (_rows(part, len(own.noise), model.device) for part in (retain, forget))
        with phase("remove") as removed, torch.no_grad():
            w = torch.cat([own.linear.weight, own.linear.bias[:, None]], 1)
            off, n = float((self.slope(w, X, Y) + self.slope(w, gone, labels) + own.noise).norm()), len(X) + len(gone)
            # A solver ends where so much is left, or a little more by another order of summing.
            if off > float(own.spent) * (1 + 1e-6) + 1e-8 * n:
                raise BadData(
                    f"retained and forgotten samples together leave a gradient of {off:.3g}, where {float(own.spent):.3g} is the most that those it was trained on leave; "
                    "give the training samples, less what is removed already"
                )
            v = self.solved(w, X, self.slope(w, gone, labels))
            spent = own.spent + self.bound(X, v)
            _put(own, w + v)
            own.spent.copy_(spent)
            current().passes += 5 * len(X) + 2 * len(gone)
        return Trace.of(removed, *([self.fitted(own, X, Y)] if float(spent) > self.budget else []))


def _put(model: Perturbed, w: Tensor) -> None:
    model.linear.weight.copy_(w[:, :-1])
    model.linear.bias.copy_(w[:, -1])


def _rows(samples: Samples, classes: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Flattened inputs with a 1 behind each [n, d + 1], and labels as ones and zeros [n, C].

    Raises:
        BadData: inputs that are no single tensors, or raw pixels.
    """
    found, labels = [], []
    for x, y in samples.stream(((rows, None) for rows in torch.split(torch.arange(len(samples)), AT_ONCE)), device):
        if not isinstance(x, Tensor):
            raise BadData(f"a linear model takes inputs of one tensor, and these are a dict of {', '.join(x)}; give features")
        if x.dtype == torch.uint8:
            raise BadData("pixels are whole numbers and no normalisation is known; give one (norm=Norm(mean, std)), or floats")
        found.append(F.pad(x.flatten(1).double(), (0, 1), value=1.0))
        labels.append(F.one_hot(y, classes).double())
    return torch.cat(found), torch.cat(labels)
