"""What is to be forgotten, and out of what: classes whose name could be two, random shares, Datasets and DataLoaders."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler

from untrain import Accuracy, Predictions, audit, load
from untrain.core import disk
from untrain.core.data import Data, Samples, Split, class_numbers
from untrain.core.errors import BadArgument, BadData
from untrain.sources import request

X, Y = torch.rand(60, 1, 4, 4), torch.arange(60) % 4


def named(*names):
    return Samples(X, torch.arange(60) % len(names), names=names)


def test_a_name_of_two_classes_is_refused_and_a_number_says_which():
    """Fault 21: ImageNet has two cranes, and the first was forgotten without a word."""
    samples = named("crane", "cat", "crane")
    with pytest.raises(BadArgument, match="'crane' is the name of 2 classes; write #0 or #2 for the one that is meant"):
        class_numbers(samples, ["crane"])
    assert class_numbers(samples, ["#2", "cat"]) == (1, 2)
    assert class_numbers(samples, [2]) == (2,)


@pytest.mark.parametrize("given", ["2", 2], ids=repr)
def test_a_number_that_is_also_the_name_of_another_class_is_refused(given):
    """Fault 21: of folders 0, 1, 10, 2 the command line forgot class 3 and Python class 2."""
    samples = named("0", "1", "10", "2")
    with pytest.raises(BadArgument, match="'2' is the name of class 3 and the number of another, '10'; write #2 or #3"):
        class_numbers(samples, [given])
    assert class_numbers(samples, ["#2"]) == class_numbers(samples, ["10"]) == (2,)
    assert class_numbers(samples, ["#3", "0", 1]) == (0, 1, 3)
    assert class_numbers(named("0", "1", "2"), [given]) == (2,)
    with pytest.raises(BadArgument, match="no class '#7'"):
        class_numbers(samples, ["#7"])


class Counted(Dataset):
    """Items that are counted as they are read; labels are kept beside them."""

    classes = ("a", "b", "c", "d")

    def __init__(self, n=60):
        self.targets, self.reads = Y[:n].tolist(), 0

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        self.reads += 1
        return X[i], self.targets[i]


GIVEN = {
    "dataset": lambda: Counted(),
    "loader": lambda: DataLoader(Counted(), batch_size=7),
    "shuffled": lambda: DataLoader(Counted(), batch_size=7, shuffle=True),
    "subset": lambda: Subset(Counted(), range(60)),
    "tensors": lambda: DataLoader(TensorDataset(X, Y), shuffle=True),
    "samples": lambda: Samples(X, Y),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_split_of_what_everybody_has(given):
    """Fault 50: a torch Dataset or a DataLoader ended in an AttributeError."""
    split = Split.by_class(given(), given(), forget=[3])
    assert (len(split.forget), len(split.retain), len(split.test)) == (15, 45, 60)
    assert torch.equal(split.forget.batch(torch.arange(15))[0], X[Y == 3])
    assert len(Split.by_index(given(), given(), forget=[1, 5]).forget) == 2
    assert len(Split.random(given(), given(), ratio=0.5, unseen=given()).parts["unseen"]) == 60


def test_a_split_reads_no_item_for_its_label():
    """Fault 40: each label of a Subset was an item read."""
    data = Counted()
    split = Split.by_class(Subset(data, range(60)), Subset(data, range(8)), forget=["c"])
    assert data.reads == 2
    assert split.classes == (2,)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


class Folder(Counted):
    """What reads folders of images: classes are numbered in the order of those that are there."""

    def __init__(self, *classes):
        super().__init__()
        self.classes, self.targets = classes, [y % len(classes) for y in self.targets]


@pytest.mark.parametrize(("test", "said"), [("acd", "class 1 is 'c' in test and 'b' in forget"), ("bacd", "class 0 is 'b' in test and 'a' in forget")])
def test_parts_that_number_their_classes_otherwise_are_refused(test, said):
    """Where the test folder has no image of a class, the next one's were counted in its place."""
    with pytest.raises(BadData, match=said):
        Split.by_class(Folder(*"abcd"), Folder(*test), forget=["b"])
    for alike in (Folder(*"abc"), Folder(*"abcde"), Samples(X, Y)):
        Split.by_class(Folder(*"abcd"), alike, forget=["b"])


def test_what_is_joined_numbers_its_classes_alike():
    """Images of the one's class 0 were taken for the other's class 0, whatever each called it."""
    from torch.utils.data import ConcatDataset

    def made(*names):
        return Samples(X[:2], [0, 1], names=names)

    for joined in (lambda: made("a", "b") + made("b", "c"), lambda: load((ConcatDataset([Folder(*"ab"), Folder(*"bc")]), Folder(*"ab")))):
        with pytest.raises(BadData, match=r"class 0 is 'b' in .* and 'a' in "):
            joined()
    with pytest.raises(BadData, match="class 0 is 'b' in its part 1 and 'a' in its part 0; number them alike"):
        Split.by_class(ConcatDataset([Folder(*"ab"), Folder(*"ba")]), Folder(*"ab"), forget=["a"])
    assert (made("a", "b") + made("a", "b", "c")).names == ("a", "b", "c")
    assert (made() + made("a", "b")).names == (made("a", "b") + made()).names == ("a", "b")
    assert Split.by_class(ConcatDataset([Folder(*"ab"), Folder(*"abc")]), Folder(*"ab"), forget=["a"]).classes == (0,)


class Pictures(Counted):
    def __getitem__(self, i):
        from PIL import Image

        return Image.new("RGB", (4, 4)), 0


class Bare(Counted):
    def __getitem__(self, i):
        return X[i]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: [], "holds nothing"),
        (lambda: Stream(), "train is a Stream; give Samples, a map-style Dataset"),
        (lambda: DataLoader(Stream()), "over a stream"),
        (lambda: "photos", "train is a str"),
        (lambda: DataLoader(Counted(), sampler=WeightedRandomSampler([1.0] * 60, 60)), "more often than others"),
        (lambda: Pictures(), r"Pillow images, and no tensors; read them by untrain\.load"),
        (lambda: Bare(), "without a label"),
    ],
    ids=["empty", "stream", "loader of a stream", "name", "weighted", "pillow", "no labels"],
)
def test_what_is_no_data_is_refused_in_a_sentence(given, said):
    """Fault 50: and what cannot be taken says what it is."""
    with pytest.raises((BadArgument, BadData), match=said):
        Split.by_class(given(), Samples(X, Y), forget=[3])


def test_a_random_share_is_the_same_for_a_seed_and_the_data():
    """What papers forget: so many per cent of the training samples."""
    train, test = Samples(X, Y), Samples(X[:8], Y[:8])
    data = Data("x", train, test, "")
    mine = request.split(data, "random:10%")
    assert (len(mine.forget), len(mine.retain), mine.classes) == (6, 54, ())
    assert mine.forget.index.tolist() == Split.random(train, test, ratio=0.1).forget.index.tolist()
    assert request.digest(mine) == request.digest(request.split(data, "random:10%,seed=0")) != request.digest(request.split(data, "random:10%,seed=1"))
    assert request.shown("random:10%,seed=1") == "random:10%,seed=1"
    assert not set(mine.forget.index.tolist()) & set(mine.retain.index.tolist())
    # Drawn from all classes alike: over many seeds each sample about as often.
    often = torch.zeros(60)
    for seed in range(200):
        often[Split.random(train, test, ratio=0.1, seed=seed).forget.index] += 1
    assert often.sum() == 1200
    assert 8 <= often.min() <= often.max() <= 36


def test_a_name_alone_is_one_name_and_not_its_letters():
    """forget="ab" forgot a and b, and 35 the classes 3 and 5."""
    train = Samples(X[:3], [0, 1, 2], names=("a", "b", "ab"), columns={"who": ["a", "b", "ab"], "path": ["a", "b", "ab"]})
    for split in (Split.by_group(train, train, column="who", forget="ab"), Split.by_files(train, train, forget="ab"), Split.by_index(train, train, forget=2)):
        assert split.forget.index.tolist() == [2]
    for forget in ("ab", 2, ["ab"], torch.tensor([2]), torch.tensor(2), {2}, (c for c in ["ab"])):
        assert Split.by_class(train, train, forget=forget).classes == (2,)
    with pytest.raises(BadArgument, match="no class '12'"):
        Split.by_class(train, train, forget="12")


@pytest.mark.parametrize("forget", [[True, False, False], [1.7], ["1"], torch.tensor([True, False, False]), [None]], ids=str)
def test_what_is_no_place_names_no_sample(forget):
    """A mask of two samples named both, and 1.7 the second."""
    with pytest.raises(BadArgument, match="is no place of a sample; name whole numbers"):
        Split.by_index(Samples(X[:3], [0, 1, 2]), Samples(X, Y), forget=forget)


def test_entries_of_other_lengths_are_no_samples():
    for x, said in (({"a": X, "b": X[:59]}, "60 rows of a, 59 rows of b"), ({"b": X[:60], "a": torch.cat([X, X])}, "60 rows of b, 120 rows of a"), ({}, "no entry")):
        with pytest.raises(BadData, match=f"inputs have {said}; give each sample a row of every entry"):
            Samples(x, Y)
    with pytest.raises(BadData, match=r"labels are whole numbers .* give names of classes by names="):
        Samples(X[:2], ["a", "b"])


def test_numbers_of_thousands_of_digits_are_no_class_and_no_seed():
    """Python turns none above 4,300 digits into a number, and says so in an error of its own."""
    with pytest.raises(BadArgument, match="no class '9999"):
        class_numbers(named("a", "b"), ["9" * 5000])
    with pytest.raises(BadArgument, match="names no share"):
        request.drawn(f"random:10%,seed={'9' * 5000}")


def test_samples_set_aside_for_testing_are_not_drawn():
    whole = Samples(X, Y)
    kept = torch.arange(60) % 5 == 0
    split = request.split(Data("x", whole[~kept], whole[kept], "", None, whole), "random:25%")
    assert len(split.forget) == 12
    assert not set(split.forget.index.tolist()) & set(split.test.index.tolist())


@pytest.mark.parametrize("forget", ["random:", "random:10", "random:0%", "random:100%", "random:-5%", "random:10%,seed=x", "random:10%,3"])
def test_a_share_that_is_none_is_refused_before_data_are_read(forget):
    with pytest.raises(BadArgument, match=r"write random:10%"):
        request.refuse_unknown(forget)
    with pytest.raises(BadArgument, match="of 60 samples is none"):
        Split.random(Samples(X, Y), Samples(X, Y), ratio=0.001)


def test_dicts_of_two_precisions_have_the_higher_in_a_batch():
    """Suspected: the first side's type was kept, and the other's numbers were rounded."""
    low = Samples({"x": torch.full((2, 3), 0.1).half(), "mask": torch.ones(2, dtype=torch.long)}, [0, 1])
    high = Samples({"x": torch.full((2, 3), 0.1), "mask": torch.zeros(2, dtype=torch.long)}, [0, 1])
    for both in (low + high, high + low):
        x, _ = both.batch(torch.arange(4))
        assert x["x"].dtype == torch.float32
        assert x["mask"].dtype == torch.long
    assert torch.equal((low + high).batch(torch.arange(4))[0]["x"][2:], torch.full((2, 3), 0.1))
    with pytest.raises(BadData, match="inputs of x, mask and x cannot stand in one batch"):
        (low + Samples({"x": torch.rand(2, 3)}, [0, 1])).batch(torch.arange(4))
    with pytest.raises(BadData, match="single tensor"):
        (low + Samples(torch.rand(2, 3), [0, 1])).batch(torch.arange(4))


def test_bars_of_two_classes_of_one_name_are_two():
    """Fault 21: the second crane's bar took the place of the first's."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    samples = named("crane", "cat", "crane")
    findings = audit(model, Split.by_class(samples, samples, forget=["cat"]), [Accuracy(), Predictions()])
    bars = {f["name"]: f["series"]["unlearned"][0] for entry in findings for f in entry["figures"]}
    assert len(bars) == 2
    assert all(set(bar) == {"crane #0", "cat", "crane #2"} for bar in bars.values())
    assert abs(sum(bars["predictions on the forgotten classes"].values()) - 1) < 1e-6


def test_rights_of_new_files_are_those_that_any_program_gives(tmp_path, monkeypatch):
    """Suspected: for a moment files of all threads were open to everybody, since asking for the umask sets it."""
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()
    if sys.platform == "linux":
        monkeypatch.setattr(os, "umask", None)
    disk.write(tmp_path / "ours", b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert disk.rights(0o777) == (tmp_path / "folder").stat().st_mode & 0o777
