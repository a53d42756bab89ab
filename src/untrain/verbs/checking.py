"""`untrain check`: looks at a model, its data and what is to be forgotten, and changes nothing.

Nothing is written, but for the page of picture pairs where one is asked for.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from untrain.checkup import look as looking
from untrain.checkup.doubts import unseen
from untrain.checkup.estimate import USUAL
from untrain.checkup.raw import pixels
from untrain.checkup.sizes import own_size
from untrain.core import files
from untrain.core.data import Prepare, Split
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument, BadData, OtherHead
from untrain.core.wording import called
from untrain.report.markup import asset, draw
from untrain.report.page import policy
from untrain.verbs.about import request
from untrain.verbs.folder import refuse_among
from untrain.verbs.inputs import Inputs, Opened, Say, unsaid
from untrain.verbs.pictures import png
from untrain.verbs.run_files import refuse_unwritable

PAGE_TITLE = "Copies of what is to be forgotten"
SECONDS = 5.0
"""How long it may take to try the model's own size."""

SHOWN = 200
"""Pairs that a page shows, at most."""


def check(
    inputs: Inputs,
    *,
    seconds: float = 60.0,
    timed: Collection[str] = USUAL,
    near: float | None = None,
    pages: Path | None = None,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """The verb: look at a model, data and a request as they are named on the command line. Nothing is written but `pages`.

    Args:
        inputs: What is named: model, weights, data, what to forget, and so on.
        seconds: About how long it may take.
        timed: Names of the methods that are timed by a rehearsal.
        near: Correlation from which on two images count as near-copies.
        pages: A file to write the pairs of copies to as pictures.
        progress: Told of each question.
        say: Told what the user should know.

    Returns:
        What `look` answers, with the names of the model and of the data.
    """
    looking.refuse_numbers(seconds, near)
    refuse_page(pages)
    if pages is not None:
        refuse_among(pages, inputs.paths(), "--pages")
    opened = inputs.open(say)
    source, split = opened.data, opened.split
    misfit, given, taught = None, None, None
    try:
        given, taught = opened.model, opened.known_recipe
    except OtherHead as error:
        misfit = str(error)
    opened.tell(say)
    for doubt in unseen(split):
        say(doubt)
    answer = look(
        given.module if given else None,
        split,
        recipe=taught,
        norm=given.norm if given else None,
        names=given.expects.names if given else (),
        head=inputs.head,
        device=opened.device,
        seconds=seconds,
        timed=timed,
        near=near,
        pages=pages,
        misfit=misfit,
        progress=progress,
    )
    answer["size"] = _own_size(inputs, opened) if given and answer["head"]["fits"] else None
    return answer | {"model": inputs.words()["model"], "data": source.name, "request": request(inputs.asked, split), "notes": list(source.notes)}


def _own_size(inputs: Inputs, opened: Opened) -> dict[str, Any] | None:
    """What the model says at its own size, where that is known, is another than the data's, and none is named."""
    size = opened.expects.size
    if inputs.size is not None or size is None or size[0] != size[1] or not len(opened.data.test):
        return None
    found = opened.data.test.shape
    if len(found) != 3 or tuple(found[1:]) == size:
        return None
    try:
        other = replace(inputs, size=size[0]).open().data.test
    except (BadArgument, BadData):
        return None
    norm, module = opened.model.norm, opened.model.module
    return own_size(module, opened.data.test.prepared(norm), other.prepared(norm), size[0], SECONDS, inputs.head)


def look(
    model: nn.Module | None,
    split: Split,
    *,
    recipe: Any = None,
    norm: Prepare | None = None,
    names: Sequence[str] = (),
    head: str | None = None,
    device: str | None = None,
    seconds: float = 60.0,
    timed: Collection[str] = USUAL,
    near: float | None = None,
    pages: Path | str | None = None,
    misfit: str | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Look at a model, its data and what is to be forgotten; neither is changed.

    Args:
        model: The model; None where it could not be made, and the data alone are looked at.
        split: What to forget, what to retain, what to test on, and a part `holdout` where there is one.
        recipe: How the model came about, where that is known.
        norm: Preparation of raw pixels; the network's own `norm` where none is given.
        names: Names of the classes as the model knows them, where it does.
        head: Name of the head's layer, where it is not the last linear layer or convolution.
        device: Where to compute.
        seconds: About how long it may take. What there was no time for is said.
        timed: Names of the methods that are timed by a rehearsal.
        near: Correlation from which on two images count as near-copies; .97, and .99 for images below 16 pixels a side.
        pages: A file to write the pairs of copies to as pictures; none is written where it is None.
        misfit: Why there is no model.
        progress: Told of each question.

    Returns:
        Plain JSON: `head`, `accuracy`, `forget`, `holdout`, `methods`, `copies`, and how long it took.

    Raises:
        BadArgument: `pages` names a file that is not such a page, or a number is out of range.
    """
    pages = None if pages is None else Path(pages)
    looking.refuse_numbers(seconds, near)
    refuse_page(pages)
    answer = looking.look(model, split, recipe=recipe, norm=norm, names=names, head=head, device=device, seconds=seconds, timed=timed, near=near, misfit=misfit, progress=progress)
    if pages is not None:
        files.write(pages, _page(answer["copies"], split))
    return answer


def _page(copies: dict[str, Any], split: Split) -> bytes:
    """A page of picture pairs. It shows the images, and no names of files."""
    shown = [
        {"kind": p["kind"], "correlation": p["correlation"], "part": p["other"]["part"], "forget": _picture(split, p["forget"]), "other": _picture(split, p["other"])}
        for p in copies["pairs"][:SHOWN]
    ]
    return (draw("copies", title=PAGE_TITLE, pairs=shown, copies=copies, policy=policy([]), style=asset("style.css")) + "\n").encode()


def _picture(split: Split, called: Mapping[str, Any]) -> str:
    image = pixels(split.parts[called["part"]], torch.tensor([called["at"]])).float()
    scale = 1.0 if image.max() <= 1.0 else 255.0
    image = F.adaptive_avg_pool2d(image / scale, (min(96, image.shape[2]), min(96, image.shape[3])))[0]
    return base64.b64encode(png(image[:3] if image.shape[0] >= 3 else image[:1])).decode()


def refuse_page(path: Path | None) -> None:
    """Refuse to write pairs of copies over another file.

    Raises:
        BadArgument: there is a file that is no such page.
        Resources: it cannot be written there.
    """
    if path is None:
        return
    if os.path.lexists(path):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if path.is_file() and f"<title>{PAGE_TITLE}" in path.read_text(encoding="utf-8")[:4096]:
                return
        raise BadArgument(f"{called(path)} exists and is not a page of copies; give another name by --pages")
    refuse_unwritable(path)
