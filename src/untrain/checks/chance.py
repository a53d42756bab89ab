"""Laws of seeds and random state."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch

from untrain.checks.case import Case
from untrain.checks.running import LawBroken, bits_of, raw, several_batches, unequal
from untrain.core.method import Method


def check_the_same_seed_gives_the_same_bits(method: Method, case: Case | None = None) -> None:
    """Run again at the same seed, it leaves the same bits."""
    law, case = check_the_same_seed_gives_the_same_bits, case or Case.fresh()
    if bits_of(law, method, case, seed=1) != bits_of(law, method, case, seed=1):
        raise LawBroken(law, method, "left other bits at the same seed")


def check_another_seed_gives_other_bits(method: Method, case: Case | None = None) -> None:
    """At another seed it leaves other bits; the same ones at every seed, where it declares that it draws nothing."""
    law, case = check_another_seed_gives_other_bits, case or Case.fresh()
    bits = {bits_of(law, several_batches(method), case, seed=seed) for seed in range(3)}
    if method.draws and len(bits) < 3:
        raise LawBroken(law, method, "left the same bits at different seeds; where it draws nothing, it says so: draws = False")
    if not method.draws and len(bits) > 1:
        raise LawBroken(law, method, "left different bits at different seeds, though it declares that it draws nothing")


def check_the_random_state_of_the_caller_is_neither_used_nor_moved(method: Method, case: Case | None = None) -> None:
    """The caller's torch, numpy and `random` may stand anywhere, and stand there still afterwards."""
    law, case = check_the_random_state_of_the_caller_is_neither_used_nor_moved, case or Case.fresh()
    own, bits = _random_states(), set()
    try:
        for start in (1, 2):
            torch.manual_seed(start)
            np.random.seed(start)
            random.seed(start)
            before = _random_states()
            bits.add(bits_of(law, method, case))
            moved = unequal(before, _random_states())
            if moved:
                raise LawBroken(law, method, f"moved the caller's random state of {', '.join(moved)}")
    finally:
        torch.set_rng_state(torch.frombuffer(bytearray(own["torch"]), dtype=torch.uint8))
        np.random.set_state(own["numpy"])
        random.setstate(own["random"])
    if len(bits) > 1:
        raise LawBroken(law, method, "left other bits when the caller's random state was another")


def _random_states() -> dict[str, Any]:
    name, keys, *rest = cast(tuple[Any, ...], np.random.get_state(legacy=True))
    return {"torch": raw(torch.get_rng_state()), "numpy": (name, tuple(keys.tolist()), *rest), "random": random.getstate()}
