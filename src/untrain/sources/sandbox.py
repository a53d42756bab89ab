"""Reads a pickled checkpoint and writes its tensors as safetensors; run as a file, in a process of its own, by `convert`.

It is started with `python -I -B sandbox.py`, imports nothing of untrain but two files beside it, and gives its answer as one JSON
object on stdout. A state dict as `torch.save` writes it is read by `plainfile`; only what that does not know is left to torch, which is
five sixths of the time: its import alone takes seconds. There `weights_only=True` lets a pickle build tensors and plain
containers alone. Should either wall have a hole, the file is already open and the tensors go into a pipe, so that this process
needs no further file: by then it can open none and write no byte into one, has next to no memory and time, starts no program, and on
Linux makes no other call of the system at all (`seccomp`). Who starts it may put it into a namespace besides (`convert`). How high that
wall is, is tried and told.
"""

from __future__ import annotations

import errno
import importlib.util
import io
import json
import os
import pickletools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from untrain.sources import plainfile, seccomp
else:

    def _beside(name: str) -> Any:
        """By its file: an isolated process looks for modules neither here nor where untrain may lie."""
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(name, module)
        spec.loader.exec_module(module)
        return module

    plainfile, seccomp = _beside("plainfile"), _beside("seccomp")

NETWORKS = ("model", "net", "network", "student", "teacher", "ema", "ema_model", "model_ema", "generator", "discriminator", "actor", "critic", "target", "online")
"""What people call a network inside a Lightning module."""

WRAPPERS = ("module", "_orig_mod", "_forward_module")
"""What DataParallel, torch.compile and Fabric put before each name."""

LOSSES = ("criterion", "criteria", "loss", "losses", "loss_fn", "loss_func", "loss_function", "metric", "metrics")
"""What people call a loss or a measure inside a Lightning module: its class weights are no layer of the network."""

DENIED = ("socket.", "subprocess.", "shutil.", "ctypes.", "urllib.", "ftplib.", "smtplib.", "pty.", "webbrowser.", "winreg.", "sqlite3.", "os.", "signal.", "fcntl.", "syslog.")
ALLOWED = ("os.listdir", "os.scandir", "os.putenv", "os.unsetenv")
"""Events of Python's audit that end the reading, and those among them that do not."""

SILENT = {
    "posix": ("mkfifo", "mknod", "pidfd_open", "memfd_create", "eventfd", "copy_file_range", "sendfile", "splice", "lchown", "sync", "chroot", "setns", "unshare"),
    "_posixsubprocess": ("fork_exec",),
    "_signal": ("pidfd_send_signal", "pthread_kill", "raise_signal"),
}
"""What raises no event is taken away by its name, which is how a pickle would call it."""


CALLS = ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX")
"""Instructions of pickles that call what they name, and that torch does not know."""


class Refused(Exception):
    """A file that is not converted; says why, and the way out."""


def limit(size: int) -> None:
    """No further file, no byte into one, no process, little more memory than the file needs, and not for long; where the platform has such limits."""
    try:
        import resource
    except ImportError:
        return
    seconds = 60 + size // 20_000_000
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    statm = Path("/proc/self/statm")
    if statm.is_file():
        room = int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + 5 * size + (512 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    # Open descriptors stay open at a limit below theirs.
    for kind in ("RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_NOFILE"):
        if hasattr(resource, kind):
            resource.setrlimit(getattr(resource, kind), (0, 0))


def holds() -> dict[str, bool]:
    """Which limits hold, each tried: root starts processes whatever its limit says, and some platforms have none."""
    return {"opens no further file": not _can(_opens), "starts no program": not _can(_forks), seccomp.TOLD: not _can(_moves)}


def _can(act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError:
        return False
    return True


def _opens() -> None:
    os.close(os.open(os.devnull, os.O_RDONLY))


def _forks() -> None:
    if not hasattr(os, "fork"):
        return
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _moves() -> None:
    # Done nowhere here, never in need of an open file or of rights, and changes nothing.
    os.chdir(os.curdir)


def deny() -> None:
    """From here on no sockets, no programs, no changes to files, as far as Python tells of them or they are known by name."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and (any(c in str(arguments[1] or "") for c in "wax+") or (arguments[1] is None and int(arguments[2] or 0) & 3 != 0))
        if (event.startswith(DENIED) and event not in ALLOWED) or writes:
            raise PermissionError(f"it tried {event}")

    for module, names in SILENT.items():
        for place in (module, "os" if module == "posix" else "signal" if module == "_signal" else module):
            for name in names:
                if hasattr(sys.modules.get(place), name):
                    delattr(sys.modules[place], name)
    sys.addaudithook(watch)


def warm() -> None:
    """Let torch read and write what checkpoints hold, so that what it imports on the way is there before no file can be opened."""
    import argparse
    import collections

    import numpy as np
    import torch
    from safetensors.torch import save

    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
    held: dict[str, Any] = {str(kind): torch.zeros(2, 3, dtype=kind).t() for kind in kinds}
    others = {
        "best": np.float64(1),
        "hyper": argparse.Namespace(lr=1),
        "more": collections.defaultdict(dict),
        "order": collections.OrderedDict(x=1),
        "p": torch.nn.Parameter(held["torch.float32"]),
    }
    for new in (True, False):
        file = io.BytesIO()
        torch.save(held | others, file, _use_new_zipfile_serialization=new)
        file.seek(0)
        read(file, "")
    read(io.BytesIO(save({k: v.detach().contiguous().clone() for k, v in held.items()})), ".safetensors")


def read(source: BinaryIO, suffix: str) -> Any:
    """What the file holds: tensors and plain containers."""
    import argparse
    import collections

    import torch
    from safetensors.torch import load

    if suffix == ".safetensors":
        return load(source.read())
    plain: list[Any] = [argparse.Namespace, collections.defaultdict, dict]
    try:
        import numpy as np

        # A best score in a checkpoint is often a numpy scalar.
        scalar: Any = np._core.multiarray.scalar if hasattr(np, "_core") else np.core.multiarray.scalar  # type: ignore[attr-defined, unused-ignore]
        plain += [scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]
    except ImportError:
        pass
    torch.serialization.add_safe_globals(plain)
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        raise Refused(_why(error)) from error


def _why(error: Exception) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "alloc" in said or "memory" in said:
        return "it asks for far more memory than its size warrants; get it anew"
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.EFBIG, errno.EAGAIN, errno.EPERM):
        return "when read it tried to open a file or to start a program, which weights never do; do not open it anywhere"
    if isinstance(error, PermissionError) and "it tried" in said:
        return f"when read {said.partition('it tried ')[2]}, which weights never do; do not open it anywhere"
    if "TorchScript" in said:
        return "it is a TorchScript archive; where it was made, save a state dict instead: torch.save(model.state_dict(), FILE)"
    if "Unsupported operand " in said:
        number = said.partition("Unsupported operand ")[2].split()[0].rstrip(",.:")
        op = next((op for op in pickletools.opcodes if str(ord(op.code)) == number), None)
        if op is not None:
            return f"it holds an instruction ({op.name}) that {'calls what it names' if op.name in CALLS else 'old pickles have'} and weights have not; do not open it anywhere"
    for mark in ("Trying to load unsupported GLOBAL ", "Unsupported global: GLOBAL ", "Unsupported class ", "Trying to call reduce for unrecognized function "):
        if mark in said:
            name = said.partition(mark)[2].split()[0].rstrip(",.:")
            return f"it holds a pickled object ({name}), which runs code when read; where it was made, save a state dict instead: torch.save(model.state_dict(), FILE)"
    return f"it is not a whole checkpoint of PyTorch ({type(error).__name__}); get it anew"


def states(loaded: Any, depth: int = 2) -> dict[str, dict[str, Any]]:
    """The state dicts in a checkpoint, by the name they stand under; `` where it is one itself."""
    if not isinstance(loaded, dict):
        return {}
    tensors = [v for v in loaded.values() if is_tensor(v)]
    nested = {str(k): v for k, v in loaded.items() if isinstance(v, dict)}
    if tensors and not any(states(v, 0) for v in nested.values()):
        return {"": {str(k): v for k, v in loaded.items()}}
    found: dict[str, dict[str, Any]] = {}
    for name, value in nested.items():
        if depth and not name.startswith(("optim", "callbacks", "loops", "sched", "lr_sched")):
            found |= {f"{name}.{inner}".rstrip("."): state for inner, state in states(value, depth - 1).items()}
    return found


def groups(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Entries by the first component of their names."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        found.setdefault(first, {})[rest] = value
    return found


def layers(part: dict[str, Any]) -> int:
    """How many layers a group's names tell of."""
    return len({name.rpartition(".")[0] for name in part})


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of torch's, where that was imported, or one not yet read."""
    torch = sys.modules.get("torch")
    return isinstance(value, plainfile.Flat) or (torch is not None and isinstance(value, torch.Tensor))


def one(loaded: Any, network: str | None, drop: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The one state dict that is meant, under bare names and without what is dropped, and what to tell of it."""
    found = states(loaded)
    if not found:
        kind = type(loaded).__name__
        raise Refused(f"it holds no state dict but a {kind}; where it was made, save one: torch.save(model.state_dict(), FILE)")
    notes: list[str] = []
    if network in found and network:
        state, network = found[network], None
    elif len(found) > 1:
        listed = ", ".join(f"{name or 'the whole'} ({len(state)} entries)" for name, state in found.items())
        raise Refused(f"it holds {len(found)} state dicts: {listed}; say which by --network NAME")
    else:
        name, state = next(iter(found.items()))
        if name:
            notes.append(f"the state dict stands under {name!r} in it")
    others = [k for k, v in state.items() if not is_tensor(v)]
    if others:
        notes.append(f"left out, since they are no tensors: {', '.join(others[:3])}{' and others' if len(others) > 3 else ''}")
    tensors = {k: v for k, v in state.items() if is_tensor(v)}
    lightning = isinstance(loaded, dict) and "pytorch-lightning_version" in loaded
    for name in drop:
        gone = [k for k in tensors if k == name or k.startswith(name.rstrip(".") + ".")]
        if not gone:
            raise Refused(f"no name in it begins with {name!r}, which --drop names; the first components are {', '.join(list(groups(tensors))[:8])}")
        notes.append(f"left out, as asked: {', '.join(gone[:3])}{' and others' if len(gone) > 3 else ''}")
        tensors = {k: v for k, v in tensors.items() if k not in gone}
    measures = [first for first, part in groups(tensors).items() if first in LOSSES and layers(part) == 1] if lightning and not network else []
    if measures and len(measures) < len(groups(tensors)):
        gone = [k for k in tensors if k.partition(".")[0] in measures]
        notes.append(f"left out, since a loss is no layer: {', '.join(gone[:3])}{' and others' if len(gone) > 3 else ''}")
        tensors = {k: v for k, v in tensors.items() if k not in gone}
    return _network(tensors, network, lightning, notes), notes


def _network(state: dict[str, Any], network: str | None, lightning: bool, notes: list[str]) -> dict[str, Any]:
    if network == ".":
        return state
    if network:
        start = network.rstrip(".") + "."
        part = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        if not part:
            raise Refused(f"no name in it begins with {start!r}; the first components are {', '.join(list(groups(state))[:8])}")
        notes.append(f"taken: the {len(part)} of {len(state)} entries whose names begin with {start!r}")
        return part
    while len(parts := groups(state)) == 1 and next(iter(parts)) in (*WRAPPERS, *(NETWORKS if lightning else ())) and "" not in next(iter(parts.values())):
        first, state = next(iter(parts.items()))
        notes.append(f"all names begin with {first + '.'!r}, which was taken off")
    parts = {name: part for name, part in groups(state).items() if layers(part) > 1}
    names = [name for name in parts if lightning and name in NETWORKS]
    twins = [a for a, x in parts.items() if layers(x) > 4 and any(a != b and _alike(x, y) for b, y in parts.items())]
    if (names and len(parts) > 1) or (twins and len(parts) == len(twins)):
        raise Refused(
            f"it holds {len(parts)} networks: {', '.join(f'{n} ({len(p)} entries)' for n, p in parts.items())}; say which by --network NAME, or --network . for all of it"
        )
    if names:
        left = [name for name in groups(state) if name != names[0]]
        notes.append(f"taken: {names[0]!r}; left out: {', '.join(left)}")
        return parts[names[0]]
    return state


def _alike(x: dict[str, Any], y: dict[str, Any]) -> bool:
    return x.keys() == y.keys() and all(x[k].shape == y[k].shape for k in x)


def plainly(source: BinaryIO, into: BinaryIO, network: str | None, drop: Sequence[str]) -> list[str]:
    """Convert without torch; what to tell of it.

    Raises:
        plainfile.Unknown: the file, or something in it, is not read so.
    """
    archive = plainfile.Archive(source)
    try:
        state, notes = one(archive.loaded(), network, drop)
        if sum(flat.nbytes for flat in state.values()) > 5 * size_of(source) + (512 << 20):
            raise Refused("it asks for far more memory than its size warrants; get it anew")
        plainfile.save(state, archive, into)
    except Refused:
        raise
    except Exception as error:  # torch says what is wrong with it
        raise plainfile.Unknown(type(error).__name__) from error
    return notes


def size_of(source: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(source.fileno()).st_size


def main(way: str, name: str, target: str, network: str, *drop: str) -> dict[str, Any]:
    """Convert; the answer says what was found, or why it was refused, and which limits hold.

    Args:
        way: `plain` without torch, which may answer that it does not know a file, or `torch`.
        name: The file to read.
        target: Number of the open descriptor to write to.
        network: Which part of it, if any is named.
        *drop: What to leave out.
    """
    # What is imported is imported before the wall stands: libraries load others.
    if way == "plain":
        import numpy as np

        del np
    else:
        from safetensors.torch import save

        warm()
    with Path(name).open("rb") as source, os.fdopen(int(target), "wb") as into:
        limit(size_of(source))
        seccomp.shut()
        held = {"holds": holds()}
        deny()
        try:
            if way == "plain":
                return held | {"notes": plainly(source, into, network or None, drop)}
            state, notes = one(read(source, Path(name).suffix), network or None, drop)
            into.write(save({k: v.detach().contiguous().clone() for k, v in state.items()}))
        except Refused as error:
            return held | {"error": str(error)}
        except plainfile.Unknown as error:
            return held | {"unknown": str(error)}
        except Exception as error:
            return held | {"error": _why(error)}
    return held | {"notes": notes}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
