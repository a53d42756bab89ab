"""What is asked for by name: a model, data, a split, a recipe; of the zoo or of the user's own.

What `Inputs` names is resolved here; the same functions are public in Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from untrain.core import files
from untrain.core.data import Data, Norm, Split
from untrain.core.errors import BadArgument, BadData
from untrain.core.model import Expects, Model
from untrain.core.preparing import Again
from untrain.sources import cache, loading, reading
from untrain.sources import names as naming
from untrain.sources import recipe as foreign_recipe
from untrain.sources import request as forgetting
from untrain.sources.forms.parts import Columns
from untrain.sources.normalisation import norm_of
from untrain.sources.reading import refuse_lengths
from untrain.verbs import prepared
from untrain.zoo import sets as zoo_data
from untrain.zoo import trained as models
from untrain.zoo.networks import NETWORKS
from untrain.zoo.recipes import Recipe, recipe_for

AnyRecipe = Recipe | foreign_recipe.Recipe | Again


def expects(model: str) -> Expects:
    """What a model says of its images (norm, size, crop, class names), before it is built and before data are read.

    Raises:
        BadArgument: no such model in the zoo, and no such name of another source.
        MissingExtra: its library is not installed.
    """
    return Expects() if model in NETWORKS or prepared.brings_its_network(model) else loading.expects(model)


def given_model(
    model: str, classes: int, *, weights: Path | str | None = None, norm: str | Norm | None = None, head: str | None = None, data_root: Path | str | None = None
) -> Model:
    """A trained model by its name on the command line, of the zoo or of another source, in evaluation mode; one that was prepared by its file.

    Args:
        model: A network of the zoo, or `torchvision:NAME`, `timm:NAME`, `hf:FOLDER`, `package.module:function`, `path/nets.py:function`.
        classes: Number of classes of the data.
        weights: A safetensors file.
        norm: A normalisation that goes before the model's own, by name or numbers.
        head: Name of the head's layer, where it is not the last.
        data_root: Folder of the published checkpoints; UNTRAIN_DATA where none is given.

    Raises:
        BadArgument: no such model or normalisation.
        BadData: no weights at hand, or weights that do not fit.
        MissingExtra: its library is not installed.
    """
    own = norm_of(norm) if isinstance(norm, str) else norm
    weights = None if weights is None else Path(weights)
    refuse_unknown(model)
    preparation = prepared.preparation_of(weights)
    if preparation is not None and weights is not None:
        return prepared.model_of(model, preparation, classes, weights, own, str(shown_name(model)))
    if prepared.brings_its_network(model):
        if weights is not None:
            files.load_weights(weights)
        other = "none is named" if weights is None else f"{weights.name} is none"
        raise BadData(f"{model} is a model that `untrain prepare {model}` makes, and {other}; name its file by --weights")
    given = models.load(model, classes, weights=weights, root=data_root) if model in NETWORKS else loading.load(model, classes, weights=weights, head=head)
    return given if own is None else replace(given, expects=replace(given.expects, norm=own))


def refuse_unknown(model: str) -> None:
    """Refuse a name that is neither of the zoo nor of another source.

    Raises:
        BadArgument: it is neither.
    """
    if model not in NETWORKS and naming.named(model) is None and not prepared.brings_its_network(model):
        raise BadArgument(f"no model {model!r}; there are {', '.join(NETWORKS)}, and {naming.GRAMMAR}")


def given_data(
    data: Any,
    *,
    test: Any = None,
    holdout: Any = None,
    unseen: Any = None,
    size: int | None = None,
    data_root: Path | str | None = None,
    expects: Expects | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    columns: str | None = None,
    text_column: str | None = None,
    mirror: bool = False,
    outside: bool = False,
    rate: int | None = None,
    length: float | None = None,
    lasting: bool = False,
) -> Data:
    """Data by name, from files of several kinds, or out of Python; refused where a part is empty.

    Args:
        data: `digits`, `cifar10`, `cifar100`; a folder of class folders, a CSV of paths and labels or of numbers, categories and a label, parquet, `hf:...`,
            `torchvision:...`, `package.module:function`, `path/data.py:function`; or a Dataset, Samples, or a pair (train, test) of either.
        test: Another of these for testing, or `split:NAME` for a part of the data. Where there is none, a fifth of each class is set aside.
        holdout: The same for samples that no model was trained on; they become the part `holdout` of a split.
        unseen: The same for a method that is shown some of these; they become the part `unseen`.
        size: Height and width that images are brought to; where none is given, images of one size stay as they are and others take the model's.
        data_root: Where the known data lie, if not in UNTRAIN_DATA.
        expects: What the model says of its images, see `expects`.
        image_column: Which column, or entry of an item, holds the image (or the sound) or the path to it.
        label_column: Which holds the label.
        columns: Which columns of a table are read as numbers and categories, with commas between; all but the label where there are no images and none is named.
        text_column: Which column of a table holds texts, where it is not called as usual; they are read where the model brings a tokenizer.
        mirror: Whether a mirrored image is one of the same class; the known data say it themselves.
        outside: Whether files may lie outside of the folder of the data, as a table or a link can name them.
        rate: Samples in a second that the model reads, where the data are sounds; those of another rate are refused.
        length: How many seconds long sounds are made, cut at their end or padded there with silence.
        lasting: Whether a training sample is to be read alike whichever others there are, as a model has to that was prepared: a table is encoded by its test part.

    Raises:
        BadArgument: a name that leads nowhere, a column that is not there.
        BadData: files that are broken or missing, labels that do not fit, an empty part.
        MissingExtra: a library that is not installed.
    """
    data_root = None if data_root is None else Path(data_root)
    if data_root is not None and not data_root.is_dir():
        raise BadData(f"no folder {data_root} that --data-root could name")
    tokens = expects is not None and expects.tokens is not None and image_column is None and columns is None
    asked, known = Columns(image_column, label_column, outside, columns, text_column or ("" if tokens else None)), isinstance(data, str) and data in zoo_data.KNOWN
    if known and asked.named:
        raise BadArgument(f"{data} has columns of its own; leave out --image-column, --label-column, --columns and --text-column")
    if known:
        refuse_lengths(size, rate, length)
    if known and rate is not None:
        raise BadArgument(f"{data} holds images, and --rate is for sounds; leave it out")
    if known and size is not None and zoo_data.folder_of(data, data_root) is None:
        raise BadArgument(f"--size {size}: {data} is here in no folder of image files, and files alone are brought to a size; leave it out")
    if known and size is None:
        with cache.public():
            found = zoo_data.load(data, data_root)
        if any(part is not None for part in (test, holdout, unseen)):
            more = reading.read((found.train, found.test), test=test, holdout=holdout, further={"unseen": unseen}, expects=expects)
            found = replace(more, name=found.name)
    else:
        mirror = mirror or (known and zoo_data.mirrors(data))
        found = reading.read(
            zoo_data.folder_of(data, data_root) or data,
            test=test,
            holdout=holdout,
            further={"unseen": unseen},
            size=size,
            expects=expects,
            columns=asked,
            mirror=mirror,
            rate=rate,
            length=length,
            lasting=lasting,
        )
    if len(found.test) == 0 or len(found.train) == 0:
        raise BadData(f"the data {found.name} has an empty part: {len(found.train)} training and {len(found.test)} test samples; give samples of both")
    return found


def load(
    data: Any,
    root: Path | str | None = None,
    *,
    test: Any = None,
    holdout: Any = None,
    unseen: Any = None,
    size: int | None = None,
    expects: Expects | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    columns: str | None = None,
    text_column: str | None = None,
    mirror: bool = False,
    rate: int | None = None,
    length: float | None = None,
) -> Data:
    """Data as `given_data` finds them, under its name in Python: `load("photos", test="others", size=224)`.

    Args:
        data: A name, a Dataset, Samples, or a pair (train, test).
        root: Where the known data lie, if not in UNTRAIN_DATA.
        test: Data for testing.
        holdout: Data that no model was trained on.
        unseen: Data that no model was trained on, for a method that is shown some.
        size: Height and width that images are brought to.
        expects: What the model says of its images.
        image_column: Which column holds the image or the sound.
        label_column: Which holds the label.
        columns: Which columns of a table are read as numbers and categories, with commas between; all but the label where there are no images and none is named.
        text_column: Which column of a table holds texts.
        mirror: Whether a mirrored image is one of the same class.
        rate: Samples in a second, where the data are sounds.
        length: How many seconds long sounds are made.
    """
    return given_data(
        data,
        test=test,
        holdout=holdout,
        unseen=unseen,
        size=size,
        data_root=root,
        expects=expects,
        image_column=image_column,
        label_column=label_column,
        columns=columns,
        text_column=text_column,
        mirror=mirror,
        rate=rate,
        length=length,
    )


def split_of(data: Data, forget: str) -> Split:
    """The split of data that `class:NAME,NAME`, `index:FILE`, `files:LIST.csv`, `where:COLUMN=VALUE` or `random:10%` makes.

    Raises:
        BadArgument: not of this form, or names that fit nothing, several, or everything: how many, and the first.
        BadData: a list that cannot be read.
    """
    return forgetting.split(data, forget)


def given_recipe(model: str, name: str | None, classes: int, epochs: int | None = None) -> Recipe | foreign_recipe.Recipe:
    """The user's recipe where one is named, else the zoo's."""
    return recipe_for(model, classes, epochs) if name is None else foreign_recipe.recipe(name, classes)


def shown_name(model: str | None) -> str | None:
    """A model's or a recipe's name as commands and records say it: without the way to a folder or file."""
    what = naming.named(model) if model is not None and model not in NETWORKS else None
    return what.shown if what else model


def path_of_name(model: str) -> Path | None:
    """The folder or file that a model's name holds."""
    what = naming.named(model) if model not in NETWORKS else None
    return what.path if what else None


def name_at(shown: str, path: Path | None) -> str:
    """A model's name out of a record, with the folder or file that was noted."""
    what = naming.named(shown) if shown not in NETWORKS else None
    return what.at(path) if what and path is not None else shown


def code_of(named: Mapping[str, Any]) -> dict[str, naming.Named]:
    """Which of what is named, by flag, is a function of the user's, whose code is run."""
    found = {flag: naming.named(name) for flag, name in named.items() if flag in CODE and isinstance(name, str) and name not in NETWORKS}
    # What is there as a folder or file is read as that.
    return {flag: what for flag, what in found.items() if what is not None and what.runs_code and (flag in ("model", "recipe") or not Path(named[flag]).exists())}


CODE = ("model", "recipe", "data", "test", "holdout", "unseen", "pairs", "twins")
"""Flags that may name a function of the user's."""
