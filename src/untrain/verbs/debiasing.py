"""`untrain debias`: find a bias by counterfactual pairs, remove it in the last layers, and judge."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from untrain.audits.bias import Bias
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.audit import audit
from untrain.core.data import Samples
from untrain.core.data.pairs import Pairs
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument
from untrain.core.fmd import FMD, Replacing, debias, split_of_pairs
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.evidence.listed import judged
from untrain.sources import cache, pairing
from untrain.sources import request as forgetting
from untrain.sources.forms import finding
from untrain.sources.libraries.functions import hash_of
from untrain.sources.names import RUNS_CODE
from untrain.verbs.about import about_data, about_model, about_weights, flags, machine, setting_flags
from untrain.verbs.finishing import closed, room_of, weighed
from untrain.verbs.folder import refuse_output, writing
from untrain.verbs.given import code_of
from untrain.verbs.inputs import Inputs, Opened, Say, paths_of, refuse_below, unsaid
from untrain.verbs.run_files import WEIGHTS


def remove(
    inputs: Inputs,
    out: Path,
    *,
    pairs: str,
    twins: str | None = None,
    group: str | None = None,
    count: int = 2000,
    method: FMD | None = None,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Remove a bias from a model; writes `model.safetensors` and `record.json`, audited and judged. The model that is given is left alone.

    Pairs of test samples are measured, before and after. Steps and their lengths come from others: pairs of the hold-out where one is named, else of the
    training part. Where both sides are data of the user's, a half that is drawn is stepped by and the other half measured.

    Args:
        inputs: What is named: model, weights, data, and so on.
        out: The folder to write.
        pairs: `flip:COLUMN`, `flip:COLUMN=A/B`, a function of the user's, or data that are one side of the pairs.
        twins: Data that are the other side.
        group: The column that says which group a sample is of; the flipped one where none is named.
        count: Pairs to step by, at most, drawn by the seed.
        method: `FMD`, or `Replacing` to go by the training data.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        The record.

    Raises:
        BadArgument: pairs that are not named rightly, or a group that the data have no column for.
        BadData: pairs that do not pair.
    """
    chosen = method or FMD()
    with files.watching(), cache.forgetting():
        refuse_output(out, inputs.paths() | paths_of({"pairs": pairs, "twins": twins}))
        refuse_below(count=(count, 4))
        if twins is not None:
            _refuse_beside_twins(inputs, isinstance(chosen, Replacing))
        # What `flip:` flips is a column, whatever it is called.
        code = code_of({} if pairs.startswith("flip:") else {"pairs": pairs, "twins": twins})
        for function in code.values():
            say(RUNS_CODE.format(function.shown, "runs"))
        hashes = {flag: hash_of(function) for flag, function in code.items()}
        opened = inputs.open(say)
        source, given = opened.data, opened.model
        if group is not None and group not in source.test.columns:
            raise BadArgument(f"--group {group}: no column says which group a test sample is of; there are {', '.join(source.test.columns) or 'none'}")
        opened.tell(say)
        steps, measured, training = _pairs(opened, pairs, twins, count, isinstance(chosen, Replacing))
        column = group if group is not None else pairs.removeprefix("flip:").partition("=")[0] if pairs.startswith("flip:") else ""
        parts = split_of_pairs(measured, test=source.test, steps=steps.one)
        parts = parts.replaced(retain=source.train)
        asked = Bias(group=column)
        named = _named(pairs, twins)
        listed = split_of_pairs(steps).replaced(forget=steps.one)
        hashes |= opened.code
        arguments = {
            "verb": "debias",
            "pairs": named,
            "group": column,
            "count": count,
            "settings": [type(chosen).__name__, asdict(chosen)],
            "model": given.name,
            "weights": given.sha256,
            "data": source.sha256,
            **inputs.brought,
            "seed": inputs.seed,
            "norm": inputs.norm,
            "head": inputs.head,
            "training": training is not None,
            "code": hashes,
        } | machine(opened.engine)
        told = {"pairs": _word(pairs), "twins": None if twins is None else _word(twins), "group": group, "count": None if count == 2000 else count}
        words = inputs.words(after={"data": told, "forget": {"out": called(out)}})
        command = ["debias", *flags(**words), *flags(training=True if training is not None else None), *setting_flags(chosen)]
        with writing(out, arguments, room_of(given.module)) as state:
            result = debias(
                given.module, steps, training=training, method=chosen, seed=inputs.seed, norm=given.norm, head=inputs.head, device=opened.device, progress=progress, store=state
            )
            files.refuse_changed()
            record = records.compose(
                running.describe(result),
                command=command,
                request={"forget": "nothing", "classes": [], "names": [], "bias": named, "count": len(steps), "sha256": forgetting.digest(listed)},
                model=about_model(given),
                data=about_data(source, parts),
                output={"file": WEIGHTS, "sha256": ""},
                code=hashes,
            )
            answers = audit(result.model, parts, [asked], original=given.module, norm=given.norm, head=inputs.head, device=opened.device, progress=progress)
            record["audits"] = records.finite(answers)
            record["verdict"] = records.finite(judged(record))
            weighed(out, record, opened, result.model, about_weights(chosen, source, listed, inputs.seed, given))
            return closed(out, record, inputs)


def _refuse_beside_twins(inputs: Inputs, training: bool) -> None:
    """Refuse what pairs that are brought ready-made leave no room for.

    Raises:
        BadArgument: training data are wanted, or a hold-out is named.
    """
    if training:
        raise BadArgument("--training needs the counterfactual of each training sample: name a column or a function by --pairs, and no --twins")
    if inputs.holdout is not None:
        raise BadArgument("--holdout says which samples pairs are made of, and --twins brings pairs of its own; leave one of them out")


def _pairs(opened: Opened, pairs: str, twins: str | None, count: int, training: bool) -> tuple[Pairs, Pairs, Pairs | None]:
    """The pairs to step by, those that are measured, and training samples beside their counterfactuals where these are wanted."""
    data, seed = opened.data, opened.inputs.seed
    if twins is None:
        made = [_made(opened, pairs, part, seed + n, most) for n, (part, most) in enumerate([(data.holdout or data.train, count), (data.test, None)])]
        return made[0], made[1], _made(opened, pairs, data.train, seed + 2, None) if training else None
    whole = Pairs(*(_part(opened, name) for name in (pairs, twins)))
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    half = len(whole) // 2
    return whole[order[:half][:count].sort().values], whole[order[half:].sort().values], None


def _made(opened: Opened, pairs: str, samples: Samples, seed: int, most: int | None) -> Pairs:
    """Pairs of samples and what a flip, or the user's function, makes of them; at most so many, drawn by the seed."""
    flip = pairing.ends(opened.data.train, pairs) if pairs.startswith("flip:") else None
    samples = samples if flip is None else pairing.having(samples, flip)
    if most is not None and most < len(samples):
        samples = samples[torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:most].sort().values]
    if flip is None:
        return pairing.changed(samples, pairs, seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "flipped.csv"
        pairing.flipped(samples, flip, opened.inputs.label_column, file)
        return Pairs(samples, _part(opened, str(file)))


def _part(opened: Opened, name: str) -> Samples:
    """Data by name, its classes numbered as those of the model's data."""
    found = replace(opened.inputs, holdout=name).open().data.holdout
    assert found is not None
    return found


def _word(name: str) -> str:
    what = pairing.runs(name)
    return what.shown if what is not None else name if name.startswith("flip:") else finding.shown(name)


def _named(pairs: str, twins: str | None) -> str:
    """What the record calls what is flipped."""
    return _word(pairs) if twins is None else f"{_word(pairs)} and {_word(twins)}"
