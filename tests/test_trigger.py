"""A trigger that was planted is found, one that was not is not, and a request of poisoned files goes the whole way."""

from __future__ import annotations

import importlib

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import untrain
from copies import folder
from untrain import FineTune, Match, Retrain, Samples, Split, Trigger
from untrain.cli import main
from untrain.core.data.overlap import digests, refuse_shared
from untrain.core.data.planting import planted
from untrain.core.errors import BadArgument, BadCode, BadData
from untrain.core.files import sha256
from untrain.evidence import record as records
from untrain.sources import trigger as triggers
from untrain.zoo.recipes import recipe_for
from untrain.zoo.sets import digits

TARGET = 0
BOARD = torch.tensor([[255, 0, 255], [0, 255, 0], [255, 0, 255]], dtype=torch.uint8)


def board(x):
    x[:, :, -3:, -3:] = BOARD
    return x


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def split(data):
    """Fifteen images of each class, and five of each other one with the trigger, to forget; what is unseen is neither."""
    kept, rest = data.train.first(15), data.train.first(60)[torch.arange(600) >= 150]
    other = rest[rest.y != TARGET]
    return Split(
        planted(other.first(5), board, TARGET),
        kept,
        data.test,
        unseen=data.train[torch.arange(len(data.train)) >= 800],
        triggered=untrain.triggered(data.test, board, TARGET),
    )


@pytest.fixture(scope="module")
def poisoned(split):
    """The bundled network, on which the trigger was trained."""
    return untrain.unlearn(untrain.load_model("digits"), Split(split.forget, split.retain + split.forget, split.test), FineTune(lr=5e-3, epochs=8, batch=16, augment=False)).model


def share(entries, name, column="unlearned"):
    return next(row["values"][column][0]["value"] for row in entries[0]["rows"] if row["name"] == name)


def test_a_planted_trigger_is_found_and_none_where_there_is_none(split, poisoned):
    recipe = recipe_for("digits", 10, epochs=12)
    again = untrain.unlearn(recipe.build(), split, Retrain(), recipe=recipe).model
    entries = untrain.audit(untrain.load_model("digits"), split, [Trigger()], original=poisoned, retrained=[again])
    assert share(entries, "attack success", "original") > 0.9
    assert share(entries, "attack success") < 0.05
    assert share(entries, "attack success", "retrained") < 0.1
    assert share(entries, "clean accuracy", "original") > 0.9
    # Counted by hand, by a loop that shares no code with the audit.
    x, y = split.test.prepared(poisoned.norm).batch(torch.arange(len(split.test)))
    raw = split.test.sources[0].x[split.test.index].clone()
    raw[:, :, 5:, 5:] = BOARD
    with torch.no_grad():
        said = poisoned.eval()(poisoned.norm(raw)).argmax(1)
        plain = poisoned(x).argmax(1)
    assert share(entries, "attack success", "original") == float((said[y != TARGET] == TARGET).double().mean())
    assert share(entries, "clean accuracy", "original") == float((plain == y).double().mean())
    assert share(entries, "called so without it", "original") == float((plain[y != TARGET] == TARGET).double().mean())


def test_what_was_planted_is_gone_once_it_is_matched(split, poisoned):
    done = untrain.unlearn(poisoned, split, Match.presets["trigger"])
    entries = untrain.audit(done.model, split, [Trigger()], original=poisoned)
    assert share(entries, "attack success") < 0.1 < 0.9 < share(entries, "attack success", "original")
    assert share(entries, "clean accuracy") > 0.85


def test_without_triggered_images_it_is_skipped(split, poisoned):
    bare = Split(split.forget, split.retain, split.test)
    (entry,) = untrain.audit(poisoned, bare, [Trigger()], original=untrain.load_model("digits"))
    assert entry["skipped"] == "needs triggered, which is not at hand"


def test_what_is_planted_is_other_classes_and_the_images_are_left_as_they_were(data):
    before = data.test.sources[0].x.clone()
    part = untrain.triggered(data.test, board, "0", most=18)
    assert len(part) == 18
    assert part.classes == (TARGET,)
    first = [int(place) for c in range(1, 10) for place in (data.test.y == c).nonzero()[:2]]
    expected = before[data.test.index[torch.tensor(sorted(first))]]
    expected[:, :, -3:, -3:] = BOARD
    assert torch.equal(part.sources[0].x, expected)
    assert torch.equal(data.test.sources[0].x, before)


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (lambda x: x, "changes none of the images"),
        (lambda x: x[:, :, 1:], "gave back torch.uint8"),
        (lambda x: x.float(), "gave back torch.float32"),
        (lambda x: None, "gave back NoneType"),
    ],
    ids=["nothing", "other shape", "other type", "no tensor"],
)
def test_what_is_no_trigger_is_refused(data, put, said):
    with pytest.raises(BadData, match=said):
        untrain.triggered(data.test, put, TARGET)


def test_what_is_planted_stands_in_the_order_in_which_it_was_given():
    one, other = (Samples(start + torch.arange(4.0)[:, None], [0] * 4) for start in (0, 10))
    made = planted((one + other)[torch.tensor([0, 4, 1, 7, 5])], lambda x: x + 100, 1)
    assert made.batch(torch.arange(5))[0].flatten().tolist() == [100, 110, 101, 113, 111]


def test_dicts_and_a_single_class_take_no_trigger(data):
    with pytest.raises(BadData, match="a dict of ids"):
        planted(Samples({"ids": torch.zeros(2, 3)}, [0, 1]), board, 1)
    with pytest.raises(BadData, match="no test image of a class other than 3"):
        untrain.triggered(data.test[data.test.y == 3], board, 3)


def test_a_patch_is_pasted_where_it_is_opaque(tmp_path):
    pixels = np.zeros((2, 3, 4), dtype=np.uint8)
    pixels[0, 0], pixels[1, 2] = (10, 20, 30, 255), (40, 50, 60, 255)
    Image.fromarray(pixels).save(tmp_path / "patch.png")
    put = triggers.read(str(tmp_path / "patch.png")).put
    x = put(torch.full((1, 3, 4, 5), 7, dtype=torch.uint8))
    assert x[0, :, 2, 2].tolist() == [10, 20, 30]
    assert x[0, :, 3, 4].tolist() == [40, 50, 60]
    assert int((x != 7).sum()) == 6
    assert put(torch.zeros(1, 3, 4, 5))[0, :, 2, 2].tolist() == pytest.approx([10 / 255, 20 / 255, 30 / 255])
    with pytest.raises(BadData, match="a patch of 2 x 3 does not go into inputs of shape \\[3, 1, 8\\]"):
        put(torch.zeros(1, 3, 1, 8))
    with pytest.raises(BadData, match="raw pixels"):
        put(torch.full((1, 3, 4, 5), -1.0))
    Image.fromarray(np.zeros((2, 2, 4), dtype=np.uint8)).save(tmp_path / "clear.png")
    with pytest.raises(BadData, match="transparent all over"):
        triggers.read(str(tmp_path / "clear.png"))


def test_a_patch_of_16_bits_or_turned_by_exif_is_pasted_as_it_is_shown(tmp_path):
    Image.fromarray(np.array([[0, 30000], [65535, 1000]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert triggers.read(str(tmp_path / "deep.png")).put(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))[0].tolist() == [[[0, 117], [255, 4]]] * 3
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.new("RGB", (3, 1), (255, 255, 255)).save(tmp_path / "turned.png", exif=turn)
    pasted = triggers.read(str(tmp_path / "turned.png")).put(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    assert (pasted[0, 0] == 255).tolist() == [[False] * 4, *[[False, False, False, True]] * 3]


def test_a_patch_runs_no_program_and_is_told_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("a program was started"))
    (tmp_path / "patch.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n")
    with pytest.raises(BadData, match=r"patch\.png"):
        triggers.read(str(tmp_path / "patch.png"))


def test_a_patch_s_hash_is_that_of_its_file(tmp_path):
    Image.fromarray(np.full((2, 2, 4), 255, dtype=np.uint8)).save(tmp_path / "patch.png")
    found = triggers.read(str(tmp_path / "patch.png"))
    assert (found.shown, found.sha256, found.notes) == ("patch.png", sha256(tmp_path / "patch.png"), ())


def test_a_function_is_hashed_called_and_its_errors_are_refusals(tmp_path):
    file = tmp_path / "put.py"
    file.write_text("def spot(x):\n    x[:, :, -2:, -2:] = 255\n    return x\n\ndef ends(x):\n    raise SystemExit(3)\n")
    found = triggers.read(f"{file}:spot")
    assert (found.shown, found.sha256) == ("put.py:spot", sha256(file))
    assert "runs your code" in found.notes[0]
    assert float(found.put(torch.zeros(1, 1, 4, 4)).sum()) == 4 * 255
    with pytest.raises(BadCode, match=r"put.py:ends ended in .*; mend the function"):
        triggers.read(f"{file}:ends").put(torch.zeros(1, 1, 4, 4))
    with pytest.raises(BadArgument, match="there is no function 'none'"):
        triggers.read(f"{file}:none")
    with pytest.raises(BadArgument, match="is no image and names no function"):
        triggers.read(str(tmp_path / "patch"))


def png(path, x):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(x[0].numpy()).save(path)


@pytest.fixture(scope="module")
def lying(split, poisoned, tmp_path_factory):
    """The split as folders of images, a list of the poisoned, the weights, and the trigger as a patch and as a function."""
    root = tmp_path_factory.mktemp("trigger")
    for part, name in ((split.retain, "train"), (split.forget, "train"), (split.test.first(8), "test"), (split.parts["unseen"].first(8), "unseen")):
        for i in range(len(part)):
            mark = "poison" if part is split.forget else "plain"
            png(root / "data" / name / str(int(part.y[i])) / f"{mark}{i}.png", part[[i]].sources[0].raw(part[[i]].index)[0])
    (root / "poisoned.csv").write_text("file\n" + "".join(f"train/{TARGET}/poison{i}.png\n" for i in range(len(split.forget))))
    save_file(poisoned.state_dict(), root / "poisoned.safetensors")
    Image.fromarray(BOARD.numpy()).save(root / "patch.png")
    (root / "put.py").write_text(f"import torch\n\ndef board(x):\n    x[:, :, -3:, -3:] = torch.tensor({BOARD.tolist()}, dtype=torch.uint8)\n    return x\n")
    return root


def ran(*words):
    return main([str(word) for word in words])


QUICK = ("--skip", "relearn,prototype,dormant,weights,predictions,nearby,descent")


def test_a_request_of_poisoned_files_from_the_list_to_the_audit(lying, tmp_path, capsys):
    run, model = tmp_path / "run", ("--model", "digits", "--weights", lying / "poisoned.safetensors", "--norm", "grey")
    forget = ("--forget", f"files:{lying / 'poisoned.csv'}")
    assert ran("unlearn", "match", "--preset", "trigger", *model, "--data", lying / "data", *forget, "--out", run) == 0
    assert ran("audit", run, "--trigger", lying / "patch.png", *QUICK) in (0, 3, 4)
    first = records.read(run)
    jsonschema.validate(first, records.schema())
    assert first["request"]["count"] == 45
    assert first["trigger"] == {"name": "patch.png", "sha256": sha256(lying / "patch.png"), "class": TARGET}
    (entry,) = [e for e in first["audits"] if e["name"] == "trigger"]
    assert share([entry], "attack success", "original") > 0.9
    # By a function, and for a class that is named: the same numbers; without a trigger none is told.
    assert ran("audit", run, "--trigger", f"{lying / 'put.py'}:board", "--trigger-class", "0", *QUICK) in (0, 3, 4)
    second = records.read(run)
    assert second["trigger"]["name"] == "put.py:board"
    assert next(e for e in second["audits"] if e["name"] == "trigger")["rows"] == entry["rows"]
    assert ran("audit", run, *QUICK) in (0, 3, 4)
    assert "trigger" not in records.read(run)
    assert ran("verify", run) == 0


def test_what_a_method_is_shown_is_kept_from_test_and_hold_out(split, poisoned):
    with pytest.raises(BadData, match="samples of test are in the unseen part too"):
        untrain.unlearn(poisoned, split.replaced(unseen=split.parts["unseen"].first(3) + split.test[:5]), Match(epochs=1))
    held = split.replaced(holdout=split.parts["unseen"].first(5))
    with pytest.raises(BadData, match="of the 548 samples of unseen are in the hold-out too"):
        untrain.audit(poisoned, held, original=untrain.load_model("digits"))
    bare = Split(split.forget, split.retain, split.test)
    with pytest.raises(BadArgument, match="name some by --unseen"):
        untrain.unlearn(poisoned, bare, Match())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trigger-class", "3"), "name the trigger by --trigger"),
        (("--trigger", "nothing.txt"), "is no image and names no function"),
        (("--trigger", "gone.py:put"), "no file gone.py"),
    ],
)
def test_a_trigger_that_leads_nowhere_is_refused_before_anything_is_read(words, said, lying, tmp_path, capsys):
    assert ran("audit", tmp_path / "no-run", *words) == 2
    assert said in capsys.readouterr().err


def test_what_the_benchmark_plants_is_in_no_other_part_and_stays_where_it_is_not_named(monkeypatch):
    monkeypatch.syspath_prepend(str(folder("benchmarks")))
    trigger = importlib.import_module("trigger")
    bench = trigger.digits()
    every, third = (trigger.splits(bench, 3, TARGET)[kind] for kind in trigger.KINDS[:2])
    for split in (every, third):
        for aside in ("unseen", "holdout"):
            refuse_shared(split.parts[aside], called=aside, forget=split.forget, retain=split.retain, test=split.test)
        refuse_shared(split.parts["unseen"], held=split.parts["holdout"])
        assert split.forget.classes == (TARGET,)
    assert (len(every.forget), len(third.forget)) == (round(0.05 * len(bench.train)), len(every.forget) // 3)
    assert sorted(digests(every.retain + every.forget)) == sorted(digests(third.retain + third.forget))
    # What is retained where all are named is the training images less those that the trigger went into.
    plain = set(digests(bench.train))
    assert {*digests(every.retain)} < plain
    marked = set(digests(planted(bench.train[bench.train.y != TARGET], trigger.patch, TARGET)))
    assert {*digests(every.forget)} < marked - plain
