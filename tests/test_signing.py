"""Signatures in minisign's form: what others signed is verified, and each change of one byte is found."""

from __future__ import annotations

import base64
import hashlib
import random
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrain.cli import main
from untrain.core.errors import BadArgument, BadData
from untrain.evidence import signature
from untrain.evidence.signature import Secret
from untrain.verbs import signing, verifying

pytest.importorskip("cryptography")

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
OTHERS = {
    "as it is": (
        "RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=",
        "timestamp:1555779966\tfile:test",
        "QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==",
    ),
    "hashed": (
        "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=",
        "timestamp:1556193335\tfile:test",
        "y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==",
    ),
}
"""What minisign itself made of a file that holds `test`, by two of its versions."""


def ran(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def theirs(name: str) -> str:
    made, comment, whole = OTHERS[name]
    return f"untrusted comment: signature from minisign secret key\n{made}\ntrusted comment: {comment}\n{whole}\n"


@pytest.mark.parametrize("name", OTHERS)
def test_what_minisign_signed_is_verified_and_nothing_near_it(name: str) -> None:
    key = signature.public(KEY)
    assert signature.verified(b"test", theirs(name), key) == OTHERS[name][1]
    for data, text in ((b"Test", theirs(name)), (b"test", theirs(name).replace("file:test", "file:text")), (b"test", theirs(name).replace("timestamp", "timestamq"))):
        with pytest.raises(BadData, match="not of these bytes"):
            signature.verified(data, text, key)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=40), st.binary(min_size=32, max_size=32))
def test_what_is_signed_verifies_and_comes_back(data: bytes, comment: str, seed: bytes) -> None:
    secret = Secret(b"01234567", seed)
    assert signature.secret(secret.text()) == secret
    assert signature.public(secret.public().text()) == secret.public()
    assert signature.verified(data, secret.sign(data, comment), secret.public()) == " ".join(comment.split())
    with pytest.raises(BadData, match="another key signed it"):
        signature.verified(data, secret.sign(data, comment), Secret(b"76543210", seed).public())


def test_bits_that_no_byte_needs_are_a_change_too() -> None:
    """The last letters of base64 hold some: another letter there gives the same bytes."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    lines = theirs("hashed").split("\n")
    for number in (1, 3):
        body = lines[number].rstrip("=")
        other = body[:-1] + letters[letters.index(body[-1]) ^ 1] + lines[number][len(body) :]
        assert base64.b64decode(other) == base64.b64decode(lines[number])
        with pytest.raises(BadData, match="no signature of minisign's"):
            signature.verified(b"test", "\n".join([*lines[:number], other, *lines[number + 1 :]]), signature.public(KEY))


def test_a_secret_key_is_that_of_the_public_one_in_it() -> None:
    """Though its check fits: who signs by it would sign by a key that no public one verifies."""
    secret, other = Secret(b"01234567", bytes(32)), Secret(b"01234567", bytes([1] * 32))
    data = bytearray(base64.b64decode(secret.text().splitlines()[1]))
    data[94:126] = other.public().key
    data[126:] = hashlib.blake2b(b"Ed" + bytes(data[54:126]), digest_size=32).digest()
    with pytest.raises(BadData, match="damaged"):
        signature.secret(base64.b64encode(bytes(data)).decode())


def test_a_comment_may_hold_what_python_takes_for_an_end_of_line() -> None:
    """Minisign signs any, and a line of its file ends where a line feed is."""
    secret = Secret(b"01234567", bytes(32))
    lines = secret.sign(b"test", "one two").split("\n")
    said = "one\u2028two\x85three"
    made = base64.b64decode(lines[1])[10:]
    whole = signature._signer(secret.seed).sign(made + said.encode())
    text = "\n".join([lines[0], lines[1], f"trusted comment: {said}", base64.b64encode(whole).decode(), ""])
    assert signature.verified(b"test", text, secret.public()) == said
    with pytest.raises(BadData, match="no signature of minisign's"):
        signature.verified(b"test", text + "more\n", secret.public())


def test_a_comment_that_is_no_text_is_written_out() -> None:
    """Bytes of a command line that are not UTF-8."""
    secret = Secret.new()
    assert signature.verified(b"", secret.sign(b"", "as \udcff"), secret.public()) == r"as \udcff"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that was signed, and the public key."""
    place = tmp_path_factory.mktemp("signed")
    assert ran("unlearn", "headonly", "--model", "digits", "--data", "digits", "--forget", "class:3", "--out", place / "run") == 0
    assert ran("key", place / "mine") == 0
    assert ran("sign", place / "run", "--key", place / "mine", "--role", "DPO") == 0
    return place / "run", place / "mine.pub"


def test_each_change_of_one_byte_of_what_was_signed_is_found(signed: tuple[Path, Path]) -> None:
    """Sign, change one byte, verify fails: 200 places of the record and its signature, every bit as likely. A signature's first line is not signed, as it says."""
    run, key = signed
    chance = random.Random(0)
    assert "as DPO" in signing.signed(run, key)
    for name in ("record.json", signing.SIGNATURE):
        data = (run / name).read_bytes()
        start = data.index(b"\n") if name == signing.SIGNATURE else 0
        for _ in range(100):
            changed = bytearray(data)
            changed[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
            (run / name).write_bytes(changed)
            with pytest.raises(BadData):
                signing.signed(run, key)
        (run / name).write_bytes(data)
    assert "as DPO" in signing.signed(run, key)


def test_verify_asks_for_the_signature_where_a_key_is_named(signed: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, key = signed
    assert ran("verify", run, "--key", key) == 0
    assert "signed by" in capsys.readouterr().out
    assert ran("verify", run) == 0
    assert "not looked at: record.json.minisig" in capsys.readouterr().out
    assert ran("key", tmp_path / "other") == 0
    assert ran("verify", run, "--key", tmp_path / "other.pub") == 5
    data = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = verifying.verify(run, key=key)
    assert [look["what"] for look in told["looks"] if look["found"] == "differs"] == ["model.safetensors"]
    assert ran("sign", run, "--key", key.with_suffix("")) == 5
    (run / "model.safetensors").write_bytes(data)
    made = (run / signing.SIGNATURE).read_bytes()
    (run / signing.SIGNATURE).unlink()
    assert ran("verify", run, "--key", key) == 5
    (run / signing.SIGNATURE).write_bytes(made)


def test_an_audit_takes_the_signature_of_what_is_no_more(signed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run, key = signed
    assert ran("audit", run, "--skip", "relearn,prototype") == 3
    assert "its signature was removed" in capsys.readouterr().err
    assert ran("sign", run, "--key", key.with_suffix("")) == 0
    assert ran("verify", run, "--key", key) == 0


def test_keys_are_for_their_owner_and_are_not_written_over(tmp_path: Path) -> None:
    made = signing.key(tmp_path / "mine")
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o600
    text = (tmp_path / "mine").read_text()
    assert repr(signature.secret(text)).startswith("<")
    assert ran("key", tmp_path / "mine") == 2
    assert (tmp_path / "mine").read_text() == text
    assert made["key"] in (tmp_path / "mine.pub").read_text()
    line = text.splitlines()[1]
    with pytest.raises(BadData, match="damaged"):
        signature.secret(line[:-60] + ("A" if line[-60] != "A" else "B") + line[-59:])
    with pytest.raises(BadArgument, match="has a password"):
        signature.secret(_stretched(line))
    for other in (KEY, "", "hello"):
        with pytest.raises(BadData):
            signature.secret(other)


def _stretched(line: str) -> str:
    """The same key, which says that its password is stretched by scrypt."""
    data = bytearray(base64.b64decode(line))
    data[2:4] = b"Sc"
    return base64.b64encode(data).decode()
