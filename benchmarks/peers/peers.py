"""Methods of other toolkits behind thin adapters: the toolkit's own code runs as it is installed, on a copy of the model and on loaders over the case's images."""

from __future__ import annotations

import importlib
import random
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from untrain.core.data import Samples
from untrain.core.method import Method
from untrain.core.network import Network
from untrain.core.trace import Trace, phase
from untrain.core.vision import import_torchvision


class Listed(Dataset[Any]):
    """Images and labels as these toolkits read a data set.

    Args:
        samples: What it holds.
        middle: Whether an entry is (image, something, label).
    """

    def __init__(self, samples: Samples, *, middle: bool = False) -> None:
        x, self.labels = samples.batch(torch.arange(len(samples)))
        assert isinstance(x, Tensor)
        self.x, self.targets, self.middle = x, self.labels.tolist(), middle

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> Any:
        label = self.targets[place]
        return (self.x[place], label, label) if self.middle else (self.x[place], label)


@dataclass(frozen=True)
class Peer(Method):
    """A method of another toolkit, at that toolkit's defaults but for what a law turns.

    Args:
        rate: How many times the toolkit's own learning rate.
        batch: Batch size of its loaders.
        order: Seed of a further order of the images, 0 for as they are.
    """

    rate: float = 1.0
    batch: int = 16
    order: int = 0

    def loader(self, samples: Samples, *, shuffle: bool = True, middle: bool = False) -> DataLoader[Any]:
        """A loader as its examples make one."""
        if self.order:
            samples = samples[torch.randperm(len(samples), generator=torch.Generator().manual_seed(self.order))]
        return DataLoader(Listed(samples, middle=middle), batch_size=self.batch, shuffle=shuffle)

    def run(self, module: nn.Module, forget: Samples, retain: Samples) -> nn.Module:
        """Call the toolkit; what it returns."""
        raise NotImplementedError

    def __call__(self, model: Network, *, forget: Samples, retain: Samples) -> Trace:
        """Run it, and take over what it returns."""
        random.seed(int(torch.randint(2**31, ())))
        wanted = [w.requires_grad for w in model.module.parameters()]
        with phase("peer") as done:
            left = self.run(model.module, forget, retain)
        model.module.load_state_dict(left.state_dict())
        for weight, was in zip(model.module.parameters(), wanted, strict=True):
            weight.requires_grad_(was)
            weight.grad = None
        return Trace.of(done)


@dataclass(frozen=True)
class Erasus(Peer):
    """A strategy of erasus."""

    strategy = ""
    own_rate = 1e-4

    def run(self, module: nn.Module, forget: Samples, retain: Samples) -> nn.Module:
        """`strategy.unlearn(model, forget_loader, retain_loader)`."""
        file, _, name = self.strategy.partition(":")
        made = getattr(importlib.import_module(f"erasus.strategies.{file}"), name)(lr=self.rate * self.own_rate)
        left: nn.Module = made.unlearn(module, self.loader(forget), self.loader(retain))[0]
        return left


@dataclass(frozen=True)
class ErasusSCRUB(Erasus):
    """erasus `scrub`."""

    strategy = "gradient_methods.scrub:SCRUBStrategy"


@dataclass(frozen=True)
class ErasusSaliency(Erasus):
    """erasus `saliency_unlearning`: ascent through a mask of the most salient fifth of the weights."""

    strategy = "gradient_methods.saliency_unlearning:SaliencyUnlearningStrategy"
    share = 0.2


@dataclass(frozen=True)
class ErasusGradientAscent(Erasus):
    """erasus `gradient_ascent`."""

    strategy = "gradient_methods.gradient_ascent:GradientAscentStrategy"


@dataclass(frozen=True)
class ErasusFisher(Erasus):
    """erasus `fisher_forgetting`."""

    strategy = "gradient_methods.fisher_forgetting:FisherForgettingStrategy"


@dataclass(frozen=True)
class ErasusSSD(Erasus):
    """erasus `ssd`."""

    strategy = "llm_specific.ssd:SelectiveSynapticDampeningStrategy"


@contextmanager
def without_cuda() -> Iterator[None]:
    """unlearn-lib sends each batch to a GPU by name; here `.cuda()` leaves it where it is.

    Its import asks for xgboost, which its attacks alone use: a stand-in where it is not installed.
    """
    import_torchvision()
    sys.modules.setdefault("xgboost", mock.MagicMock())
    with mock.patch.object(Tensor, "cuda", lambda self, *_: self), mock.patch.object(nn.Module, "cuda", lambda self, *_: self), mock.patch("builtins.print"):
        yield


class Unthreaded(DataLoader[Any]):
    """A DataLoader that starts no processes, whatever it is told."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how | {"num_workers": 0})


@dataclass(frozen=True)
class UnlearnLib(Peer):
    """A method of unlearn-lib."""

    made = ""
    rated = "lr"

    def run(self, module: nn.Module, forget: Samples, retain: Samples) -> nn.Module:
        """`prepare_unlearn(loaders)`, then `get_unlearned_model()`."""
        with without_cuda():
            home = importlib.import_module(f"unlearn.unlearn.{self.made.lower()}" if self.made != "RandomLabel" else "unlearn.unlearn.random_label")
            classes = int(torch.cat([forget.y, retain.y]).max()) + 1
            args = SimpleNamespace(num_classes=classes, batch_size=self.batch, seed=0)
            with mock.patch.object(home, "DataLoader", Unthreaded, create=True):
                method = getattr(home, self.made)(module, nn.CrossEntropyLoss(), "", args)
                setattr(method, self.rated, self.rate * getattr(method, self.rated))
                none: DataLoader[Any] | None = None
                method.prepare_unlearn({"forget_train": self.loader(forget), "retain_train": self.loader(retain), "retain_valid": none, "forget_valid": none})
                left: nn.Module = method.get_unlearned_model()
        return left


@dataclass(frozen=True)
class UnlearnLibSCRUB(UnlearnLib):
    """unlearn-lib `SCRUB`."""

    made = "SCRUB"
    rated = "sgda_learning_rate"


@dataclass(frozen=True)
class UnlearnLibSalUn(UnlearnLib):
    """unlearn-lib `SalUn`: random labels through a mask of the most salient fifth of the weights."""

    made = "SalUn"
    share = 0.2


@dataclass(frozen=True)
class UnlearnLibRandomLabel(UnlearnLib):
    """unlearn-lib `RandomLabel`."""

    made = "RandomLabel"


@dataclass(frozen=True)
class UnlearnLibSALSA(UnlearnLib):
    """unlearn-lib `SALSA`, which sees the forget set alone."""

    made = "SALSA"

    def __call__(self, model: Network, *, forget: Samples) -> Trace:  # type: ignore[override]
        """Run it; of the retained it is given nothing."""
        return Peer.__call__(self, model, forget=forget, retain=forget)


@dataclass(frozen=True)
class Supreme(Peer):
    """A method of supreme-unlearning, under a Lightning Fabric of one CPU. Its import asks for wandb, which is not used: an empty module stands in where it is not installed."""

    file = ""
    arguments = ()

    def run(self, module: nn.Module, forget: Samples, retain: Samples) -> nn.Module:
        """`method(fabric, model, loaders, ...)`."""
        import_torchvision()
        sys.modules.setdefault("wandb", types.ModuleType("wandb"))
        fabric = importlib.import_module("lightning.fabric").Fabric(accelerator="cpu", devices=1)
        with mock.patch.object(fabric, "print"):
            function = getattr(importlib.import_module(f"supreme.methods.unlearning_methods.{self.file}"), self.file)
            left = function(
                fabric=fabric,
                num_gpus=1,
                wandb_logging_flag=False,
                model=module,
                forget_train_dataloader=self.loader(forget, middle=True),
                retain_train_dataloader=self.loader(retain, middle=True),
                full_train_dataloader=self.loader(forget + retain, middle=True),
                **self.settings(),
            )
        kept: nn.Module = getattr(left, "module", left)
        return kept

    def settings(self) -> dict[str, Any]:
        """What the toolkit's call needs besides."""
        return {}


@dataclass(frozen=True)
class SupremeSSD(Supreme):
    """supreme-unlearning `ssd`, at the settings that its paper's code gives for CIFAR: alpha 10, lambda 1."""

    file = "ssd"

    def settings(self) -> dict[str, Any]:
        """alpha and lambda."""
        return {"dampening_constant": 1.0, "selection_weighting": 10.0}


@dataclass(frozen=True)
class SupremeSCRUB(Supreme):
    """supreme-unlearning `scrub`."""

    file = "scrub"

    def settings(self) -> dict[str, Any]:
        """Its rate."""
        return {"sgda_learning_rate": 5e-4 * self.rate}


PEERS: dict[str, tuple[str, str, Peer]] = {
    "erasus scrub": ("erasus", "SCRUB", ErasusSCRUB()),
    "erasus saliency_unlearning": ("erasus", "SalUn's mask with ascent", ErasusSaliency()),
    "erasus ssd": ("erasus", "SSD", ErasusSSD()),
    "erasus gradient_ascent": ("erasus", "NegGrad", ErasusGradientAscent()),
    "erasus fisher_forgetting": ("erasus", "Fisher forgetting", ErasusFisher()),
    "unlearn-lib SCRUB": ("unlearn-lib", "SCRUB", UnlearnLibSCRUB()),
    "unlearn-lib SalUn": ("unlearn-lib", "SalUn", UnlearnLibSalUn()),
    "unlearn-lib RandomLabel": ("unlearn-lib", "random labels", UnlearnLibRandomLabel()),
    "unlearn-lib SALSA": ("unlearn-lib", "SALSA", UnlearnLibSALSA()),
    "supreme ssd": ("supreme-unlearning", "SSD", SupremeSSD()),
    "supreme scrub": ("supreme-unlearning", "SCRUB", SupremeSCRUB()),
}
"""By name: the package, the method that it is, the adapter."""
