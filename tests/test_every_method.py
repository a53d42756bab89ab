"""What every method does that no law asks: it takes a list of samples or refuses it by name, and goes on after a kill."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from sometimes import one_in
from untrain.checks.case import Case
from untrain.checks.running import shrunk
from untrain.core.data import Split
from untrain.core.discover import found, settings
from untrain.core.errors import BadArgument
from untrain.core.files import weights_hash
from untrain.core.method import FAILURES
from untrain.core.unlearn import unlearn

METHODS = list(found("methods"))


@pytest.mark.parametrize("name", one_in(3, METHODS))
def test_it_takes_a_list_of_samples_or_says_that_it_does_not(name):
    method = shrunk(settings(name))
    case = Case.fresh().begun(method)
    split = Split.by_index(case.split.forget + case.split.retain, case.split.test, forget=[0, 5, 20, 40, 60], unseen=case.split.parts["unseen"])
    if "classes" in method.needs:
        with pytest.raises(BadArgument, match="forgets whole classes, and this is a list of samples"):
            unlearn(case.model, split, method, recipe=case.recipe)
        return
    left = unlearn(case.model, split, method, recipe=case.recipe)
    assert all(bool(torch.isfinite(value).all()) for value in left.model.state_dict().values())
    assert left.passes > 0 or name == "nothing"


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("failure", ["unchanged", "collapsed", "diverged", "remembers"])
def test_what_stands_at_nothing_is_not_to_be_lowered(name, failure):
    """SVD's advice was to lower an alpha that was 0."""
    assert not [said for said in settings(name).advice(failure).split(" or ") if said.startswith("lower") and said.endswith(("(it was 0)", "(it was 0.0)"))]


@pytest.mark.parametrize("name", METHODS)
def test_a_share_that_is_the_whole_is_not_to_be_raised(name):
    method = settings(name)
    for share in [field.name for field in fields(method) if method.is_share(field.name)]:
        whole = replace(method, **{f.name: 0.0 for f in fields(method) if method.is_share(f.name)} | {share: 1.0})
        said = [part for failure in FAILURES for part in whole.advice(failure).split(" or ")]
        assert not [part for part in said if part.startswith(f"raise --{share.replace('_', '-')} ")]


class Killed(BaseException):
    pass


def kill_after(place):
    seen = []

    def kill(*step):
        seen.append(step)
        if len(seen) > place:
            raise Killed

    return kill


@pytest.mark.parametrize("name", one_in(3, METHODS))
def test_a_run_that_is_killed_goes_on_to_the_same_bits(name, tmp_path):
    method, told = shrunk(settings(name)), []
    case = Case.fresh().begun(method)

    def forget(progress, **how):
        return weights_hash(unlearn(case.model, case.split, method, recipe=case.recipe, progress=progress, **how).model.state_dict())

    whole = forget(lambda *step: told.append(step))
    for place in {len(told) // 2, len(told) - 1} if told else ():
        store = tmp_path / str(place)
        with pytest.raises(Killed):
            forget(kill_after(place), store=store)
        assert forget(lambda *step: None, store=store) == whole
