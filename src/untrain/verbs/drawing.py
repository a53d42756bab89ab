"""`untrain canaries`: samples under wrong labels, which a coin puts into a training that is still to come."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from untrain.core import files
from untrain.core.canary import draw_canaries
from untrain.core.errors import BadArgument
from untrain.metrics.coins import least_share
from untrain.sources.drawn import written
from untrain.verbs.folder import refuse_among
from untrain.verbs.given import expects, given_data, refuse_unknown
from untrain.verbs.inputs import Say, paths_of, unsaid


def canaries(out: Path, *, m: int = 200, seed: int | None = None, model: str | None = None, say: Say = unsaid, **data: Any) -> dict[str, Any]:
    """Draw canaries of data, and write which they are, and how their coins fell.

    Args:
        out: The file to write, for its owner's eyes; refused where it is there.
        m: How many.
        seed: Seed of what is drawn, to draw the same again; the system's own chance where none is given, which nobody can guess.
        model: The model that is to be trained, where the data hang on what it reads, as texts do on its tokenizer.
        say: Told what the user should know.
        **data: What `given_data` takes.

    Returns:
        `file`, `data`, how many `canaries`, and the `least` share of coins above one half that would be seen in 8 of 10 cases.

    Raises:
        BadArgument: the file is there, or would lie among the data; or there are too few samples or classes.
    """
    refuse_among(out, paths_of(data))
    if out.exists():
        raise BadArgument(f"{out} is there, and what was drawn before would be lost; name another file by --out, or remove it")
    if model is not None:
        refuse_unknown(model)
    found = given_data(**data, expects=None if model is None else expects(model))
    for note in found.notes:
        say(note)
    drawn = draw_canaries(found.train, m, seed=secrets.randbits(63) if seed is None else seed)
    files.write(out, written(found, drawn))
    out.chmod(0o600)
    return {"file": str(out), "data": found.name, "canaries": m, "least": least_share(m)}
