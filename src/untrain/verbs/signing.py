"""`untrain key` and `untrain sign`: who vouches for a record."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from untrain.core import disk
from untrain.core.errors import BadArgument, BadData, Resources
from untrain.core.wording import called
from untrain.evidence import seal, signature
from untrain.evidence.signature import Public, Secret
from untrain.verbs.folder import folder_of, locked, read_record
from untrain.verbs.run_files import RECORD, hashes, refuse_unwritable

SIGNATURE = f"{RECORD}.minisig"
"""The signature's file, beside the record."""


def key(out: Path) -> dict[str, str]:
    """Make a pair of keys: a secret one that its owner alone can read, and beside it the public one, `.pub`.

    Raises:
        BadArgument: one of the files exists.
    """
    beside = out.parent / f"{out.name}.pub"
    there = next((path for path in (out, beside) if os.path.lexists(path)), None)
    if there is not None:
        raise BadArgument(f"{called(there)} exists, and keys are not written over; give another name")
    refuse_unwritable(out)
    made = Secret.new()
    text = made.text()
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise Resources(f"{called(out)} could not be written: {error.strerror or error}; give another place") from error
    disk.write(beside, made.public().text().encode())
    return {"secret": str(out), "public": str(beside), "key": made.public().name}


def sign(run: Path, *, key: Path, role: str = "") -> dict[str, str]:
    """Sign a run's record, which holds the hashes of the weights and of what their library reads beside them; renews a signature.

    Args:
        run: The folder of a run.
        key: The secret key's file.
        role: In what role; goes into the comment that is signed.

    Raises:
        BadData: the record is EDITED, a file is not that of the record, or there is no such key.
    """
    run = folder_of(run)
    record = read_record(run)
    with locked(run):
        data = (run / RECORD).read_bytes()
        facts = seal.edited(record, data)
        if facts:
            raise BadData(f"the record in {called(run)} is EDITED, and is not signed: {'; '.join(facts)}")
        other = next((name for name, sha256 in hashes(record).items() if not (run / name).is_file() or disk.sha256(run / name) != sha256), None)
        if other is not None:
            raise BadData(f"{other} in {called(run)} is not the file that the record was made of (sha256 differs), and is not signed")
        secret = signature.secret(_text(key))
        at = datetime.now(UTC).isoformat(timespec="seconds")
        comment = f"untrain record, {at}, weights sha256 {record['output']['sha256']}{f', as {role}' if role.strip() else ''}"
        disk.write(run / SIGNATURE, secret.sign(data, comment).encode())
    return {"signature": str(run / SIGNATURE), "key": secret.public().name, "comment": " ".join(comment.split())}


def signed(run: Path, key: Path) -> str:
    """The comment of a run's signature, once it is seen to be of this record by this key.

    Raises:
        BadData: it is not, or there is none.
    """
    if not (run / SIGNATURE).is_file():
        raise BadData("it is not signed")
    return signature.verified((run / RECORD).read_bytes(), _text(run / SIGNATURE), public(key))


def public(file: Path) -> Public:
    """A public key out of its file."""
    return signature.public(_text(file))


def _text(file: Path) -> str:
    if not file.is_file():
        raise BadData(f"no file {file.name}; name the file of a key, which `untrain key FILE` makes")
    try:
        # Bytes as they are: a line's end that Python would read as another is a change too.
        return file.read_bytes()[:65536].decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadData(f"{file.name} is no text; name the file of a key or a signature") from error
