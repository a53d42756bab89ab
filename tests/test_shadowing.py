"""Shadows from the command line: trained once and kept, gone on with after a kill, put through a run's method, and taken by an audit."""

from __future__ import annotations

import json
import shutil

import jsonschema
import pytest
import torch
from torch import nn

from untrain.cli import main
from untrain.core.audit import Shadow
from untrain.core.data import Samples
from untrain.core.errors import BadArgument, BadData
from untrain.core.files import save_weights, sha256
from untrain.evidence import record as records
from untrain.metrics.shadow import klom
from untrain.verbs.inputs import Inputs
from untrain.verbs.reference import reference
from untrain.verbs.shadowing import by_chance, left_by, shadows_in

HELD = "from untrain.zoo.sets import digits\n\n\ndef held():\n    return digits().test[:120]\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A list of digits to forget, and a hold-out."""
    root = tmp_path_factory.mktemp("shadows")
    (root / "list.txt").write_text("\n".join(map(str, range(90))))
    (root / "held.py").write_text(HELD)
    return root


def asked(place, **more):
    named = {"model": "digits", "data": "digits", "forget": f"index:{place / 'list.txt'}", "holdout": f"{place / 'held.py'}:held", "epochs": 2, "device": "cpu"}
    return Inputs(**named | more)


def flags(place):
    return ["--model", "digits", "--data", "digits", "--forget", f"index:{place / 'list.txt'}", "--holdout", f"{place / 'held.py'}:held", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(place):
    assert main(["unlearn", "finetune", *flags(place), "--epochs", "1", "--out", str(place / "run")]) == 0
    return place / "run"


@pytest.fixture(scope="module")
def four(place, run):
    said = []
    return reference(asked(place), place / "dark", models=4, shadows=True, like=run, say=said.append), said


def test_shadows_are_told_of_beforehand_and_what_the_method_leaves_of_them_afterwards(four):
    told, said = four
    assert [m["file"] for m in told["models"]] == [f"seed-{n}.safetensors" for n in (1, 2, 3, 4)]
    assert len({m["sha256"] for m in told["models"]}) == 4
    first = next(line for line in said if "0 of 4 shadows of 90 samples" in line)
    assert said.index(first) < said.index(next(line for line in said if "4 shadows: 2 saw each sample and 2 did not" in line))
    assert told["method"]["models"] == 2
    assert said[-1].startswith("finetune leaves a median epsilon of")
    assert f"(final score {told['method']['final']:.2f}, what it cost in accuracy counted in)" in said[-1]
    assert "2 models of each kind that do not differ show" in said[-1]


def test_of_models_that_do_not_differ_the_best_of_many_rules_tells_some_apart():
    """However many there are: an epsilon, and the quality that is made of it, mean something beside these alone."""
    few, many = by_chance(8, 100), by_chance(100, 30)
    assert min(few["epsilon"], many["epsilon"]) > 1
    assert max(few["quality"], many["quality"]) < 0.3
    assert many["klom"] < few["klom"] / 5
    assert few == by_chance(8, 100)


def test_what_a_method_leaves_is_that_of_models_which_forgot_a_sample_beside_those_that_never_saw_it():
    """Scores that are known: those that forgot have a wide spread, those that never saw it a narrow one, and KLoM is no longer the same turned round."""
    g, n = torch.Generator().manual_seed(0), 6
    forget = Samples(torch.eye(n), torch.zeros(n, dtype=torch.long))
    sides, shadows = ([], []), []
    for number in range(16):
        half = torch.arange(3) + 3 * (number % 2)
        saw = torch.isin(torch.arange(n), half)
        phi = torch.randn(n, generator=g) * torch.where(saw, 3.0, 0.3)
        after = nn.Linear(n, 2, bias=False)
        after.weight.data = torch.stack([phi / 2, -phi / 2])
        shadows.append(Shadow(after, forget[half], after))
        for side, which in zip(sides, (saw, ~saw), strict=True):
            side.append(torch.where(which, phi, torch.nan))
    forgot, never = (torch.stack(side).T for side in sides)
    forgot, never = (torch.stack([row[row.isfinite()] for row in side]).T for side in (forgot, never))
    told = left_by(shadows, forget, None)
    assert told["models"] == 8
    assert told["klom"] == pytest.approx(float(klom(forgot, never).quantile(0.95)), rel=1e-4)
    assert told["klom"] != pytest.approx(float(klom(never, forgot).quantile(0.95)), rel=0.01)


def test_the_final_score_is_the_quality_times_both_ratios_of_accuracies():
    """Rows of a unit matrix, named by the larger weight: after the method so many of ten are right on either set, before it so many."""
    g = torch.Generator().manual_seed(0)

    def says(right):
        made = nn.Linear(30, 2, bias=False)
        made.weight.data = torch.stack([torch.cat([torch.randn(10, generator=g), *(torch.where(torch.arange(10) < n, 1.0, -1.0) for n in right)]), torch.zeros(30)])
        return made

    whole = Samples(torch.eye(30), torch.zeros(30, dtype=torch.long))
    forget, retain, test = (whole[torch.arange(10) + 10 * i] for i in range(3))
    counts = [((8, 6), (10, 9)), ((6, 6), (10, 7)), ((7, 3), (9, 8)), ((7, 5), (9, 8))]
    shadows = [Shadow(says(before), forget[torch.arange(5) + 5 * (i % 2)], says(after)) for i, (after, before) in enumerate(counts)]
    told = left_by(shadows, forget, None, kept=(retain, test))
    assert told["quality"] > 0
    assert told["final"] == pytest.approx(told["quality"] * (28 / 38) * (20 / 32))
    same = [Shadow(s.after, s.seen, s.after) for s in shadows]
    alike = left_by(same, forget, None, kept=(retain, test))
    assert alike["final"] == alike["quality"] == told["quality"]
    assert "final" not in left_by(shadows, forget, None)


class Twice(nn.Module):
    """Answers with nothing first, and then with what another says."""

    def __init__(self, told: nn.Linear) -> None:
        super().__init__()
        self.told, self.mute = told, nn.Linear(told.in_features, 2, bias=False)
        self.mute.weight.data.zero_()

    def forward(self, x):
        return self.mute(x), self.told(x)


def test_of_several_answers_what_a_method_leaves_is_read_off_the_head_that_is_named():
    g, forget, shadows, twice = torch.Generator().manual_seed(0), Samples(torch.eye(4), torch.zeros(4, dtype=torch.long)), [], []
    for number in range(8):
        after, half = nn.Linear(4, 2, bias=False), forget[torch.arange(2) + 2 * (number % 2)]
        after.weight.data = torch.randn(2, 4, generator=g)
        shadows.append(Shadow(after, half, after))
        twice.append(Shadow(Twice(after), half, Twice(after)))
    named = (left_by(twice, forget, None, head, kept=(forget, forget)) for head in ("told", "mute"))
    assert next(named) == left_by(shadows, forget, None, kept=(forget, forget)) != next(named)


class Killed(KeyboardInterrupt):
    """Stands for a kill, and is no error that user code could be blamed for."""


def test_a_killed_call_goes_on_to_the_same_bits(four, place, tmp_path):
    def kill(phase, step, steps):
        if phase == "shadow 2 of 4: train" and step >= steps // 2:
            raise Killed

    with pytest.raises(Killed):
        reference(asked(place), tmp_path / "dark", models=4, shadows=True, progress=kill)
    assert (tmp_path / "dark" / "seed-2" / ".state").is_dir()
    made = reference(asked(place), tmp_path / "dark", models=4, shadows=True)["models"]
    assert [m["sha256"] for m in made] == [m["sha256"] for m in four[0]["models"]]


def test_the_audit_of_a_run_asks_who_is_exposed_beside_them(four, place, run, capsys):
    code = ["--holdout", f"{place / 'held.py'}:held"]
    assert main(["audit", str(run), "--shadows", str(place / "dark"), *code, "--skip", "relearn,prototype,strangeness,descent", "--device", "cpu"]) in (3, 4)
    record = records.read(run)
    jsonschema.validate(record, records.schema())
    assert {k: record["shadows"][k] for k in ("models", "after")} == {"models": 4, "after": True}
    (entry,) = (e for e in record["audits"] if e["name"] == "exposure")
    assert {"LiRA", "U-LiRA", "RMIA", "told one by one", "LiRA, caught at 1 % false alarms"} <= {row["name"] for row in entry["rows"]}
    assert {"LiRA", "U-LiRA"} <= record["verdict"]["tests"].keys()
    assert str(place) not in json.dumps(record)
    capsys.readouterr()
    assert main(["audit", str(run), *code, "--skip", "relearn,prototype,strangeness,descent", "--device", "cpu"]) in (3, 4)
    assert "shadows" not in records.read(run)


def test_a_shadow_is_no_retrained_model_and_a_retrained_model_no_shadow(four, place, run, tmp_path, capsys):
    code = ["--holdout", f"{place / 'held.py'}:held"]
    assert main(["audit", str(run), "--retrained", str(place / "dark" / "seed-1.safetensors"), *code]) == 5
    assert "is a shadow" in capsys.readouterr().err
    reference(asked(place), tmp_path / "refs", models=1)
    assert main(["audit", str(run), "--shadows", str(tmp_path / "refs"), *code]) == 5
    assert "holds no shadows" in capsys.readouterr().err


def test_shadows_of_other_samples_are_refused(four, place, tmp_path):
    (place / "other.txt").write_text("\n".join(map(str, range(5, 95))))
    with pytest.raises(BadArgument, match="models of another recipe, or trained on other data"):
        reference(asked(place, forget=f"index:{place / 'other.txt'}"), place / "dark", models=4, shadows=True)


def test_shadows_that_are_not_what_a_call_wrote_are_refused(four, place, tmp_path):
    opened = asked(place).open()

    def read(folder, forget=None):
        split = opened.split if forget is None else asked(place, forget=forget).open().split
        return shadows_in(folder, "digits", 10, split, None)

    (place / "third.txt").write_text("\n".join(map(str, range(5, 95))))
    with pytest.raises(BadData, match="of other samples to be forgotten"):
        read(place / "dark", f"index:{place / 'third.txt'}")
    # One under another's seed would be taken to have seen the other half.
    wrong = shutil.copytree(place / "dark", tmp_path / "wrong")
    (wrong / "seed-1.safetensors").rename(wrong / "seed-9.safetensors")
    with pytest.raises(BadData, match="under other names than they were given"):
        read(wrong)
    odd = tmp_path / "odd"
    odd.mkdir()
    save_weights(odd / "seed-1.safetensors", opened.model.module.state_dict(), {"shadows": "yes"})
    with pytest.raises(BadData, match="what the shadows in odd say of themselves is not as it should be"):
        read(odd)


def test_shadows_take_a_hold_out_and_a_method_takes_shadows(place, run, tmp_path):
    with pytest.raises(BadData, match="there is none; name samples of the same kind"):
        reference(asked(place, holdout=None), tmp_path / "dark", models=4, shadows=True)
    with pytest.raises(BadArgument, match="add --shadows"):
        reference(asked(place), tmp_path / "dark", models=4, like=run)
    assert not (tmp_path / "dark").exists()
    assert sha256(run / "model.safetensors") == records.read(run)["output"]["sha256"]
