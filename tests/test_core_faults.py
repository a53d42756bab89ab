"""Faults that were found in core, each with what shows it. The number in a docstring is the fault's."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from test_gather import images
from test_train import Killed, Tiny, blobs, convnet, kill_at, mlp, same, small_split
from untrain.audits.accuracy import Accuracy
from untrain.audits.relearn import Relearn
from untrain.audits.weights import Weights
from untrain.core import files, resume
from untrain.core.audit import Subject, audit
from untrain.core.data import Norm, Samples, Split
from untrain.core.data.batches import share
from untrain.core.data.pixels import _by_channel
from untrain.core.engine import Engine, join_ranks, seeded
from untrain.core.errors import BadArgument, BadData, Diverged
from untrain.core.host import copied
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.preparing import prepare
from untrain.core.seeds import stream
from untrain.core.site import _Whole
from untrain.core.train import Phase, Trace, fit, minimize
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.methods.neggrad import NegGrad
from untrain.methods.nothing import Nothing
from untrain.methods.retrain import Retrain
from untrain.methods.sisa import SISA
from untrain.methods.unsir import UNSIR


@dataclass(frozen=True)
class Asks(Method):
    """Ask for the shape of an input, and for no data."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def __call__(self, model: Network, *, shape: tuple[int, ...], classes: tuple[int, ...]) -> Trace:
        self.seen.append(shape)
        x = torch.randn(40, *shape)
        with torch.no_grad():
            y = model(x).argmax(1)
        return Trace.of(fit(model, Samples(x, y), phase="p", lr=0.01, epochs=1, batch=10))


def test_a_method_may_ask_for_the_shape_of_an_input_without_data():
    unlearn(mlp(), small_split(), Asks())
    assert Asks.seen == [(6,)]


class Halves(nn.Module):
    """A network with a buffer outside of its state dict."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
            self.register_buffer("scale", torch.rand(8), persistent=False)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)) * self.scale)


class Recipe(Tiny):
    def build(self):
        return Halves(9)


def test_retrain_trains_what_the_recipe_would_and_not_what_was_frozen():
    """Fault 12: the given model's frozen backbone, and its buffers outside of the state dict, are not the retrained one's."""
    model = Halves(1)
    model.body.requires_grad_(False)
    ends = [unlearn(m, small_split(), Retrain(), recipe=Recipe()).model for m in (model, Halves(1))]
    for name, value in ends[0].named_parameters():
        assert torch.equal(value, dict(ends[1].named_parameters())[name]), name
    assert torch.equal(ends[0].scale, Halves(9).scale)
    assert not ends[0].body.weight.requires_grad
    assert not torch.equal(ends[0].body.weight, Halves(9).body.weight)


# The head


class TwoHeads(nn.Module):
    """The head that answers is not the one that is registered last."""

    def __init__(self, auxiliary=3, both=False):
        super().__init__()
        self.body, self.who, self.age, self.both = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, auxiliary), both

    def forward(self, x):
        h = torch.relu(self.body(x))
        return (self.age(h), self.who(h)) if self.both else self.who(h)


@pytest.mark.parametrize("auxiliary", [3, 16])
def test_the_head_is_the_layer_that_answers(auxiliary):
    """Fault 13: an auxiliary layer after the head was masked, and its rows redrawn."""
    model, split = TwoHeads(auxiliary), small_split()
    left = unlearn(model, split, HeadOnly()).model
    assert torch.equal(left.age.weight, model.age.weight)
    assert not left.who.weight[1].any()
    assert not (left(split.forget.batch(torch.arange(9))[0]).argmax(1) == 1).any()
    entries = audit(left, split, [Accuracy(), Weights()], original=model)
    assert all(entry["rows"] for entry in entries)


def test_a_head_that_does_not_answer_is_refused():
    """Fault 13."""
    with pytest.raises(BadArgument, match="the layer 'age' has 16 rows, and the model answers with 3 classes"):
        unlearn(TwoHeads(16), small_split(), FineTune(), head="age")


def test_of_several_answers_the_named_heads_counts():
    """Fault 13: a list of exits; the first was taken, and the head of another."""
    model, split = TwoHeads(both=True), small_split()
    with pytest.raises(BadArgument, match=r"answers with 2 sets of logits .* one of \['body', 'age', 'who'\]"):
        unlearn(model, split, FineTune())
    for name in ("who", "age"):
        left = unlearn(model, split, HeadOnly(), head=name).model
        assert not getattr(left, name).weight[1].any()
        network = Network(model, head=name)
        x, _ = split.retain.batch(torch.arange(5))
        network.locate(x)
        assert torch.equal(network(x), getattr(model, name)(torch.relu(model.body(x))))


class Cosine(nn.Module):
    """A head that is no layer."""

    def __init__(self):
        super().__init__()
        self.body, self.weight = nn.Linear(6, 8), nn.Parameter(torch.randn(3, 8))

    def forward(self, x):
        return 10 * F.normalize(self.body(x)) @ F.normalize(self.weight).T


def test_what_needs_a_head_is_refused_where_there_is_none_and_the_rest_runs():
    """Fault 13: a parameter as the head."""
    with pytest.raises(BadArgument, match=r"no layer's output is what the model answers with; there are \['body'\]"):
        unlearn(Cosine(), small_split(), HeadOnly())
    assert unlearn(Cosine(), small_split(), FineTune(epochs=1)).trace["finetune"].steps


def normed(kind):
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    kind(module[2])
    return module


@pytest.mark.parametrize("kind", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm], ids=["new", "old"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_rows_under_weight_norm_are_redrawn_and_masked_alone(kind):
    """Fault 14: writing into a computed weight was lost; the old kind could not be copied after a forward."""
    module = normed(kind)
    x = torch.randn(20, 6)
    before = module(x).detach()
    left = copied(module)
    Network(left).head.redraw((1,))
    assert torch.equal(left(x)[:, [0, 2]], before[:, [0, 2]])
    assert not torch.isclose(left(x)[:, 1], before[:, 1]).any()
    assert set(Network(left).head.rows((1,))) < set(left.state_dict())
    Network(left).head.mask((1,))
    assert torch.equal(left(x)[:, [0, 2]], before[:, [0, 2]])
    assert (left(x)[:, 1] == -1e4).all()
    result = unlearn(module, small_split(), HeadOnly())
    assert not (result.model(x).argmax(1) == 1).any()


@pytest.mark.parametrize("kind", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm, nn.utils.parametrizations.orthogonal], ids=["new", "old", "orthogonal"])
def test_a_head_whose_rows_are_tied_to_each_other_is_refused_before_any_work(kind):
    """Fault 14."""
    with pytest.raises(BadData, match=r"the head '2' is .* ties its rows to each other; make it plain first"):
        unlearn(normed(kind), small_split(), HeadOnly())


def test_a_wider_head_has_further_classes_for_a_while():
    module = mlp()
    head, weight, before = Network(module).head, module[4].weight, copy.deepcopy(module.state_dict())
    x = torch.randn(7, 6)
    old = module.eval()(x)
    with head.wider(2) as new:
        assert new == (3, 4)
        assert module(x).shape == (7, 5)
        torch.testing.assert_close(module(x)[:, :3], old)
        assert module[4].out_features == 5
        with torch.no_grad():
            module[4].weight += 1
    assert module[4].weight is weight
    torch.testing.assert_close(weight.detach(), before["4.weight"] + 1)
    assert module(x).shape == (7, 3)

    def ends():
        with head.wider(1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ends()
    assert module[4].weight is weight
    assert module[4].out_features == 3
    with pytest.raises(BadData, match="parametrised"), Network(normed(nn.utils.parametrizations.weight_norm)).head.wider(1):
        pass
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    with pytest.raises(BadData, match=r"shares its weight with '0\.weight'"), Network(tied).head.wider(1):
        pass


class Widened(Method):
    """Train with a further class, in the manner of Boundary Expand."""

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        with model.head.wider(1) as (shadow,):
            model.train()
            return Trace.of(fit(model, forget.labelled(torch.full((len(forget),), shadow)), phase="expand", lr=0.01, epochs=40, batch=2))


@pytest.mark.parametrize("kill", [51, 90])
def test_a_wider_head_survives_a_kill(kill, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "WORTH", 0.0)
    whole = unlearn(mlp(), small_split(), Widened())
    with pytest.raises(Killed):
        unlearn(mlp(), small_split(), Widened(), store=tmp_path, progress=kill_at("expand", kill))
    assert same(unlearn(mlp(), small_split(), Widened(), store=tmp_path).model, whole.model)
    assert whole.model[4].weight.shape == (3, 16)


class Speech(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv1d(2, 4, 3), nn.Conv1d(4, 3, 2, stride=2, padding=1)

    def forward(self, x):
        return self.head(torch.relu(self.body(x))).mean(2)


class Tokens(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.body, self.head, self.pool = nn.Linear(2, 4), nn.Linear(4, 3), pool

    def forward(self, x):
        out = self.head(torch.relu(self.body(x.transpose(1, 2))))
        return {"mean": out.mean(1), "first": out[:, 0], "last": out[:, -1]}[self.pool]


class Patches(nn.Module):
    def __init__(self, padding, mode="zeros"):
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 2, padding=padding, padding_mode=mode)

    def forward(self, x):
        return self.head(torch.relu(self.body(x.unflatten(2, (3, 4))))).mean((2, 3))


HEADS = [Speech(), Tokens("mean"), Tokens("first"), Tokens("last"), Patches(0), Patches(1), Patches(1, "reflect")]


@pytest.mark.parametrize("module", HEADS, ids=[f"{type(m).__name__}-{getattr(m, 'pool', '')}{i}" for i, m in enumerate(HEADS)])
def test_heads_over_positions_are_found_and_read(module):
    """Fault 33: convolutions in one dimension, heads over tokens, kernels of 2 x 2."""
    x = torch.randn(9, 2, 12)
    network = Network(module)
    assert network.locate(x) == 3
    head = network.head
    assert head.name == "head"
    with torch.no_grad():
        read, out = network.features(x)
        torch.testing.assert_close(read @ head.matrix.T + head.layer.bias, out)
    before = module(x).detach()
    left = network.like(copied(module))
    left.head.redraw((1,))
    after = left.module(x)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]])
    assert not torch.isclose(after[:, 1], before[:, 1]).all()


# Data


def test_data_that_are_normalised_are_not_normalised_again():
    """Fault 15."""
    model, split = convnet(), images()
    prepared = Split.by_class(split, split, forget=[1])
    unlearn(model, prepared, FineTune(epochs=1), norm=Norm((0.5,), (0.5,)))
    done = Samples((split.sources[0].x - 0.5) / 0.5, split.y)
    with pytest.raises(BadData, match=r"these floats run from -.* and are no pixels from 0 to 1"):
        unlearn(model, Split.by_class(done, done, forget=[1]), FineTune(epochs=1), norm=Norm((0.5,), (0.5,)))


def test_an_audit_does_not_normalise_again_either_nor_ask_probabilities():
    """It told the numbers of both as it tells others'."""
    model, split = convnet(), images()
    done = Samples((split.sources[0].x - 0.5) / 0.5, split.y)
    with pytest.raises(BadData, match=r"these floats run from -.* and are no pixels from 0 to 1"):
        audit(model, Split.by_class(done, done, forget=[1]), [Accuracy()], norm=Norm((0.5,), (0.5,)))
    with pytest.raises(BadData, match="answers with probabilities, as after a softmax"):
        audit(model, Split.by_class(split, split, forget=[1]), [Accuracy()], original=nn.Sequential(model, nn.Softmax(1)))
    more = Samples(split.sources[0].x, split.y + 5)
    with pytest.raises(BadData, match="labels run from 5 to"):
        audit(model, Split.by_class(more, more, forget=[6]), [Relearn()], original=convnet(2))
    assert not audit(model, Split.by_class(split, split, forget=[1]), [Accuracy()], norm=Norm((0.5,), (0.5,)))[0]["skipped"]


def test_a_compiled_module_is_run_as_the_one_within():
    """What torch.compile makes looks past the hooks that layers are read by: no head was found, and what looks at features was skipped."""
    split, method = small_split(), FineTune(epochs=1)
    model = mlp().eval()
    compiled = torch.compile(copy.deepcopy(model), backend="eager")
    compiled(split.test.batch(torch.arange(2))[0])
    plain, made = unlearn(model, split, method).model, unlearn(compiled, split, method)
    assert type(made.model) is type(compiled)
    assert same(plain, made.model._orig_mod)
    assert unlearn(compiled, split, Nothing()).marks == ("unchanged",)
    answers, others = ([part.clone() for part in Subject(m).on(split.test)] for m in (plain, made.model))
    assert all(torch.equal(a, b) for a, b in zip(answers, others, strict=True))
    assert answers[2].numel()
    torch.testing.assert_close(made.model(split.test.batch(torch.arange(5))[0]), answers[0][:5])


def test_a_run_that_is_shown_no_retained_sample_is_marked_by_what_there_is():
    """Asked for its marks it ended in a batch of no samples."""
    whole = small_split()
    split = Split(whole.forget, whole.retain[:0], whole.test, whole.classes)
    assert unlearn(mlp(), split, NegGrad(epochs=0)).marks == ("unchanged",)
    assert "collapsed" not in unlearn(mlp(), split, NegGrad(epochs=1)).marks


def test_labels_belong_to_rows_and_not_to_their_source():
    """Fault 16: of a row that occurs twice, both got the last label."""
    s = blobs(6)[[0, 0, 1, 1]].labelled(torch.tensor([5, 6, 7, 8]))
    assert s.y.tolist() == [5, 6, 7, 8]
    assert s.batch(torch.tensor([2, 0]))[1].tolist() == [7, 5]
    assert s[[3, 1]].y.tolist() == [8, 6]
    assert (s + blobs(3)).y.tolist() == [5, 6, 7, 8, 0, 1, 2]
    assert (blobs(3) + s)[[4, 0]].batch(torch.tensor([0, 1]))[1].tolist() == [6, 0]
    assert s.key != s.labelled(torch.tensor([5, 6, 7, 9])).key
    assert blobs(6)[[0, 0, 1, 1]].y.tolist() == [0, 0, 1, 1]


def test_labels_are_checked_in_every_part_that_a_method_names():
    """Fault 19: only the first part was looked at."""
    split = small_split()
    bad = Split(split.forget, split.retain.labelled(torch.full((len(split.retain),), 7)), split.test, (1,))
    with pytest.raises(BadData, match="labels run from 7 to 7, the model's head answers with 3 classes"):
        unlearn(mlp(), bad, Both())


class Both(Method):
    """Name two parts, and use neither."""

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        return Trace()


def test_a_normalisation_takes_lists():
    """Fault 31: `Norm([.5], [.5])` could not be told from others."""
    assert Norm([0.5], [0.25]) == Norm((0.5,), (0.25,))
    assert hash(Norm([1], [1])) == hash(Norm((1.0,), (1.0,)))
    made = Norm([0.5], [0.5])(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8))
    assert torch.equal(made, torch.ones(1, 1, 2, 2))


class Words(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.embed, self.head, self.way = nn.Embedding(50, 8), nn.Linear(8, 3), way

    def forward(self, *args, **kwargs):
        ids = args[0] if args else kwargs["input_ids"]
        return self.head(self.embed(ids).mean(1))


class Wrapper(Words):
    """As PEFT's, which hands everything on by name."""

    def forward(self, **kwargs):
        return super().forward(**kwargs)


def text(kind):
    ids = torch.randint(0, 50, (60, 5), generator=torch.Generator().manual_seed(0))
    return Samples({"input_ids": ids, "attention_mask": torch.ones_like(ids)} if kind == "dict" else ids, torch.arange(60) % 3)


@pytest.mark.parametrize(("model", "kind"), [(Words("ids"), "ids"), (Wrapper("dict"), "dict")])
def test_text_is_no_pixels(model, kind):
    """Fault 32: token ids were refused as pixels, and dicts handed over by position to a `forward(**kwargs)`."""
    samples = text(kind)
    result = unlearn(model, Split.by_class(samples, samples, forget=[1]), FineTune(epochs=2, lr=0.1))
    assert result.trace["finetune"].steps
    assert not same(result.model, model)


def test_data_without_a_shape_says_so():
    """Fault 32: `'dict' object has no attribute 'shape'`."""
    with pytest.raises(BadData, match="one input of this data is a dict of input_ids, attention_mask, which has no shape"):
        _ = text("dict").shape


def test_pixels_without_a_normalisation_are_still_refused():
    samples = Samples(torch.zeros(9, 1, 4, 4, dtype=torch.uint8), torch.arange(9) % 3)
    with pytest.raises(BadData, match="pixels are whole numbers"):
        unlearn(convnet(), Split.by_class(samples, samples, forget=[1]), FineTune())


@pytest.mark.parametrize(("n", "classes", "each"), [(0, 3, 2), (50, 7, 3), (50, 7, 100), (40, 40, 1)])
def test_the_first_of_each_class_are_those_of_a_loop(n, classes, each):
    """Fault 38: one look at each class took seconds with many classes."""
    y = torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(n))
    samples, seen, expected = Samples(torch.arange(n)[:, None], y), {}, []
    for i, label in enumerate(y.tolist()):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= each:
            expected.append(i)
    assert samples.first(each).index.tolist() == expected


def test_the_first_of_many_classes_come_in_a_moment():
    """Fault 38: .64 s for 100,000 rows of 1,000 classes before; linear now."""
    y = torch.arange(200_000) % 1000
    samples = Samples(torch.zeros(200_000, 1), y)
    began = time.process_time()
    assert len(samples.first(5)) == 5000
    assert time.process_time() - began < 1


# Numbers


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_models_are_changed_in_single_precision_and_come_back_as_they_were(dtype):
    """Fault 20: UNSIR on an fp16 model went to NaN at the second step of the noise."""
    model = mlp().to(dtype)
    result = unlearn(model, small_split(), UNSIR(noise_steps=5, batch=16, samples=60))
    assert {v.dtype for v in result.model.state_dict().values() if v.is_floating_point()} == {dtype}
    wide = unlearn(copy.deepcopy(model).float(), small_split(), UNSIR(noise_steps=5, batch=16, samples=60)).model
    for name, value in result.model.state_dict().items():
        assert torch.equal(value, wide.state_dict()[name].to(value.dtype)), name
    assert unlearn(model, small_split(), Nothing()).marks == ("unchanged",)
    # What was wider than that stays so.
    model.register_buffer("counts", torch.full((2,), 2.0**40 + 1, dtype=torch.float64))
    assert torch.equal(unlearn(model, small_split(), Nothing()).model.counts, model.counts)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_audits_score_in_single_precision(dtype):
    """Fault 20: features in fp32 met a head of another type."""
    subject = Subject(mlp().to(dtype))
    assert {p.dtype for p in subject.network.parameters()} == {torch.float32}
    out, _, read = subject.on(blobs(10))
    assert out.dtype == read.dtype == torch.float32


class Masked(nn.Module):
    """Infinity in a mask, and state that is no tensor."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, float("-inf")]))
        self.register_buffer("spare", torch.zeros(1))

    def forward(self, x):
        return self.head(x)

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        pass


def test_infinity_in_a_mask_and_state_that_is_no_tensor_are_no_matter():
    """Faults 28 and 29."""
    result = unlearn(Masked(), small_split(), FineTune(epochs=1))
    assert result.marks == ()
    assert files.weights_hash(result.model.state_dict())
    state = {k: v for k, v in Masked().state_dict().items() if isinstance(v, torch.Tensor)}
    files.load_into(Masked(), state, "w")
    with pytest.raises(BadData, match=r"holds NaN or infinity in \['head.weight'\]"):
        files.load_into(Masked(), state | {"head.weight": state["head.weight"] * float("nan")}, "w")


class Spoils(Method):
    """Leave infinity in a buffer that had none."""

    def __call__(self, model: Network, *, forget: Samples) -> Trace:
        model.module.spare.fill_(float("inf"))
        return Trace()


def test_a_buffer_that_became_infinite_ends_the_run():
    """Fault 28: what was finite has to stay so."""
    with pytest.raises(Diverged, match=r"Spoils left NaN or infinity in \['spare'\]"):
        unlearn(Masked(), small_split(), Spoils())


@pytest.mark.parametrize(("n", "world"), [(3, 2), (1, 2), (2, 2), (5, 4), (7, 3), (21, 2)])
def test_no_rank_has_a_single_sample_where_there_are_more(n, world):
    """Fault 30: BatchNorm has no variance of one."""
    parts = [share(n, rank, world).tolist() for rank in range(world)]
    assert list(chain(*parts)) == list(range(n))
    assert n == 1 or 1 not in map(len, parts)


def test_a_part_of_a_single_sample_is_refused_by_name():
    """Fault 30: torch's own ValueError."""
    split = small_split()
    with pytest.raises(BadData, match="ascend: a batch of a single sample, of which BatchNorm has no variance"):
        unlearn(mlp(), Split(split.forget[:1], split.retain, split.test, (1,)), NegGrad())


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_run_within_no_grad_is_a_run(off):
    """Fault 34."""
    with off():
        left = unlearn(mlp(), small_split(), FineTune(epochs=1)).model
    assert same(left, unlearn(mlp(), small_split(), FineTune(epochs=1)).model)


class Adapted(Method):
    """Add a module, as LoRA does."""

    def __call__(self, model: Network, *, retain: Samples) -> Trace:
        model.module.add_module("adapter", nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 3)))
        return Trace()


def test_a_method_may_add_modules():
    """Fault 35: `zip() argument 2 is shorter`."""
    model = TwoHeads().eval()
    result = unlearn(model, small_split(), Adapted())
    assert "unchanged" not in result.marks
    assert "adapter" in dict(result.model.named_children())
    assert not any(part.training for part in result.model.modules())


def test_losses_are_looked_at_once(monkeypatch):
    """Fault 36: every look went through all losses so far."""
    stacked, stack = [], torch.stack
    monkeypatch.setattr("untrain.core.steps.torch.stack", lambda values, *a, **k: stacked.append(len(values)) or stack(values, *a, **k))
    weight = torch.zeros(1, requires_grad=True)
    with seeded(0):
        phase = minimize(lambda x, y: weight.sum(), [weight], Samples(torch.zeros(50, 1), [0] * 50).batches(2, epochs=40), phase="p", lr=1e-3)
    assert len(phase.losses) == 1000
    assert sum(stacked) == 1000


# Models that cannot be changed


def test_models_without_values_are_refused_by_name():
    with torch.device("meta"):
        unfilled = mlp()
    with pytest.raises(BadData, match=r"0\.weight has no values yet"):
        unlearn(unfilled, small_split(), FineTune())
    lazy = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(BadData, match=r"0\.weight has no values yet"):
        unlearn(lazy, small_split(), FineTune())

    class Uncopied(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("no")

    with pytest.raises(BadData, match="the model cannot be copied: TypeError: no"):
        unlearn(Uncopied(6, 3), small_split(), FineTune())


# Devices, as far as they show without one


def test_the_device_is_the_models_own_unless_named(monkeypatch):
    """Section B: `unlearn(model.cuda())` moved the copy to the CPU, and a result stayed where it was computed."""
    asked, moved = [], []
    of = Engine.of.__func__

    def spied(cls, device=None, precision="fp32"):
        asked.append(device)
        return of(cls, device, precision)

    monkeypatch.setattr(Engine, "of", classmethod(spied))
    module = mlp()
    to = nn.Module.to
    monkeypatch.setattr(nn.Module, "to", lambda self, *a, **k: moved.append(a) or to(self, *a, **k))
    unlearn(module, small_split(), FineTune(epochs=1))
    assert asked == [torch.device("cpu")]
    assert moved[-1] == (torch.device("cpu"),)
    audit(module, small_split(), [Accuracy()])
    assert asked[1:] == [torch.device("cpu")]


class Elsewhere(torch.Tensor):
    """A tensor that will not be compared with one of the CPU, as one on a GPU will not."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.equal and len({type(a) for a in args}) > 1:
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs or {})

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_marks_compare_on_one_device(monkeypatch):
    """Section B: `--device cuda` failed at the very end of every run."""
    result = unlearn(mlp(), small_split(), FineTune(epochs=1))
    state = result.model.state_dict()
    monkeypatch.setattr(result.model, "state_dict", lambda: {k: v.as_subclass(Elsewhere) for k, v in state.items()})
    assert result.marks == ()


def test_ranks_use_gloo_for_what_lies_on_the_cpu(monkeypatch):
    """Section B: nccl was asked to reduce tensors of the CPU."""
    asked = []
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("untrain.core.engine.rendezvous", lambda *_, **__: iter([(None, 0, 2)]))
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend, **_: asked.append(backend))
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: None)
    for gpu in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert join_ranks()
    assert asked == ["cpu:gloo,cuda:nccl", "gloo"]


def test_the_engine_says_what_fp32_means_on_a_gpu(monkeypatch):
    """Section B: TF32 and determinism were neither set nor reported."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    told = Engine(torch.device("cuda")).report()
    assert told["tf32"].keys() == {"convolutions", "products"}
    assert told["deterministic"] in (True, False)
    assert "tf32" not in Engine().report()


def test_random_states_of_the_device_are_put_back(monkeypatch):
    """Section B and fault 11: only the CPU's generator was saved and forked."""
    put = []
    for name in ("cuda", "mps"):
        module = getattr(torch, name)
        monkeypatch.setattr(module, "get_rng_state", lambda *a, name=name: torch.tensor([len(name)], dtype=torch.uint8))
        monkeypatch.setattr(module, "set_rng_state", lambda state, *a, name=name: put.append((name, state.tolist(), a)))
        with stream(3, torch.device(name)):
            assert put == []
        assert put.pop()[:2] == (name, [len(name)])


def test_losses_leave_the_device_before_they_are_widened(monkeypatch):
    """Section B: MPS has no float64."""
    order = []
    for name in ("cpu", "double"):
        old = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, *a, old=old, name=name: order.append(name) or old(self, *a))
    weight = torch.zeros(1, requires_grad=True)
    with seeded(0):
        minimize(lambda x, y: weight.sum(), [weight], Samples(torch.zeros(2, 1), [0, 0]).batches(1), phase="p", lr=1e-3)
    assert order.index("cpu") < order.index("double")


def test_the_constants_of_a_normalisation_are_made_once_for_a_device():
    """Section B: two tensors for each batch."""
    norm = Norm((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    x = torch.zeros(2, 3, 4, 4)
    norm(x)
    before = _by_channel.cache_info().misses
    norm(x)
    assert _by_channel.cache_info().misses == before


def test_a_normalisation_that_was_first_asked_in_inference_mode_has_gradients_still():
    """Its constants are kept, and were of no use to a gradient ever after."""
    norm = Norm((0.5, 0.25, 0.125), (0.3, 0.6, 0.9))
    with torch.inference_mode():
        norm(torch.rand(1, 3, 2, 2))
    x = torch.rand(1, 3, 2, 2, requires_grad=True)
    norm(x).sum().backward()
    torch.testing.assert_close(x.grad[0, :, 0, 0], 1 / torch.tensor(norm.std))


def test_a_clock_that_is_put_back_changes_no_duration(monkeypatch):
    """F10: durations are of a clock that only runs forwards."""
    jumps = itertools.cycle((1e9, 0.0, 2e9, -1e9))
    monkeypatch.setattr("time.time", lambda: next(jumps))
    done = unlearn(mlp(), small_split(), Asks())
    assert 0 < done.trace["p"].seconds <= done.seconds < 60


class Scaled(nn.Module):
    """A network whose last layer's output is not what it answers with."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inner = mlp(seed=seed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * 3


def test_models_without_a_head_are_audited_beside_retrained_ones():
    """The look whether a retrained model carries the original's weights asked for the head."""
    (entry,) = audit(Scaled(0), small_split(), [Accuracy()], original=Scaled(1), retrained=[Scaled(2)])
    assert all(entry["rows"][0]["values"].values())
    with pytest.raises(BadArgument, match="has the original's weights"):
        audit(Scaled(0), small_split(), [Accuracy()], original=Scaled(1), retrained=[Scaled(1)])


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_audits_and_preparing_within_no_grad_train_all_the_same(off):
    """Relearning was skipped in an audit, and SISA could not be prepared."""
    asked, model = Relearn(steps=2, every=1), mlp()
    with off():
        (entry,) = audit(model, small_split(), [asked], original=mlp(seed=2))
        made = prepare(SISA(shards=2, slices=1), small_split().retain, recipe=Short()).model
    assert entry["rows"], entry["skipped"]
    assert entry == audit(model, small_split(), [asked], original=mlp(seed=2))[0]
    assert same(made, prepare(SISA(shards=2, slices=1), small_split().retain, recipe=Short()).model)


class Short:
    """A short training."""

    def build(self) -> nn.Module:
        return mlp()

    def train(self, model: Network, samples: Samples) -> Phase:
        return fit(model, samples, phase="train", lr=0.01, epochs=1, batch=8)


def test_a_wrapped_module_keeps_its_normalisation_and_its_marks():
    """In DataParallel the normalisation was not found, so that floats from 0 to 1 went in as they were, and a run that moved nothing was not marked."""
    split, model = Split.by_class(images(30), images(30), forget=[1]), convnet()
    model.norm = Norm((0.5,), (0.2,))
    plain, wrapped = (unlearn(m, split, FineTune(epochs=1)).model for m in (model, nn.DataParallel(model)))
    assert same(plain, wrapped.module)
    assert unlearn(nn.DataParallel(model), split, Nothing()).marks == ("unchanged",)


def test_a_stream_seeds_no_device_but_its_own(monkeypatch):
    """`torch.manual_seed` seeds all GPUs, of which those that a run is not on were not put back."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("all GPUs were seeded"))
    with stream(3, torch.device("cpu")):
        drawn = torch.randn(3)
    assert torch.equal(drawn, torch.randn(3, generator=torch.Generator().manual_seed(3)))


def test_the_digest_of_rows_does_not_hang_on_where_a_preparation_lies():
    """A killed run could not go on where a function prepares what runs beside noise: its address in memory was taken for what tells it from another."""
    x, y = torch.zeros(4, 2), [0, 1, 0, 1]
    kept = [_Whole(lambda v: v, (size,)) for size in (2, 2, 3)]
    one, other, wider = (Samples(x, y, prepare=prepare).rows_digest() for prepare in kept)
    assert one == other != wider


def test_a_preparation_without_a_hash_prepares():
    """An ordinary dataclass has none, and an audit ended in a TypeError."""
    kept = Halved(), Halved()
    one, other = (Samples(torch.zeros(4, 2), [0, 1, 0, 1], prepare=prepare) for prepare in kept)
    assert len({one.key, one[:].key, other.key}) == 2


@dataclass
class Halved:
    """Halve inputs."""

    by: float = 2.0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x / self.by


def test_a_normalisation_of_other_whole_numbers_than_bytes_is_refused():
    """Its numbers were cut to whole ones, and the pixels were said to be NaN."""
    with pytest.raises(BadData, match="pixels are int64, and a normalisation takes uint8"):
        Norm((0.5,), (0.2,))(torch.zeros(2, 1, 4, 4, dtype=torch.int64))
