"""Hold methods of other toolkits to the laws that ours keep, and write down which each breaks.

    pip install --no-deps --target PLACE erasus unlearn-lib supreme-unlearning
    PYTHONPATH=PLACE python benchmarks/peers/hold.py benchmarks/records/peers.json            # or with names: these anew

It takes an environment with torchvision, transformers and Lightning (`make test-vision` makes one). Adapters stand in `peers.py`. Laws that ask for our
engine (batches seen one by one, phases, fields, numbers on record) do not concern code that has loops of its own and are left out. Of a law of
forgetting the best of three learning rates counts: the toolkit's own, ten and a hundred times it, as the networks of the laws are small.
"""

from __future__ import annotations

import copy
import importlib.metadata
import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peers import PEERS, Peer
from torch import nn

from untrain import checks
from untrain.checks import Case, LawBroken
from untrain.checks.running import Law, ask, left_by, sentence
from untrain.core.files import write

GENERAL: tuple[Law, ...] = (
    checks.check_the_weights_move,
    checks.check_it_forgets_what_it_is_told_to,
    checks.check_each_part_that_it_names_matters,
    checks.check_the_same_seed_gives_the_same_bits,
    checks.check_the_random_state_of_the_caller_is_neither_used_nor_moved,
    checks.check_the_mode_of_the_given_model_is_nothing_to_it,
    checks.check_every_number_that_it_leaves_is_finite,
)

RATED = (checks.check_it_forgets_what_it_is_told_to,)
"""Laws of forgetting, tried at three rates."""


def check_weights_outside_the_mask_stay_to_the_bit(method: Any, case: Case | None = None) -> None:
    """No larger share of the weights moves than the mask lets through."""
    law, case = check_weights_outside_the_mask_stay_to_the_bit, case or Case.fresh()
    left = dict(left_by(law, method, case).named_parameters())
    moved = [int((left[name] != weight).sum()) for name, weight in case.model.named_parameters()]
    share = sum(moved) / sum(weight.numel() for weight in case.model.parameters())
    if share > method.share + 0.01:
        raise LawBroken(law, method, f"moves {share:.0%} of the weights, where the mask lets {method.share:.0%}")


def check_neither_order_nor_batches_change_what_is_dampened(method: Any, case: Case | None = None) -> None:
    """The importance of a weight is a mean over samples: other batches and another order leave the same weights, to 1e-4 of their norm."""
    law, case = check_neither_order_nor_batches_change_what_is_dampened, case or Case.fresh()
    first = left_by(law, method, case)
    for other, what in ((replace(method, batch=8), "batches of 8"), (replace(method, order=1), "another order")):
        left = left_by(law, other, case)
        apart = sum(float((a - b).square().sum()) for a, b in zip(first.parameters(), left.parameters(), strict=True)) ** 0.5
        norm = sum(float(a.square().sum()) for a in first.parameters()) ** 0.5
        if apart > 1e-4 * norm:
            raise LawBroken(law, method, f"leaves weights that are {apart / norm:.1%} off under {what}")


def check_answers_on_the_forgotten_go_away_from_the_originals(method: Any, case: Case | None = None) -> None:
    """Behind SCRUB the answers to the forget set are further from the original's than those to retained samples are."""
    law, case = check_answers_on_the_forgotten_go_away_from_the_originals, case or Case.fresh()

    def apart(module: nn.Module, part: Any) -> float:
        x, _ = part.batch(torch.arange(len(part)))
        with torch.no_grad():
            told, said = (copy.deepcopy(m).eval()(x).log_softmax(1) for m in (case.model, module))
        return float(F.kl_div(said, told, log_target=True, reduction="batchmean"))

    left = left_by(law, method, case)
    gone, kept = (apart(left, part) for part in (case.prepared.forget, case.prepared.retain))
    if not gone > kept:
        raise LawBroken(law, method, f"leaves answers {gone:.3g} nats from the original's on the forget set, {kept:.3g} on the retained")


OWN: dict[str, tuple[Law, ...]] = {
    "SCRUB": (check_answers_on_the_forgotten_go_away_from_the_originals,),
    "SalUn": (check_weights_outside_the_mask_stay_to_the_bit,),
    "SalUn's mask with ascent": (check_weights_outside_the_mask_stay_to_the_bit,),
    "SSD": (check_neither_order_nor_batches_change_what_is_dampened,),
}
"""Laws by the method that it is."""


def said(law: Law, peer: Peer) -> str | None:
    """What breaks the law; None where it is kept, at one of three rates where it is a law of forgetting."""
    told = None
    for times in (1.0, 10.0, 100.0) if law in RATED or law in OWN["SCRUB"] else (1.0,):
        try:
            ask(law, replace(peer, rate=times))
        except LawBroken as error:
            told = told or error.fact
        else:
            return None
    return told


def main(into: Path, *names: str) -> None:
    """Ask all, or these anew, and write the record."""
    told = json.loads(into.read_text())["rows"] if names else []
    rows = [row for row in told if row["name"] not in names]
    for name, (package, method, peer) in PEERS.items():
        if names and name not in names:
            continue
        start, broken = time.perf_counter(), []
        for law in (*GENERAL, *OWN.get(method, ())):
            fact = said(law, peer)
            print(f"{name}: {sentence(law)}: {fact or 'kept'}", flush=True)
            if fact is not None:
                broken.append({"law": sentence(law), "fact": fact})
        asked = [sentence(law) for law in (*GENERAL, *OWN.get(method, ()))]
        about = {"name": name, "package": package, "version": importlib.metadata.version(package), "method": method}
        rows.append(about | {"asked": asked, "broken": broken, "seconds": round(time.perf_counter() - start, 1)})
    rows.sort(key=lambda row: list(PEERS).index(row["name"]))
    found = {"schema": "untrain.peers/1", "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "untrain": importlib.metadata.version("untrain"), "rows": rows}
    write(into, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]), *sys.argv[2:])
