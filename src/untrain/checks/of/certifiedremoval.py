"""Laws of `CertifiedRemoval`: the bound bounds, the training is where scipy ends, the step on squares is exact, and no certificate without what it hangs on."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from untrain.checks.case import Case
from untrain.checks.forgetting import check_it_forgets_what_it_is_told_to
from untrain.checks.nets import OF_KINDS
from untrain.checks.running import Law, LawBroken
from untrain.checks.sight import check_each_part_that_it_names_matters
from untrain.core.data import Samples, Split
from untrain.core.errors import BadArgument, BadData
from untrain.core.unlearn import unlearn

_ANEW = "of so few samples two classes are more than the noise hides, and it trains anew on the retained alone; removals are held to laws of its own"
EXCEPTIONS: dict[str, dict[Law, str]] = {
    "*": {
        OF_KINDS["dicts_in_and_out"]: "its model is linear in one tensor, and inputs by name are features of nothing",
        check_it_forgets_what_it_is_told_to: _ANEW,
        check_each_part_that_it_names_matters: _ANEW,
    }
}
Rows = NDArray[np.float64]


def _rows(samples: Samples) -> tuple[Rows, Rows]:
    """Inputs with a 1 behind each, and labels as ones and zeros."""
    x, y = samples.batch(torch.arange(len(samples)))
    assert isinstance(x, torch.Tensor)
    flat = x.double().flatten(1).numpy()
    return np.hstack([flat, np.ones((len(flat), 1))]), np.eye(len(samples.names) or int(y.max()) + 1)[y.numpy()]


def _weights(model: Any) -> tuple[Rows, Rows]:
    """Weights with the bias behind them, and the noise."""
    return np.hstack([model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy()[:, None]]), model.noise.numpy()


def _slope(method: Any, w: Rows, samples: Samples, noise: Rows) -> Rows:
    """The gradient of the loss with penalty and noise, by numpy."""
    X, Y = _rows(samples)
    said = X @ w.T
    said = 1 / (1 + np.exp(-said)) if method.loss == "logistic" else said
    found: Rows = (said - Y).T @ X + method.lam * len(X) * w + noise
    return found


def _least(method: Any, samples: Samples, noise: Rows) -> Rows:
    """Where scipy finds the loss with penalty and noise to be least."""
    X, Y = _rows(samples)

    def value(flat: Rows) -> tuple[float, Rows]:
        w = flat.reshape(noise.shape)
        said = X @ w.T
        sizes = np.logaddexp(0, said) - Y * said if method.loss == "logistic" else (said - Y) ** 2 / 2
        return float(sizes.sum() + method.lam * len(X) / 2 * (w**2).sum() + (noise * w).sum()), _slope(method, w, samples, noise).ravel()

    found: Rows = minimize(value, np.zeros(noise.size), jac=True, method="L-BFGS-B", options={"maxiter": 20000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-9}).x
    return found.reshape(noise.shape)


def _set(method: Any, **changes: Any) -> Any:
    """The method in settings by which so few samples are fitted well, and one removal is within the budget or not far off."""
    return replace(method, **{"lam": 0.3, "sigma": 0.3, "epsilon": 1.0, "delta": 1e-4} | changes)


def _patient(method: Any, **changes: Any) -> Any:
    """The same with other settings, which never trains anew."""
    cls = type("Patient", (type(method),), {"budget": np.inf})
    return cls(**asdict(_set(method, **changes)))


def _begun(case: Case, method: Any) -> Any:
    """What it prepares of the case."""
    return case.begun(method).model


def _without(case: Case, some: int) -> Split:
    """The split that forgets so many of its forgotten samples."""
    part = case.split.forget
    return Split(part[:some], part[some:] + case.split.retain, case.split.test, ())


def check_the_bound_is_above_what_is_left(method: Any, case: Case | None = None) -> None:
    """After one sample, a few, all, and three requests in a row the gradient without them is no longer than what is spent, which is not 1,000 times as long; of squares it is 0."""
    law, case = check_the_bound_is_above_what_is_left, case or Case.fresh()
    for asked in (_patient(method), _patient(method, lam=10.0), _patient(method, loss="squares")):
        model, whole = _begun(case, asked), case.split.forget + case.split.retain
        for requests in ((1,), (4,), (len(case.split.forget),), (4, 8, 12)):
            left, gone = model, 0
            for end in requests:
                left, gone = unlearn(left, Split(whole[gone:end], whole[end:], case.split.test, ()), asked).model, end
            w, noise = _weights(left)
            off, spent = float(np.linalg.norm(_slope(asked, w, whole[gone:].prepared(model.norm), noise))), float(left.spent)
            if off > spent * (1 + 1e-6) + 1e-7:
                raise LawBroken(law, method, f"leaves a gradient of {off:.3g} by {len(requests)} request(s), and says that it is {spent:.3g} at most")
            if asked.loss == "squares" and off > 1e-6:
                raise LawBroken(law, method, f"leaves a gradient of {off:.3g} of squares, where the step is exact")
            if asked.loss == "logistic" and spent > 1000 * off + 1e-6:
                raise LawBroken(law, method, f"says that a gradient of {off:.3g} may be {spent:.3g}")


def check_it_is_trained_to_where_the_loss_with_noise_is_least(method: Any, case: Case | None = None) -> None:
    """The weights that it prepares, and those where it trains anew, are those that scipy finds with the same noise, whose size is sigma."""
    law, case = check_it_is_trained_to_where_the_loss_with_noise_is_least, case or Case.fresh()
    for asked in (_set(method), _set(method, loss="squares"), _set(method, sigma=0.01)):
        model, split = _begun(case, asked), _without(case, 3)
        anew: Any = unlearn(model, split, replace(asked, epsilon=1e-9)).model if asked.loss == "logistic" else None
        for each, samples in ((model, case.split.forget + case.split.retain), *([(anew, split.retain)] if anew is not None else [])):
            w, noise = _weights(each)
            due = _least(asked, samples.prepared(model.norm), noise)
            if not np.linalg.norm(w - due) < 1e-3 * np.linalg.norm(due):
                raise LawBroken(law, method, f"ends {np.linalg.norm(w - due) / np.linalg.norm(due):.1e} of the way off where the loss is least")
            if not 0.8 * asked.sigma < noise.std() < 1.2 * asked.sigma:
                raise LawBroken(law, method, f"draws noise of {noise.std():.3g}, where sigma is {asked.sigma:g}")
        if anew is not None and (torch.equal(anew.noise, model.noise) or float(anew.spent) > 1e-3):
            raise LawBroken(law, method, "trains anew with the old noise, or counts what was spent before")


def check_a_removal_is_where_training_without_would_be(method: Any, case: Case | None = None) -> None:
    """Of squares it ends at the weights of a training without the forgotten and with the same noise, and of the logistic loss, for one sample, within a tenth of the way."""
    law, case = check_a_removal_is_where_training_without_would_be, case or Case.fresh()
    for asked, some, near in ((_set(method, loss="squares"), len(case.split.forget), 1e-5), (_set(method), 1, 0.1)):
        model, split = _begun(case, asked), _without(case, some)
        left, before = (_weights(each)[0] for each in (unlearn(model, split, asked).model, model))
        due = _least(asked, split.retain.prepared(model.norm), _weights(model)[1])
        off, way = (float(np.linalg.norm(a - due)) for a in (left, before))
        if not off < near * way:
            raise LawBroken(law, method, f"of {asked.loss} ends {off / way:.1e} of the way off training without")


def check_no_certificate_without_what_it_hangs_on(method: Any, case: Case | None = None) -> None:
    """One is given within the budget sigma epsilon / sqrt(2 log(1.5 / delta)); beyond it, for a deep network by name, and for other settings it is refused."""
    law, case = check_no_certificate_without_what_it_hangs_on, case or Case.fresh()
    deep, method = case.recipe.build(), _set(method)
    own = _begun(case, method)
    said = method.certificate(unlearn(own, _without(case, 1), method).model)
    due = method.sigma * method.epsilon / np.sqrt(2 * np.log(1.5 / method.delta))
    if abs(said.budget - due) > 1e-9 * due or (said.epsilon, said.delta) != (method.epsilon, method.delta):
        raise LawBroken(law, method, f"certifies {said}, where the noise hides {due:.3g}")
    if not 0 < said.spent <= due:
        raise LawBroken(law, method, f"certifies though {said.spent:.3g} is spent of {due:.3g}")
    for epsilon, delta in ((0.5, 1e-4), (1.0, 1e-6)):
        half = replace(method, epsilon=epsilon, delta=delta)
        if abs(half.budget - method.sigma * epsilon / np.sqrt(2 * np.log(1.5 / delta))) > 1e-9 * half.budget:
            raise LawBroken(law, half, f"says that its noise hides {half.budget:.3g}, where less is hidden the smaller epsilon and delta are")
    spent, wrapped = copy.deepcopy(own), nn.Sequential(own)
    spent.spent.fill_(2 * due)
    for what, model, asked, word in (
        ("beyond the budget", spent, method, "is spent"),
        ("a deep network", deep, method, type(deep).__name__),
        ("its model with more around it", wrapped, method, "Sequential"),
        ("other noise", own, replace(method, sigma=2 * method.sigma), "was prepared with"),
        ("another penalty", own, replace(method, lam=2 * method.lam), "was prepared with"),
        ("another loss", own, replace(method, loss="squares"), "was prepared with"),
    ):
        for way in ("certifies", "removes from") if what != "beyond the budget" else ("certifies",):
            try:
                if way == "certifies":
                    asked.certificate(model)
                else:
                    unlearn(model, _without(case, 1), asked, norm=own.norm)
            except BadArgument as error:
                if word in str(error):
                    continue
                raise LawBroken(law, method, f"refuses {what} and does not say why: {error}") from error
            raise LawBroken(law, method, f"{way} {what}")


def check_it_refuses_other_samples_than_it_was_trained_on(method: Any, case: Case | None = None) -> None:
    """Retained samples with one left out, others to forget, and what is removed already are refused; what is left after a removal is not."""
    law, case = check_it_refuses_other_samples_than_it_was_trained_on, case or Case.fresh()
    asked = _patient(method, lam=10.0)
    own, once, whole = _begun(case, asked), _without(case, 1), case.split.forget + case.split.retain
    left = unlearn(own, once, asked).model
    unlearn(left, Split(whole[1:2], whole[2:], case.split.test, ()), asked)
    for what, model, split in (
        ("a retained sample less", own, once.replaced(retain=once.retain[1:])),
        ("others to forget", own, once.replaced(forget=case.other("forget")[:1])),
        ("samples under other labels", own, once.replaced(forget=once.forget.labelled(1 - once.forget.y.clamp(max=1)))),
        ("what is removed already", left, once),
    ):
        try:
            unlearn(model, split, asked)
        except BadData:
            continue
        raise LawBroken(law, method, f"takes {what}")
