"""`untrain reference`: models that never saw what is to be forgotten, or saw half of it, trained by the recipe of the original and kept for every audit to come."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from untrain.checkup.estimate import estimate
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.audit import halves
from untrain.core.data import Samples, Split
from untrain.core.discover import name_of, settings
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument, Locked, refuse_both
from untrain.core.marks import correct
from untrain.core.method import Method
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.evidence.verdict import ENOUGH, what
from untrain.metrics.shadow import OWN_SPREAD
from untrain.sources import cache
from untrain.sources import request as forgetting
from untrain.verbs.about import about_recipe, about_weights, machine, request
from untrain.verbs.auditing import filled
from untrain.verbs.auditing import reference as out_of
from untrain.verbs.finishing import room_of
from untrain.verbs.folder import refuse_among, refuse_output, writing
from untrain.verbs.inputs import Inputs, Opened, Say, refuse_below, unsaid
from untrain.verbs.shadowing import after_in, file_of, half_of, left_by, method_of, said_of_a_method, shadows_in
from untrain.verbs.teaching import recipe_for as recipe_of
from untrain.zoo.recipes import Recipe, recipe_for

SHADOWS = 16
"""Shadows that are trained where it is not said how many."""

GAP = 0.02
"""Points of retained accuracy below the original's from which on models describe and do not prove."""


@cache.forgetting()
@files.watching()
def reference(
    inputs: Inputs,
    out: Path | None = None,
    *,
    models: int | None = None,
    shadows: bool = False,
    like: Path | None = None,
    cost: bool = False,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Train so many models without what is to be forgotten, each from a seed of its own; those that are there already are taken as they are.

    Shadows saw a random half of what is to be forgotten, and of the hold-out: attacks that know models with and without each sample are made of them. One
    folder belongs to one recipe and one set of samples; further calls add models to it, and a call that was killed goes on. Processes
    that are called with the same arguments at once share the work: each takes the next model that no other is at.

    Args:
        inputs: What is named, as for `unlearn retrain`; seeds are those after `seed`.
        out: The folder; one in the cache, named by the hash of recipe and data, where none is given.
        models: How many; as many as are enough where it is not said.
        shadows: Whether to train shadows.
        like: Folder of a run whose method then makes each shadow forget its half.
        cost: Whether to say what it would take, and train nothing.
        progress: Told of each step.
        say: Told what it costs and allows, before anything is trained.

    Returns:
        `folder`, `seconds_each` (by a rehearsal), `claims`, and `models`: `seed`, `file`, `sha256`, `trained` (now, or before), `retained` accuracy; `busy`, how many other
        processes are at; `method`, what the method leaves of the shadows' halves, where it was asked.

    Raises:
        BadArgument: a folder that holds models of another recipe or other data, that is none of this verb's, or that lies in one of the data; a method without shadows.
        BadData: shadows without a hold-out.
    """
    if like is not None and not shadows:
        raise BadArgument("--like is for shadows, which its method makes forget their half; add --shadows")
    refuse_both(("--like", like is not None, "--cost", cost, "each shadow is made to forget by the one, and nothing is trained by the other"))
    models = models if models is not None else SHADOWS if shadows else ENOUGH
    refuse_below(models=(models, 4 if shadows else 1))
    if out is not None:
        _refuse_place(out, inputs.paths())
    method = None if like is None else method_of(like)
    opened = inputs.open(say, trains="reference")
    split, source, given, ready = opened.split, opened.data, opened.model, opened.fit()
    opened.tell(say)
    taught = opened.recipe_of_the_model
    told = {
        "recipe": about_recipe(taught),
        "model": given.name,
        "data": source.sha256,
        "forget": list(split.classes) or forgetting.digest(split),
        **inputs.brought,
        "norm": inputs.norm,
        "precision": inputs.precision,
    }
    seeds = [inputs.seed + number for number in range(1, models + 1)]
    whole: dict[int, Samples | None] = dict.fromkeys(seeds)
    if shadows:
        whole |= dict(halves(split, models, inputs.seed))
        told |= {"shadows": half_of(split, inputs.seed)}
    folder = out or files.cache_root() / ("shadows" if shadows else "references") / hashlib.sha256(records.dumps(told)).hexdigest()[:16]
    at_hand = [seed for seed in seeds if file_of(folder, seed).is_file()]
    each = estimate(given.module, ready, settings("retrain"), recipe=taught, head=inputs.head, device=opened.device).get("seconds") if len(at_hand) < models else 0.0
    claims = shadows_allow(models) if shadows else allows(models)
    which = f"shadows of {what(request(inputs.asked, split))}" if shadows else f"models without {what(request(inputs.asked, split))}"
    for line in (*_costs(at_hand, models, each, folder, which), claims, *_budget(taught)):
        say(line)
    made, busy = [], 0
    for number, (seed, seen) in enumerate(whole.items(), 1):
        place = file_of(folder, seed)
        if cost and not place.is_file():
            continue
        name = f"{'shadow' if shadows else 'model'} {number} of {models}"
        one = split if seen is None else split.replaced(retain=split.retain + seen)
        try:
            trained = _trained(place, opened, one, taught, told, seed, settings("retrain"), _named(progress, name))
            found = _told(place, opened, split, told, seed, shadow=shadows)
            if method is not None and seen is not None:
                forgot = split.replaced(forget=seen)
                _trained(
                    file_of(after_in(folder, method), seed), opened, forgot, taught, told, seed, method, _named(progress, name), model=filled(inputs.model, source.classes, place)
                )
        except Locked:
            busy += 1
            continue
        made.append(found | {"trained": trained})
    if busy:
        say(f"{busy} of them are being trained by other processes; call it again when they are done")
    before = _retained(opened, given.module)
    mean = sum(m["retained"] for m in made) / len(made) if made else before
    if before - mean > GAP:
        say(f"they are less accurate than the original on what is retained ({mean:.1%} against {before:.1%}): what is found beside them describes, and does not prove")
    done: dict[str, Any] = {"folder": str(folder), "seconds_each": each, "claims": claims, "models": made, "busy": busy}
    if method is not None and len(made) == models:
        made_to_forget = shadows_in(folder, inputs.model, source.classes, split, method)[0]
        done["method"] = left_by(made_to_forget, ready.forget, given.norm, inputs.head, kept=(ready.retain, ready.test))
        say(said_of_a_method(name_of(method), done["method"]))
    return done


def _refuse_place(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse a folder that is read, lies in one that is, or holds other things and no model of this verb's.

    Raises:
        BadArgument: it is one.
    """
    refuse_among(out, inputs)
    names = [entry.name for entry in out.iterdir() if not entry.name.startswith(".")] if out.is_dir() else []
    if names and not any(name.startswith("seed-") for name in names):
        raise BadArgument(f"--out {called(out)} holds other things, such as {sorted(names)[0]}, and no models of untrain reference; give another folder")


def allows(m: int) -> str:
    """What can be said beside so many retrained models.

    >>> allows(1)
    '1 model: no p-value by how such models differ, which one does not tell; what has a chance of its own can find a trace beside it, and that none was found takes 5'
    >>> allows(3)
    '3 models: a trace is found from 3.4 of their deviations above their mean on (one row alone, at 5 %); that none was found takes 5'
    """
    from scipy import special

    if m == 1:
        finds = "what has a chance of its own can find a trace beside it"
        return f"1 model: no p-value by how such models differ, which one does not tell; {finds}, and that none was found takes {ENOUGH}"
    far = float(special.stdtrit(m - 1, 0.95)) * math.sqrt(1 + 1 / m)
    rest = "and that none was found can be said" if m >= ENOUGH else f"that none was found takes {ENOUGH}"
    return f"{m} models: a trace is found from {far:.1f} of their deviations above their mean on (one row alone, at 5 %); {rest}"


def shadows_allow(s: int) -> str:
    """What can be said beside so many shadows.

    >>> shadows_allow(16)
    '16 shadows: 8 saw each sample and 8 did not; from 64 on each sample has a spread of its own'
    """
    return f"{s} shadows: {s // 2} saw each sample and {s - s // 2} did not" + ("" if s >= 2 * OWN_SPREAD else f"; from {2 * OWN_SPREAD} on each sample has a spread of its own")


def _costs(at_hand: Sequence[int], models: int, each: float | None, folder: Path, which: str) -> list[str]:
    """What there is, and what the rest will take."""
    left = models - len(at_hand)
    there = f"{len(at_hand)} of {models} {which} lie in {folder.name}"
    if not left:
        return [there]
    if each is None:
        return [f"{there}; how long the other {left} take could not be timed"]
    return [f"{there}; the other {left} take about {_time(each)} each, {_time(each * left)} in all"]


def _time(seconds: float) -> str:
    from untrain.report.markup import seconds as shown

    return str(shown(seconds))


def _budget(taught: Any) -> list[str]:
    """What a shorter training than the recipe's own comes to."""
    if not isinstance(taught, Recipe):
        return []
    share = taught.epochs / recipe_for(taught.network, taught.classes).epochs
    if share >= 1:
        return []
    much = (
        "which leaves them about what they would be"
        if share >= 0.5
        else "and less than half leaves them knowing less of anything, so that a good model looks as if it had a trace: give more"
    )
    return [f"they are trained for {share:.0%} of the recipe's epochs, {much}"]


def _trained(
    place: Path, opened: Opened, split: Split, taught: Any, told: dict[str, Any], seed: int, method: Method, progress: Progress, model: torch.nn.Module | None = None
) -> bool:
    """Whether a model had to be trained, or made to forget; it lies at its place then."""
    if place.is_file():
        return False
    inputs, work = opened.inputs, place.with_suffix("")
    refuse_output(work, {})
    arguments = told | {"verb": "reference", "seed": seed, "method": name_of(method), "settings": asdict(method)} | machine(opened.engine)
    with writing(work, arguments, room_of(opened.model.module)) as state:
        result = running.unlearn(
            model or opened.model.module,
            split,
            method,
            seed=seed,
            recipe=taught if method.prepares is None and "recipe" in method.needs else recipe_of(method, opened),
            norm=opened.model.norm,
            head=inputs.head,
            device=opened.device,
            precision=inputs.precision,
            progress=progress,
            store=state,
        )
        files.refuse_changed()
        about = about_weights(method, opened.data, split, seed, opened.model) | {"recipe": about_recipe(taught), "of": _key(told)} | {k: told[k] for k in ("shadows",) if k in told}
        files.save_weights(place, opened.model.state(result.model), about)
    with contextlib.suppress(OSError):
        work.rmdir()
    return True


def _told(place: Path, opened: Opened, split: Split, told: dict[str, Any], seed: int, *, shadow: bool) -> dict[str, Any]:
    """What is known of a model that lies there.

    Raises:
        BadArgument: it is of another recipe, or other data.
    """
    about = files.about(place)
    if about.get("of") != _key(told):
        raise BadArgument(f"{place.parent.name} holds models of another recipe, or trained on other data; name another folder by --out")
    module = filled(opened.inputs.model, opened.data.classes, place) if shadow else out_of(place, opened.inputs.model, opened.data.classes, split).module
    return {"seed": seed, "file": place.name, "sha256": files.sha256(place), "retained": _retained(opened, module)}


def _key(told: dict[str, Any]) -> str:
    return hashlib.sha256(records.dumps(told)).hexdigest()


def _retained(opened: Opened, module: torch.nn.Module) -> float:
    """Accuracy on test samples of what is retained."""
    test = running.prepared(module, opened.split, opened.model.norm).test
    kept = test[~torch.isin(test.y, torch.tensor(opened.split.classes, dtype=torch.long))]
    return correct(module, kept, opened.inputs.head) if len(kept) else math.nan


def _named(progress: Progress, name: str) -> Progress:
    def told(phase: str, step: int, steps: int) -> None:
        progress(f"{name}: {phase}", step, steps)

    return told
