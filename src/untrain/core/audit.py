"""What an audit is, and how findings on several models are put side by side and judged."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from untrain.core.counting import interval
from untrain.core.data import Prepare, Samples, Split
from untrain.core.data.overlap import places, refuse_shared
from untrain.core.discover import lookup, name_of, usual
from untrain.core.engine import Engine, Progress, seeded, silent
from untrain.core.errors import FAILED, BadArgument, BadData, Diverged
from untrain.core.files import weights_hash
from untrain.core.head import of_classes
from untrain.core.host import bare, copied, home, own_copy
from untrain.core.network import Network
from untrain.core.train import predict
from untrain.core.unlearn import prepared, refuse_unfit
from untrain.core.wording import said, told

Ideal = Literal["high", "low", "as retrained"]
Looks = Literal["answers", "features", "relearning", "membership", "weights"]


@dataclass(frozen=True)
class Row:
    """One line of the side-by-side table.

    Args:
        ideal: Which value is good. `as retrained`: neither high nor low, but that of a model that never saw the data.
        unit: `share`, `steps`, `distance`, `ratio` or `count`.
        knows: Which side of the retrained models tells of knowledge that is left: +1 above, -1 below, 0 neither.
        what: What it is, in a sentence.
        looks: What it looks at. Answers prove nothing by themselves: a mask on the head changes them all.
        judged: Whether the verdict looks at it. It does where `evidence.verdict.FAMILIES` names the row, and a test holds the two together.
    """

    ideal: Ideal
    unit: str
    knows: int = 0
    what: str = ""
    looks: Looks = "answers"
    judged: bool = False


@dataclass(frozen=True)
class Value:
    """A measured value.

    Args:
        value: The value; None where there is none.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        n: Samples behind it.
        beyond: Whether a search ended at `value` without success, so that the true one lies beyond.
        p: Two-sided p against the row's own null, where that needs no retrained model.
        least: The smallest shift from that null that would have been seen with 80 % power.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    beyond: bool = False
    p: float | None = None
    least: float | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """As records hold it: `p` and `least` only where there are any."""
        return {k: v for k, v in asdict(self).items() if v is not None or k not in ("p", "least")}


@dataclass(frozen=True)
class Finding:
    """What an audit found on one model.

    Args:
        values: By row name.
        curves: By figure name: x and y of this model's line.
        bars: By figure name: a height for each label.
        skipped: Why nothing could be measured, where that is so.
    """

    values: dict[str, Value] = field(default_factory=dict)
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    bars: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: str | None = None


class Subject:
    """A model under audit: what it says of a part is computed once, in fp32, for all audits.

    Args:
        module: The model.
        head: Name of its head's layer, where it is not the last.
        engine: Where to compute.
        width: How many logits to look at, where a model may answer with more than there are classes.
    """

    def __init__(self, module: nn.Module, *, head: str | None = None, engine: Engine | None = None, width: int | None = None) -> None:
        self.width = width
        self.engine = engine or Engine()
        # Kept, so that no other model takes over the id that this one is known by.
        self.given = module
        # In fp32, whatever the model's type: what a model knows does not hang on how it was stored.
        self.network = Network(self.engine.place(own_copy(bare(module)).float()).eval().requires_grad_(False), head=head)
        self.findings: dict[Any, tuple[dict[str, Any], Finding]] = {}
        self._said: dict[Any, tuple[Samples, tuple[Tensor, Tensor, Tensor]]] = {}

    @property
    def headed(self) -> bool:
        """Whether one of its layers gives its logits; a module that changes them behind the last layer has none."""
        try:
            return self.network.head is not None
        except BadArgument:
            return False

    def on(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [n, C], labels [n] and features [n, d] on these samples, on the CPU; features of nothing where no layer gives the logits."""
        key = samples.key
        if key not in self._said:
            # The samples are kept beside the answer, so that no other data takes over the id of theirs.
            logits, labels, features = predict(self.network, samples, features=self.headed)
            lost = int(logits.isnan().any(1).sum())
            if lost:
                # A rank or a share of these would be a number, and mean nothing.
                raise BadData(f"one of the models answers with no number (NaN) on {lost:,} of {len(labels):,} samples; give one whose answers are finite")
            self._said[key] = (samples, (of_classes(logits, labels, self.width), labels, features))
        return self._said[key][1]

    def copy(self) -> Network:
        """A copy that may be trained."""
        return self.network.like(copied(self.network.module).requires_grad_(True))

    def state(self) -> dict[str, Tensor]:
        """Its weights and buffers; a module may keep other things in its state, which no audit looks at."""
        return {name: value for name, value in self.network.module.state_dict().items() if isinstance(value, Tensor)}


M = TypeVar("M")


@dataclass(frozen=True, eq=False)
class Shadow(Generic[M]):
    """A model that was trained as the original was, on what is retained and on a random half of what is forgotten or held out.

    Args:
        model: The model; an audit is given it as a `Subject`.
        seen: The half.
        after: The same model once the method that is looked at has made it forget that half.
    """

    model: M
    seen: Samples
    after: M | None = None

    def saw(self, samples: Samples) -> Tensor:
        """Whether it was trained on each of these samples [n]; the retained are not asked after."""
        known = set(places(self.seen))
        return torch.tensor([place in known for place in places(samples)], dtype=torch.bool)


def halves(split: Split, models: int, seed: int = 0) -> list[tuple[int, Samples]]:
    """What each of so many shadow models sees beside the retained, with a seed to train it by: random halves of the forgotten and the held out of their classes, together.

    The two are drawn alike, so that nothing but a trace tells one from the other, and every second model sees what the one before it did not: each sample was
    seen by half of an even number. More models leave those before them as they are.

    Args:
        split: With a hold-out.
        models: How many.
        seed: Seed of what is drawn.

    Raises:
        BadData: there is no hold-out, or one that would be changed otherwise than the training samples are.
    """
    holdout = split.parts.get("holdout")
    if holdout is None:
        raise BadData("shadow models are trained on half of a hold-out too, and there is none; name samples of the same kind that no model was trained on (--holdout)")
    ways = [{(source.prepare, source.augment) for source in part.sources} for part in (split.forget, holdout)]
    if ways[0] != ways[1]:
        raise BadData("the hold-out is prepared or changed at random otherwise than what is to be forgotten, and would be told apart by that; read both in one way")
    both = split.forget + holdout[torch.isin(holdout.y, split.forget.y)]
    made = []
    for number in range(models):
        order = torch.randperm(len(both), generator=torch.Generator().manual_seed(seed * 10_007 + number // 2))
        half = order[: len(both) // 2] if number % 2 == 0 else order[len(both) // 2 :]
        made.append((seed + number + 1, both[half.sort().values]))
    return made


@dataclass(frozen=True)
class Audit:
    """Base of all audits.

    An audit is one file with one frozen dataclass and one function, which measures one model; *the keyword
    names are the evidence it is given*: parts of the split, `classes`, and other models: `original`, and
    `retrained` and `shadows`, always tuples. Side by side is made of it by `audit`. It does not know which method ran.
    """

    found_in: ClassVar[str] = "audits"
    """The room whose files are looked through for its like."""

    question: ClassVar[str] = ""
    rows: ClassVar[dict[str, Row]] = {}
    axes: ClassVar[dict[str, tuple[str, str]]] = {}
    """By figure name: what its x and its y are."""

    by_name: ClassVar[bool] = False
    """Whether it is asked only where it is named: it takes long, or its numbers decide nothing."""

    needs: ClassVar[tuple[str, ...]] = ()
    wants: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = [p for p in inspect.signature(cls.__call__).parameters.values() if p.kind is p.KEYWORD_ONLY]
        cls.needs = tuple(p.name for p in parameters if p.default is p.empty)
        cls.wants = tuple(p.name for p in parameters if p.default is not p.empty)

    def __call__(self, *args: Any, **given: Any) -> Finding:
        """Measure one model: `(model, *, test, classes, ...)`."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    def beside(self, findings: dict[str, list[Finding]]) -> None:
        """Add to the findings, by column, what can only be said beside other models."""


# A caller may have turned gradients off for what surrounds this.
@torch.inference_mode(False)
@torch.enable_grad()
def audit(
    unlearned: nn.Module,
    split: Split,
    audits: Sequence[Audit] | None = None,
    *,
    original: nn.Module | None = None,
    retrained: Sequence[nn.Module] = (),
    controls: Mapping[str, nn.Module] | None = None,
    shadows: Sequence[Shadow[nn.Module]] = (),
    norm: Prepare | None = None,
    head: str | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: Progress = silent,
    subjects: dict[int, Subject] | None = None,
) -> list[dict[str, Any]]:
    """Ask each audit of each model; original, unlearned and retrained side by side.

    Args:
        unlearned: The model that is judged.
        split: The data.
        audits: What to ask; where nothing is named, all that are asked where none is named.
        original: The model before.
        retrained: Models that never saw the forgotten data, trained as the original was.
        controls: Further models by the name of their column.
        shadows: Models that saw a random half of what is forgotten or held out, for audits that ask for such.
        norm: Preparation of raw pixels, where the network has none of its own.
        head: Name of the head's layer, where it is not the last.
        device: Where to compute; where the model lies, where none is named.
        seed: Seed of what the audits draw.
        progress: Told of each audit.
        subjects: Models already made ready, by `id(module)`; new ones are added, so that a grid computes each once.

    Returns:
        The `audits` of a record, plain JSON. An audit that fails is skipped, and says why; where all fail the first one's error is raised.

    Raises:
        BadArgument: a retrained model twice, the unlearned one among them, or one that carries the original's weights.
        BadData: the hold-out holds samples that are to be forgotten, or that are retained; data that do not fit a model.
    """
    engine = Engine.of(device if device is not None else home(unlearned))
    split = prepared(bare(unlearned), split, norm)
    audits = [lookup("audits", name)() for name in usual()] if audits is None else audits
    if len(split.parts.get("holdout", ())) and any("holdout" in (*asked.needs, *asked.wants) for asked in audits):
        refuse_shared(split.parts["holdout"], forget=split.forget, retain=split.retain)
        if len(split.parts.get("unseen", ())):
            # A method may have been shown what is in the part `unseen`, and matched it.
            refuse_shared(split.parts["holdout"], unseen=split.parts["unseen"])
    made: dict[int, Subject] = {} if subjects is None else subjects

    def subject(module: nn.Module) -> Subject:
        if id(module) not in made:
            made[id(module)] = Subject(module, head=head, engine=engine, width=len(split.test.names) or None)
            refuse_unfit(made[id(module)].network, split)
        return made[id(module)]

    columns = {"original": [original] if original is not None else [], "unlearned": [unlearned], "retrained": list(retrained)}
    columns |= {name: [module] for name, module in (controls or {}).items()}
    shown = {name: [subject(m) for m in modules] for name, modules in columns.items()}
    _refuse_references(shown, split.classes)
    given: dict[str, Any] = {k: v for k, v in split.parts.items() if len(v)} | ({"classes": split.classes} if split.classes else {})
    if original is not None:
        given["original"] = shown["original"][0]
    if retrained:
        given["retrained"] = tuple(shown["retrained"])
    if shadows:
        given["shadows"] = tuple(Shadow(subject(s.model), s.seen, None if s.after is None else subject(s.after)) for s in shadows)
    found, failed = [], list[Exception]()
    for number, asked in enumerate(audits):
        progress(name_of(asked), number, len(audits))
        try:
            found.append(_side_by_side(asked, shown, given, seed, engine))
        except Exception as error:  # an audit may be anybody's code, and what it stands on anybody's
            failed.append(error)
            found.append(unasked(asked, FAILED + (said if isinstance(error, BadArgument | BadData | Diverged) else told)(error)))
        progress(name_of(asked), number + 1, len(audits))
    if failed and all(entry["skipped"] for entry in found):
        raise failed[0]
    return found


CARRIED = 0.01
"""Relative distance of weights within which a retrained model is taken for the original: a change of their type leaves less, another seed far more."""


def _refuse_references(shown: dict[str, list[Subject]], classes: Sequence[int]) -> None:
    """Refuse retrained models that are none: one of them twice, the unlearned model, or the original, its forgotten rows aside."""
    seen = {weights_hash(s.state()): "the audited model itself" for s in shown["unlearned"]}
    for number, model in enumerate(shown["retrained"], 1):
        digest = weights_hash(model.state())
        if digest in seen:
            raise BadArgument(f"retrained model {number} is {seen[digest]}; each must be trained by itself, without the forgotten data, from a seed of its own")
        seen[digest] = f"retrained model {number} once more"
        if any(_carries(model, original, classes) for original in shown["original"]):
            raise BadArgument(f"retrained model {number} has the original's weights, so it has seen the forgotten data; name models that were trained without it")


def _carries(model: Subject, original: Subject, classes: Sequence[int]) -> bool:
    """Whether each of a model's weights is the original's, to within rounding; in the head those of the rows that stay."""
    mine, before = model.state(), original.state()
    names = [name for name, p in model.network.named_parameters().items() if p.is_floating_point()]
    if any(name not in before or before[name].shape != mine[name].shape for name in names):
        return False
    # Of a model whose last layer does not answer no rows are known to be a class's, and all count.
    heads = model.network.heads if model.headed else ()
    stay = [i for i in range(heads[-1].width) if i not in classes] if heads else []
    inside = {f"{head.name}.{part}".removeprefix(".") for head in heads for part in ("weight", "bias")}
    pairs = [(mine[n][stay], before[n][stay]) if n in inside else (mine[n], before[n]) for n in names]
    return bool(pairs) and all(float((a - b).norm()) <= CARRIED * float(b.norm()) for a, b in pairs)


def _side_by_side(asked: Audit, shown: dict[str, list[Subject]], given: dict[str, Any], seed: int, engine: Engine) -> dict[str, Any]:
    absent = [n for n in asked.needs if n not in given]
    if absent:
        return unasked(asked, f"needs {', '.join(absent)}, which is not at hand")
    entry = unasked(asked, None)
    evidence = {n: given[n] for n in (*asked.needs, *asked.wants) if n in given}
    findings: dict[str, list[Finding]] = {}
    for column, subjects in shown.items():
        findings[column] = []
        for subject in subjects:
            key = (asked, seed, *(_key(value) for value in evidence.values()))
            if key not in subject.findings:
                with seeded(seed, engine=engine, network=subject.network):
                    # The evidence is kept beside it, so that no other takes over its ids.
                    subject.findings[key] = (evidence, asked(subject, **evidence))
            kept = subject.findings[key][1]
            if kept.skipped is not None:
                return unasked(asked, kept.skipped)
            # A copy, since `beside` adds what holds only in this company.
            findings[column].append(replace(kept, values=dict(kept.values), bars={name: dict(bar) for name, bar in kept.bars.items()}))
    asked.beside(findings)
    for name, row in asked.rows.items():
        values = {c: [f.values[name].plain for f in fs if name in f.values] for c, fs in findings.items()}
        if any(values.values()):
            entry["rows"].append({"name": name, **asdict(row), "values": values})
    for name, (x, y) in asked.axes.items():
        curves = {c: [{"x": f.curves[name][0], "y": f.curves[name][1]} for f in fs if name in f.curves] for c, fs in findings.items()}
        bars = {c: [f.bars[name] for f in fs if name in f.bars] for c, fs in findings.items()}
        kind, series = ("curves", curves) if any(curves.values()) else ("bars", bars)
        if any(series.values()):
            entry["figures"].append({"name": name, "kind": kind, "x": x, "y": y, "series": series})
    return entry


def unasked(audit: Audit, why: str | None) -> dict[str, Any]:
    """An entry of a record's `audits` that holds nothing yet, and why it stays so."""
    return {"name": name_of(audit), "question": audit.question, "settings": asdict(audit), "rows": [], "figures": [], "skipped": why}


def counted(hits: Tensor) -> Value:
    """A counted share of hits [n], with its interval."""
    k, n = int(hits.sum()), len(hits)
    low, high = interval(k, n)
    return Value(k / n, low, high, n)


def _key(evidence: Any) -> Any:
    """What tells one piece of evidence from another."""
    if isinstance(evidence, Samples):
        return evidence.key
    return tuple(id(e) if isinstance(e, Subject) else e for e in evidence) if isinstance(evidence, tuple) else id(evidence)
