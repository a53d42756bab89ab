"""torchvision, timm, transformers and Lightning models through the command line, and loaded back by their own libraries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import lightning
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision import models as torchvision_models

import untrain
from untrain.cli import main
from untrain.core import files
from untrain.evidence import record as records
from untrain.sources.normalisation import norm_of
from untrain.verbs.given import expects, given_data, given_model

NAMES = ("ant", "bee", "cow")
METHOD = ("neggrad", "--epochs", "1", "--batch", "8")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of three classes in one colour each, with some noise; 32 pixels a side."""
    folder = tmp_path_factory.mktemp("images") / "pictures"
    drawn = torch.Generator().manual_seed(0)
    for part, n in (("train", 8), ("test", 3)):
        for label, name in enumerate(NAMES):
            (folder / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = torch.randint(0, 80, (32, 32, 3), generator=drawn)
                pixels[..., label] += 150
                Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / part / name / f"{i}.png")
    return folder


def ran(*arguments: Any) -> int:
    return main([str(a) for a in arguments])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def in_memory(model: str, data: Path, weights: Path | None = None) -> tuple[nn.Module, nn.Module, Tensor]:
    """The original and the unlearned model of a run from Python, and prepared images: an oracle that has not seen a written file."""
    look = expects(model)
    source = given_data(str(data), expects=look)
    given = given_model(model, source.classes, weights=weights)
    split = untrain.Split.by_class(source.train, source.test, forget=["bee"])
    result = untrain.unlearn(given.module, split, untrain.NegGrad(epochs=1, batch=8), norm=given.norm)  # type: ignore[attr-defined]
    x, _ = source.test.prepared(given.norm).batch(torch.arange(9))
    assert isinstance(x, Tensor)
    return given.module.eval(), result.model.eval(), x


def answer(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        out = module(x)
    logits: Tensor = out if isinstance(out, Tensor) else out.logits
    return logits


def torchvision_model() -> nn.Module:
    made: nn.Module = torchvision_models.get_model("shufflenet_v2_x0_5", weights=None, num_classes=3)
    return made


def timm_model() -> nn.Module:
    made: nn.Module = timm.create_model("test_vit", pretrained=False, num_classes=3)
    return made


@pytest.mark.parametrize(("name", "make"), [("torchvision:shufflenet_v2_x0_5", torchvision_model), ("timm:test_vit", timm_model)])
def test_a_library_model_goes_back_to_its_library(name: str, make: Callable[[], nn.Module], pictures: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(make().state_dict(), tmp_path / "own.safetensors")
    asked = ("--model", name, "--weights", tmp_path / "own.safetensors", "--data", pictures, "--forget", "class:bee")
    assert ran("unlearn", *METHOD, *asked, "--out", tmp_path / "run") == 0
    record = records.read(tmp_path / "run")
    jsonschema.validate(record, records.schema())
    assert record["model"]["name"] == name
    back = make()
    back.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"), strict=True)
    original, unlearned, x = in_memory(name, pictures, tmp_path / "own.safetensors")
    torch.testing.assert_close(answer(back.eval(), x), answer(unlearned, x))
    assert not torch.equal(answer(back, x), answer(original, x))
    assert f"library_name: {name.partition(':')[0]}\n" in (tmp_path / "run" / "README.md").read_text()
    assert "picture" not in (tmp_path / "run" / "README.md").read_text()


def test_a_libraries_preprocessing_is_the_models_own() -> None:
    vit, shuffle = expects("timm:vit_tiny_patch16_224"), expects("torchvision:shufflenet_v2_x0_5")
    assert vit.norm == norm_of("half")
    assert (vit.size, vit.fixed, vit.crop, vit.interpolation) == ((224, 224), True, 0.9, "bicubic")
    assert shuffle.norm == norm_of("imagenet")
    assert (shuffle.size, shuffle.fixed, shuffle.crop) == ((224, 224), False, 224 / 256)


def folder_of(kind: str, where: Path) -> Path:
    """A transformers folder with random weights; its classes stand in another order than the folder's."""
    labels = {0: "cow", 1: "ant", 2: "bee"}
    told: dict[str, Any] = {"id2label": labels, "label2id": {v: k for k, v in labels.items()}}
    torch.manual_seed(0)
    if kind == "vit":
        config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8, **told)
        model: Any = transformers.ViTForImageClassification(config)
    else:
        model = transformers.ResNetForImageClassification(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", **told))
    model.save_pretrained(where)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}, image_mean=[0.4] * 3, image_std=[0.2] * 3).save_pretrained(where)
    return where


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_transformers_folder_stays_one(kind: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(kind, tmp_path / "mine")
    assert ran("unlearn", *METHOD, "--model", f"hf:{folder}", "--data", pictures, "--forget", "class:bee", "--out", tmp_path / "run") == 0
    record = records.read(tmp_path / "run")
    jsonschema.validate(record, records.schema())
    assert record["model"]["name"] == "hf:mine"
    assert record["model"]["norm"] == {"mean": [0.4] * 3, "std": [0.2] * 3}
    # The class is found by its name, at the place that the model has it.
    assert record["request"] == {"forget": "class:bee", "classes": [2], "names": ["bee"]}
    assert str(tmp_path) not in json.dumps(record)
    assert load_file(tmp_path / "run" / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()
    back = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "run").eval()
    assert back.config.id2label[2] == "bee"
    assert list(transformers.AutoImageProcessor.from_pretrained(tmp_path / "run").image_mean) == [0.4] * 3
    original, unlearned, x = in_memory(f"hf:{folder}", pictures)
    torch.testing.assert_close(answer(back, x), answer(unlearned, x))
    assert not torch.equal(answer(back, x), answer(original, x))
    # The same bits again, by the record's command; and the audit finds the folder, also as a model that was itself unlearned.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").rename(tmp_path / "first")
    (tmp_path / "pictures").symlink_to(pictures)
    assert main(record["command"]) == 0
    assert files.sha256(tmp_path / "run" / "model.safetensors") == record["output"]["sha256"]
    assert ran("audit", "run") in (3, 4)
    assert ran("unlearn", "headonly", "--model", "run", "--data", "pictures", "--forget", "class:ant", "--out", "second") == 0
    # What the library reads beside the weights is part of the model.
    assert ran("verify", "second") == 0
    config = tmp_path / "second" / "config.json"
    config.write_text(config.read_text().replace('"bee"', '"wasp"'))
    assert ran("verify", "second") == 5


def test_a_function_that_gives_a_timm_model_brings_its_preprocessing(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import timm\n\ndef small(classes):\n"
        "    return timm.create_model('vit_tiny_patch16_224', pretrained=False, num_classes=classes, img_size=32, patch_size=8, embed_dim=24, depth=2)\n"
    )
    model = f"{tmp_path}/nets.py:small"
    given = given_model(model, 3)
    assert (given.norm, given.size) == (norm_of("half"), (32, 32))
    assert ran("unlearn", "headonly", "--model", model, "--data", pictures, "--forget", "class:bee", "--out", tmp_path / "run") == 0
    assert records.read(tmp_path / "run")["model"]["norm"] == {"mean": [0.5] * 3, "std": [0.5] * 3}


@pytest.mark.parametrize(
    ("model", "weights", "code", "words"),
    [
        ("torchvision:shufflenet", None, 2, ["shufflenet_v2_x1_0"]),
        ("torchvision:shufflenet_v2_x0_5", None, 5, ["--weights"]),
        ("torchvision:shufflenet_v2_x0_5", "thousand", 5, ["1000 classes", "the data has 3"]),
        ("torchvision:mobilenet_v3_small", "thousand", 5, ["lacks", "features.0.0.weight", "conv1.0.weight"]),
        ("timm:test_vitt", None, 2, ["test_vit"]),
        ("timm:test_resnet", "thousand", 5, ["lacks", "others"]),
        ("hf:nosuch/model", None, 5, ["hf:nosuch/model", "network"]),
        ("hf:{}/vit", "thousand", 5, ["vit.", "missing"]),
        ("hf:{}/four", None, 5, ["4 classes", "has 3"]),
    ],
)
def test_what_does_not_fit_is_refused(model: str, weights: str | None, code: int, words: list[str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(torchvision_models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), tmp_path / "thousand.safetensors")
    if "{}" in model:
        folder_of("vit", tmp_path / "vit")
        (tmp_path / "four").mkdir()
        (tmp_path / "four" / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": {str(i): f"LABEL_{i}" for i in range(4)}}))
    capsys.readouterr()
    named = ("--weights", tmp_path / f"{weights}.safetensors") if weights else ()
    assert ran("unlearn", "headonly", "--model", model.format(tmp_path), *named, "--data", pictures, "--forget", "class:bee", "--out", tmp_path / "run") == code
    said = refusal(capsys)
    assert all(word in said for word in words), said
    assert not (tmp_path / "run").exists()


class Module(lightning.LightningModule):
    """A module as Lightning's users write them: the network inside, and what training needs beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torchvision_model()
        self.save_hyperparameters()

    def forward(self, x: Tensor) -> Any:
        return self.model(x)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


def test_a_lightning_checkpoint_becomes_the_networks_weights(pictures: Path, tmp_path: Path) -> None:
    module, x, y = Module(), torch.randn(6, 3, 32, 32), torch.arange(6) % 3
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False)
    with pytest.warns():
        # It advises on workers and on logging.
        trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=3))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert ran("convert", tmp_path / "last.ckpt", "-o", tmp_path / "last.safetensors") == 0
    back = torchvision_model()
    back.load_state_dict(load_file(tmp_path / "last.safetensors"), strict=True)
    torch.testing.assert_close(answer(back.eval(), x), answer(module.eval(), x))
    # The module itself, out of Python, still tied to its trainer.
    samples = untrain.Samples(x, y)
    split = untrain.Split.by_class(samples, samples, forget=[1])
    result = untrain.unlearn(module, split, untrain.NegGrad(epochs=1, batch=2))  # type: ignore[attr-defined]
    assert type(result.model) is Module
    assert result.model.state_dict().keys() == module.state_dict().keys()
    assert not torch.equal(answer(result.model.eval(), x), answer(module, x))
