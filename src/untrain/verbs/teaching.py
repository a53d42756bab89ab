"""The recipe that a method is given."""

from __future__ import annotations

from untrain.core.method import Method
from untrain.verbs.given import AnyRecipe
from untrain.verbs.inputs import Opened
from untrain.verbs.prepared import members_recipe


def recipe_for(method: Method, opened: Opened) -> AnyRecipe | None:
    """The recipe that a method is given, where it asks for one: that of the model, or of the networks in it where the method prepared them.

    Raises:
        BadArgument: it builds another network, or is not the one that a model was prepared by.
    """
    if "recipe" not in method.needs:
        return None
    if method.prepares is None:
        return opened.recipe_of_the_model
    ask = opened.inputs
    return members_recipe(opened.model, ask.model, ask.recipe, ask.epochs, opened.data.classes)
