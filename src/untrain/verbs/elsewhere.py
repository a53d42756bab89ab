"""`untrain audit FILE.safetensors`: two checkpoints from anywhere, what the one was to forget, and a page that says how far it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from untrain.core import disk, files
from untrain.core import unlearn as running
from untrain.core.discover import usual
from untrain.core.engine import Progress, silent
from untrain.core.errors import BadArgument, BadData
from untrain.core.marks import marked
from untrain.core.wording import called
from untrain.evidence import record as records
from untrain.sources import cache
from untrain.sources import request as forgetting
from untrain.verbs.about import about_data, about_model, flags, request
from untrain.verbs.auditing import beside_shadows, examine, filled, reference
from untrain.verbs.finishing import closed
from untrain.verbs.folder import refuse_output, writing
from untrain.verbs.inputs import Inputs, Say, unsaid
from untrain.verbs.private import told
from untrain.verbs.reporting import report
from untrain.verbs.run_files import WEIGHTS, weights_in
from untrain.verbs.shadowing import shadows_in
from untrain.verbs.triggering import Planted


@cache.forgetting()
@files.watching()
def audit_file(
    candidate: Path,
    inputs: Inputs,
    out: Path,
    *,
    retrained: Sequence[Path] = (),
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
    shadows: Path | None = None,
    trigger: Planted | None = None,
    show_images: bool = False,
    progress: Progress = silent,
    say: Say = unsaid,
) -> dict[str, Any]:
    """Audit a model that no run of ours made, beside the original; writes `record.json`, `report.html` and a copy of the weights, as a run does.

    The folder can be audited, reported and verified again as a run's can. How the model was made is not known, and the record says so.

    Args:
        candidate: Weights of the model that is to have forgotten.
        inputs: What is named: the model, by `weights` the original's, the data, what was to be forgotten, and so on.
        out: The folder to write.
        retrained: Weights of models that never saw the forgotten data.
        skip: Audits that are not asked; the record says so.
        also: Audits that are asked only where they are named.
        shadows: Folder of models that saw half of what was forgotten; `exposure` is asked then.
        trigger: A trigger whose attack is counted.
        show_images: Whether to put sample images into the record.
        progress: Told of each audit.
        say: Told what the user should know.

    Returns:
        The record.

    Raises:
        BadArgument: the original is the candidate itself.
        BadData: a file that is not there, or does not fit the model.
    """
    if not candidate.is_file():
        raise BadData(f"no file {candidate}; name the weights of the model that is to have forgotten, or the folder of a run")
    also = beside_shadows(also, shadows)
    usual(also, skip)
    refuse_output(out, inputs.paths() | {"run": candidate} | {f"retrained {n}": path for n, path in enumerate(retrained, 1)})
    if inputs.weights is not None and inputs.weights.exists() and inputs.weights.samefile(candidate):
        raise BadArgument(f"{candidate.name} is named as the original by --weights too; name there the weights from before it was made to forget")
    planted = None if trigger is None else trigger.read(say)
    opened = inputs.open(say)
    split, source, given = opened.split, opened.data, opened.model
    unlearned = filled(inputs.model, source.classes, candidate)
    ready = opened.fit()
    opened.tell(say)
    references = [reference(path, inputs.model, source.classes, split) for path in weights_in(retrained)]
    dark = None if shadows is None else shadows_in(shadows, inputs.model, source.classes, split, None)
    sha256 = files.sha256(candidate)
    if any(other.sha256 == sha256 for other in references):
        raise BadArgument("a model named by --retrained is the audited model itself; name models that were trained without the forgotten data")
    asked, hidden = told(inputs, split.classes)
    words = inputs.words(after={"forget": {"out": called(out)}}) | {"forget": asked}
    with writing(
        out,
        {"verb": "audit", "candidate": sha256, "model": given.sha256, "data": source.sha256, "forget": list(split.classes) or forgetting.digest(split), "code": dict(opened.code)},
        candidate.stat().st_size,
    ):
        record = records.compose(
            {
                "method": {"name": records.ELSEWHERE, "preset": None, "settings": {}, "paper": "", "needs": []},
                "seed": inputs.seed,
                "run": {
                    "phases": [],
                    "seconds": 0.0,
                    "passes": 0,
                    "peak_memory_bytes": 0,
                    "marks": list(marked(given.module, unlearned, ready.retain, inputs.head)),
                    "advice": None,
                },
                "environment": running.environment(opened.engine.report()),
            },
            command=["audit", candidate.name, *flags(**words)],
            request=request(asked, split),
            model=about_model(given),
            data=about_data(source, split),
            output={"file": WEIGHTS, "sha256": sha256},
            code=opened.code,
        )
        examine(record, opened, split, unlearned, references, skip=skip, also=also, shadows=dark, trigger=planted, show_images=show_images, progress=progress)
        copy = disk.read(candidate, files.LARGEST)
        files.refuse_changed()
        files.write(out / WEIGHTS, copy)
        record = closed(out, record, inputs, hidden)
    report(out)
    return record
