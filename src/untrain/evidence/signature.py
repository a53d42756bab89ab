"""Signatures in minisign's form: Ed25519 over the BLAKE2b of a file, with a comment that is signed too. Imports no torch.

A signature says who vouches for a file and that it is unchanged since; not that what stands in it is true. `minisign -V`
verifies what is made here, and the other way round. Secret keys are as `minisign -G -W` writes them: without a password.

The format: https://jedisct1.github.io/minisign/#signature-format.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from untrain.core.errors import BadArgument, BadData, MissingExtra

PURE, HASHED = b"Ed", b"ED"
"""Signed as it is, by minisign of before 0.8 (read, not written), and by its BLAKE2b."""

OPEN = bytes(2)
"""Stands where a secret key says how its password is stretched, and says that it has none."""

UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "


@dataclass(frozen=True)
class Public:
    """A public key.

    Args:
        id: Its number, eight bytes.
        key: The key, 32 bytes.
    """

    id: bytes
    key: bytes

    @property
    def name(self) -> str:
        """Its number as minisign writes it."""
        return self.id[::-1].hex().upper()

    def text(self) -> str:
        """The key's file."""
        return f"{UNTRUSTED}minisign public key {self.name}\n{_base(PURE + self.id + self.key)}\n"


@dataclass(frozen=True, repr=False)
class Secret:
    """A secret key.

    Args:
        id: Its number, eight bytes.
        seed: What the key is made of, 32 bytes.
    """

    id: bytes
    seed: bytes

    @classmethod
    def new(cls) -> Secret:
        """A key that nobody has."""
        return cls(secrets.token_bytes(8), secrets.token_bytes(32))

    def public(self) -> Public:
        """The public key that goes with it."""
        return Public(self.id, _signer(self.seed).public_key().public_bytes_raw())

    def text(self) -> str:
        """The key's file, to be kept from others."""
        both = self.seed + self.public().key
        check = hashlib.blake2b(PURE + self.id + both, digest_size=32).digest()
        whole = PURE + OPEN + b"B2" + bytes(48) + self.id + both + check
        return f"{UNTRUSTED}minisign secret key {self.public().name}\n{_base(whole)}\n"

    def sign(self, data: bytes, comment: str) -> str:
        """The signature's file.

        Args:
            data: What is signed.
            comment: Signed too, one line.
        """
        key, said = _signer(self.seed), " ".join(comment.split()).encode(errors="backslashreplace").decode()
        made = key.sign(hashlib.blake2b(data).digest())
        whole = key.sign(made + said.encode())
        return f"{UNTRUSTED}signature from minisign secret key {self.public().name}\n{_base(HASHED + self.id + made)}\n{TRUSTED}{said}\n{_base(whole)}\n"


def public(text: str) -> Public:
    """A public key out of its file's text, or of the one line that holds it.

    Raises:
        BadData: it is none.
    """
    data = _bytes(text.strip().splitlines()[-1] if text.strip() else "", 42, "public key")
    if data[:2] != PURE:
        raise BadData("that is no public key of minisign's; name the file that ends in .pub")
    return Public(data[2:10], data[10:])


def secret(text: str) -> Secret:
    """A secret key out of its file's text.

    Raises:
        BadData: it is none, or damaged.
        BadArgument: it has a password.
    """
    data = _bytes(text.strip().splitlines()[-1] if text.strip() else "", 158, "secret key")
    if data[:2] != PURE or data[4:6] != b"B2":
        raise BadData("that is no secret key of minisign's; `untrain key FILE` makes one")
    if data[2:4] != OPEN:
        raise BadArgument("that secret key has a password, which is not asked for here; sign with minisign itself, or make a key by `untrain key FILE`")
    id, seed, key, check = data[54:62], data[62:94], data[94:126], data[126:]
    whole = hmac.compare_digest(check, hashlib.blake2b(PURE + id + seed + key, digest_size=32).digest())
    if not whole or Secret(id, seed).public().key != key:
        raise BadData("that secret key is damaged; take it from a backup")
    return Secret(id, seed)


def verified(data: bytes, signature: str, key: Public) -> str:
    """The comment of a signature, once it is seen that this key signed it and these bytes.

    Raises:
        BadData: it did not, they are others, or this is no signature.
    """
    lines = signature.removesuffix("\n").split("\n")
    if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
        raise BadData("that is no signature of minisign's")
    made, whole, said = _bytes(lines[1], 74, "signature"), _bytes(lines[3], 64, "signature"), lines[2].removeprefix(TRUSTED)
    if made[:2] not in (PURE, HASHED):
        raise BadData("that is no signature of minisign's")
    if made[2:10] != key.id:
        raise BadData(f"another key signed it: {made[2:10][::-1].hex().upper()}, and not {key.name}")
    signed = data if made[:2] == PURE else hashlib.blake2b(data).digest()
    if not _fits(key.key, made[10:], signed) or not _fits(key.key, whole, made[10:] + said.encode()):
        raise BadData("the signature is not of these bytes")
    return said


def _fits(key: bytes, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _module().Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signer(seed: bytes) -> Any:
    return _module().Ed25519PrivateKey.from_private_bytes(seed)


def _module() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtra("signing needs cryptography: pip install 'untrain[sign]'") from error
    return ed25519


def _base(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(line: str, length: int, what: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadData(f"that is no {what} of minisign's") from error
    # Bits that the last character has and no byte needs would be a change that nobody sees.
    if len(data) != length or _base(data) != line:
        raise BadData(f"that is no {what} of minisign's")
    return data
