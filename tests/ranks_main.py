"""What every rank runs, and what one process runs to compare: UNSIR on small networks. Not a test by itself; tests/test_ranks.py starts it."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from untrain.audits.accuracy import Accuracy
from untrain.core import resume
from untrain.core.audit import audit
from untrain.core.data import CropFlip, Samples, Split
from untrain.core.engine import Engine, join_ranks, seeded
from untrain.core.errors import UntrainError
from untrain.core.gather import gather, gradients, hvp
from untrain.core.network import Network
from untrain.core.train import minimize
from untrain.core.unlearn import unlearn
from untrain.methods.finetune import FineTune
from untrain.methods.unsir import UNSIR

METHOD = UNSIR(noise=0.5, copies=4, noise_steps=8, impair_epochs=2, repair_epochs=2, batch=21, floor=0)
"""A batch of 21 falls into 11 and 10; two epochs of each step."""


def network(batchnorm: bool, dtype: torch.dtype) -> nn.Module:
    """A small convolutional network with or without BatchNorm."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), *([nn.BatchNorm2d(4)] if batchnorm else []), nn.Tanh(), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 3)]
    return nn.Sequential(*layers).to(dtype)


def split() -> Split:
    """Small pictures of three classes, with an augmentation."""
    g = torch.Generator().manual_seed(1)
    y = torch.arange(93) % 3
    x = torch.randn(93, 1, 4, 4, generator=g) + torch.randn(3, 1, 4, 4, generator=g)[y]
    samples = Samples(x, y, augment=CropFlip(1))
    return Split.by_class(samples, samples, forget=[1])


def results() -> dict[str, torch.Tensor]:
    """Weights and losses that come out, under names that say of which run."""
    out = {}
    for name, batchnorm, dtype in (("fp32", False, torch.float32), ("fp64", False, torch.float64), ("batchnorm", True, torch.float32)):
        result = unlearn(network(batchnorm, dtype), split(), METHOD)
        out |= {f"{name}/{key}": value.clone() for key, value in result.model.state_dict().items()}
        out |= {f"losses-{name}/{phase}": torch.tensor(p.losses, dtype=torch.float64) for phase, p in result.trace.items()}
        out[f"passes-{name}"] = torch.tensor(result.passes)
        out[f"phases-{name}"] = torch.tensor(sum(p.passes for p in result.trace.values()))
        out[f"ranks-{name}"] = torch.tensor(result.engine["ranks"])
    out |= {f"site/{key}": value.clone() for key, value in unlearn(Words().double(), texts(), METHOD).model.state_dict().items()}
    uneven = unlearn(Short(network(False, torch.float64)), split(), FineTune(epochs=2, batch=21, lr=0.05, augment=False))
    out |= {f"uneven/{key}": value.clone() for key, value in uneven.model.state_dict().items()}
    return out | {f"seams/{name}": value for name, value in seams().items()}


class Short(nn.Module):
    """A network whose memory runs out beyond six samples, on the second rank alone, and when the forward has drawn and averaged already."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        if len(x) > 6 and Engine().rank == 1 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return out


class Words(nn.Module):
    """Token ids, whose noise goes in at their embedding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.mix, self.head = nn.Embedding(12, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.tanh(self.mix(self.words(ids))).mean(1))
        return out


def texts() -> Split:
    """Short texts of three classes, told by the tokens of each."""
    g = torch.Generator().manual_seed(2)
    y = torch.arange(93) % 3
    samples = Samples(torch.randint(0, 4, (93, 5), generator=g) + 4 * y[:, None], y)
    return Split.by_class(samples, samples, forget=[1])


def seams() -> dict[str, torch.Tensor]:
    """What combined losses over two streams, measured gradients and gathered sums come to, in double precision."""
    module, samples = network(False, torch.float64), split().retain
    with seeded(0) as run:
        view = Network(module)
        view.train()
        plan = samples.batches(21).beside(split().forget.batches(7))
        fit_two = lambda x, y: tuple(F.cross_entropy(view(a), b) for a, b in zip(x, y, strict=True))  # noqa: E731
        steep = lambda gradients: [a - b.abs() for a, b in zip(*gradients, strict=True)]  # noqa: E731
        minimize(fit_two, view.parameters(), plan, phase="p", lr=0.1, optimizer="sgd", combine=steep)
        view.eval()
        out = {f"weight.{i}": p.detach().clone() for i, p in enumerate(view.parameters())}
        for power, each in ((1, False), (2, False), (2, True)):
            found, _ = gradients(view, lambda x, y: F.cross_entropy(view(x), y), samples, phase="g", batch=21, power=power, each=each)
            out |= {f"gradient.{power}.{each}.{i}": g for i, g in enumerate(found)}
        product, _ = hvp(view, lambda x, y: F.cross_entropy(view(x), y), samples, [torch.ones_like(p) for p in view.trainable()], phase="h", batch=21)
        out |= {f"hvp.{i}": g for i, g in enumerate(product)}
        sums = {"sum": torch.ones(8, dtype=torch.float64)}

        def add(name: str, x: torch.Tensor, y: torch.Tensor) -> None:
            sums["sum"] += y.sum(0)

        gather(view, samples, ["3"], add, phase="s", batch=21, into=sums)
        assert run.calls == 6
        return out | sums


class Killed(BaseException):
    """As sudden as a signal."""


def dropping() -> nn.Module:
    """A network whose random state and running statistics are each rank's own."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def resumed(folder: Path) -> dict[str, torch.Tensor]:
    """A run with dropout and BatchNorm1d, whole, and killed at step 70 and gone on; and one whose epochs end in three samples."""
    method, seen = FineTune(epochs=30, batch=21, lr=0.05), []

    def kill(phase: str, step: int, steps: int) -> None:
        if step == 70:
            raise Killed

    def note(phase: str, step: int, steps: int) -> None:
        seen.append(step)

    resume.WORTH = 0.0
    whole = unlearn(dropping(), split(), method)
    with contextlib.suppress(Killed):
        unlearn(dropping(), split(), method, store=folder, progress=kill)
    again = unlearn(dropping(), split(), method, store=folder, progress=note)
    tail = unlearn(dropping(), split(), FineTune(epochs=2, batch=59, lr=0.05))
    out = {"resumed-at": torch.tensor(seen[0] - 1)}
    short = unlearn(Short(dropping()), split(), method)
    with contextlib.suppress(Killed):
        unlearn(Short(dropping()), split(), method, store=folder.with_name("short"), progress=kill)
    on = unlearn(Short(dropping()), split(), method, store=folder.with_name("short"))
    out |= {f"short-{name}/{key}": value.clone() for name, result in (("whole", short), ("again", on)) for key, value in result.model.state_dict().items()}
    out |= {f"pieces-{name}": torch.tensor(result.engine.get("pieces", 1)) for name, result in (("short", short), ("again", on), ("whole", whole))}
    for name, result in (("whole", whole), ("again", again), ("tail", tail)):
        out |= {f"{name}/{key}": value.clone() for key, value in result.model.state_dict().items()}
    return out


def said_of_sharded() -> list[str]:
    """What unlearn and audit say to a module that its user sharded, before its first forward and after, and to weights that are DTensors."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import distribute_tensor

    sharded, used, tensors = (network(False, torch.float32) for _ in range(3))
    fully_shard(sharded)
    fully_shard(used)
    used(torch.zeros(2, 1, 4, 4))
    tensors[3].weight = nn.Parameter(distribute_tensor(tensors[3].weight.detach(), init_device_mesh("cpu", (2,))))
    said = []
    for module in (sharded, used, tensors):
        for refused in (lambda m: unlearn(m, split(), METHOD), lambda m: audit(m, split(), [Accuracy()])):
            try:
                refused(module)
            except UntrainError as error:
                said.append(str(error))
    return said


if __name__ == "__main__":
    joined = join_ranks()
    if not joined or join_ranks():
        sys.exit("join_ranks joins once, and only once")
    engine = Engine()
    save_file(results() | resumed(Path(sys.argv[1]) / "state"), Path(sys.argv[1]) / f"rank-{engine.rank}.safetensors")
    (Path(sys.argv[1]) / f"sharded-{engine.rank}.json").write_text(json.dumps(said_of_sharded()), encoding="utf-8")
    torch.distributed.destroy_process_group()
