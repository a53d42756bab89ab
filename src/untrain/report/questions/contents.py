"""The questions, in the order of the page, and the page drawn."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup

from untrain.evidence.verdict import what
from untrain.report.markup import asset, draw
from untrain.report.page import whole
from untrain.report.questions.asked import BASE, Answer, Evidence, Picture, Question
from untrain.report.questions.left import layers, predictions, relearning, saliency, standard
from untrain.report.questions.phases import costs, impair_repair, noise
from untrain.report.questions.sequence import sequential
from untrain.report.questions.sweeps import Sweep
from untrain.report.sections import drawn


def render(evidence: Evidence) -> str:
    """HTML of the page: a pure function of the evidence."""
    answers = [(q, q.answer(evidence)) for q in QUESTIONS]
    body = Markup("\n").join([_heading(evidence, answers), *(_section(q, a, evidence) for q, a in answers)])
    return whole("The paper's questions", body, asset("questions.css"))


def _heading(evidence: Evidence, answers: Sequence[tuple[Question, Answer]]) -> Markup:
    base = next((a.record for a in evidence.of(BASE) if a.record), None)
    entries = [(q, _state(a)) for q, a in answers]
    return draw("questions", entries=entries, about=evidence.about, what=what(base["request"]) if base else None, base=base)


def _state(answer: Answer) -> str:
    if not answer.pictures and not answer.more:
        return "not run"
    return "partly run" if answer.left or not all(a.record for a in answer.needed) else ""


def _section(question: Question, answer: Answer, evidence: Evidence) -> Markup:
    pictures = Markup("\n").join(drawn(p.figure, _source(p, evidence)) for p in answer.pictures)
    missing = [*answer.left, *(a.file for a in answer.needed if not a.record)]
    return draw("question", question=question, answer=answer, state=_state(answer), pictures=pictures, missing=missing)


def _source(picture: Picture, evidence: Evidence) -> Markup:
    used = [a for a in picture.used if a.record]
    seeds = sorted({a.record["seed"] for a in used if a.record})
    links = [(f"{evidence.folder}/{quote(a.file)}", a.file) for a in used]
    return draw("source", n=picture.n, seeds=seeds, links=links)


QUESTIONS = (
    Question(
        "noise",
        "What does the noise do over its steps?",
        "The noise is learned by Adam against the frozen model: λ times its squared norm, less the cross-entropy of the class it is for.",
        noise,
    ),
    Question(
        "impair-repair",
        "How do the impair and the repair step run?",
        "The training loss of each step, over retained samples and noise, then over retained samples alone.",
        impair_repair,
    ),
    Question(
        "healing",
        "Does more repair heal, and what does it bring back?",
        "The repair step with fewer and more epochs, from none.",
        Sweep("repair_epochs", "epochs of repair", even=False),
    ),
    Question(
        "learning-rate",
        "Which learning rate does the impair step bear?",
        "The impair step's learning rate, over several powers of ten.",
        Sweep("impair_lr", "learning rate of the impair step"),
    ),
    Question("penalty", "Does λ matter?", "The weight of the noise's squared norm, from none.", Sweep("penalty", "λ")),
    Question(
        "share",
        "How much retained data does it take?",
        "The number of retained samples that the method is given, and the share of all that this is.",
        Sweep("samples", "retained samples used", share_of="retain"),
    ),
    Question(
        "sequential",
        "What becomes of earlier classes when later ones are forgotten?",
        "One class after another, each from what the run before it left, with every earlier class looked at again.",
        sequential,
    ),
    Question("predictions", "What does it call the forgotten class now?", "The distribution of predicted classes on the forgotten class's test images.", predictions),
    Question(
        "weights",
        "How far are its weights from a retrained model's, layer by layer?",
        "The relative distance of each layer's weights from the nearest other retrained model's, and from the original's.",
        layers,
    ),
    Question(
        "saliency",
        "Where does it look?",
        "Grad-CAM of the last convolution stage for the image's own class, on a few fixed test images, each map on its own scale; no colour: no evidence for it.",
        saliency,
    ),
    Question(
        "relearning",
        "How fast does the class come back?",
        "Fine-tuning on a little of everything; once with the head's row for the class as it is, once with that row drawn anew first.",
        relearning,
    ),
    Question("time", "What does it cost?", "Each phase by the clock and in passes (images through a network: forward one, backward to the input one, full backward two).", costs),
    Question(
        "standard",
        "Is the retrained model the right standard?",
        "The same measures on models retrained by one recipe from several seeds: what they differ among themselves is chance.",
        standard,
    ),
)
"""The page, from top to bottom."""
