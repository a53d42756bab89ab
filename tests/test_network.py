"""The view of a model: its head and features, whatever it takes and answers; and the zoo's networks against published checkpoints."""

from __future__ import annotations

import copy
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from untrain.core import files
from untrain.core.data import Samples, Split
from untrain.core.engine import seeded
from untrain.core.errors import BadArgument, BadData
from untrain.core.network import Network, logits
from untrain.core.train import predict
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.methods.headonly import HeadOnly
from untrain.zoo.networks import NETWORKS, parameters
from untrain.zoo.sets import load

HEADS = {"digits": "linear", "resnet20": "linear", "resnet32": "linear", "resnet18": "fc", "resnet18-imagenet-stem": "fc", "allcnn": "classifier"}


def zoo(name, classes=7):
    torch.manual_seed(0)
    module = NETWORKS[name](classes)
    # BatchNorm that is not its own identity.
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
    return module.eval()


def images(name, n=3):
    size = 64 if "imagenet" in name else 32
    return torch.randn(n, 1, 8, 8) if name == "digits" else torch.randn(n, 3, size, size)


def test_every_network_of_the_zoo_is_here():
    assert HEADS.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_found_and_its_rows_times_the_features_are_the_logits(name):
    module = zoo(name)
    network = Network(module)
    assert network.head.name == HEADS[name]
    assert network.head.width == 7
    with torch.no_grad():
        features, out = network.features(images(name))
        wanted = features @ network.head.layer.weight.flatten(1).T + network.head.layer.bias
    torch.testing.assert_close(wanted, out, rtol=1e-4, atol=1e-4)
    assert features.shape == (3, network.head.layer.weight.shape[1])
    assert not network.head.layer._forward_pre_hooks


@pytest.mark.parametrize("name", HEADS)
def test_the_view_is_never_in_the_state_dict(name):
    module = zoo(name)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    network = Network(module)
    with network.frozen(), torch.no_grad():
        network.features(images(name))
    network.teacher()
    assert list(module.state_dict()) == list(before)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert not any(isinstance(v, Network) for m in module.modules() for v in vars(m).values())


@pytest.mark.parametrize("name", ["digits", "allcnn"])
def test_a_mask_silences_its_classes_and_leaves_the_other_logits(name):
    module = zoo(name)
    x = images(name, 20)
    before = module(x)
    Network(module).head.mask((2, 5))
    after = module(x)
    kept = [0, 1, 3, 4, 6]
    assert torch.equal(before[:, kept], after[:, kept])
    assert (after[:, [2, 5]] < after[:, kept].min()).all()
    assert torch.isfinite(after).all()
    assert all(bool(torch.isfinite(v).all()) for v in module.state_dict().values())


@pytest.mark.parametrize("name", ["digits", "allcnn"])
def test_rows_are_drawn_anew_alone_within_the_bound_of_a_new_layer_and_in_sorted_order(name):
    ends = []
    for classes in ((2, 5), (5, 2)):
        network = Network(zoo(name))
        before = copy.deepcopy(network.module.state_dict())
        torch.manual_seed(3)
        network.head.redraw(classes)
        ends.append(network.head.layer.weight.detach().clone())
        changed = {n: v for n, v in network.module.state_dict().items() if not torch.equal(v, before[n])}
        assert changed.keys() == network.head.rows(classes).keys() == {f"{HEADS[name]}.weight", f"{HEADS[name]}.bias"}
        for key, value in changed.items():
            rows = (value != before[key]).flatten(1).any(1) if value.ndim > 1 else value != before[key]
            assert tuple(rows.nonzero().flatten().tolist()) == (2, 5) == network.head.rows(classes)[key]
        # As torch draws a new layer: uniform within 1 / sqrt(inputs). The largest of 24 draws or more is above half of it, but for 2^-24.
        bound = network.head.layer.weight[0].numel() ** -0.5
        drawn = ends[-1][[2, 5]].abs()
        assert bound / 2 < drawn.max() <= bound
        assert drawn.min() < bound / 2
    assert torch.equal(*ends)


def test_a_head_may_be_named():
    module = nn.ModuleDict({"head": nn.Linear(4, 3), "extra": nn.Linear(4, 9)})
    assert Network(module).head.name == "extra"
    assert Network(module, head="head").head.width == 3
    with pytest.raises(BadArgument, match=r"no linear layer or convolution 'tail' in the model; there are \['head', 'extra'\]"):
        _ = Network(module, head="tail").head
    with pytest.raises(BadArgument, match="no linear layer and no convolution"):
        _ = Network(nn.ReLU()).head


def test_a_bare_linear_layer_is_its_own_head():
    module = nn.Linear(4, 3)
    network = Network(module)
    assert network.head.rows((1,)) == {"weight": (1,), "bias": (1,)}
    x = torch.randn(5, 4)
    features, out = network.features(x)
    assert torch.equal(features, x)
    assert torch.equal(out, module(x))


def test_a_head_without_bias_cannot_be_masked():
    head = Network(nn.Sequential(nn.Linear(4, 3, bias=False))).head
    assert head.rows((1,)) == {"0.weight": (1,)}
    before = head.layer.weight.detach().clone()
    with pytest.raises(BadData, match="'0' has no bias"):
        head.mask((1,))
    assert torch.equal(before, head.layer.weight)
    head.redraw((1,))


def modes_and_flags(module):
    return [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_frozen_gives_back_each_modules_mode_and_each_weights_flag(error):
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))).train()
    module[2].eval()
    module[0].weight.requires_grad_(False)
    before = modes_and_flags(module)
    assert before == ([True, True, True, False, False, False], [False, True, True, True, True, True])

    def use():
        with Network(module).frozen():
            assert modes_and_flags(module) == ([False] * 6, [False] * 6)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            use()
    else:
        use()
    assert modes_and_flags(module) == before


def test_features_leave_no_hook_when_the_model_fails():
    module = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(RuntimeError):
        Network(module).features(torch.zeros(1, 3))
    assert not module[0]._forward_pre_hooks


def test_a_teacher_is_a_frozen_copy_whatever_becomes_of_the_student():
    module = zoo("digits").train()
    network = Network(module)
    teacher = network.teacher()
    x = images("digits")
    before = teacher(x)
    assert modes_and_flags(teacher.module) == ([False] * 7, [False] * 10)
    assert module.training
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1)
    assert torch.equal(teacher(x), before)
    assert not {t.data_ptr() for t in teacher.module.state_dict().values()} & {t.data_ptr() for t in module.state_dict().values()}


# What models answer with

Answer = namedtuple("Answer", "logits loss")
LOGITS = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    "answer",
    [
        LOGITS,
        (LOGITS, None),
        [LOGITS, "aux"],
        {"logits": LOGITS, "loss": 1},
        {"loss": 1, "logits": LOGITS},
        SimpleNamespace(logits=LOGITS),
        Answer(LOGITS, torch.zeros(())),
        Answer(logits=LOGITS, loss=None),
    ],
    ids=lambda a: type(a).__name__,
)
def test_logits_are_found_in_what_a_model_answers(answer):
    assert torch.equal(logits(answer), LOGITS)


def test_an_answer_whose_logits_come_second_is_read_by_name():
    assert torch.equal(logits(namedtuple("Loss", "loss logits")(torch.zeros(4, 4), LOGITS)), LOGITS)


@pytest.mark.parametrize("answer", [None, {}, {"x": LOGITS}, (), [], torch.zeros(2), torch.zeros(2, 3, 4), "logits", (None, LOGITS)], ids=lambda a: str(a)[:20])
def test_an_answer_without_logits_is_refused(answer):
    with pytest.raises(BadData, match="not with logits"):
        logits(answer)


def test_half_precision_answers_are_raised_and_double_ones_kept():
    assert logits(LOGITS.bfloat16()).dtype == torch.float32
    assert logits(LOGITS.half()).dtype == torch.float32
    assert logits(LOGITS.double()).dtype == torch.float64


class Talking(nn.Module):
    """A model over a dict that answers with one, as language models do."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(20, 8), nn.Linear(8, 3)

    def forward(self, x):
        mask = x["mask"][..., None]
        return {"hidden": None, "logits": self.head((self.words(x["ids"]) * mask).sum(1) / mask.sum(1))}


def test_a_model_over_dicts_is_unlearned_like_any_other():
    torch.manual_seed(0)
    module = Talking()
    samples = Samples({"ids": torch.randint(20, (30, 5)), "mask": torch.ones(30, 5)}, torch.arange(30) % 3)
    split = Split.by_class(samples, samples, forget=[1])
    network = Network(module)
    with torch.no_grad():
        features, out = network.features(samples.batch(torch.arange(4))[0])
    torch.testing.assert_close(features @ module.head.weight.T + module.head.bias, out)
    result = unlearn(module, split, FineTune(batch=8, epochs=2))
    assert result.trace["finetune"].passes == 20 * 2 * 3
    masked = unlearn(module, split, HeadOnly()).model
    assert not (predict(Network(masked), samples)[0].argmax(1) == 1).any()
    assert (predict(network, samples)[0].argmax(1) == 1).any()


def test_a_view_counts_no_pass_outside_a_run_and_inside_one_does():
    network = Network(nn.Linear(4, 3))
    network(torch.randn(5, 4))
    with seeded(0) as run:
        assert run.passes == 0
        out = network(torch.randn(5, 4))
        assert run.passes == 5
        out.sum().backward()
        assert run.passes == 15


# The zoo


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    # He et al. 2015, table 6, say .27 M and .46 M weights; torchvision's ResNet-18 has 11,689,512.
    [("resnet20", 10, 269_722), ("resnet32", 10, 464_154), ("resnet18-imagenet-stem", 1000, 11_689_512)],
)
def test_the_zoos_networks_have_the_published_number_of_weights(name, classes, count):
    assert parameters(NETWORKS[name](classes)) == count


def test_a_block_is_what_he_et_al_wrote():
    """One CIFAR block with a shortcut of option A, computed by hand."""
    module = zoo("resnet20")
    block = module.layer2[0]
    x = torch.rand(2, 16, 8, 8)

    def normal(v, bn):
        return (v - bn.running_mean[:, None, None]) / (bn.running_var[:, None, None] + bn.eps).sqrt() * bn.weight[:, None, None] + bn.bias[:, None, None]

    inner = normal(F.conv2d(x, block.conv1.weight, stride=2, padding=1), block.bn1).clamp(min=0)
    inner = normal(F.conv2d(inner, block.conv2.weight, padding=1), block.bn2)
    short = torch.zeros(2, 32, 4, 4)
    short[:, 8:24] = x[:, :, ::2, ::2]
    with torch.no_grad():
        torch.testing.assert_close(block(x), (inner + short).clamp(min=0), rtol=1e-4, atol=1e-5)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [("resnet20", 9173), ("resnet32", 9263)])
def test_the_published_checkpoints_load_and_name_as_many_test_images_rightly_as_published(name, right, data_root):
    """91.73 % and 92.63 %, counted; two images may fall the other way where kernels round differently."""
    module = NETWORKS[name](10)
    path = data_root / "checkpoints" / f"cifar10_{name}.safetensors"
    files.load_into(module, files.load_weights(path), path.name)
    test = load("cifar10", data_root).test.prepared(module.norm)
    assert np.bincount(test.y).tolist() == [1000] * 10
    out, labels, _ = predict(Network(module), test)
    assert abs(int((out.argmax(1) == labels).sum()) - right) <= 2


@pytest.mark.data
def test_a_checkpoint_of_another_network_is_refused(data_root):
    path = data_root / "checkpoints" / "cifar10_resnet32.safetensors"
    with pytest.raises(BadData, match="does not fit the network"):
        files.load_into(NETWORKS["resnet20"](10), files.load_weights(path), path.name)
