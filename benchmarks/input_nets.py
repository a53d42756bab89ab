"""Networks that read no images, and their data: rows of Adult, texts of AG News. What `benchmarks/inputs.py` runs on.

Needs the folder UNTRAIN_DATA; texts also transformers and pyarrow.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import untrain
from untrain.zoo.sets import data_root

ROWS, TESTED = 8000, 2000
"""Lines of Adult that are trained and tested on: the first of each part."""

WORDS, LENGTH, TEXTS, READ = 4000, 32, 4000, 1200
"""Words of the vocabulary, tokens of a text at most, and texts that are trained and tested on."""

# Rows of numbers and categories.


@cache
def adult() -> tuple[untrain.Samples, untrain.Samples]:
    """Adult's six relationships (in the family, or not) from all other columns, read as `--data adult.csv.gz --label-column relationship` reads them."""
    data = untrain.load(str(_root() / "tabular" / "adult.csv.gz"), label_column="relationship")
    return data.train[:ROWS], data.test[:TESTED]


def sizes() -> tuple[int, list[int]]:
    """How many numbers a row has, and how many codes each category."""
    x = adult()[0].batch(torch.arange(ROWS))[0]
    assert isinstance(x, dict)
    # A code that only a test row has finds a place as well.
    return x["numbers"].shape[1], [50] * x["categories"].shape[1]


class Perceptron(nn.Module):
    """Numbers beside an embedding of each category, through two layers with BatchNorm.

    Args:
        classes: Width of the head.
        numbers: How many numbers a row has.
        categories: How many codes each category has.
        width: Units of a layer.
    """

    def __init__(self, classes: int, numbers: int, categories: list[int], width: int = 128) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, 4) for n in categories)
        self.join = nn.Identity()
        into = numbers + 4 * len(categories)
        self.body = nn.Sequential(nn.Linear(into, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def forward(self, numbers: Tensor, categories: Tensor) -> Any:
        """Logits of rows."""
        read = [table(column) for table, column in zip(self.tables, categories.unbind(1), strict=True)]
        return self.head(self.body(self.join(torch.cat([numbers, *read], 1))))


class Tokenizer(nn.Module):
    """A token for each column: of a number its value times a vector, of a category its embedding, each with a bias; and one that answers (Gorishniy et al. 2021, arXiv:2106.11959).

    Args:
        numbers: How many numbers a row has.
        categories: How many codes each category has.
        width: Length of a token.
    """

    def __init__(self, numbers: int, categories: list[int], width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(numbers, width) / width**0.5), nn.Parameter(torch.zeros(numbers + len(categories), width))
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in categories)
        self.answer = nn.Parameter(torch.randn(1, 1, width) / width**0.5)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """Tokens [n, 1 + columns, width]."""
        read = [table(column)[:, None] for table, column in zip(self.tables, categories.unbind(1), strict=True)]
        tokens = torch.cat([numbers[..., None] * self.weight, *read], 1) + self.bias
        return torch.cat([self.answer.expand(len(tokens), -1, -1), tokens], 1)


class Block(nn.Module):
    """Attention and two layers, each behind a LayerNorm and added to what it read.

    Args:
        width: Length of a token.
        heads: Heads of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.between = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Any:
        """Tokens [n, tokens, width]."""
        seen = self.before(x)
        x = x + self.look(seen, seen, seen, need_weights=False)[0]
        return x + self.between(self.after(x))


class FTTransformer(nn.Module):
    """Shaped as the FT-Transformer: a tokenizer of columns, blocks, and a head on the token that answers.

    Args:
        classes: Width of the head.
        numbers: How many numbers a row has.
        categories: How many codes each category has.
        width: Length of a token.
    """

    def __init__(self, classes: int, numbers: int, categories: list[int], width: int = 32) -> None:
        super().__init__()
        self.tokens = Tokenizer(numbers, categories, width)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm_, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, numbers: Tensor, categories: Tensor) -> Any:
        """Logits of rows."""
        return self.head(torch.relu(self.norm_(self.blocks(self.tokens(numbers, categories))[:, 0])))


def perceptron() -> nn.Module:
    """The perceptron of Adult."""
    return Perceptron(6, *sizes())


def ft_transformer() -> nn.Module:
    """The FT-Transformer of Adult."""
    return FTTransformer(6, *sizes())


# Texts.


def words(text: str) -> list[str]:
    """A text's words in small letters, numbers and single signs."""
    return re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", text.lower())


@cache
def ag_news() -> tuple[untrain.Samples, untrain.Samples]:
    """AG News (its test part, the only one at hand), divided in two by a fixed seed.

    Words get numbers by how often the training part has them: 0 is no word, 1 one that is not known.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(_root() / "ag_news" / "test-00000-of-00001.parquet")
    text, y = table["text"].to_pylist(), torch.from_numpy(table["label"].to_numpy().copy())
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    count = Counter(word for i in order[:TEXTS].tolist() for word in words(text[i]))
    number = {word: 2 + i for i, (word, _) in enumerate(count.most_common(WORDS - 2))}

    def part(rows: Tensor) -> untrain.Samples:
        ids = torch.zeros(len(rows), LENGTH, dtype=torch.long)
        for row, i in enumerate(rows.tolist()):
            some = [number.get(word, 1) for word in words(text[i])[:LENGTH]]
            ids[row, : len(some)] = torch.tensor(some)
        return untrain.Samples({"input_ids": ids, "attention_mask": (ids != 0).long()}, y[rows], names=names)

    return part(order[:TEXTS]), part(order[TEXTS : TEXTS + READ])


def bert() -> nn.Module:
    """A BERT of transformers with two layers of 64, from random weights."""
    from untrain.core.vision import import_transformers

    transformers = import_transformers()
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=LENGTH,
        num_labels=4,
        attn_implementation="eager",
    )
    made: nn.Module = transformers.BertForSequenceClassification(config)
    return made


def _root() -> Any:
    root = data_root()
    assert root is not None, "UNTRAIN_DATA names no folder"
    return root
