"""Models that were prepared for a method that had to be there when they were trained: what their files say of it, and how they are read and trained anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from untrain.core import files
from untrain.core.data import Norm
from untrain.core.discover import found, lookup, name_of
from untrain.core.errors import BadArgument, BadData, wall
from untrain.core.method import Method
from untrain.core.model import Expects, Model
from untrain.core.preparing import Again, Preparation, normed
from untrain.core.settings import with_values
from untrain.evidence.record import finite
from untrain.sources import loading
from untrain.sources import recipe as foreign
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import Recipe, recipe_for

KEY = "prepared"
"""Under which a file of weights says of itself how it was prepared."""


def brings_its_network(model: str) -> bool:
    """Whether a model's name is that of a method whose preparation makes a network of its own; such a model goes by the method's name."""
    entry = found("methods").get(model)
    return entry is not None and entry.prepares and "recipe" not in (entry.load().prepares or ())


def preparation_of(path: Path | None) -> Preparation | None:
    """How the model in a file was prepared, where it says that it was.

    Raises:
        BadData: what it says is not as untrain writes it.
    """
    try:
        about = files.about(path) if path is not None and path.is_file() else {}
    except BadData:
        # Whoever reads its weights refuses it, and knows why.
        return None
    if path is None or KEY not in about:
        return None
    where = f"what {path.name} says of how it was prepared"
    with wall(where):
        said = about[KEY]
        try:
            method = with_values(lookup("methods", said["method"])(), said["settings"], path.name)
        except BadArgument as error:
            raise BadData(f"{where} is not as untrain writes it ({error}); get it anew") from error
        norm, recipe, changed = said["norm"], said["recipe"], said["changed"]
        if method.prepares is None or ("recipe" in method.prepares) != isinstance(recipe, dict) or not isinstance(changed, str | None):
            raise BadData(f"{where} is not as untrain writes it; get it anew")
        return Preparation(method, recipe, None if norm is None else Norm(norm["mean"], norm["std"]), changed)


def settings_in(path: Path | None, name: str) -> Method | None:
    """The settings of a method that the model in a file was prepared for, where it was prepared for this one."""
    said = preparation_of(path)
    return said.method if said is not None and name_of(said.method) == name else None


def model_of(model: str, preparation: Preparation, classes: int, weights: Path, norm: Norm | None, shown: str) -> Model:
    """A prepared model out of a file, in evaluation mode.

    Args:
        model: Name of the network that it is made of; of the method, where that brings its own.
        preparation: How it was prepared.
        classes: Number of classes of the data.
        weights: The file.
        norm: The normalisation that is named, where one is.
        shown: The name without the way to a folder or file.

    Raises:
        BadArgument: another normalisation than it was prepared with.
        BadData: it is not whole, or of another network.
    """
    name, own = name_of(preparation.method), "recipe" not in (preparation.method.prepares or ())
    if own and model != name:
        raise BadData(f"{weights.name} holds what {name} makes, and no {shown}; leave out --model, or write --model {name}")
    if not own and brings_its_network(model):
        raise BadData(f"{weights.name} was prepared for {name}, and not for {shown}; name by --model the network that it is made of")
    if norm is not None and finite(list(norm.mean + norm.std)) != finite([] if preparation.norm is None else list(preparation.norm.mean + preparation.norm.std)):
        raise BadArgument(f"{weights.name} was prepared with another normalisation than --norm names; leave it out, since the file says its own")
    state, look = files.load_weights(weights), Expects()
    member: nn.Module = nn.Identity()
    if not own:
        with torch.random.fork_rng(devices=[]):
            member, look = (NETWORKS[model](classes), Expects()) if model in NETWORKS else loading.built(model, classes)
    with wall(weights.name):
        module = preparation.method.shell(lambda: copy.deepcopy(member), state)
    files.load_into(module, state, weights.name)
    norm = getattr(normed(module, preparation.norm), "norm", None)
    kept = {key: value.dtype for key, value in state.items()}
    return Model(shown, module.eval(), weights.name, files.sha256(weights), kept, replace(look, norm=norm if isinstance(norm, Norm) else look.norm), prepared=preparation)


def refuse_unprepared(method: Method, given: Model) -> None:
    """Refuse a model that was not prepared for the method, or that another has changed since.

    Raises:
        BadArgument: it is one.
    """
    if method.prepares is None:
        return
    name, said = name_of(method), given.prepared
    way = f"`untrain prepare {name}` trains a model that it can forget in, and --weights names it"
    if said is None:
        raise BadArgument(f"{name} has to be there when a model is trained, and {given.name} ({given.origin}) was trained without it; {way}")
    if name_of(said.method) != name:
        raise BadArgument(f"{given.origin} was prepared for {name_of(said.method)}, and not for {name}; {way}")
    if said.changed is not None:
        raise BadArgument(f"{given.origin} was changed by {said.changed} after {name} had made it, and is no longer what {name} knows; name one from before that")


def members_recipe(given: Model, model: str, recipe: str | None, epochs: int | None, classes: int) -> Recipe | foreign.Recipe | None:
    """How the networks of a prepared model were trained: what its file says, which what is named has to be.

    Args:
        given: The model.
        model: Its name in full.
        recipe: The recipe that is named, where one is.
        epochs: Passes of the zoo's recipe, where they are named.
        classes: Number of classes of the data.

    Returns:
        The recipe; None where its method asks for none.

    Raises:
        BadArgument: it was prepared by another.
    """
    said = given.prepared.recipe if given.prepared is not None else None
    if said is None:
        if recipe is not None or epochs is not None:
            raise BadArgument(f"{given.name} is trained by no recipe; leave out --recipe and --epochs")
        return None
    taught: Recipe | foreign.Recipe
    mine: Mapping[str, Any]
    if recipe is not None:
        theirs = foreign.recipe(recipe, classes)
        taught, mine = theirs, theirs.about
    elif "function" in said:
        raise BadArgument(f"{given.origin} was prepared by the recipe {said['function']}, and code is run only where the command names it: add --recipe path/{said['function']}")
    else:
        with wall(f"what {given.origin} says of its recipe"):
            taught = recipe_for(model, classes, said["epochs"] if epochs is None else epochs)
            mine = vars(taught)
    other = sorted(key for key in mine.keys() | said.keys() if mine.get(key) != said.get(key))
    if other:
        facts = "; ".join(f"{key} was {said.get(key)} and is {mine.get(key)}" for key in other)
        raise BadArgument(f"{given.origin} was prepared by another recipe ({facts}); give that one")
    return taught


def again(given: Model, recipe: Recipe | foreign.Recipe | None) -> Again:
    """How a prepared model is trained anew."""
    assert given.prepared is not None
    said = given.prepared.said
    return Again(given.prepared, recipe, given.module.state_dict(), {"prepares": said["method"], "settings": said["settings"], "recipe": said["recipe"]})
