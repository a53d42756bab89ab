"""Samples and Split: the same members however they are stored, and batches that are one plan from any start on any rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, TensorDataset

from untrain.core.data import CropFlip, Norm, Samples, Split, class_numbers
from untrain.core.errors import BadArgument, BadData

law = settings(deadline=None, max_examples=40)


class Lazy(Dataset):
    """A map-style Dataset that counts what is read."""

    def __init__(self, x, y):
        self.x, self.y, self.read = x, y, []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        self.read.append(i)
        return self.x[i], int(self.y[i])


def numbered(n, classes=3, seed=0):
    """n images whose pixels all hold their own number, so that a row tells where it came from."""
    x = torch.arange(n, dtype=torch.float32)[:, None, None, None].repeat(1, 1, 4, 4)
    y = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return x, y


def rows_of(samples):
    """The numbers that its rows hold, in order."""
    return samples.batch(torch.arange(len(samples)))[0].flatten(1)[:, 0].long().tolist() if len(samples) else []


def everything(batches, seed, **where):
    return list(batches.run(seed, **where))


OPERATIONS = st.one_of(
    st.tuples(st.just("slice"), st.integers(0, 10), st.integers(1, 30), st.integers(1, 3)),
    st.tuples(st.just("mask"), st.integers(0, 2**16)),
    st.tuples(st.just("places"), st.lists(st.integers(0, 10**6), min_size=1, max_size=12)),
    st.tuples(st.just("first"), st.integers(1, 4)),
    st.tuples(st.just("at most"), st.integers(1, 12)),
    st.tuples(st.just("twice")),
)


def apply(samples, operation):
    kind, *with_ = operation
    n = len(samples)
    if kind == "slice":
        return samples[with_[0] : with_[1] : with_[2]]
    if kind == "mask":
        return samples[torch.rand(n, generator=torch.Generator().manual_seed(with_[0])) < 0.7]
    if kind == "places":
        return samples[torch.tensor([p % n for p in with_[0]])]
    if kind == "first":
        return samples.first(with_[0])
    if kind == "at most":
        return samples.at_most(with_[0])
    return samples + samples


def in_plain_python(members, operation):
    """What the operation means, on a list of (row, label)."""
    kind, *with_ = operation
    n = len(members)
    if kind == "slice":
        return members[with_[0] : with_[1] : with_[2]]
    if kind == "mask":
        keep = (torch.rand(n, generator=torch.Generator().manual_seed(with_[0])) < 0.7).tolist()
        return [m for m, k in zip(members, keep, strict=True) if k]
    if kind == "places":
        return [members[p % n] for p in with_[0]]
    if kind in ("first", "at most"):
        labels = {label for _, label in members}
        most = with_[0] if kind == "first" else max(1, with_[0] // max(1, len(labels)))
        out, seen = [], dict.fromkeys(labels, 0)
        for row, label in members:
            if seen[label] < most:
                out.append((row, label))
            seen[label] += 1
        return out
    return members + members


@law
@given(n=st.integers(1, 25), operations=st.lists(OPERATIONS, max_size=4), seed=st.integers(0, 99))
def test_members_are_those_of_a_plain_list_in_memory_and_lazily(n, operations, seed):
    x, y = numbered(n, seed=seed)
    members = list(enumerate(y.tolist()))
    here, there = Samples(x, y), Samples(Lazy(x, y))
    for operation in operations:
        if not members:
            break
        members = in_plain_python(members, operation)
        here, there = apply(here, operation), apply(there, operation)
    for samples in (here, there):
        assert len(samples) == len(members)
        assert samples.y.tolist() == [label for _, label in members]
        assert rows_of(samples) == [row for row, _ in members]
        assert samples.classes == tuple(sorted({label for _, label in members}))


@law
@given(n=st.integers(1, 25), size=st.integers(1, 9), epochs=st.integers(1, 3), seed=st.integers(0, 2**40), augment=st.booleans())
def test_batches_of_lazy_data_are_those_of_data_in_memory(n, size, epochs, seed, augment):
    x, y = torch.rand(n, 3, 5, 5), numbered(n)[1]
    kind = {"prepare": Norm((0.5,) * 3, (0.2, 0.3, 0.4)), "augment": CropFlip(1)}
    pairs = zip(
        everything(Samples(x, y, **kind).batches(size, epochs=epochs, augment=augment), seed),
        everything(Samples(Lazy(x, y), **kind).batches(size, epochs=epochs, augment=augment), seed),
        strict=True,
    )
    for (a, b, n_a), (c, d, n_b) in pairs:
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert n_a == n_b == len(b)


def test_a_lazy_dataset_with_targets_is_not_read_until_a_batch_is():
    x, y = numbered(6)
    data = Lazy(x, y)
    data.targets = y.tolist()
    samples = Samples(data)
    assert data.read == []
    samples[torch.tensor([4, 1])].batch(torch.tensor([0, 1]))
    assert data.read == [4, 1]


@law
@given(n=st.integers(1, 60), size=st.integers(1, 20))
def test_batches_are_full_but_the_last_and_a_remainder_of_one_joins(n, size):
    sizes = [min(size, n - start) for start in range(0, n, size)]
    if size > 1 and len(sizes) > 1 and sizes[-1] == 1:
        sizes = [*sizes[:-2], sizes[-2] + 1]
    batches = Samples(*numbered(n)).batches(size, epochs=2)
    assert [len(y) for _, y, _ in everything(batches, 0)] == sizes * 2
    assert len(batches) == 2 * len(sizes) == 2 * batches.per_epoch


@law
@given(n=st.integers(12, 40), size=st.integers(2, 9), seed=st.integers(0, 2**40))
def test_each_epoch_is_a_new_order_of_all_rows_and_the_seed_decides_it(n, size, seed):
    batches = Samples(*numbered(n)).batches(size, epochs=2)

    def order(seed):
        return [int(v) for x, _, _ in batches.run(seed) for v in x.flatten(1)[:, 0]]

    drawn = order(seed)
    first, second = drawn[:n], drawn[n:]
    assert sorted(first) == sorted(second) == list(range(n))
    # Two orders of 12 rows or more agree by chance once in 12! = 479,001,600.
    assert first != second
    assert order(seed) == drawn != order(seed + 1)
    plain = Samples(*numbered(n)).batches(size, shuffle=False)
    assert [int(v) for x, _, _ in plain.run(seed) for v in x.flatten(1)[:, 0]] == list(range(n))


@law
@given(n=st.integers(2, 30), size=st.integers(1, 9), epochs=st.integers(1, 3), start=st.integers(0, 40), seed=st.integers(0, 2**40), shuffle=st.booleans())
def test_a_plan_begun_at_a_step_is_the_tail_of_the_full_one(n, size, epochs, start, seed, shuffle):
    batches = Samples(torch.rand(n, 1, 4, 4), numbered(n)[1], augment=CropFlip(1)).batches(size, epochs=epochs, augment=True, shuffle=shuffle)
    full = everything(batches, seed)
    tail = everything(batches, seed, start=start)
    assert len(tail) == max(0, len(full) - start)
    for (a, b, _), (c, d, _) in zip(full[start:], tail, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


@law
@given(n=st.integers(1, 30), size=st.integers(1, 9), world=st.integers(2, 5), seed=st.integers(0, 2**40))
def test_the_ranks_slices_together_are_the_whole_batch_augmentation_included(n, size, world, seed):
    batches = Samples(torch.rand(n, 2, 4, 6), numbered(n)[1], augment=CropFlip(2)).batches(size, epochs=2, augment=True)
    slices = [everything(batches, seed, rank=rank, world=world) for rank in range(world)]
    for step, (x, y, whole) in enumerate(everything(batches, seed)):
        parts = [slices[rank][step] for rank in range(world)]
        assert all(part[2] == whole for part in parts)
        assert torch.equal(torch.cat([p[0] for p in parts if p[0] is not None]), x)
        assert torch.equal(torch.cat([p[1] for p in parts if p[1] is not None]), y)
        sizes = [0 if p[1] is None else len(p[1]) for p in parts]
        # Even, among those that have any; and no rank has a single one, of which BatchNorm has no variance, unless all do (fault 30).
        taken = [n for n in sizes if n]
        assert max(taken) - min(taken) <= 1
        assert 1 not in sizes or whole == 1
        assert len(taken) == max(1, min(world, whole // 2))


class Add:
    """An augmentation that adds a constant, and remembers the numbers it was given."""

    def __init__(self, value, draws):
        self.value, self.draws, self.given = value, draws, []

    def __call__(self, x, u):
        assert u.shape == (len(x), self.draws)
        self.given.append(u)
        return x + self.value


@law
@given(n=st.integers(1, 12), m=st.integers(1, 12), size=st.integers(2, 9), augment=st.booleans(), lazy=st.booleans())
def test_a_sum_keeps_each_sides_own_preparation_and_augmentation(n, m, size, augment, lazy):
    (x, y), (v, w) = numbered(n), numbered(m, seed=1)
    a = Samples(x, y, prepare=lambda x: x * 2, augment=Add(100, 1))
    b = Samples(Lazy(v, w) if lazy else v, w, prepare=lambda x: -x, augment=Add(1000, 2))
    c = Samples(v, w)  # nothing of its own, like noise
    both = a + b + c
    assert both.y.tolist() == [*y.tolist(), *w.tolist(), *w.tolist()]
    wanted = [2 * (i + 100 * augment) for i in range(n)] + [-(i + 1000 * augment) for i in range(m)] + list(range(m))
    labels = both.y.tolist()
    got = [(float(value), int(label)) for p, q, _ in both.batches(size, augment=augment).run(7) for value, label in zip(p.flatten(1)[:, 0], q, strict=True)]
    assert sorted(got) == sorted(zip(map(float, wanted), labels, strict=True))
    # A preparation given later is for the side that has none.
    later = both.prepared(lambda x: x + 0.5)
    doubled, negated, shifted = [2.0 * i for i in range(n)], [-1.0 * i for i in range(m)], [i + 0.5 for i in range(m)]
    assert later.batch(torch.arange(len(later)))[0].flatten(1)[:, 0].tolist() == doubled + negated + shifted


@law
@given(n=st.integers(2, 20), cut=st.integers(1, 19), size=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_a_sum_is_augmented_as_one_source_of_all_its_rows(n, cut, size, seed):
    """The numbers that change a row are its own, whichever source it is from."""
    (x, y), cut = numbered(n), min(cut, n - 1)
    moved = CropFlip(2)
    x = x + torch.arange(16.0).view(4, 4)
    whole = Samples(x, y, augment=moved).batches(size, epochs=2, augment=True)
    parts = (Samples(x[:cut], y[:cut], augment=moved) + Samples(x[cut:], y[cut:], augment=moved)).batches(size, epochs=2, augment=True)
    for (a, b, _), (c, d, _) in zip(everything(whole, seed), everything(parts, seed), strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_an_epoch_is_augmented_unlike_the_one_before():
    x, y = numbered(40)
    first, second = everything(Samples(x + torch.arange(16.0).view(4, 4), y, augment=CropFlip(2)).batches(40, epochs=2, augment=True, shuffle=False), 5)
    assert torch.equal(first[1], second[1])
    # Each of the 50 changes of a row is as likely as another.
    assert (first[0] != second[0]).flatten(1).any(1).sum() > 30


def test_a_sum_of_two_precisions_loses_none():
    double = torch.full((2, 3), 1 / 3, dtype=torch.float64)
    for both in (Samples(torch.zeros(2, 3), [0, 1]) + Samples(double, [0, 1]), Samples(double, [0, 1]) + Samples(torch.zeros(2, 3), [0, 1])):
        x, _ = both.batch(torch.tensor([0, 2, 1, 3]))
        assert x.dtype == torch.float64
        assert x.sum(1).bool().sum() == 2
        assert set(x.flatten().tolist()) == {0.0, 1 / 3}


def test_a_sum_of_two_shapes_makes_no_batch():
    """One channel was spread over three where the three came first."""
    grey, colours = Samples(torch.zeros(2, 1, 4, 4), [0, 1]), Samples(torch.zeros(2, 3, 4, 4), [0, 1])
    for both in (grey + colours, colours + grey):
        with pytest.raises(BadData, match=r"shapes \(\d, 4, 4\) and \(\d, 4, 4\) cannot stand in one batch"):
            both.batch(torch.arange(4))


def test_inputs_may_be_a_dict():
    ids, mask = torch.arange(12).view(6, 2), torch.arange(6) % 2
    samples = Samples({"ids": ids, "mask": mask}, [0, 1, 0, 1, 0, 1], prepare=lambda x: {**x, "ids": x["ids"] * 10})
    some = samples[torch.tensor([4, 1])] + Samples({"ids": -ids, "mask": mask}, [2] * 6)[:1]
    x, y = some.batch(torch.tensor([2, 0, 1]))
    assert x["ids"].tolist() == [[0, -1], [80, 90], [20, 30]]
    assert x["mask"].tolist() == [0, 0, 1]
    assert y.tolist() == [2, 0, 1]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 6), c=st.integers(1, 3), h=st.integers(1, 7), w=st.integers(1, 7), pad=st.integers(0, 4), flip=st.booleans(), seed=st.integers(0, 2**30), extreme=st.booleans()
)
def test_crop_flip_is_what_a_loop_over_images_does(n, c, h, w, pad, flip, seed, extreme):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, c, h, w), generator=g, dtype=torch.uint8)
    u = torch.rand(n, 3, generator=g)
    if extreme:
        u = (u > 0.5) * torch.tensor(1 - 2**-24)  # 0 and the largest number that is drawn
    got = CropFlip(pad, flip=flip)(x, u)
    for i, image in enumerate(x.numpy()):
        black = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        down, right = int(float(u[i, 0]) * (2 * pad + 1)), int(float(u[i, 1]) * (2 * pad + 1))
        wanted = black[:, down : down + h, right : right + w]
        if flip and float(u[i, 2]) < 0.5:
            wanted = wanted[:, :, ::-1]
        assert np.array_equal(got[i].numpy(), wanted)


@law
@given(n=st.integers(1, 5), c=st.integers(1, 4), seed=st.integers(0, 2**30))
def test_norm_is_numpys(n, c, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(0.1, 0.9, c), rng.uniform(0.1, 0.9, c)
    norm = Norm(tuple(mean.tolist()), tuple(std.tolist()))
    pixels = rng.integers(0, 256, (n, c, 3, 4), dtype=np.uint8)
    share = pixels / 255
    wanted = (share - mean[:, None, None]) / std[:, None, None]
    given_ = torch.from_numpy(pixels.copy())
    np.testing.assert_allclose(norm(given_).numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(given_.numpy(), pixels)
    np.testing.assert_allclose(norm(torch.from_numpy(share)).numpy(), wanted, rtol=1e-6, atol=1e-7)


def test_norm_refuses_another_number_of_channels():
    for shape in ((2, 3, 4, 4), (2, 4)):
        with pytest.raises(BadData, match="1 channels"):
            Norm((0.5,), (0.5,))(torch.zeros(shape))


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.zeros(3, 2), None, "needs labels"),
        (torch.zeros(3, 2), [0, 1], "3 inputs, but 2 labels"),
        (torch.zeros(3, 2), torch.zeros(3), "whole numbers"),
        (torch.zeros(3, 2), torch.zeros(3, 1, dtype=torch.long), "whole numbers"),
        (torch.zeros(3, 2), torch.ones(3, dtype=torch.bool), "whole numbers"),
        (Lazy(torch.zeros(2, 2), [0, 1]), [0.0, 1.0], "whole numbers"),
        (TensorDataset(torch.zeros(3, 2), torch.tensor([0.0, 1.7, 2.0])), None, r"whole numbers; one of these is 1\.7"),
    ],
)
def test_labels_that_do_not_fit_are_refused(x, y, said):
    with pytest.raises(BadData, match=said):
        Samples(x, y)


def test_a_column_of_another_length_is_refused():
    with pytest.raises(BadData, match="'who' has 2 rows, the samples 3"):
        Samples(torch.zeros(3, 2), [0, 1, 2], columns={"who": ["a", "b"]})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite_are_refused_with_their_places_when_they_are_read(bad):
    x, y = numbered(9)
    x[7, 0, 1, 2] = bad
    samples = Samples(x, y)[torch.tensor([8, 7, 6])]
    samples.batch(torch.tensor([0, 2]))
    with pytest.raises(BadData, match=r"1 samples .* at places \[7\]"):
        samples.batch(torch.tensor([0, 1]))


def test_an_entry_of_one_number_a_sample_that_is_not_finite_is_refused_too():
    samples = Samples({"age": torch.tensor([1.0, torch.inf]), "row": torch.zeros(2, 3)}, [0, 1])
    with pytest.raises(BadData, match=r"1 samples .* at places \[1\]"):
        samples.batch(torch.arange(2))


# Splits


@law
@given(n=st.integers(3, 40), seed=st.integers(0, 99), data=st.data())
def test_by_class_parts_the_training_samples_in_two(n, seed, data):
    x, y = numbered(n, classes=4, seed=seed)
    there = sorted(set(y.tolist()))
    if len(there) < 2:
        return
    gone = data.draw(st.lists(st.sampled_from(there), min_size=1, max_size=len(there) - 1, unique=True))
    train, test = Samples(x, y), Samples(x, y)
    split = Split.by_class(train, test, forget=gone, valid=test)
    assert split.classes == tuple(sorted(gone))
    assert rows_of(split.forget) == [i for i, label in enumerate(y.tolist()) if label in gone]
    assert rows_of(split.retain) == [i for i, label in enumerate(y.tolist()) if label not in gone]
    assert split.test is test
    assert list(split.parts) == ["forget", "retain", "test", "valid"]


@law
@given(n=st.integers(2, 30), data=st.data())
def test_by_index_parts_the_training_samples_in_two(n, data):
    places = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n - 1, unique=True))
    train = Samples(*numbered(n))
    split = Split.by_index(train, train, forget=places)
    assert rows_of(split.forget) == sorted(places)
    assert rows_of(split.retain) == sorted(set(range(n)) - set(places))
    assert split.classes == ()


@law
@given(owners=st.lists(st.sampled_from("abcd"), min_size=2, max_size=25), data=st.data())
def test_by_group_parts_the_training_samples_in_two(owners, data):
    if len(set(owners)) < 2:
        return
    gone = data.draw(st.lists(st.sampled_from(sorted(set(owners))), min_size=1, max_size=len(set(owners)) - 1, unique=True))
    train = Samples(*numbered(len(owners)), columns={"who": owners})
    split = Split.by_group(train, train, column="who", forget=gone)
    assert rows_of(split.forget) == [i for i, who in enumerate(owners) if who in gone]
    assert rows_of(split.retain) == [i for i, who in enumerate(owners) if who not in gone]
    assert split.retain.columns["who"] == [who for who in owners if who not in gone]
    assert (split.retain + split.forget).columns["who"] == split.retain.columns["who"] + split.forget.columns["who"]


NAMED = Samples(torch.zeros(6, 1), [0, 0, 1, 1, 3, 3], names=["cat", "dog", "emu", "fox"], columns={"who": list("aabbcc")})


@pytest.mark.parametrize(
    ("named", "numbers"),
    [(["dog"], (1,)), ([3, 0], (0, 3)), (["fox", 0], (0, 3)), (["3"], (3,)), (["dog", 1, "1"], (1,)), ((0, 1), (0, 1))],
)
def test_a_class_is_given_by_number_or_by_name(named, numbers):
    assert class_numbers(NAMED, named) == numbers


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["elk"], "no class 'elk'; there are 0 cat, 1 dog, 3 fox"),
        ([4], "no class 4; there are 0 cat, 1 dog, 3 fox"),
        ([-1], "no class -1"),
        ([True], "no class True"),
        (["1.0"], "no class '1.0'"),
        ([], "nothing to forget"),
        ([0, 1, 3], "all 3 classes"),
    ],
)
def test_a_class_that_is_not_there_none_and_all_are_refused(named, said):
    with pytest.raises(BadArgument, match=said):
        Split.by_class(NAMED, NAMED, forget=named)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([6], r"no sample at \[6\]: places run from 0 to 5"),
        ([-1], r"no sample at \[-1\]"),
        ([1, 1], "1 places are named twice"),
        ([], "nothing to forget"),
        (range(6), "all 6 samples"),
    ],
)
def test_places_that_make_no_split_are_refused(places, said):
    with pytest.raises(BadArgument, match=said):
        Split.by_index(NAMED, NAMED, forget=places)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [("what", ["a"], r"no column 'what'; there are \['who'\]"), ("who", ["d"], "holds no 'd'"), ("who", [], "nothing to forget"), ("who", list("abc"), "all 6 samples")],
)
def test_groups_that_make_no_split_are_refused(column, values, said):
    with pytest.raises(BadArgument, match=said):
        Split.by_group(NAMED, NAMED, column=column, forget=values)


def test_a_part_exchanged_leaves_the_others():
    split = Split.by_class(NAMED, NAMED, forget=["dog"], valid=NAMED)
    other = split.replaced(retain=NAMED[:1], valid=NAMED[:2])
    assert (len(other.forget), len(other.retain), len(other.test), len(other.parts["valid"]), other.classes) == (2, 1, 6, 2, (1,))
    assert len(split.retain) == 4
