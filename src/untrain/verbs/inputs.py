"""One request, one value: what a user names, and what it leads to.

`Inputs` is what the command line, Python and the benchmark hand to every verb. The docs of its fields are the help of
the flags, and a record's command comes from them. `open` refuses what can be refused before anything is read; what
it returns reads each thing once. Nothing below sees a string that a user wrote. Importing this file imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from untrain.core.errors import BadArgument, BadData, OtherHead
from untrain.core.processors import crowded, has_bf16

if TYPE_CHECKING:
    from untrain.core.data import Data, Norm, Split
    from untrain.core.engine import Engine
    from untrain.core.model import Expects, Model
    from untrain.verbs.given import AnyRecipe

Say = Callable[[str], None]
"""Told in a sentence what a user should know: that code of theirs is run, or what was taken off the names in a file."""


def unsaid(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a user names.

    Args:
        model: digits, resnet20, resnet32, resnet18, allcnn; torchvision:NAME or timm:NAME with --weights; hf:FOLDER or hf:owner/name of transformers;
            package.module:function or path/nets.py:function, which runs your code; certifiedremoval, whose network is its own, with the weights that `untrain prepare` wrote.
        data: digits, cifar10, cifar100; a folder of class folders (or train/ and test/ of them); labels.csv with path,label; a parquet file or folder;
            a CSV (or .csv.gz) of numbers and categories with a label; hf:NAME_OR_FOLDER[:config]; torchvision:NAME;
            package.module:function or path/data.py:function, which runs your code.
        test: Data to test on, where the data has no such part; a fifth is set aside where none is named.
        holdout: Data of the same kind that the model was never trained on, which no method is shown: audits compare with it.
        unseen: Data of the same kind that the model was never trained on, for a method that is shown some (match); neither test data nor the hold-out.
        canaries: File that `untrain canaries` wrote of the data: the canaries inside are trained on under their wrong labels, the others are left out.
        size: Height and width that images are brought to; the model's own where they have several sizes.
        rate: Samples in a second that the model reads: the data are sounds (wav, flac, or a column of samples). Those of another rate are refused.
        length: How many seconds long sounds are made, cut at their end or padded there with silence; those of one length stay as they are where none is named.
        image_column: Which column of a table, or entry of an item, holds the image (or the sound) or the path to it, where it is not called as usual.
        label_column: Which column of a table, or entry of an item, holds the label.
        columns: Which columns of a table are read as numbers and categories, with commas between; all but the label where there is none of images.
        text_column: Which column of a table holds the text, where the model brings a tokenizer (hf:FOLDER of a text classifier) and it is not called as usual.
        mirror: An image mirrored left to right is one of the same class, so that training may mirror; not so for digits, letters or traffic signs.
        outside: Files of the data may lie outside of its folder, where a table or a link names them there; with data that others made those could be your own.
        forget: What to forget. Classes by number or name: class:3,5 or class:cat,dog. Single samples: index:FILE (a number a line), files:LIST.csv (file names),
            where:COLUMN=VALUE, random:10% or random:10%,seed=3; canaries, those that --canaries put into the training (no hold-out is asked beside them).
        weights: Weights of the model as .safetensors (`untrain convert` makes them); the zoo's published or bundled ones where none are named.
        seed: Same seed, same bits.
        norm: imagenet, cifar10, cifar100, half, unit, grey, or mean/std as in .485,.456,.406/.229,.224,.225; the model's own where none is named.
        head: Name of the head's layer, where it is not the last linear layer or convolution; of a network with exits the heads of all, exit1,exit2,deep, the one that counts last.
        epochs: Passes of the zoo's training recipe; its own number where none is given.
        recipe: How the model was trained, where it is not of the zoo: path.py:function, which gives an object with build() and train(). Runs your code.
        precision: fp32, or bf16 autocast in training.
        redact: Tell of classes by number alone in the record, the page and the card: for classes that are persons.
        device: cpu, cuda, cuda:1, ...; auto is a GPU where torch sees one, and the CPU where it does not.
        data_root: Folder of the known data and published checkpoints; UNTRAIN_DATA where none is named.
    """

    model: str
    data: str
    test: str | None = None
    holdout: str | None = None
    unseen: str | None = None
    canaries: Path | None = None
    size: int | None = None
    rate: int | None = None
    length: float | None = None
    image_column: str | None = None
    label_column: str | None = None
    columns: str | None = None
    text_column: str | None = None
    mirror: bool = False
    outside: bool = False
    forget: str | None = None
    weights: Path | None = None
    seed: int = 0
    norm: str | None = None
    head: str | None = None
    epochs: int | None = None
    recipe: str | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    redact: bool = False
    device: str = "auto"
    data_root: Path | None = None

    @property
    def asked(self) -> str:
        """What to forget.

        Raises:
            BadArgument: nothing is named.
        """
        if self.forget is None:
            raise BadArgument("it is not said what to forget; write --forget class:3,5 or class:cat,dog")
        return self.forget

    def words(self, after: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """What a command says of them, by flag: without the way to a folder or file; None where nothing is said.

        Args:
            after: Further words, by the field that they follow.
        """
        out: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            out.setdefault(each.name, None if value == each.default else _word(each.name, value))
            out |= (after or {}).get(each.name, {})
        return out

    @property
    def brought(self) -> dict[str, Any]:
        """What images or sounds are brought to, and whether they are mirrored; of what is not named, the size alone is said to be None."""
        return {"size": self.size} | {name: value for name in ("rate", "length", "mirror") if (value := getattr(self, name)) is not None and value is not False}

    def paths(self) -> dict[str, Path]:
        """The folders and files that they name, by field."""
        return paths_of({field.name: getattr(self, field.name) for field in fields(self)})

    def open(self, say: Say = unsaid, *, trains: str | None = None, code: Mapping[str, str] = {}) -> Opened:
        """Refuse what can be refused before anything is read, and say whose code will be run.

        Args:
            say: Told what the user should know.
            trains: Name of what trains a network anew, and so needs to know how; None where nothing does.
            code: Hashes of the files of functions that were run before, by flag; code of another hash is not run.

        Raises:
            BadArgument: a number, a name or a form that leads nowhere.
            BadData: a list that is not there, or code that is not what it was.
        """
        from untrain.core.engine import Engine
        from untrain.sources import request as forgetting
        from untrain.sources.libraries.functions import hash_of
        from untrain.sources.names import RUNS_CODE
        from untrain.sources.normalisation import norm_of
        from untrain.verbs import prepared
        from untrain.verbs.given import code_of, refuse_unknown
        from untrain.zoo.networks import NETWORKS

        refuse_below(epochs=(self.epochs, 0))
        empty = next((field.name for field in fields(self) if getattr(self, field.name) == ""), None)
        if empty is not None:
            raise BadArgument(f"--{empty.replace('_', '-')} is empty, as a variable of the shell is that is not set; say what is meant, or leave the flag out")
        engine, norm = Engine.of(auto() if self.device == "auto" else self.device, self.precision), norm_of(self.norm)
        if self.forget is not None:
            forgetting.refuse_unknown(self.forget)
        refuse_unknown(self.model)
        functions = code_of({field.name: getattr(self, field.name) for field in fields(self)})
        hashes = {flag: hash_of(what) for flag, what in functions.items()}
        other = next((flag for flag in hashes if code.get(flag, hashes[flag]) != hashes[flag]), None)
        if other is not None:
            raise BadData(f"--{other} {functions[other].shown}: the file is not that of the run (sha256 differs), and is not run; name the one it was made with")
        if functions:
            shown = list(dict.fromkeys(what.shown for what in functions.values()))
            say(RUNS_CODE.format(" and ".join(shown), "runs" if len(shown) == 1 else "run"))
        if trains is not None and self.recipe is None and self.model not in NETWORKS and not prepared.brings_its_network(self.model):
            way = "name a function that gives build() and train(): --recipe path.py:function"
            raise BadArgument(f"{trains} trains a network anew, and how {_word('model', self.model)} was trained is not known here; {way}")
        if self.recipe is not None and self.epochs is not None:
            raise BadArgument("--epochs is for the zoo's recipes; the one named by --recipe has its own")
        if self.precision == "bf16" and engine.device.type == "cpu" and not has_bf16():
            say("--precision bf16: this CPU has no instructions for it, and a step of training takes many times as long as in fp32; leave the flag out")
        if engine.device.type == "cpu" and (crowd := crowded(threads())) is not None:
            say(crowd)
        return Opened(self, engine, norm, hashes)


@dataclass(frozen=True, eq=False)
class Opened:
    """What inputs lead to; each thing is read when it is first asked for, and once.

    Args:
        inputs: The inputs.
        engine: Where and how to compute.
        norm: The normalisation that is named, where one is.
        code: Hashes of the files of the user's functions that are named, by flag.
        lasting: Whether a training sample is to be read alike whichever others there are.
    """

    inputs: Inputs
    engine: Engine
    norm: Norm | None
    code: Mapping[str, str] = field(default_factory=dict)
    lasting: bool = False

    @cached_property
    def expects(self) -> Expects:
        """What the model says of its images, before it is built."""
        from untrain.verbs.given import expects

        return expects(self.inputs.model)

    @property
    def data(self) -> Data:
        """The data, fitted to what the model reads; its classes without names where that was asked for."""
        return self._nameless if self.inputs.redact else self._named

    @cached_property
    def _nameless(self) -> Data:
        from untrain.sources.reading import nameless

        return nameless(self._named)

    @cached_property
    def _named(self) -> Data:
        from untrain.sources.drawn import with_canaries
        from untrain.verbs.given import given_data
        from untrain.verbs.prepared import preparation_of

        ask, look = self.inputs, self.expects
        found = given_data(
            ask.data,
            test=ask.test,
            holdout=ask.holdout,
            unseen=ask.unseen,
            size=ask.size,
            data_root=ask.data_root,
            expects=replace(look, norm=self.norm or look.norm),
            image_column=ask.image_column,
            label_column=ask.label_column,
            columns=ask.columns,
            text_column=ask.text_column,
            mirror=ask.mirror,
            outside=ask.outside,
            rate=ask.rate,
            length=ask.length,
            lasting=self.lasting or preparation_of(ask.weights) is not None,
        )
        return found if ask.canaries is None else with_canaries(found, ask.canaries)

    @cached_property
    def split(self) -> Split:
        """The data, split by what is to be forgotten."""
        from untrain.sources.keyed import numbered
        from untrain.verbs.given import split_of

        asked = self.inputs.asked
        if self.inputs.redact and asked.startswith("class:"):
            # Names are known for as long as it takes to find their numbers.
            asked = numbered(split_of(self._named, asked).classes)
        return split_of(self.data, asked)

    @cached_property
    def model(self) -> Model:
        """The model with its weights.

        Raises:
            OtherHead: it has another number of classes than the data (says why, where the labels show it).
        """
        from untrain.sources.reading import why_other_width
        from untrain.verbs.given import given_model

        ask = self.inputs
        try:
            return given_model(ask.model, self.data.classes, weights=ask.weights, norm=self.norm, head=ask.head, data_root=ask.data_root)
        except OtherHead as error:
            why = why_other_width(self.data)
            if not why:
                raise
            raise OtherHead(f"{str(error).partition('; ')[0]}; {why}") from error

    @cached_property
    def recipe(self) -> AnyRecipe:
        """How a network of this name is trained: by the user's recipe where one is named, else the zoo's."""
        from untrain.verbs.given import given_recipe

        ask = self.inputs
        return given_recipe(ask.model, ask.recipe, self.data.classes, ask.epochs)

    @property
    def known_recipe(self) -> AnyRecipe | None:
        """How the model came about, where that is known."""
        from untrain.zoo.networks import NETWORKS

        known = self.inputs.recipe is not None or self.inputs.model in NETWORKS
        return self.recipe_of_the_model if self.model.prepared is not None else self.recipe if known else None

    @property
    def recipe_of_the_model(self) -> AnyRecipe:
        """The recipe, once it is seen to build such a network as the model is; of one that was prepared, its preparation.

        Raises:
            BadArgument: it builds another.
        """
        from untrain.sources import recipe as foreign
        from untrain.verbs import prepared

        if self.model.prepared is not None:
            return prepared.again(self.model, prepared.members_recipe(self.model, self.inputs.model, self.inputs.recipe, self.inputs.epochs, self.data.classes))
        if isinstance(self.recipe, foreign.Recipe):
            foreign.refuse_other(self.recipe, self.model.module, self.model.name)
        return self.recipe

    @property
    def device(self) -> str:
        """Where it is computed, by name."""
        return str(self.engine.device)

    def tell(self, say: Say) -> None:
        """Say what a user should know of the data and the model that were read, and of a device that chose itself."""
        for note in (*self.data.notes, *(self.model.notes if "model" in self.__dict__ else ())):
            say(note)
        if self.inputs.device == "auto" and self.engine.device.type != "cpu":
            say(f"computing on {self.engine.report()['device']}, since torch sees it; --device cpu computes on the CPU")

    def fit(self) -> Split:
        """The split as the model reads it, once it is seen that the two go together, whatever will be done with them.

        Raises:
            BadArgument: a class that the head lacks.
            BadData: the model does not take the data, holds NaN, or has another number of classes.
        """
        from untrain.core.unlearn import prepared, refuse_misfits

        split = prepared(self.model.module, self.split, self.model.norm)
        refuse_misfits(self.model.module, split, {"all": split.retain + split.forget}, self.inputs.head)
        return split


def auto() -> str:
    """A GPU where torch sees one, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def threads() -> int:
    """How many threads torch computes in."""
    import torch

    return torch.get_num_threads()


def refuse_below(**given: tuple[int | None, int]) -> None:
    """Refuse numbers that are below the least that makes sense, by flag.

    Raises:
        BadArgument: one is.
    """
    for name, (value, least) in given.items():
        if value is not None and value < least:
            raise BadArgument(f"--{name.replace('_', '-')} {value} is too small; give a number from {least} up")


def _word(name: str, value: Any) -> Any:
    """A value as commands and records say it: without the way to a folder or file."""
    if value is None or name == "data_root":
        return None
    if name in ("model", "recipe"):
        from untrain.verbs.given import shown_name

        return shown_name(value)
    if name in ("data", "test", "holdout", "unseen"):
        from untrain.sources.forms import finding
        from untrain.zoo.sets import KNOWN

        return value if value in KNOWN else finding.shown(value)
    if name == "forget":
        from untrain.sources import request as forgetting

        return forgetting.shown(value)
    return value.name if isinstance(value, Path) else value


def paths_of(named: Mapping[str, Any]) -> dict[str, Path]:
    """The folders and files that flags name, by flag."""
    found = {name: _path(name, value) for name, value in named.items() if value is not None}
    return {name: path for name, path in found.items() if path is not None}


def _path(name: str, value: Any) -> Path | None:
    """The folder or file that a value names, if it names one that a run reads."""
    if name == "model":
        from untrain.verbs.given import path_of_name

        return path_of_name(value)
    if name in ("data", "test", "holdout", "unseen", "pairs", "twins"):
        from untrain.sources.forms import finding
        from untrain.zoo.sets import KNOWN

        return None if isinstance(value, str) and value in KNOWN else finding.path_of(value)
    if name == "forget":
        from untrain.sources import request as forgetting

        return forgetting.path_of(value)
    return value if isinstance(value, Path) else None
