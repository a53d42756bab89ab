"""The model card of an unlearned model: a pure function of its record. Names no file of what was forgotten. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from untrain.evidence.verdict import SENTENCES, in_tests, what

CARD = "README.md"
"""The file it is written to, where model hubs look for it."""

LIBRARIES = {"hf": "transformers", "timm": "timm", "torchvision": "torchvision"}


def card(record: Mapping[str, Any]) -> str:
    """A card in Markdown with a YAML header: how the model came about, what was forgotten, and what was found.

    What was forgotten is named by class, or counted; what was found is the verdict's sentence and no other.

    Args:
        record: A run's record, audited or not.
    """
    method, model, data = record["method"], record["model"], record["data"]
    settings = "\n".join(f"- `{name}`: {value}" for name, value in sorted(method["settings"].items())) or "- none"
    marks = f" The run is marked: {', '.join(record['run']['marks'])}." if record["run"]["marks"] else ""
    asked, done = ("remove the bias over", "debiased") if "bias" in record["request"] else ("forget", "unlearned")
    return f"""{_header(model["name"])}
# {_title(model["name"])}, {done}

This model was made from `{model["name"]}` by the method `{method["name"]}` of untrain {record["environment"]["untrain"]}, to {asked} {forgotten(record)}.{marks}

## What was found

{found(record)}

## What is not claimed

{chr(10).join(f"- {sentence}" for sentence in record["not_claimed"])}

## How it was made

- method: {method["name"]}, preset {method["preset"] or "none"}; {method["paper"]}
- data it was given: {", ".join(method["needs"]) or "none"}
- samples: {", ".join(f"{part} {n:,}" for part, n in sorted(data["counts"].items()))}
- seed: {record["seed"]}
- original weights, sha256: `{model["sha256"]}`
- these weights, sha256: `{record["output"]["sha256"]}`
- torch {record["environment"]["torch"]}, {record["environment"]["device"]}, {record["environment"]["precision"]}

Settings:

{settings}

The whole record is `record.json`.
"""


def forgotten(record: Mapping[str, Any]) -> str:
    """What was to be forgotten: classes by name, anything else as a count.

    >>> forgotten({"request": {"forget": "files:secret.csv", "classes": [], "names": []}, "data": {"counts": {"forget": 40}}})
    '40 training samples'
    """
    request = record["request"]
    if "bias" in request:
        return what(request)
    return what(request) if request["classes"] and str(request["forget"]).startswith("class:") else f"{record['data']['counts'].get('forget', 0):,} training samples"


def found(record: Mapping[str, Any]) -> str:
    """The verdict's sentence, or that there is none yet."""
    verdict = record["verdict"]
    if verdict is None:
        return "No audit has looked at this model yet: how far it forgot is not known."
    sentence = SENTENCES[verdict["code"]].format(what=forgotten(record), reasons="; ".join(verdict["reasons"]), m=verdict["retrained"], tests=in_tests(verdict))
    return f"`{verdict['code']}`: {sentence}"


def _header(name: str) -> str:
    kind, _, rest = name.partition(":")
    lines = [f"library_name: {LIBRARIES.get(kind, 'pytorch')}", "pipeline_tag: image-classification", "tags:", "- machine-unlearning", "- untrain"]
    # Only a Hub name is a base model that others can look up.
    if kind == "hf" and rest.count("/") == 1:
        lines += [f"base_model: {rest}"]
    return "\n".join(["---", *lines, "---"])


def _title(name: str) -> str:
    return name.partition(":")[2] if name.partition(":")[0] in LIBRARIES else name
