"""The verbs of what is kept: keys, signatures, and the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from untrain.cli import show
from untrain.cli.flags import Json


def key(out: Annotated[Path, Parameter(help="The secret key's file; the public one goes beside it, .pub.")], /, *, json: Json = False) -> int:
    """Make a pair of keys for signing records, in minisign's form and without a password."""
    from untrain.verbs.signing import key

    made = key(out)
    if json:
        show.as_json(made)
    else:
        show.say(f"{made['secret']} is secret and is kept from others; {made['public']} is for those who verify")
    return 0


def sign(
    run: Annotated[Path, Parameter(help="Folder of a run.")],
    *,
    key: Annotated[Path, Parameter(help="Your secret key.")],
    role: Annotated[str, Parameter(help="In what role you sign.")] = "",
    json: Json = False,
) -> int:
    """Sign a run's record: say that you vouch for it, and that it is this one."""
    from untrain.verbs.signing import sign

    made = sign(run, key=key, role=role)
    if json:
        show.as_json(made)
    else:
        show.say(f"signed by {made['key']}: {made['comment']}")
        show.say(made["signature"])
    return 0


def cache(*, clear: Annotated[bool, Parameter(negative=(), help="Remove it; it is made again where it is wanted.")] = False, json: Json = False) -> int:
    """List what is kept of your data between calls, or clear it. The pictures of a run's data go when it ends."""
    from untrain.verbs.caching import kept

    told = kept(clear=clear)
    if json:
        show.as_json(told)
    else:
        rows = [(entry["kind"], f"{entry['bytes']:,}", entry["name"][:16]) for entry in told["files"]]
        if rows:
            show.draw(show.table(("what", "bytes", "name, a hash"), rows))
        show.say(f"{len(rows)} files, {told['bytes']:,} bytes{', removed' if clear else ''}")
    return 0
