"""Texts: a column of a CSV or of parquet files, made into token ids by the tokenizer that the model brings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from untrain.core.data import Samples
from untrain.core.errors import BadData
from untrain.core.vision import import_transformers
from untrain.sources.forms.parts import Part, part_called

AT_ONCE = 1000
"""Texts that are made into tokens in one call."""


def rows(texts: Sequence[Any], labels: Sequence[Any], more: Mapping[str, Sequence[Any]], shown: str) -> dict[str, Part]:
    """Parts of texts, as a column `split` among the further ones divides them.

    Args:
        texts: A text for each row.
        labels: The same of labels.
        more: Further columns.
        shown: What the table is called.

    Raises:
        BadData: there are none, or a row without a text or a label.
    """
    bare = next((i for i, (text, label) in enumerate(zip(texts, labels, strict=True)) if not isinstance(text, str) or not text.strip() or label in (None, "")), None)
    if bare is not None or not len(texts):
        raise BadData(f"{shown} has no text" if bare is None else f"{shown}, row {bare}: no text or no label; mend or remove it")
    said = more.get("split", [])
    places: dict[str, list[int]] = {}
    for i in range(len(texts)):
        places.setdefault(part_called(said[i] if len(said) else None), []).append(i)
    kept = {name: values for name, values in more.items() if name != "split"}
    return {
        part: Part(
            [labels[i] for i in some],
            hashlib.sha256(repr([(texts[i], labels[i]) for i in some]).encode()).hexdigest(),
            columns={name: [values[i] for i in some] for name, values in kept.items()},
            texts=[texts[i] for i in some],
        )
        for part, some in places.items()
    }


def tokenised(parts: Mapping[str, Part], folder: Path | None, longest: int | None) -> dict[str, Part]:
    """The parts with samples of what a tokenizer makes of their texts: `input_ids`, `attention_mask` and what else it gives, all of one length.

    That is the length of the longest text of the training part, or the most that the model reads; what is longer is cut.

    Args:
        parts: The parts; those without texts stay as they are.
        folder: A folder with a tokenizer of transformers.
        longest: Tokens that the model reads at most, where it says.

    Raises:
        BadData: the model brings no tokenizer, or one that cannot be read or does not pad; or a part has texts and the training part none.
    """
    if all(part.texts is None for part in parts.values()):
        return dict(parts)
    if parts["train"].texts is None or folder is None:
        raise BadData("texts are made into tokens by the model's own tokenizer: name a model that brings one, as --model hf:FOLDER does, and give all parts as texts")
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # its errors have no common class
        raise BadData(f"transformers cannot read the tokenizer of {folder.name}: {' '.join(str(error).split())[:200]}") from error
    if tokenizer.pad_token is None:
        raise BadData(f"the tokenizer of {folder.name} has no token for padding, so texts of several lengths cannot stand in one batch; give it one (pad_token)")
    most = min(int(tokenizer.model_max_length), longest or 2**31)
    lengths = {name: [len(ids) for ids in _ids(tokenizer, part.texts)] for name, part in parts.items() if part.texts is not None}
    width = min(most, max(lengths["train"]))
    cut, n = sum(long > width for some in lengths.values() for long in some), sum(map(len, lengths.values()))
    end = "beginning" if tokenizer.padding_side == "left" else "end"
    note = f"each text is read as {width} tokens, padded at its {end}" + (f"; {cut} of {n} are longer and were cut" if cut else "")
    made = {}
    for name, part in parts.items():
        if part.texts is None:
            made[name] = part
            continue
        told = tokenizer(list(part.texts), padding="max_length", truncation=True, max_length=width, return_tensors="pt")
        made[name] = replace(part, ready=Samples(dict(told), torch.zeros(len(part.labels), dtype=torch.long), columns=part.columns), notes=(*part.notes, note))
    return made


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return [ids for i in range(0, len(texts), AT_ONCE) for ids in tokenizer(list(texts[i : i + AT_ONCE]), verbose=False)["input_ids"]]
