"""untrain makes a trained PyTorch model forget, and shows how far that is true.

>>> import untrain
>>> model, data = untrain.load_model("digits"), untrain.load("digits")
>>> split = untrain.Split.by_class(data.train, data.test, forget=[3])
>>> result = untrain.unlearn(model, split, untrain.UNSIR())
>>> list(result.trace)
['noise', 'impair', 'repair']

Importing it imports no torch; each name is looked up when it is first used. Methods and audits go by their class.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from untrain.adapters import lightning_audit as lightning_audit
    from untrain.adapters import trainer_audit as trainer_audit
    from untrain.core.audit import Audit as Audit
    from untrain.core.audit import Shadow as Shadow
    from untrain.core.audit import audit as audit
    from untrain.core.audit import halves as halves
    from untrain.core.canary import draw_canaries as draw_canaries
    from untrain.core.data import CropFlip as CropFlip
    from untrain.core.data import Norm as Norm
    from untrain.core.data import Samples as Samples
    from untrain.core.data import Split as Split
    from untrain.core.data.pairs import Pairs as Pairs
    from untrain.core.data.planting import triggered as triggered
    from untrain.core.engine import seeded as seeded
    from untrain.core.errors import UntrainError as UntrainError
    from untrain.core.fmd import FMD as FMD
    from untrain.core.fmd import Replacing as Replacing
    from untrain.core.fmd import debias as debias
    from untrain.core.method import Method as Method
    from untrain.core.network import Network as Network
    from untrain.core.preparing import prepare as prepare
    from untrain.core.settings import read_settings as read_settings
    from untrain.core.train import Trace as Trace
    from untrain.core.train import fit as fit
    from untrain.core.train import minimize as minimize
    from untrain.core.train import predict as predict
    from untrain.evidence.listed import judge_list as judge_list
    from untrain.evidence.verdict import judge as judge
    from untrain.methods.headonly import HeadOnly as Suppress
    from untrain.verbs.checking import look as check
    from untrain.verbs.given import given_data as given_data
    from untrain.verbs.given import given_model as given_model
    from untrain.verbs.given import load as load
    from untrain.verbs.given import split_of as split_of
    from untrain.zoo.recipes import Recipe as Recipe
    from untrain.zoo.recipes import recipe_for as recipe_for
    from untrain.zoo.trained import load_model as load_model

_WHERE = {
    "Audit": "core.audit:Audit",
    "CropFlip": "core.data:CropFlip",
    "FMD": "core.fmd:FMD",
    "Method": "core.method:Method",
    "Network": "core.network:Network",
    "Norm": "core.data:Norm",
    "Pairs": "core.data.pairs:Pairs",
    "Recipe": "zoo.recipes:Recipe",
    "Replacing": "core.fmd:Replacing",
    "Result": "core.unlearn:Result",
    "Samples": "core.data:Samples",
    "Shadow": "core.audit:Shadow",
    "Split": "core.data:Split",
    "Suppress": "methods.headonly:HeadOnly",
    "Trace": "core.train:Trace",
    "UntrainError": "core.errors:UntrainError",
    "audit": "core.audit:audit",
    "check": "verbs.checking:look",
    "draw_canaries": "core.canary:draw_canaries",
    "debias": "core.fmd:debias",
    "fit": "core.train:fit",
    "given_data": "verbs.given:given_data",
    "given_model": "verbs.given:given_model",
    "halves": "core.audit:halves",
    "judge": "evidence.verdict:judge",
    "judge_list": "evidence.listed:judge_list",
    "lightning_audit": "adapters:lightning_audit",
    "load": "verbs.given:load",
    "load_model": "zoo.trained:load_model",
    "minimize": "core.train:minimize",
    "predict": "core.train:predict",
    "prepare": "core.preparing:prepare",
    "read_settings": "core.settings:read_settings",
    "recipe_for": "zoo.recipes:recipe_for",
    "seeded": "core.engine:seeded",
    "split_of": "verbs.given:split_of",
    "trainer_audit": "adapters:trainer_audit",
    "triggered": "core.data.planting:triggered",
    "unlearn": "core.unlearn:unlearn",
}

__all__ = [
    "FMD",
    "Audit",
    "CropFlip",
    "Method",
    "Network",
    "Norm",
    "Pairs",
    "Recipe",
    "Replacing",
    "Result",
    "Samples",
    "Shadow",
    "Split",
    "Suppress",
    "Trace",
    "UntrainError",
    "audit",
    "check",
    "debias",
    "draw_canaries",
    "fit",
    "given_data",
    "given_model",
    "halves",
    "judge",
    "judge_list",
    "lightning_audit",
    "load",
    "load_model",
    "minimize",
    "predict",
    "prepare",
    "read_settings",
    "recipe_for",
    "seeded",
    "split_of",
    "trainer_audit",
    "triggered",
    "unlearn",
]


def __getattr__(name: str) -> Any:
    """A public name, or a method or an audit by the name of its class."""
    if name in _WHERE:
        module, _, attribute = _WHERE[name].partition(":")
        return getattr(importlib.import_module(f"untrain.{module}"), attribute)
    if name == "__version__":
        from importlib.metadata import version

        return version("untrain")
    if name[:1].isupper():
        from untrain.core.discover import found

        for kind in ("methods", "audits"):
            entry = found(kind).get(name.lower())
            if entry is not None and entry.load().__name__ == name:
                return entry.load()
    raise AttributeError(f"module 'untrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
