"""Files: atomic writes, hashes, weights. Only safetensors and JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from untrain.core import disk
from untrain.core.disk import cache_root as cache_root
from untrain.core.disk import refuse_changed as refuse_changed
from untrain.core.disk import sha256 as sha256
from untrain.core.disk import watching as watching
from untrain.core.disk import write as write
from untrain.core.errors import BadData, OtherHead
from untrain.core.wording import told

HEADER = 100 * 2**20
"""Bytes of a header, at most, as the format has it."""

LARGEST = 2**40
"""Bytes of weights that are read at once, at most."""


def weights_hash(state: dict[str, Tensor]) -> str:
    """Hash of a state dict's names, types, shapes and values, whatever file it stands in."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if not isinstance(state[name], Tensor):
            # What `get_extra_state` gives may be anything.
            digest.update(f"{name} {state[name]!r};".encode())
            continue
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(path: Path, state: dict[str, Tensor], about: dict[str, Any], metadata: Mapping[str, str] = {}) -> None:
    """Write a state dict as safetensors, with its own keys and what the file says of itself under the metadata key `untrain`.

    Args:
        path: The file to write.
        state: Weights by name.
        about: What the file says of itself.
        metadata: Further metadata that a library wants to find.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    data = save(tensors, metadata={"untrain": json.dumps(about, sort_keys=True), **metadata})
    write(path, _sorted(data) if metadata else data)


def _sorted(data: bytes) -> bytes:
    """The same safetensors file with its header in order: two or more metadata keys come in another order each time."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from safetensors; never from a pickle.

    Raises:
        BadData: a missing, truncated or foreign file.
    """
    if not path.is_file():
        raise BadData(f"no file {path}; name a .safetensors file of weights")
    if path.suffix in (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle"):
        way = f"untrain convert {quote(str(path))} -o {quote(str(path.with_suffix('.safetensors')))}"
        raise BadData(f"{path} is a pickle by its name, which could run code when read; make it safe first: {way}")
    try:
        if not _utf8(path):
            # The library takes no other names.
            return dict(load(disk.read(path, LARGEST)))
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise BadData(f"{path} is not a whole safetensors file: {error}; get it anew") from error


def about(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself under the metadata key `untrain`; nothing where it says nothing.

    Raises:
        BadData: it is not such a file, or says what is no JSON object.
    """
    way = "what it says of itself is not as untrain writes it"
    try:
        with os.fdopen(disk.opened(path), "rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), HEADER)))
        found = json.loads(header.get("__metadata__", {}).get("untrain", "{}"))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadData(f"{path.name}: {way} ({told(error)}); get it anew") from error
    if not isinstance(found, dict):
        raise BadData(f"{path.name}: {way}; get it anew")
    return found


def _utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def load_into(module: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Put weights into a network whose names and shapes they fit exactly.

    Half-precision files fill full-precision networks.

    Raises:
        BadData: names or shapes differ (says the first few), or a value is not finite.
    """
    # Checkpoints older than 2018 do not count batches; the count plays no part in evaluation or training.
    own = {k: v for k, v in module.state_dict().items() if isinstance(v, Tensor) and (k in state or not k.endswith("num_batches_tracked"))}
    missing, extra = [k for k in own if k not in state], [k for k in state if k not in own]
    shapes = [f"{k} is {list(state[k].shape)} in the file and {list(v.shape)} in the network" for k, v in own.items() if k in state and v.shape != state[k].shape]
    if missing or extra or shapes:
        facts = [f"it lacks {len(missing)} entries such as {missing[:3]}"] if missing else []
        facts += [f"has {len(extra)} others such as {extra[:3]}"] if extra else []
        facts += [f"{len(shapes)} are of another shape: {'; '.join(shapes[:2])}"] if shapes else []
        differ = [k for k, v in own.items() if k in state and v.shape != state[k].shape]
        # Where nothing but the number of rows of one layer differs, it is the head.
        rows = not missing and not extra and len({k.rpartition(".")[0] for k in differ}) == 1 and all(own[k].shape[1:] == state[k].shape[1:] for k in differ)
        raise (OtherHead if rows else BadData)(f"{origin} does not fit the network: {', and '.join(facts)}; name the network that it was saved from")
    # A mask among the buffers holds infinities on purpose.
    counted = {k for k, _ in module.named_parameters(remove_duplicate=False)} | {k for k in state if k.endswith(("running_mean", "running_var"))}
    bad = [k for k, v in state.items() if k in counted and v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise BadData(f"{origin} holds NaN or infinity in {bad[:3]}; get it anew")
    module.load_state_dict(module.state_dict() | {k: state[k].to(v.dtype) for k, v in own.items()})
