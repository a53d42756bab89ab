"""Changes to UNSIR that benchmarks/deep.py tries and that are no settings of the library."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from untrain.core.data import Inputs, Samples
from untrain.core.fresh import fresh, renew
from untrain.core.gather import gradients
from untrain.core.network import Network
from untrain.core.trace import phase
from untrain.core.train import Phase, Trace, fit, minimize
from untrain.methods.unsir import RENEWING, UNSIR


@dataclass(frozen=True)
class Distorted(UNSIR):
    """C2: N(0, sigma^2) added to the body's weights between impair and repair."""

    sigma: float = 0.02

    def shrunk(self, model: Network, kept: Samples) -> list[Phase]:
        """Distort, and renew BatchNorm's statistics."""
        with phase("distort") as done, torch.no_grad():
            for weight in self.body(model).values():
                weight.add_(self.sigma * torch.randn(weight.shape).to(weight))
            renew(model, kept.at_most(RENEWING), batch=self.batch)
        return [done]


@dataclass(frozen=True)
class Scored(UNSIR):
    """C3: the share of the body's weights behind the first layer that the learned noise scores highest by |w dCE(f(z), c)/dw| drawn anew; or as many at random."""

    share: float = 0.03
    at_random: bool = False

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        """Noise, impair, reset, repair."""
        classes, teacher, kept = tuple(sorted(classes)), model.teacher(), self.enough(retain.at_most(self.samples))
        noise, learned = self.learn_noise(self.site_in(model, kept), kept, classes)
        model.eval()
        found, scored = gradients(model, lambda x, y: F.cross_entropy(model(x), y), noise, phase="score", batch=self.batch)
        slopes = dict(zip([n for n, p in model.named_parameters().items() if p.requires_grad], found, strict=True))
        epochs, batch = self.passes(len(kept + noise), self.impair_epochs, self.floor // 6)
        scores = {name: (weight.detach() * slopes[name]).abs() for name, weight in list(self.body(model).items())[1:]}
        impair = fit(model, kept + noise, phase="impair", lr=self.impair_lr, epochs=epochs, batch=batch)
        if self.at_random:
            scores = {name: torch.rand(score.shape).to(score) for name, score in scores.items()}
        every = torch.cat([score.flatten() for score in scores.values()])
        least = every.topk(max(1, round(self.share * len(every)))).values[-1]
        with phase("reset") as reset, torch.no_grad():
            for name, score in scores.items():
                weight = model.named_parameters()[name]
                weight.copy_(torch.where(score >= least, fresh(weight), weight))
            renew(model, kept.at_most(RENEWING), batch=self.batch)
        model.head.redraw(classes)
        return Trace.of(*learned, scored, impair, reset, self.repair_on(model, teacher, kept, classes))


@dataclass(frozen=True)
class Away(UNSIR):
    """C4: the repair is pushed away from the original, by away sqrt(mean (w - w_o)^2 + 1e-8) on filters of length 1."""

    away: float = 1.0

    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        """Distil, and go away."""
        gone, T = torch.tensor(classes, device=model.device), self.temperature
        before = [F.normalize(w.detach().flatten(1), dim=1) for n, w in teacher.named_parameters().items() if n in self.body(model)]

        def loss(x: Inputs, y: Tensor) -> Tensor:
            with torch.no_grad():
                target = F.softmax(teacher(x).index_fill(1, gone, -torch.inf) / T, dim=1)
            now = [F.normalize(w.flatten(1), dim=1) for w in self.body(model).values()]
            apart = torch.cat([(a - b).square().flatten() for a, b in zip(now, before, strict=True)])
            return T * T * F.kl_div(F.log_softmax(model(x) / T, dim=1), target, reduction="batchmean") - self.away * (apart.mean() + 1e-8).sqrt()

        model.train()
        epochs, batch = self.passes(len(kept), self.repair_epochs, self.floor)
        return minimize(loss, model.parameters(), kept.batches(batch, epochs=epochs, augment=self.augment), phase="repair", lr=self.repair_lr, schedule=self.schedule)


@dataclass(frozen=True)
class Aimed(UNSIR):
    """The repair has retained images moved towards a forgotten class as well, as the original sees it: x - aim sign grad CE(p_o(x), c), with the target that x has."""

    aimed: float = 0.5
    aim: float = 0.05

    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        """Distil, on those too."""
        gone, T = torch.tensor(classes, device=model.device), self.temperature
        some = torch.arange(round(self.aimed * len(kept))) % len(kept)
        # A label that is forgotten says what an image is moved towards; the loss has no other use for labels.
        both = kept + kept[some].labelled(torch.tensor(classes)[torch.arange(len(some)) % len(classes)])

        def loss(x: Inputs, y: Tensor) -> Tensor:
            assert isinstance(x, Tensor)
            x = x.detach().requires_grad_()
            told = teacher(x)
            (slope,) = torch.autograd.grad(F.cross_entropy(told, y, reduction="sum"), x)
            step = self.aim * torch.isin(y, gone).to(x.dtype)
            x = (x - step.view(-1, *[1] * (x.ndim - 1)) * slope.sign()).detach()
            target = F.softmax(told.detach().index_fill(1, gone, -torch.inf) / T, dim=1)
            return T * T * F.kl_div(F.log_softmax(model(x) / T, dim=1), target, reduction="batchmean")

        model.train()
        epochs, batch = self.passes(len(both), self.repair_epochs, self.floor)
        return minimize(loss, model.parameters(), both.batches(batch, epochs=epochs, augment=self.augment), phase="repair", lr=self.repair_lr, schedule=self.schedule)


@dataclass(frozen=True)
class Momentum(UNSIR):
    """The repair by labels is of sgd with Nesterov momentum and decay of the weights, as the network was trained, in place of Adam."""

    weight_decay: float = 5e-4

    def repair_on(self, model: Network, teacher: Network, kept: Samples, classes: tuple[int, ...]) -> Phase:
        """Train on the retained samples, as the zoo trains."""
        epochs, batch = self.passes(len(kept), self.repair_epochs, self.floor)
        how = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": self.weight_decay}
        return fit(model, kept, phase="repair", lr=self.repair_lr, epochs=epochs, batch=batch, augment=self.augment, schedule=self.schedule, **how)


@dataclass(frozen=True)
class Twice(UNSIR):
    """C8: all of it twice over, the second time from what the first left."""

    def __call__(self, model: Network, *, retain: Samples, classes: tuple[int, ...]) -> Trace:
        """Two rounds."""
        rounds = [super(Twice, self).__call__(model, retain=retain, classes=classes) for _ in range(2)]
        return Trace.of(*(done for trace in rounds for done in trace.values()))


TRIED = {"distorted": Distorted, "scored": Scored, "away": Away, "aimed": Aimed, "momentum": Momentum, "twice": Twice}
