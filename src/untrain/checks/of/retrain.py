"""Laws of `Retrain`."""

from __future__ import annotations

import torch
from torch import Tensor

from untrain.checks.case import Case, SmallRecipe
from untrain.checks.running import LawBroken, left_by, moved_rows
from untrain.core.engine import seeded
from untrain.core.method import Method


def check_retrain_without_steps_is_the_network_as_built(method: Method, case: Case | None = None) -> None:
    """`Retrain` under a recipe that takes no step leaves exactly `recipe.build()` at that seed, and no drawn entry is the original's."""
    law, case = check_retrain_without_steps_is_the_network_as_built, case or Case.fresh()
    recipe, original = SmallRecipe(epochs=0), case.model.state_dict()
    for seed in (0, 1):
        left = left_by(law, method, case, seed=seed, recipe=recipe).state_dict()
        built, elsewhere = ({k: v.clone() for k, v in _built(recipe, s).items()} for s in (seed, seed + 7))
        drawn = {name: moved_rows(value, elsewhere[name]) for name, value in built.items()}
        assert any(drawn.values()), "a network is built alike at every seed"
        for name, value in built.items():
            if not torch.equal(left[name], value):
                raise LawBroken(law, method, f"left another {name} than recipe.build() gives at seed {seed}")
            kept = drawn[name] - moved_rows(left[name], original[name])
            if kept:
                raise LawBroken(law, method, f"kept the original's rows {sorted(kept)[:5]} of {name}")


def _built(recipe: SmallRecipe, seed: int) -> dict[str, Tensor]:
    with seeded(seed):
        return dict(recipe.build().state_dict())
