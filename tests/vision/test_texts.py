"""Texts by flag: a column of a CSV or parquet, made into tokens by the tokenizer in the model's own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers

from untrain.cli.app import main
from untrain.core.errors import BadArgument, BadData
from untrain.sources import loading
from untrain.sources.forms import texts
from untrain.sources.forms.finding import found
from untrain.sources.forms.parts import Columns, Part
from untrain.verbs.given import given_data

CLASSES = ("metal", "sport", "stars")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
OWN = {name: [f"{name}{i}" for i in range(6)] for name in CLASSES}
VOCABULARY = [*SPECIAL, *(word for words in OWN.values() for word in words), "and"]


def written(n: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts of 3 to 7 words of their class, and the classes."""
    g = torch.Generator().manual_seed(seed)
    labels = [CLASSES[i % 3] for i in range(n)]
    return [" and ".join(OWN[label][int(w)] for w in torch.randint(0, 6, (2 + i % 3,), generator=g)) for i, label in enumerate(labels)], labels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=6,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: i for i, name in enumerate(CLASSES)},
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(VOCABULARY)}).save_pretrained(folder / "bert")
    model.save_pretrained(folder / "bert")
    said, labels = written(60, 0)
    more, theirs = written(30, 1)
    lines = [f"{t},{c},{part}" for part, ts, cs in (("train", said, labels), ("test", more, theirs)) for t, c in zip(ts, cs, strict=True)]
    (folder / "news.csv").write_text("\n".join(["text,label,split", *lines]))
    (folder / "parts").mkdir()
    for part, ts, cs in (("train", said, labels), ("test", more, theirs)):
        pq.write_table(pa.table({"body": ts, "label": cs}), folder / "parts" / f"{part}-0.parquet")
    return folder


def by_hand(text: str, width: int) -> list[int]:
    ids = [VOCABULARY.index(word) for word in ["[CLS]", *text.split()][: width - 1]]
    ids.append(VOCABULARY.index("[SEP]"))
    return ids + [0] * (width - len(ids))


@pytest.mark.parametrize(("data", "column"), [("news.csv", None), ("parts", "body")])
def test_texts_are_the_tokens_that_their_words_have_in_the_vocabulary(place: Path, data: str, column: str | None) -> None:
    read = given_data(str(place / data), expects=loading.expects(str(place / "bert")), text_column=column)
    said, labels = written(60, 0)
    x, y = read.train.batch(torch.arange(60))
    assert x["input_ids"].tolist() == [by_hand(text, 6) for text in said]
    assert torch.equal(x["attention_mask"], (x["input_ids"] != 0).long())
    assert [CLASSES[i] for i in y.tolist()] == labels
    assert len(read.test) == 30
    assert any("read as 6 tokens" in note and "were cut" in note for note in read.notes)


def test_rows_are_divided_by_their_column_and_keep_what_stands_beside_them(tmp_path: Path) -> None:
    """In turns, so that what is taken by its place in a part and not in the table is another's; a text is as it was written."""
    lines = [f"Text {i} ,{'abc'[i % 3]},{('train', 'test')[i in (0, 2, 5)]},paper{i}" for i in range(7)]
    (tmp_path / "news.csv").write_text("\n".join(["text,label,split,source", *lines]))
    parts = found(str(tmp_path / "news.csv"), Columns(text="")).parts
    for name, rows in (("train", [1, 3, 4, 6]), ("test", [0, 2, 5])):
        part = parts[name]
        assert part.texts == [f"Text {i} " for i in rows]
        assert list(part.labels) == ["abc"[i % 3] for i in rows]
        assert part.columns == {"source": [f"paper{i}" for i in rows]}
    digests = {texts.rows(ts, ls, {}, "t")["all"].digest for ts, ls in ((["a", "b"], ["x", "y"]), (["a", "c"], ["x", "y"]), (["a", "b"], ["y", "x"]))}
    assert len(digests) == 3
    for bare in (" ", None, 3):
        with pytest.raises(BadData, match="t, row 1: no text or no label"):
            texts.rows(["a", bare], ["x", "y"], {}, "t")


def test_files_that_divide_the_rows_are_not_divided_again(tmp_path: Path) -> None:
    for part in ("train", "test"):
        pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", "y"], "split": ["one", "two"], "year": [1, 2]}), tmp_path / f"{part}-0.parquet")
    parts = found(str(tmp_path), Columns(text="")).parts
    assert {name: (part.texts, part.columns) for name, part in parts.items()} == dict.fromkeys(("train", "test"), (["a", "b"], {"year": [1, 2]}))


def test_the_training_part_says_how_many_tokens_a_text_has_and_what_is_cut_is_counted(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of 2 to 4 words, and of 2 to 5 in the test part: with the marks at both ends 6 tokens, and one text of 7 is cut."""

    def part(words: list[int]) -> Part:
        return Part(["metal"] * len(words), "", texts=[" ".join(OWN["metal"][:n]) for n in words], columns={"n": list(map(str, words))})

    parts = {"train": part([2, 4, 3, 4, 2]), "test": part([5, 4, 2])}
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    for longest, width, cut in ((None, 6, 1), (100, 6, 1), (5, 5, 4)):
        made = texts.tokenised(parts, place / "bert", longest)
        for name, some in made.items():
            assert some.ready is not None
            x, _ = some.ready.batch(torch.arange(len(some.labels)))
            assert x["input_ids"].tolist() == [by_hand(text, width) for text in parts[name].texts or ()]
            assert some.ready.columns == parts[name].columns
            assert some.notes == (f"each text is read as {width} tokens, padded at its end; {cut} of 8 are longer and were cut",)
    alone = texts.tokenised({"train": parts["train"]}, place / "bert", None)["train"]
    assert alone.notes == ("each text is read as 6 tokens, padded at its end",)
    with pytest.raises(BadData, match="give all parts as texts"):
        texts.tokenised({"train": Part([], ""), "test": parts["test"]}, place / "bert", None)
    tokenizer = transformers.AutoTokenizer.from_pretrained(place / "bert")
    tokenizer.model_max_length = 4
    tokenizer.save_pretrained(tmp_path / "short")
    ready = texts.tokenised(parts, tmp_path / "short", None)["train"].ready
    assert ready is not None
    assert ready.batch(torch.arange(5))[0]["input_ids"].shape == (5, 4)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "unpadded")
    with pytest.raises(BadData, match="the tokenizer of unpadded has no token for padding"):
        texts.tokenised(parts, tmp_path / "unpadded", None)


def test_a_tokenizer_that_pads_ahead_is_said_to(place: Path, tmp_path: Path) -> None:
    transformers.AutoTokenizer.from_pretrained(place / "bert").save_pretrained(tmp_path / "left")
    about = tmp_path / "left" / "tokenizer_config.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"padding_side": "left"}))
    made = texts.tokenised({"train": Part(["metal"] * 2, "", texts=["metal1", "metal1 metal2"])}, tmp_path / "left", None)["train"]
    assert made.ready is not None
    assert made.ready.batch(torch.arange(2))[0]["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]
    assert made.notes == ("each text is read as 4 tokens, padded at its beginning",)


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "bert"])
def test_a_text_is_cut_to_what_the_model_has_places_for_where_its_tokenizer_does_not_say(place: Path, tmp_path: Path, kind: str) -> None:
    """The oracle is the model: it takes so many tokens, and not one more. Many a RoBERTa on the Hub has a tokenizer that tells no length."""
    small: dict[str, object] = {"vocab_size": len(VOCABULARY), "pad_token_id": 1, "id2label": dict(enumerate(CLASSES)), "label2id": {name: i for i, name in enumerate(CLASSES)}}
    kinds = {"roberta": ("Roberta", "hidden_size"), "gpt2": ("GPT2", "n_embd"), "bert": ("Bert", "hidden_size")}
    name, width = kinds[kind]
    small |= {width: 16} | ({"n_layer": 1, "n_head": 2, "n_positions": 9} if kind == "gpt2" else {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 9})
    model = getattr(transformers, f"{name}ForSequenceClassification")(getattr(transformers, f"{name}Config")(**small)).eval()
    model.save_pretrained(tmp_path / kind)
    transformers.AutoTokenizer.from_pretrained(place / "bert").save_pretrained(tmp_path / kind)
    longest = loading.expects(str(tmp_path / kind)).longest
    assert longest is not None
    model(input_ids=torch.full((1, longest), 7))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, longest + 1), 7))


def test_a_text_over_several_lines_keeps_its_words_apart(place: Path, tmp_path: Path) -> None:
    """As mail and news have them, in quotes; other marks that Python takes for ends of lines are parts of a text."""
    lines = ['"metal1\nmetal2",metal', "sport1\u2028sport2,sport", "stars1 stars2,stars"] * 6
    (tmp_path / "news.csv").write_text("\n".join(["text,label", *lines]))
    read = given_data(str(tmp_path / "news.csv"), expects=loading.expects(str(place / "bert")))
    whole = read.train + read.test
    x, y = whole.batch(torch.arange(len(whole)))
    assert len(whole) == 18
    for ids, label in zip(x["input_ids"].tolist(), y.tolist(), strict=True):
        assert ids == by_hand(f"{CLASSES[label]}1 {CLASSES[label]}2", 4)


def test_what_lacks_a_tokenizer_or_a_text_is_refused(place: Path, tmp_path: Path) -> None:
    look = loading.expects(str(place / "bert"))
    with pytest.raises(BadData, match="name a model that brings one"):
        given_data(str(place / "news.csv"), text_column="text")
    with pytest.raises(BadArgument, match=r"--text-column story: .* has the columns text, label, split"):
        given_data(str(place / "news.csv"), expects=look, text_column="story")
    with pytest.raises(BadArgument, match="texts are read out of a CSV or parquet files"):
        given_data("hf:some/where", expects=look, text_column="text")
    (tmp_path / "bare.csv").write_text("text,label\nmetal1,metal\n,sport\n")
    with pytest.raises(BadData, match=r"bare.csv, row 1: no text or no label"):
        given_data(str(tmp_path / "bare.csv"), expects=look)


def test_a_class_of_texts_is_forgotten_by_flags_alone(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes out is a folder that transformers reads, its tokenizer in it."""
    run = tmp_path / "run"
    named = ["--model", str(place / "bert"), "--data", str(place / "news.csv")]
    assert main(["unlearn", "finetune", *named, "--forget", "class:sport", "--epochs", "1", "--out", str(run)]) == 0
    record = json.loads((run / "record.json").read_text())
    assert record["data"]["counts"]["forget"] == 20
    assert not any(str(place) in part for part in record["command"])
    capsys.readouterr()
    assert main(["audit", str(run), "--model", str(place / "bert"), "--data", str(place / "news.csv"), "--skip", "relearn,prototype"]) in (0, 3, 4)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(run)
    ids = transformers.AutoTokenizer.from_pretrained(run)("sport1 and metal2")["input_ids"]
    assert ids == by_hand("sport1 and metal2", 5)
    assert again.config.num_labels == 3


def test_canaries_of_texts_are_drawn_by_the_column_and_the_models_tokenizer(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are drawn of the tokens that every later verb reads, and so fit what the same flags read there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNTRAIN_CACHE", str(tmp_path / "cache"))
    texts, coins = ["--data", str(place / "parts"), "--text-column", "body"], ["-m", "20", "-o", "coins.json"]
    assert main(["canaries", *texts, *coins]) == 5
    assert "name a model that brings one" in capsys.readouterr().err
    assert main(["canaries", "--model", str(place / "bert"), *texts, *coins]) == 0
    inside = sum(row["inside"] for row in json.loads((tmp_path / "coins.json").read_text())["canaries"])
    asked = ["--model", str(place / "bert"), *texts, "--canaries", "coins.json", "--forget", "canaries"]
    assert main(["unlearn", "finetune", *asked, "--epochs", "1", "--out", "run"]) == 0
    request = json.loads((tmp_path / "run" / "record.json").read_text())["request"]
    assert (request["forget"], request["count"]) == ("canaries", inside)
