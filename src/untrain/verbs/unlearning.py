"""`untrain unlearn` and `untrain suppress`: make a model forget."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from untrain.checkup.doubts import doubts
from untrain.core import files
from untrain.core import unlearn as running
from untrain.core.discover import name_of
from untrain.core.engine import Progress, silent
from untrain.core.method import Method
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.sources import cache
from untrain.sources import request as forgetting
from untrain.verbs.about import about_data, about_model, about_recipe, about_weights, flags, machine, request, setting_flags
from untrain.verbs.finishing import closed, room_of, weighed
from untrain.verbs.folder import refuse_output, writing
from untrain.verbs.inputs import Inputs, Say, unsaid
from untrain.verbs.prepared import refuse_unprepared
from untrain.verbs.private import told
from untrain.verbs.ranks import joined
from untrain.verbs.run_files import WEIGHTS
from untrain.verbs.teaching import recipe_for


def unlearn(method: Method, inputs: Inputs, out: Path, *, progress: Progress = silent, say: Say = unsaid) -> dict[str, Any]:
    """Make a model forget; writes `model.safetensors` and `record.json`.

    A model that is not of the zoo goes back in the form it came: a transformers folder with its configuration, each
    state dict under its own names; a model card is written beside it.

    Args:
        method: A method with its settings.
        inputs: What is named: model, weights, data, what to forget, and so on.
        out: The folder to write.
        progress: Told of each step.
        say: Told what the user should know.

    Returns:
        The record.
    """
    with joined(), files.watching(), cache.forgetting():
        refuse_output(out, inputs.paths())
        opened = inputs.open(say, trains=name_of(method) if "recipe" in method.needs else None)
        source, split, given, engine = opened.data, opened.split, opened.model, opened.engine
        ready = opened.fit()
        opened.tell(say)
        refuse_unprepared(method, given)
        for doubt in (*doubts(given.module, ready, inputs.head), *method.doubts(ready)):
            say(doubt)
        taught = recipe_for(method, opened)
        running.given_to(method, split, taught)
        arguments = {
            "verb": "unlearn",
            "method": name_of(method),
            "settings": asdict(method),
            "model": given.name,
            "weights": given.sha256,
            "data": source.sha256,
            "forget": list(split.classes) or forgetting.digest(split),
            **inputs.brought,
            "seed": inputs.seed,
            "norm": inputs.norm,
            "head": inputs.head,
            "recipe": about_recipe(taught) if taught else None,
            "code": dict(opened.code),
        } | machine(engine)
        asked, hidden = told(inputs, split.classes)
        words = inputs.words(after={"forget": {"out": called(out)}}) | {"forget": asked}
        if taught is None:
            words |= {"epochs": None, "recipe": None}
        command = ["unlearn", name_of(method), *flags(**words), *setting_flags(method)]
        with writing(out, arguments, room_of(given.module)) as state:
            result = running.unlearn(
                given.module,
                split,
                method,
                seed=inputs.seed,
                recipe=taught,
                norm=given.norm,
                head=inputs.head,
                device=opened.device,
                precision=inputs.precision,
                progress=progress,
                store=state,
            )
            files.refuse_changed()
            about = about_weights(method, source, split, inputs.seed, given) | ({"recipe": about_recipe(taught)} if taught else {})
            record = records.compose(
                running.describe(result),
                command=command,
                request=request(asked, split),
                model=about_model(given),
                data=about_data(source, split),
                output={"file": WEIGHTS, "sha256": ""},
                code=opened.code,
            )
            if engine.rank == 0:
                weighed(out, record, opened, result.model, about)
                record = closed(out, record, inputs, hidden)
        return record
