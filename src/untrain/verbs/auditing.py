"""`untrain audit`: every audit is asked of a run's model, and a verdict judges."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

from torch import nn

from untrain.core import audit as auditing
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.data import Split
from untrain.core.discover import lookup, usual
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument, BadData, wall
from untrain.core.network import exits_of
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.evidence import seal
from untrain.evidence.listed import judged, judged_exit
from untrain.evidence.verdict import ANSWERED, what
from untrain.sources import cache
from untrain.sources import request as forgetting
from untrain.sources.card import CARD, card
from untrain.sources.forms import finding
from untrain.verbs.about import is_foreign
from untrain.verbs.folder import folder_of, locked, noted_inputs, read_record, sweep
from untrain.verbs.given import code_of, given_model, name_at
from untrain.verbs.inputs import Inputs, Opened, Say, unsaid
from untrain.verbs.pictures import pictures
from untrain.verbs.private import kept
from untrain.verbs.run_files import RECORD, weights_in
from untrain.verbs.shadowing import Shadows, method_in, shadows_in
from untrain.verbs.signing import SIGNATURE
from untrain.verbs.triggering import Planted


@dataclass(frozen=True, eq=False)
class Reference:
    """Another model that the audits look at.

    Args:
        column: `retrained`, or the name of a control.
        module: The model.
        file: The name of its file, or how it came about.
        sha256: Hash of its file, or of its weights.
        about: What its file says of itself.
    """

    column: str
    module: nn.Module
    file: str
    sha256: str
    about: dict[str, Any]


@cache.forgetting()
def audit(
    run: Path,
    *,
    retrained: Sequence[Path] = (),
    elsewhere: Mapping[str, Any] | None = None,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    shadows: Path | None = None,
    trigger: Planted | None = None,
    show_images: bool = False,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Ask every audit of a run's model, and judge; renews `audits`, `references` and `verdict` of its record.

    Args:
        run: The folder that `unlearn` wrote.
        retrained: Weights of models that never saw the forgotten data.
        elsewhere: Fields of `Inputs` that are other than the record says: where things no longer lie where they did, the device, the head.
        skip: Audits that are not asked; the record says so.
        also: Audits that are asked only where they are named.
        shadows: Folder of models that saw half of what was forgotten; `exposure` is asked then.
        trigger: A trigger whose attack is counted.
        show_images: Whether to put sample images into the record.
        progress: Told of each audit.
        say: Told what the user should know.

    Returns:
        The record.
    """
    with files.watching():
        return _audited(folder_of(run), retrained, elsewhere, skip, beside_shadows(also, shadows), shadows, trigger, show_images, progress, say)


def beside_shadows(also: Sequence[str], shadows: Path | None) -> tuple[str, ...]:
    """The audits that are asked besides, where there are shadows."""
    return (*also, *(["exposure"] if shadows is not None and "exposure" not in also else []))


def _audited(
    run: Path,
    retrained: Sequence[Path],
    elsewhere: Mapping[str, Any] | None,
    skip: Sequence[str],
    also: Sequence[str],
    shadows: Path | None,
    trigger: Planted | None,
    show_images: bool,
    progress: Progress,
    say: Say,
) -> dict[str, Any]:
    others = {name: value for name, value in (elsewhere or {}).items() if value is not None}
    usual(also, skip)
    planted = None if trigger is None else trigger.read(say)
    record = read_record(run)
    refuse_edited(record, called(run))
    if "bias" in record["request"]:
        raise BadArgument(f"{called(run)} is a run of `untrain debias`, which has measured and judged its model; `untrain report {quote(str(run))}` draws the page")
    path = run / record["output"]["file"]
    if not path.is_file() or files.sha256(path) != record["output"]["sha256"]:
        raise BadData(f"{path.name} in {called(run)} is not the file that the record was made of (sha256 differs); make the run anew")
    with wall(f"the record of {called(run)}", "make the run anew"):
        said = recorded(record, noted_inputs(run), kept(run, record["request"]["forget"]))
        inputs = replace(said, **others)
    if len(exits_of(said.head)) > 1 and inputs.head != said.head:
        raise BadArgument(
            f"{called(run)} was made of a network with the exits {said.head}, and its verdict is on all of them; leave out --head (in Python untrain.audit(head=...) asks one)"
        )
    _refuse_named_code(inputs, run, others)
    opened = inputs.open(say, code=record.get("code", {}))
    source = opened.data
    if source.sha256 != record["data"]["sha256"]:
        raise BadData(f"the data {source.name} is not that of the run (sha256 differs); name the data it was made with by --data or --data-root")
    given = opened.model
    if given.sha256 != record["model"]["sha256"]:
        raise BadData(f"{given.origin} is not the original of the run, {record['model']['origin']} (sha256 differs); name it by --weights")
    split = _split_again(record, opened)
    if "forget" in others and record["request"]["classes"]:
        refuse_other_classes(record, opened)
    unlearned = filled(inputs.model, source.classes, path)
    references = [reference(p, inputs.model, source.classes, split) for p in weights_in(retrained)]
    if any(r.sha256 == record["output"]["sha256"] for r in references):
        raise BadArgument("a model named by --retrained is the audited model itself; name models that were trained without the forgotten data")
    dark = None if shadows is None else shadows_in(shadows, inputs.model, source.classes, split, method_in(record))
    with locked(run):
        record["chain"] = seal.before_audit(record)
        sweep(run)
        examine(record, opened, split, unlearned, references, skip=skip, also=also, shadows=dark, trigger=planted, show_images=show_images, progress=progress)
        files.refuse_changed()
        look_again(record, opened, unlearned)
        record = seal.sealed(record)
        if is_foreign(record):
            files.write(run / CARD, card(record).encode())
        files.write(run / RECORD, records.dumps(record))
        if (run / SIGNATURE).is_file():
            (run / SIGNATURE).unlink()
            say("the record is another now, and its signature was removed; sign it anew once you have read it")
    return record


def refuse_edited(record: Mapping[str, Any], name: str) -> None:
    """Refuse a record that is not as it was made; one of before there were seals is audited anew, whatever it says.

    Raises:
        BadData: its seal does not fit, or its verdict is not that of its rows.
    """
    facts = seal.edited(record) if "seal" in record else []
    if facts:
        raise BadData(f"the record in {name} is EDITED: {'; '.join(facts)}; make the run anew")


def refuse_other_classes(record: Mapping[str, Any], opened: Opened) -> None:
    """Refuse a request for other classes than those that a run was made to forget: a run is asked about what it did.

    Raises:
        BadArgument: it is one.
    """
    if list(opened.split.classes) != record["request"]["classes"]:
        raise BadArgument(f"--forget {forgetting.shown(opened.inputs.asked)}: the run was made to forget {what(record['request'])}; leave --forget out, or make another run")


def look_again(record: dict[str, Any], opened: Opened, unlearned: nn.Module) -> None:
    """Fill a record's `earlier`: whether classes that were forgotten before this run are named again; lists of samples are not looked at."""
    looks = []
    for request in seal.chained(record)["requests"]:
        if not request["classes"] or request["data"] != opened.data.sha256:
            continue
        split = Split.by_class(opened.data.train, opened.data.test, forget=request["classes"])
        (answer,) = auditing.audit(unlearned, split, [lookup("audits", "accuracy")()], norm=opened.norm, head=opened.inputs.head, device=opened.device)
        named: list[dict[str, Any]] = next((row["values"]["unlearned"] for row in answer["rows"] if row["name"] == ANSWERED), [])
        looks += [{name: request[name] for name in ("record", "classes", "names")} | {"named": value} for value in named]
    if looks:
        record["earlier"] = records.finite(looks)


def _refuse_named_code(inputs: Inputs, run: Path, given: Collection[str]) -> None:
    """Refuse to run code that a folder names: whoever made the folder could have put it there.

    Raises:
        BadArgument: a function is named by the record and not by this command (says by which flag it is to be).
    """
    named = {field.name: getattr(inputs, field.name) for field in fields(inputs) if field.name not in given}
    for flag, function in code_of(named).items():
        raise BadArgument(
            f"{called(run)} was made with code, {function.shown}, and code is run only where this command names it: "
            f"add --{flag} {'path/' * (function.kind == 'file')}{function.shown}"
        )


def recorded(record: Mapping[str, Any], noted: Mapping[str, Path], told: str | None = None) -> Inputs:
    """What a record's run was made of, with the folders and files that were noted beside it.

    Of a file or folder a record says the name alone; where it lay stands in `.inputs.json`.

    Args:
        record: The record.
        noted: What was noted.
        told: The request in full, where the record has a keyed hash of it.
    """
    said = dict(reversed(list(pairwise(record["command"]))))
    own = {field.name: said.get(f"--{field.name.replace('_', '-')}") for field in fields(Inputs)}
    parts: dict[str, Any] = {part: _spec(named, noted.get(part)) for part in ("test", "holdout", "unseen") if (named := own[part])}
    norm, asked = record["model"]["norm"], record["request"]["forget"]
    kind = asked.partition(":")[0]
    return Inputs(
        model=name_at(record["model"]["name"], noted.get("model")),
        forget=None if "bias" in record["request"] else f"{kind}:{noted['forget']}" if "forget" in noted else told or asked,
        redact="--redact" in record["command"],
        weights=noted.get("weights"),
        canaries=noted.get("canaries"),
        data_root=noted.get("data_root"),
        size=int(own["size"]) if own["size"] else None,
        rate=int(own["rate"]) if own["rate"] else None,
        length=float(own["length"]) if own["length"] else None,
        image_column=own["image_column"],
        label_column=own["label_column"],
        columns=own["columns"],
        text_column=own["text_column"],
        norm=None if norm is None else "/".join(",".join(map(repr, norm[side])) for side in ("mean", "std")),
        head=own["head"],
        data=_spec(own["data"] or record["data"]["name"], noted.get("data")),
        **parts,
    )


def examine(
    record: dict[str, Any],
    opened: Opened,
    split: Split,
    unlearned: nn.Module,
    references: Sequence[Reference],
    *,
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    shadows: Shadows | None = None,
    trigger: Planted | None = None,
    show_images: bool = False,
    progress: Progress = silent,
) -> None:
    """Fill a record's `audits`, of each exit where several are named, `references`, `verdict` and `pictures`; those to `skip` are listed as left out, those of `also` are asked."""
    original, norm = opened.model.module, opened.norm
    record.pop("trigger", None)
    if trigger is not None:
        split, record["trigger"] = trigger.beside(split)
        also = (*also, "trigger")
    if opened.inputs.forget == forgetting.CANARIES and "canary" not in skip:
        also = (*also, "canary")
    subjects: dict[int, auditing.Subject] = {}
    retrained = [r.module for r in references if r.column == "retrained"]
    controls = {r.column: r.module for r in references if r.column != "retrained"}
    asked = [lookup("audits", name)() for name in usual(also, skip)]
    how: dict[str, Any] = {"original": original, "retrained": retrained, "controls": controls, "norm": norm, "device": opened.device, "progress": progress}
    how["shadows"] = shadows[0] if shadows is not None else ()
    answers = auditing.audit(unlearned, split, asked, head=opened.inputs.head, subjects=subjects, **how)
    answers += [auditing.unasked(lookup("audits", name)(), "left out by --skip") for name in sorted(skip)]
    record["audits"] = records.finite(answers)
    exits = exits_of(opened.inputs.head)
    record.pop("exits", None)
    if len(exits) > 1:
        # The others are named ahead of the one that is asked, since their heads' rows are no part of the body.
        asking = {name: ",".join([*(other for other in exits if other != name), name]) for name in exits[:-1]}
        found = {name: auditing.audit(unlearned, split, asked, head=head, **how) for name, head in asking.items()}
        record["exits"] = records.finite([{"name": name, "audits": audits, "verdict": None} for name, audits in found.items()])
        for exit in record["exits"]:
            exit["verdict"] = records.finite(judged_exit(exit["audits"], record))
    record["references"] = [{"column": r.column, "file": r.file, "sha256": r.sha256, "about": records.finite(r.about)} for r in references]
    record.pop("shadows", None)
    if shadows is not None:
        record["shadows"] = shadows[1]
    record["verdict"] = records.finite(judged(record))
    shown = {"original": original, "unlearned": unlearned} | ({"retrained": retrained[0]} if retrained else {}) | controls
    test = running.prepared(unlearned, split, norm).test
    record["pictures"] = records.finite(pictures(test, split.classes, {column: subjects[id(m)] for column, m in shown.items()})) if show_images else None


def reference(path: Path, model: str, classes: int, split: Split) -> Reference:
    """A retrained model out of a file.

    Raises:
        BadData: it does not fit, or says of itself that it was trained on other data than these without the forgotten.
    """
    module = filled(model, classes, path)
    about = files.about(path)
    if "shadows" in about:
        raise BadData(f"{path.name} is a shadow: it saw half of what is to be forgotten, and no retrained model did; name its folder by --shadows")
    if about.get("method", "retrain") != "retrain":
        raise BadData(f"{path.name} says that it was made by {about['method']}, which does not train anew; name models that never saw the forgotten data")
    if about and not split.classes and about.get("samples") != forgetting.digest(split):
        raise BadData(f"{path.name} does not say that it was trained without the {len(split.forget)} samples that are to be forgotten; name models that never saw these")
    gone = split.classes
    said = about.get("classes", list(gone))
    if not isinstance(said, list) or not all(isinstance(one, int) for one in said):
        raise BadData(f"{path.name}: what it says of itself is not as untrain writes it (classes); get it anew")
    if not set(gone) <= set(said):
        without = f"without the classes {said}" if said else "on all classes"
        raise BadData(f"{path.name} says that it was trained {without}, not without {list(gone)}; name models that never saw these")
    return Reference("retrained", module, path.name, files.sha256(path), about)


def filled(model: str, classes: int, path: Path) -> nn.Module:
    """A network by name with the weights of a file."""
    return given_model(model, classes, weights=path).module


def _spec(said: str, path: Path | None) -> str:
    """A name of data out of a record's command, with the folder or file that was noted."""
    return said if path is None else finding.at(said, path)


def _split_again(record: Mapping[str, Any], opened: Opened) -> Split:
    """The split that a record was made with.

    Raises:
        BadData: the list of samples is not that of the run, or not there.
    """
    asked, source, forget = record["request"], opened.data, opened.inputs.asked
    if asked["classes"]:
        return Split.by_class(source.train, source.test, forget=asked["classes"], **source.beside)
    if forgetting.digest(opened.split) != asked["sha256"]:
        kind = asked["forget"].partition(":")[0]
        raise BadData(f"{forgetting.shown(forget)} does not name the {asked['count']} samples of the run (sha256 differs); name the list by --forget {kind}:FILE")
    return opened.split
