"""`untrain debias` on the command line. Importing it imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from untrain.cli import show
from untrain.cli.flags import Json, Out, flags_of, takes
from untrain.core.errors import BadArgument, refuse_both
from untrain.verbs.inputs import Inputs
from untrain.verbs.run_files import RECORD


@takes(flags_of(without=("forget", "canaries", "epochs", "recipe", "precision", "redact")))
def debias(
    *,
    inputs: Inputs,
    out: Out,
    pairs: Annotated[
        str, Parameter(help="Where the other side of a pair comes from: flip:COLUMN or flip:COLUMN=A/B of a table, path/pairs.py:function of raw inputs; or data, with --twins.")
    ],
    twins: Annotated[str | None, Parameter(help="Data that are the other side of each pair, named as --data is, in the same order as --pairs.")] = None,
    group: Annotated[str | None, Parameter(help="Column that says which group a sample is of, for accuracy by group; the flipped one where none is named.")] = None,
    count: Annotated[int, Parameter(help="Pairs to step by, at most: of --holdout where it is named, else of the training part. Others are measured.")] = 2000,
    training: Annotated[bool, Parameter(negative=(), help="Go by the training data: those that raise the bias most give way to their counterfactuals.")] = False,
    way: Annotated[Literal["fit", "paper"], Parameter(help="fit: Newton steps to the least loss of both sides and of what lies between them; paper: one step.")] = "fit",
    layers: Annotated[int | None, Parameter(help="Last layers that move, at most; 1 is the head alone.")] = None,
    pull: Annotated[float | None, Parameter(help="Weight of what lies between the sides of a pair at the first step; threefold with each.")] = None,
    steps: Annotated[int | None, Parameter(help="Newton steps, at most.")] = None,
    damping: Annotated[float | None, Parameter(help="What is added to the diagonal of the Hessian.")] = None,
    give: Annotated[float | None, Parameter(help="Accuracy on held-back pairs that a step may lose.")] = None,
    harmful: Annotated[float | None, Parameter(help="With --training: share of the training samples that gives way.")] = None,
    solver: Annotated[
        Literal["exact", "cg", "ekfac"],
        Parameter(help="cg goes by products; exact holds the head's Hessian whole, with --layers 1; ekfac goes by Kronecker products, a layer each."),
    ] = "cg",
    json: Json = False,
) -> int:
    """Remove a bias from a model's last layers by counterfactual pairs, measure it before and after, and judge. Exits 0 where it is gone, 3 where not."""
    from untrain.core.fmd import FMD, Replacing
    from untrain.evidence.verdict import EXIT
    from untrain.verbs.debiasing import remove

    refuse_both(
        ("--way paper", way == "paper", "--steps", steps is not None, "the paper takes one step"),
        ("--way paper", way == "paper", "--pull", pull is not None, "the paper's step has no penalty"),
        (f"--pairs {pairs}", pairs.startswith("flip:"), "--twins", twins is not None, "each says what the other side of a pair is"),
    )
    if harmful is not None and not training:
        raise BadArgument("--harmful is the share of the training samples that gives way; name it beside --training")
    given: dict[str, Any] = {"way": way, "layers": layers, "pull": pull, "steps": steps, "damping": damping, "give": give, "harmful": harmful, "solver": solver}
    chosen = {name: value for name, value in given.items() if value is not None}
    method = Replacing(**chosen) if training else FMD(**chosen)
    with show.bars() as progress:
        record = remove(inputs, out, pairs=pairs, twins=twins, group=group, count=count, method=method, progress=progress, say=show.note)
    if json:
        show.as_json(record)
    else:
        show.draw(show.side_by_side(record))
        show.say(record["verdict"]["sentence"])
        show.say(str(out / RECORD))
    return EXIT[record["verdict"]["code"]]
