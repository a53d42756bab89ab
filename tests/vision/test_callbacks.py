"""Callbacks that audit inside someone else's training find what an audit finds, and leave the training as it is."""

from __future__ import annotations

import json
import random

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

import ranks_main
from untrain import Accuracy, Relearn, UntrainError, audit, lightning_audit, trainer_audit
from untrain.core import files
from untrain.evidence import record

SPLIT = ranks_main.split()
AUDITS = [Accuracy(), Relearn(steps=4, every=2, batch=8)]


def pairs():
    """Training samples as (x, y)."""
    return list(zip(*SPLIT.retain.batch(torch.arange(40)), strict=True))


class Lit(lightning.LightningModule):
    """A user's own LightningModule, with BatchNorm and dropout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class Answers(nn.Module):
    """A model as the Trainer of transformers wants it: keyword inputs, a loss where labels are given."""

    def __init__(self):
        super().__init__()
        self.net = Lit().net

    def forward(self, pixel_values, labels=None):
        logits = self.net(pixel_values)
        return {"logits": logits} | ({"loss": F.cross_entropy(logits, labels)} if labels is not None else {})


def with_lightning(callback, folder, epochs=2, precision="32-true"):
    module = Lit()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback] if callback else [],
        default_root_dir=folder,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        # It advises worker processes, and steps too few to log.
        loader = DataLoader(pairs(), batch_size=20, shuffle=True, num_workers=0)
        trainer.fit(module, loader)
        return module, torch.rand(3)


def with_transformers(callback, folder, epochs=2, steps=-1):
    module = Answers()
    options = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        max_steps=steps,
        per_device_train_batch_size=20,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        seed=3,
    )
    data = [{"pixel_values": x, "labels": y} for x, y in pairs()]
    with torch.random.fork_rng():
        Trainer(model=module, args=options, train_dataset=data, callbacks=[callback] if callback else []).train()
        return module, torch.rand(3)


TRAINERS = {"lightning": (lightning_audit, with_lightning), "transformers": (trainer_audit, with_transformers)}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
]


@pytest.mark.parametrize("name", TRAINERS)
def test_the_training_ends_as_it_does_without_the_callback(name, tmp_path):
    made, train = TRAINERS[name]
    quiet, drawn = train(None, tmp_path)
    callback = made(SPLIT, AUDITS, original=Lit(), every=1, out=tmp_path / "looks.json")
    watched, drawn_too = train(callback, tmp_path)
    assert len(callback.looks) == 2
    assert watched.state_dict().keys() == quiet.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(watched.state_dict().values(), quiet.state_dict().values(), strict=True))
    assert torch.equal(drawn, drawn_too)
    assert all(p.requires_grad for p in watched.parameters())


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_look_changes_no_weight_no_mode_no_gradient_and_no_random_state(name, training):
    made, _ = TRAINERS[name]
    callback = made(SPLIT, AUDITS, original=Lit())
    module = Lit()
    module.train(training)
    module.net[3].train(not training)
    x, y = SPLIT.retain.batch(torch.arange(8))
    F.cross_entropy(module(x), y).backward()
    modes = [part.training for part in module.modules()]
    weights, gradients = {k: v.clone() for k, v in module.state_dict().items()}, [p.grad.clone() for p in module.parameters()]
    state, others = torch.get_rng_state(), (random.getstate(), np.random.get_state()[1].tolist())

    class State:
        epoch, global_step, current_epoch = 1.0, 7, 1

    if name == "lightning":
        callback.on_fit_end(State, module)
    else:
        callback.on_train_end(None, State, None, model=module)
    assert [look["step"] for look in callback.looks] == [7]
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in weights.items())
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == others


@pytest.mark.parametrize("name", TRAINERS)
def test_it_finds_what_an_audit_of_the_finished_module_finds(name, tmp_path):
    made, train = TRAINERS[name]
    original = Lit()
    callback = made(SPLIT, AUDITS, original=original, out=tmp_path / "looks.json", seed=5)
    module, _ = train(callback, tmp_path)
    (look,) = callback.looks
    assert (look["epoch"], look["step"]) == (2, 4)
    assert look["weights_sha256"] == files.weights_hash(module.state_dict())
    found = json.loads(json.dumps(record.finite(audit(module, SPLIT, AUDITS, original=original, seed=5))))
    assert look["audits"] == found
    assert found[0]["rows"]
    assert found[1]["figures"]  # It trained a copy.
    written = json.loads((tmp_path / "looks.json").read_text())
    assert written["looks"] == callback.looks
    assert written["counts"] == {name: len(part) for name, part in SPLIT.parts.items()}
    assert str(tmp_path) not in json.dumps(written)


@pytest.mark.parametrize("name", TRAINERS)
def test_every_second_epoch_and_the_end(name, tmp_path):
    made, train = TRAINERS[name]
    callback = made(SPLIT, [Accuracy()], every=2)
    train(callback, tmp_path, epochs=3)
    assert [(look["epoch"], look["step"]) for look in callback.looks] == [(2, 4), (3, 6)]
    assert callback.looks[0]["weights_sha256"] != callback.looks[1]["weights_sha256"]


@pytest.mark.parametrize(("every", "looks"), [(1, [(1, 2), (2, 4), (3, 5)]), (2, [(2, 4), (3, 5)]), (3, [(3, 5)])])
def test_an_epoch_that_is_cut_short_is_counted_as_one(every, looks, tmp_path):
    callback = trainer_audit(SPLIT, [Accuracy()], every=every)
    with_transformers(callback, tmp_path, steps=5)
    assert [(look["epoch"], look["step"]) for look in callback.looks] == looks


def test_another_training_with_the_same_callback_is_looked_at_though_it_ends_at_the_same_step():
    class State:
        global_step, current_epoch = 7, 1

    callback, module = lightning_audit(SPLIT, [Accuracy()]), Lit()
    callback.on_fit_end(State, module)
    callback.on_fit_end(State, module)
    assert len(callback.looks) == 1
    with torch.no_grad():
        module.net[4].bias += 1
    callback.on_fit_end(State, module)
    assert len(callback.looks) == 2


def test_a_part_of_the_module_can_be_picked(tmp_path):
    callback = lightning_audit(SPLIT, [Accuracy()], pick=lambda module: module.net)
    module, _ = with_lightning(callback, tmp_path, epochs=1)
    assert callback.looks[0]["weights_sha256"] == files.weights_hash(module.net.state_dict())


@pytest.mark.parametrize("made", [lightning_audit, trainer_audit])
@pytest.mark.parametrize(
    ("audits", "options", "said"),
    [([], {}, "asks nothing"), (AUDITS, {"every": 0}, "from 1 up"), (AUDITS, {"out": "."}, "exists"), (AUDITS, {"evry": 2}, "'evry'; there are split, audits, every")],
)
def test_what_does_not_fit_is_refused_before_the_training(made, audits, options, said):
    with pytest.raises(UntrainError, match=r"^[^\n]*$") as refused:
        made(SPLIT, audits, **options)
    assert said in str(refused.value)
