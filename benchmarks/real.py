"""A torchvision MobileNetV2, a timm MobileViT and a transformers ResNet, trained on a few persons and made to forget, each by commands alone.

    python benchmarks/real.py [WORK]       # what `make real` runs: some minutes on one thread; the folder is made anew
    python benchmarks/real.py WORK --only NAME  # one of the three, in a folder that has the others
    python benchmarks/real.py --page       # draws docs/real.md from the records that are there

Needs the extras `vision` and `hf`, and the folder UNTRAIN_DATA with lfw100 and the checkpoint. Commands run in WORK as they stand on the page;
what they say, their records, and what the models' own libraries answer once they load the results go to benchmarks/records/real/.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RECORDS, PAGE = HERE / "records" / "real", HERE.parent / "docs" / "real.md"

PERSONS, MOST, TESTED, SIDE = 6, 60, 20, 64
"""How many persons, training and test images of each at most, and height and width in pixels."""

FORGET, FILES, FLOOR = "Tony_Blair", 6, 0.6
"""Who is to be forgotten, how many files of another person, and the balanced accuracy that an original must have."""


@dataclass(frozen=True)
class Case:
    """One library's model on its way through the commands.

    Args:
        title: Its heading.
        trained: The model as `untrain train` names it.
        model: Flags that name the original.
        files: The method that forgets the list of files, and its flags.
        skip: Audits that are left out for their time.
        load: The lines that load weights or a folder by the library itself.
        before: What the page says before the commands.
    """

    title: str
    trained: str
    model: str
    files: str
    skip: str
    load: str
    before: str = ""


CASES = {
    "mobilenet": Case(
        "MobileNetV2 of torchvision",
        "torchvision:mobilenet_v2",
        "--model torchvision:mobilenet_v2 --weights mobilenet/model.safetensors",
        "neggrad",
        "relearn",
        "import torchvision\nfrom safetensors.torch import load_file\n\n"
        "model = torchvision.models.mobilenet_v2(num_classes={classes})\nmodel.load_state_dict(load_file('{run}/model.safetensors'))",
    ),
    "mobilevit": Case(
        "A MobileViT of timm",
        "timm:mobilevit_xxs",
        "--model timm:mobilevit_xxs --weights mobilevit/model.safetensors",
        "neggrad",
        "relearn",
        "import timm\n\nmodel = timm.create_model('mobilevit_xxs', num_classes={classes}, checkpoint_path='{run}/model.safetensors')",
    ),
    "resnet": Case(
        "A ResNet of transformers",
        "hf:resnet-folder",
        "--model hf:resnet-folder",
        "retrain --recipe recipes.py:resnet",
        "",
        "import transformers\n\nmodel = transformers.AutoModelForImageClassification.from_pretrained('{run}')",
        "`resnet-folder` is what `save_pretrained` of the untrained network and of its image processor wrote; once it is trained, `resnet/model.safetensors` is copied into it.",
    ),
}


# The images.


def people(work: Path) -> dict[str, Any]:
    """Write the image folder and the list of files; says what was written."""
    import numpy as np
    import pyarrow.parquet as pq
    from PIL import Image

    root = Path(os.environ["UNTRAIN_DATA"]) / "lfw100"
    tables = {part: pq.read_table(sorted(root.glob(f"{part}-*.parquet"))) for part in ("train", "test")}
    names = json.loads(tables["train"].schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    count = np.bincount(tables["train"]["label"].to_numpy(), minlength=len(names))
    chosen, counts = sorted(np.argsort(-count, kind="stable")[:PERSONS].tolist()), {}
    for part, table in tables.items():
        labels, images = table["label"].to_numpy(), table["image"]
        for label in chosen:
            rows = np.flatnonzero(labels == label)[: MOST if part == "train" else TESTED].tolist()
            folder = work / "people" / part / names[label]
            folder.mkdir(parents=True)
            for row in rows:
                image = images[row].as_py()
                small = Image.open(io.BytesIO(image["bytes"])).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                small.save(folder / f"{Path(image['path']).stem}.png")
            counts[f"{part} {names[label]}"] = len(rows)
    other = next(names[label] for label in chosen if names[label] != FORGET)
    listed = [p.relative_to(work / "people" / "train").as_posix() for p in sorted((work / "people" / "train" / other).iterdir())[:FILES]]
    with (work / "list.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["file"], *([name] for name in listed)])
    return {"persons": [names[label] for label in chosen], "side": SIDE, "counts": counts, "list": listed}


# The commands.


def commands(name: str, case: Case) -> Iterator[tuple[str, str]]:
    """What is run, and a sentence before it."""
    data, skip = "--data people", f" --skip {case.skip}" if case.skip else ""
    yield "Train the original.", f"train --model {case.trained} --recipe recipes.py:{name} {data} --out {name}"
    yield "Look first: nothing is changed.", f"check {case.model} {data} --forget class:{FORGET} --recipe recipes.py:{name} --seconds 30"
    yield "Forget a person.", f"unlearn unsir {case.model} {data} --forget class:{FORGET} --out {name}-class"
    yield "Ask the audits of the result; without retrained models beside it there is no verdict, and the exit code 4 says so.", f"audit {name}-class{skip}"
    yield "Draw the page.", f"report {name}-class"
    yield (
        f"Forget {FILES} files of another person: UNSIR forgets whole classes, refuses, and names the methods that do it.",
        (f"unlearn unsir {case.model} {data} --forget files:list.csv --out {name}-files"),
    )
    method, _, more = case.files.partition(" ")
    yield "One of these.", f"unlearn {method} {case.model} {data} --forget files:list.csv{' ' + more if more else ''} --out {name}-files"
    yield "Ask what can be asked of single files.", f"audit {name}-files{skip}"
    yield "Draw the page.", f"report {name}-files"


EXPECTED = {"audit": (0, 3, 4), "refused": (2,)}
"""Exit codes that are no failure, where it is not 0 alone."""


def run(work: Path, title: str, command: str) -> dict[str, Any]:
    """Run one command in the folder, and keep what it says."""
    began = time.perf_counter()
    # Under a width of its own the tables do not depend on a terminal.
    done = subprocess.run([sys.executable, "-m", "untrain", *shlex.split(command)], cwd=work, capture_output=True, text=True)
    step = {"title": title, "command": f"untrain {command}", "exit": done.returncode, "seconds": round(time.perf_counter() - began, 1)}
    said = [line.rstrip() for line in done.stderr.splitlines() + done.stdout.splitlines()]
    print(f"$ {step['command']}\n" + "\n".join(said) + f"\n[exit {done.returncode}, {step['seconds']} s]\n", flush=True)
    good = EXPECTED["audit"] if command.startswith("audit") else EXPECTED["refused"] if "unsir" in command and "files:" in command else (0,)
    if done.returncode not in good:
        raise SystemExit(f"untrain {command} ended with {done.returncode}, expected {good}")
    return step | {"said": said}


def folder_of_resnet(work: Path, persons: list[str]) -> None:
    """A transformers folder as a user has one, still with random weights."""
    import real_recipes

    transformers = real_recipes.import_transformers()
    folder, config = work / "resnet-folder", real_recipes.resnet_config(persons)
    transformers.AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(folder)


# Loading back, by the library that the model came from, with its own preprocessing.


def own_view(name: str, run: Path, work: Path, classes: int) -> tuple[Any, Callable[[Any], Any]]:
    """The model of a run as its library loads it, and how its library prepares a picture: to a tensor [3, h, w]."""
    import real_recipes
    from safetensors.torch import load_file

    if name == "mobilenet":
        vision = real_recipes.import_torchvision()
        model = vision.models.mobilenet_v2(num_classes=classes)
        model.load_state_dict(load_file(run / "model.safetensors"))
        to = vision.transforms
        return model.eval(), to.Compose([to.ToTensor(), to.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    if name == "mobilevit":
        timm = real_recipes.import_timm()
        model = timm.create_model("mobilevit_xxs", num_classes=classes, checkpoint_path=str(run / "model.safetensors"))
        # It reads any size; the images have one that is not the model's default, and stay as they are.
        look = timm.data.resolve_model_data_config(model) | {"input_size": (3, SIDE, SIDE), "crop_pct": 1.0}
        return model.eval(), timm.data.create_transform(**look)
    transformers = real_recipes.import_transformers()
    folder = work / "resnet-folder" if run.name == name else run
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    return lambda x: model(pixel_values=x).logits, lambda image: processor(image, return_tensors="pt")["pixel_values"][0]


def answers(name: str, run: Path, work: Path, persons: list[str]) -> dict[str, Any]:
    """What the model says of every test image when its own library loads it, by person, and how far that is from what untrain computes."""
    import torch
    from PIL import Image

    import untrain
    from untrain.core.network import Network
    from untrain.verbs.given import expects

    model, prepare = own_view(name, run, work, len(persons))
    files = [(c, p) for c, person in enumerate(persons) for p in sorted((work / "people" / "test" / person).iterdir())]
    with torch.no_grad():
        logits = torch.cat([model(torch.stack([prepare(Image.open(p)) for _, p in files[i : i + 32]])) for i in range(0, len(files), 32)])
    truth = torch.tensor([c for c, _ in files])
    right = {person: int((logits.argmax(1) == truth)[truth == c].sum()) for c, person in enumerate(persons)}
    called = "hf:" + str(work / "resnet-folder") if name == "resnet" else CASES[name].trained
    data = untrain.given_data(str(work / "people"), expects=expects(called))
    given = untrain.given_model(called, data.classes, weights=run / "model.safetensors")
    ours, labels, _ = untrain.predict(Network(given.module), data.test.prepared(given.norm))
    assert torch.equal(labels, truth), "the folder is read in another order"
    counts = {person: int((truth == c).sum()) for c, person in enumerate(persons)}
    return {
        "right": right,
        "of": counts,
        "balanced": sum(right[p] / counts[p] for p in persons) / len(persons),
        "same_answers": int((ours.argmax(1) == logits.argmax(1)).sum()),
        "logits_differ_by_at_most": float((ours - logits).abs().max()),
    }


def agrees(told: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether the library's answers are those that the record's audit counted, person by person."""
    shares = next(f["series"]["unlearned"][0] for a in record["audits"] for f in a["figures"] if f["name"] == "accuracy by class")
    return shares.keys() == told["right"].keys() and all(abs(share - told["right"][p] / told["of"][p]) < 1e-6 for p, share in shares.items())


# All of it.


def make(work: Path, only: list[str]) -> None:
    """Run the cases and write their records."""
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "real_recipes.py", work / "recipes.py")
    if (work / "about.json").is_file():
        about = json.loads((work / "about.json").read_text())
    else:
        about = people(work)
        (work / "about.json").write_text(json.dumps(about))
    for name in only:
        write(name, one(name, CASES[name], work, about))
    draw()


def one(name: str, case: Case, work: Path, about: dict[str, Any]) -> dict[str, Any]:
    """One case from the first command to the last."""
    for old in (name, f"{name}-class", f"{name}-files", *(["resnet-folder"] if name == "resnet" else [])):
        shutil.rmtree(work / old, ignore_errors=True)
    if name == "resnet":
        folder_of_resnet(work, about["persons"])
    steps, told = [], {}
    for number, (title, command) in enumerate(commands(name, case)):
        steps.append(run(work, title, command))
        if number == 0:
            if name == "resnet":
                shutil.copy(work / "resnet" / "model.safetensors", work / "resnet-folder" / "model.safetensors")
            told["original"] = answers(name, work / name, work, about["persons"])
            print(f"balanced accuracy of the original: {told['original']['balanced']:.1%}\n", flush=True)
    runs = {kind: json.loads((work / f"{name}-{kind}" / "record.json").read_text()) for kind in ("class", "files")}
    for kind in runs:
        told[kind] = answers(name, work / f"{name}-{kind}", work, about["persons"])
    train = json.loads((work / name / "train.json").read_text())
    return {"schema": "untrain.real/1", "data": about, "steps": steps, "loaded_back": told, "environment": train["environment"], "runs": runs}


def write(name: str, found: dict[str, Any]) -> None:
    """The case's record, and its runs' records beside it."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    for kind, record in found.pop("runs").items():
        (RECORDS / f"{name}-{kind}.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    (RECORDS / f"{name}.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


# The page.


def page() -> str:
    """The page, from the records."""
    cases = {name: json.loads((RECORDS / f"{name}.json").read_text()) for name in CASES if (RECORDS / f"{name}.json").is_file()}
    parts = [opening(cases), *(chapter(name, CASES[name], found) for name, found in cases.items())]
    recipes = (HERE / "real_recipes.py").read_text(encoding="utf-8")
    parts.append(f"## recipes.py {{#recipes}}\n\n<!-- not run: a recipe -->\n```python\n{recipes}```\n")
    return "\n".join(parts)


def draw() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def opening(cases: dict[str, dict[str, Any]]) -> str:
    """What the page is, the data, and how good the originals are."""
    found = next(iter(cases.values()))
    data = found["data"]
    rows = []
    for name, case in cases.items():
        first, gone, files = (case["loaded_back"][k] for k in ("original", "class", "files"))
        enough = "" if first["balanced"] > FLOOR else f" (not above {FLOOR:.0%})"
        kept = [p for p in data["persons"] if p != FORGET]
        share = sum(gone["right"][p] / gone["of"][p] for p in kept) / len(kept)
        was = sum(first["right"][p] / first["of"][p] for p in kept) / len(kept)
        rows.append(
            f"| [{CASES[name].title}](#{name}) | {first['balanced']:.1%}{enough} | {first['right'][FORGET]} / {gone['right'][FORGET]} of {gone['of'][FORGET]} "
            f"| {was:.1%} / {share:.1%} | {files['balanced']:.1%} |"
        )
    n = {part: sum(v for k, v in data["counts"].items() if k.startswith(part)) for part in ("train", "test")}
    persons = ", ".join(p.replace("_", " ") for p in data["persons"])
    return f"""# Shown on real things

<!-- drawn by benchmarks/real.py from benchmarks/records/real/; do not edit -->

Three models of three libraries, trained on photographs of {len(data["persons"])} persons and made to forget one of them,
and then {len(data["list"])} files of another, by the command line alone. What stands here was drawn from the records in `benchmarks/records/real/` by `make real`,
which runs all of it anew; the outputs are those of the commands.

The images are from Labeled Faces in the Wild ({persons}):
{n["train"]} to train on and {n["test"]} to test on, at most {MOST} and {TESTED} of each person, {data["side"]} pixels a side,
in a folder `people` with `train/NAME/` and `test/NAME/`. So few images, small networks and one seed
show that it works from end to end, and not how well a method does: for that see [Results](results.md).

Test images that each model gets right once **its own library** has loaded it; balanced accuracy is the mean over persons:

| model | balanced accuracy of the original | {FORGET.replace("_", " ")}, original / unlearned | the others, original / unlearned | balanced accuracy without the files |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
"""


def chapter(name: str, case: Case, found: dict[str, Any]) -> str:
    """One model: its commands with what they said, and how it is loaded back."""
    parts = [f"## {case.title} {{#{name}}}\n", *([f"{case.before}\n"] if case.before else [])]
    for step in found["steps"]:
        said = "\n".join(line for line in step["said"] if line.strip())
        code = "" if step["exit"] == 0 else f"\n\nExit code {step['exit']}."
        parts.append(f"{step['title']}\n\n```\n{step['command']}\n```\n\n```text\n{said}\n```{code}\n")
    persons = len(found["data"]["persons"])
    load = "\n".join(case.load.format(classes=persons, run=f"{name}-class").splitlines())
    parts.append(f"Load the result back by the library it came from.\n\n<!-- not run: needs the run above -->\n```python\n{load}\n```\n")
    for kind, what in (("class", f"Without {FORGET.replace('_', ' ')}"), ("files", f"Without the {len(found['data']['list'])} files")):
        told, record = found["loaded_back"][kind], json.loads((RECORDS / f"{name}-{kind}.json").read_text())
        n = sum(told["of"].values())
        same = "which is what the audit counted" if agrees(told, record) else "and the audit counted otherwise"
        parts.append(
            f"{what} it gets {sum(told['right'].values())} of {n} test images right with its library's own preprocessing, {same}; "
            f"{told['same_answers']} of {n} answers are those of untrain, logits differ by {told['logits_differ_by_at_most']:.1g} at most.\n"
        )
    return "\n".join(parts)


def main(*arguments: str) -> None:
    """Run, or draw."""
    if "--page" in arguments:
        draw()
        return
    only = re.split(",", arguments[arguments.index("--only") + 1]) if "--only" in arguments else list(CASES)
    if arguments and not arguments[0].startswith("-"):
        make(Path(arguments[0]), only)
        return
    with tempfile.TemporaryDirectory() as work:
        make(Path(work), only)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main(*sys.argv[1:])
