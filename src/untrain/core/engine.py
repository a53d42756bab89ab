"""What differs between machines: device, precision, ranks, seeds, progress. No method knows of it.

Plain `torch.distributed` is the engine: under `torchrun` every rank runs the same program with the
same seed, takes its slice of every batch, and `minimize` sums the weighted gradients.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from untrain.core.errors import BadArgument, Resources, Shared
from untrain.core.seeds import mix, stream
from untrain.core.wording import told

MEETING = timedelta(seconds=60)
"""How long ranks wait for each other at the beginning."""

Precision = Literal["fp32", "bf16"]


class Progress(Protocol):
    """Told of each step of long work; a progress bar, or nothing."""

    def __call__(self, phase: str, step: int, steps: int) -> None:
        """`step` of `steps` are done in this phase."""
        ...


class Watch(Protocol):
    """Shown each batch just before the step that is taken on it; the laws look through it."""

    def __call__(self, phase: str, x: Any, y: Tensor) -> None:
        """Look, and leave everything as it is."""
        ...


class View(Protocol):
    """What a run asks of a network that belongs to its state."""

    @property
    def module(self) -> nn.Module:
        """The user's module."""
        ...


def silent(phase: str, step: int, steps: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Engine:
    """Where and how numbers are computed.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...; under several ranks each takes its own.
        precision: `fp32`, or `bf16` for autocast in training (audits score in fp32 all the same).
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "fp32"

    @classmethod
    def of(cls, device: str | torch.device | None = None, precision: Precision = "fp32") -> Engine:
        """An engine on this device, the CPU where none is named.

        Raises:
            BadArgument: no such device here, or an unknown precision.
        """
        if precision not in ("fp32", "bf16"):
            raise BadArgument(f"no precision {precision!r}; there are fp32 and bf16")
        try:
            chosen = torch.device(device or "cpu")
        except RuntimeError as error:
            raise BadArgument(f"no device {device!r}; name cpu or cuda") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise BadArgument(f"device {device!r} is asked for, but torch sees no GPU here; name cpu")
        return cls(chosen, precision)

    @property
    def rank(self) -> int:
        """This process's number among the ranks."""
        return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0

    @property
    def world(self) -> int:
        """How many ranks there are."""
        return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1

    def place(self, module: nn.Module) -> nn.Module:
        """The module on the device, images laid out channels last, which convolutions are faster in."""
        module.to(self.device)
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return module

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 arithmetic where that was asked for."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def sum(self, values: list[Tensor]) -> None:
        """Add each tensor over the ranks, in place, in one message."""
        if self.world > 1 and values:
            flat = torch.cat([v.reshape(-1) for v in values])
            dist.all_reduce(flat)
            for value, total in zip(values, torch.split(flat, [v.numel() for v in values]), strict=True):
                value.copy_(total.view_as(value))

    def most(self, value: int) -> int:
        """The largest that a rank has."""
        each = torch.zeros(self.world, dtype=torch.int64, device=self.device)
        each[self.rank] = value
        self.sum([each])
        return int(each.max())

    def free(self) -> None:
        """Give back what the device's allocator keeps for later."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def report(self) -> dict[str, Any]:
        """What was set: device, precision, layout, threads, ranks."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        found: dict[str, Any] = {"device": name, "precision": self.precision, "layout": "channels_last", "threads": torch.get_num_threads(), "ranks": self.world}
        if self.device.type == "cuda":
            # There "fp32" may mean TF32 in convolutions, and sums in an order of the moment: same seed, other last bits.
            found |= {
                "tf32": {"convolutions": torch.backends.cudnn.allow_tf32, "products": torch.backends.cuda.matmul.allow_tf32},
                "deterministic": torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled(),
            }
        return found


def peak_memory(engine: Engine) -> int:
    """Bytes: most allocated on the GPU, or the process's largest resident set."""
    if engine.device.type == "cuda":
        return torch.cuda.max_memory_allocated(engine.device)
    # On Linux the kernel's own high-water mark: that of getrusage is inherited from the process that started this one.
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) * 1024 for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass
class Run:
    """The state of one seeded run: its seed, the number of the last core call, and the passes so far.

    Args:
        seed: The run's seed; every core call's seed comes from it and from the call's number.
        engine: Where and how to compute.
        progress: Told of each step.
        store: Folder for resuming; None keeps nothing.
        network: The network that the run is about.
        watch: Shown each batch before its step; nobody is where it is None.
        networks: All networks of the run, in the order in which they came: that one, and each that was made since.
        told: What tells this run from another, kept beside its saved state: the method, the model, the split.
        pieces: In how many pieces each batch is taken, one after the other: more than one once memory has run out, on this rank.
    """

    seed: int
    engine: Engine = field(default_factory=Engine)
    progress: Progress = silent
    store: Path | None = None
    network: View | None = None
    calls: int = 0
    passes: int = 0
    watch: Watch | None = None
    networks: list[View] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    pieces: int = 1
    _sealed: list[tuple[nn.Module, str]] = field(default_factory=list, repr=False)

    def register(self, network: View, *, sealed: bool = False) -> None:
        """A network of this run: saved with its calls and agreed over ranks; one that is sealed may not move until the run ends."""
        if all(network.module is not other.module for other in self.networks):
            self.networks.append(network)
            if sealed:
                self._sealed.append((network.module, bits(network.module)))

    def saved(self) -> list[nn.Module]:
        """The modules whose values belong to the saved state: all but the sealed ones, which follow from them."""
        sealed = [module for module, _ in self._sealed]
        return [n.module for n in self.networks if all(n.module is not m for m in sealed)]

    def verify(self) -> None:
        """Look whether frozen networks are where they were, and whether each network's values are its own.

        Raises:
            Shared: one moved, or it shares its values with another.
        """
        for number, (module, before) in enumerate(self._sealed, 1):
            if bits(module) != before:
                raise Shared(f"teacher {number} of this run moved while it was frozen: what it taught was not the original; train the student alone")
        owner: dict[int, nn.Module] = {}
        for network in self.networks:
            for name, value in network.module.state_dict(keep_vars=True).items():
                if not isinstance(value, Tensor) or not value.numel() or value.device.type == "meta":
                    continue
                if owner.setdefault(value.data_ptr(), network.module) is not network.module:
                    raise Shared(f"two networks of this run share {name}, so that one moves with the other; copy it (Network.teacher())")

    def report(self) -> dict[str, Any]:
        """What was set, and in how many pieces batches were taken, where some rank's memory ran out; all ranks ask together."""
        most = self.engine.most(self.pieces)
        return self.engine.report() | ({"pieces": most} if most > 1 else {})

    def call(self) -> int:
        """Number the next core call."""
        self.calls += 1
        return self.calls


_current: ContextVar[Run | None] = ContextVar("untrain_run", default=None)


def bits(module: nn.Module) -> str:
    """Hash of a module's values, wherever they lie."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def going_on() -> Run | None:
    """The run that is going on, if one is."""
    return _current.get()


def current() -> Run:
    """The run that is going on.

    Raises:
        RuntimeError: outside `seeded(...)`.
    """
    run = _current.get()
    if run is None:
        raise RuntimeError("no run is going on: call methods through unlearn(...), or inside `with seeded(0):`")
    return run


@contextlib.contextmanager
def seeded(
    seed: int,
    *,
    engine: Engine | None = None,
    progress: Progress = silent,
    store: Path | None = None,
    network: View | None = None,
    told: dict[str, Any] | None = None,
) -> Iterator[Run]:
    """One seeded run. The caller's random state is neither used nor moved.

    What a method draws comes from one stream; each core call has a stream of its own and leaves the
    method's where it was, so that a call that is read back instead of run changes no later draw.
    """
    run = Run(seed, engine or Engine(), progress, store, network, told=dict(told or {}))
    if network is not None:
        run.register(network)
    with stream(mix(seed), run.engine.device):
        token = _current.set(run)
        try:
            yield run
            run.verify()
        finally:
            _current.reset(token)


@contextlib.contextmanager
def own_stream(run: Run, seed: int) -> Iterator[None]:
    """Random numbers of a core call: seeded by the call, rank by rank, and put back afterwards."""
    with stream(mix(seed, 2, run.engine.rank), run.engine.device):
        yield


def join_ranks() -> bool:
    """Under `torchrun`, join the group of ranks (gloo for what lies on the CPU, nccl for what lies on GPUs); whether this call did.

    Raises:
        BadArgument: some of what a launcher sets is there, and not the rest.
        Resources: the others did not come.
    """
    said = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")}
    if not dist.is_available() or dist.is_initialized() or (said["WORLD_SIZE"] in ("", "1") and not all(said.values())):
        return False
    lacks = [name for name, value in said.items() if not value or (name != "MASTER_ADDR" and not value.isdecimal())]
    if lacks:
        raise BadArgument(f"WORLD_SIZE={said['WORLD_SIZE']} is set, and {lacks[0]} is {said[lacks[0]] or 'not'}; launch by torchrun, or unset what an earlier launch left")
    try:
        store, rank, world = next(rendezvous("env://", timeout=MEETING))
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=world)
    except (RuntimeError, ValueError, OSError) as error:
        raise Resources(f"the {said['WORLD_SIZE']} ranks did not meet at {said['MASTER_ADDR']} port {said['MASTER_PORT']} ({told(error)}); see to the launch") from error
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return True
