"""Where noise goes in: found from the network or named, learned there, and met there beside samples that run through all of it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from test_every_method import Killed, kill_after
from untrain.checks.sited import tokens
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument
from untrain.core.files import weights_hash
from untrain.core.network import Network
from untrain.core.rehearse import rehearsing
from untrain.core.site import site_of
from untrain.core.unlearn import unlearn
from untrain.methods.unsir import UNSIR

TOKENS, LENGTH, CLASSES = 12, 6, 3
SMALL = UNSIR(floor=0, batch=16, noise_steps=6, repair_epochs=1)


class Look(nn.Module):
    """Attention of one head that does not look at padding, dropout, and a normalisation; answers with what it made and with where it looked."""

    def __init__(self) -> None:
        super().__init__()
        self.ask, self.drop, self.norm = nn.Linear(8, 24), nn.Dropout(0.1), nn.LayerNorm(8)

    def forward(self, x, mask):
        q, k, v = self.ask(x).chunk(3, -1)
        weights = (q @ k.mT / 8**0.5).masked_fill(~mask[:, None], -1e9).softmax(-1)
        return self.norm(x + self.drop(weights @ v)), weights


class Words(nn.Module):
    """Token ids, of which 0 is padding; a place for each; attention that does not look at padding; the mean of what is no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(TOKENS, 8), nn.Embedding(LENGTH, 8)
        self.look = Look()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, ids, mask=None):
        mask = ids != 0 if mask is None else mask.bool()
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        x, _ = self.look(x, mask)
        return self.head((x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Rows(nn.Module):
    """Numbers and categories, each a token of its own, as in an FT-Transformer."""

    class Tokenizer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.categories = nn.Parameter(torch.randn(2, 4)), nn.Embedding(7, 4)

        def forward(self, numbers, categories):
            return torch.cat([numbers[..., None] * self.weight, self.categories(categories)], 1)

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = self.Tokenizer(), nn.Linear(20, CLASSES)

    def forward(self, numbers, categories):
        return self.head(self.tokens(numbers, categories).flatten(1))


class Waves(nn.Module):
    """A long waveform through convolutions, then a layer on their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, 4, 10, 50), nn.GELU(), nn.Conv1d(4, 6, 10, 10), nn.GELU())
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(x[:, None]).mean(2))


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def words(each=8, seed=0, mask=False):
    """Words of its own for each class, in rows of several lengths."""
    g, y = drawn(seed), torch.arange(CLASSES).repeat_interleave(each)
    ids = 1 + torch.randint(0, 3, (len(y), LENGTH), generator=g) + 3 * y[:, None]
    used = torch.arange(LENGTH) < torch.randint(3, LENGTH + 1, (len(y), 1), generator=g)
    return Samples({"ids": ids, "mask": used.long()} if mask else ids * used, y)


def rows(each=8):
    y = torch.arange(CLASSES).repeat_interleave(each)
    return Samples({"numbers": torch.randn(len(y), 2, generator=drawn()) + y[:, None], "categories": torch.randint(0, 7, (len(y), 3), generator=drawn())}, y)


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind()


def conv():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, CLASSES))


Y = torch.arange(24) % CLASSES
FOUND = {
    "images": (conv, Samples(torch.randn(24, 1, 8, 8, generator=drawn()), Y), None, (1, 8, 8)),
    "token ids with padding": (Words, words(), "words", (LENGTH, 8)),
    "token ids and a mask": (Words, words(mask=True), "words", (LENGTH, 8)),
    "numbers and categories": (Rows, rows(), "tokens", (5, 4)),
    "waveforms": (Waves, Samples(torch.randn(24, 4000, generator=drawn()), Y), "encoder", (6, 8)),
    "short rows of numbers": (lambda: nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, CLASSES)), Samples(torch.randn(24, 9, generator=drawn()), Y), None, (9,)),
}


@pytest.mark.parametrize("case", FOUND)
def test_the_place_is_found_from_the_network(case):
    kind, samples, layer, shape = FOUND[case]
    module = made(kind).train()
    before, modes = copy.deepcopy(module.state_dict()), [part.training for part in module.modules()]
    site = site_of(Network(module), samples)
    assert (site.layer, site.shape) == (layer, shape)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert modes == [part.training for part in module.modules()]
    assert not any(part._forward_hooks for part in module.modules())


def test_a_layer_that_is_named_is_taken_and_one_that_will_not_do_is_refused_with_those_that_would():
    model, samples = Network(made(Words)), words()
    assert site_of(model, samples, "look.norm").shape == (LENGTH, 8)
    with pytest.raises(BadArgument, match=r"noise cannot go in at 'wards' .*is not in the model; these would do: words, .*head"):
        site_of(model, samples, "wards")
    with pytest.raises(BadArgument, match=r"'places' .*does not answer, once in a pass, with one float tensor for each sample; these would do: words"):
        site_of(model, samples, "places")
    with pytest.raises(BadArgument, match=r"'look' "):
        site_of(model, samples, "look")


class Both(nn.Module):
    """Reads each row forwards and backwards through one table."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(TOKENS, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, ids):
        return self.head(self.mix(self.words(ids) * self.words(ids.flip(1))).mean(1))


def test_a_layer_that_is_asked_twice_in_a_pass_is_no_place():
    model, samples = Network(made(Both)), words()
    with pytest.raises(BadArgument, match=r"'words' .*does not answer, once in a pass, with one float tensor for each sample; these would do: mix, head"):
        site_of(model, samples, "words")
    assert site_of(model, samples).layer == "mix"


def test_what_enters_gets_the_answer_of_the_rest_of_the_network_and_what_does_not_its_own():
    """The oracle embeds by hand, and puts the sum through the layers one by one."""
    module, samples = made(Words).eval(), words(mask=True)
    site = site_of(Network(module), samples)
    values = torch.randn(5, LENGTH, 8, generator=drawn(3))
    both = site.beside(samples) + site.samples(values, torch.zeros(5, dtype=torch.long), samples)
    x, y = both.batch(torch.arange(len(both)))
    carried = samples[torch.arange(5) * len(samples) // 5].batch(torch.arange(5))[0]["mask"]
    with torch.no_grad():
        seen, _ = module.look(values + module.places.weight, carried != 0)
        expected = module.head((seen * carried[..., None]).sum(1) / carried.sum(1, keepdim=True))
        whole = module(**samples.batch(torch.arange(len(samples)))[0])
        assert torch.allclose(site(x), torch.cat([whole, expected]), rtol=1e-4, atol=1e-6)
    assert y[-5:].tolist() == [0] * 5


def test_the_table_learns_from_what_does_not_enter_alone():
    """In one batch: its gradient is that of the retained samples by themselves."""
    module, samples = made(Words).eval(), words()
    site = site_of(Network(module), samples)
    noise = site.samples(torch.randn(6, LENGTH, 8, generator=drawn(1)), torch.ones(6, dtype=torch.long), samples)
    both = site.beside(samples) + noise
    x, y = both.batch(torch.arange(len(both)))
    (table,) = torch.autograd.grad(F.cross_entropy(site(x), y, reduction="sum"), [module.words.weight])
    x, y = samples.batch(torch.arange(len(samples)))
    (alone,) = torch.autograd.grad(F.cross_entropy(module(x), y, reduction="sum"), [module.words.weight])
    assert torch.allclose(table, alone, rtol=1e-4, atol=1e-6)


def test_learning_noise_moves_no_table_and_makes_no_weight_gradient():
    module, samples = made(Words), words()
    before = copy.deepcopy(module.state_dict())
    with seeded(0) as run:
        site = site_of(Network(module), samples)
        noise, (phase,) = SMALL.learn_noise(site, samples, (1, 2))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert phase.passes == 2 * 6 * 2  # forward, and backward to the noise, of an image for each class
    assert run.passes == phase.passes
    assert sorted(set(noise.y.tolist())) == [1, 2]


def test_a_run_with_noise_at_a_layer_goes_on_after_a_kill_to_the_same_bits(tmp_path):
    samples = words(mask=True)
    split, told = Split.by_class(samples, words(seed=1, mask=True), forget=[1]), []

    def forget(progress, **how):
        return weights_hash(unlearn(made(Words), split, SMALL, progress=progress, **how).model.state_dict())

    whole = forget(lambda *step: told.append(step[0]))
    assert dict.fromkeys(told) == dict.fromkeys(["noise", "impair", "repair"])
    for place in (2, told.index("impair") + 1, len(told) - 1):
        with pytest.raises(Killed):
            forget(kill_after(place), store=tmp_path / str(place))
        assert forget(lambda *step: None, store=tmp_path / str(place)) == whole


def test_a_run_with_noise_at_a_layer_can_be_rehearsed():
    samples = words()
    with seeded(0) as run, rehearsing() as rehearsed:
        run.network = Network(made(Words))
        SMALL(run.network, retain=samples[samples.y != 1], classes=(1,))
    assert [piece.name for piece in rehearsed.pieces] == ["noise", "impair", "repair"]
    steps = {"noise": 6, "impair": -(-round(16 * 1.57) // 16), "repair": 1}
    assert {piece.name: piece.steps for piece in rehearsed.pieces} == steps


def test_classes_of_token_ids_are_forgotten():
    case = tokens()
    left = unlearn(case.model, case.split, UNSIR()).model
    x, y = case.split.test.batch(torch.arange(len(case.split.test)))
    gone = torch.isin(y, torch.tensor(case.split.classes))
    with torch.no_grad():
        was, told = (model.eval()(x).argmax(1) == y for model in (case.model, left))
    assert was[gone].float().mean() > 0.8
    assert told[gone].float().mean() < 0.1
    assert told[~gone].float().mean() >= was[~gone].float().mean() - 0.05
