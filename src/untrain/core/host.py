"""A trainer that is already there: Lightning Fabric or Accelerate, set up by the user, which untrain runs inside of.

Device, precision and ranks are taken from it, and a module that it had wrapped goes back wrapped. While a method
runs there is no wrapper: `minimize` averages gradients over the ranks itself. Imports neither of the two.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from untrain.core.engine import Engine, Precision
from untrain.core.errors import BadArgument, BadData, UntrainError
from untrain.core.wording import told

FABRIC: dict[str, Precision] = {"32-true": "fp32", "bf16-mixed": "bf16"}
ACCELERATE: dict[str, Precision] = {"no": "fp32", "bf16": "bf16"}
"""What the two call the precisions that there are."""


@dataclass(frozen=True)
class Host:
    """The trainer that a run takes place in, or none.

    Args:
        engine: Device and precision; its ranks are those of `torch.distributed`, which both trainers use.
        trainer: The Fabric or the Accelerator; None where neither was given.
    """

    engine: Engine
    trainer: Any = None

    @classmethod
    def of(cls, fabric: Any = None, accelerator: Any = None, device: str | torch.device | None = None, precision: Precision = "fp32") -> Host:
        """The host that was given, or an engine on this device where none was.

        Raises:
            BadArgument: both are given, or one beside a device or a precision; it shards weights, or has another precision or other ranks than there are.
        """
        if fabric is None and accelerator is None:
            return cls(Engine.of(device, precision))
        if fabric is not None and accelerator is not None:
            raise BadArgument("fabric= and accelerator= are both given; give the one that the model was set up with")
        name = "fabric" if fabric is not None else "accelerator"
        if device is not None or precision != "fp32":
            raise BadArgument(f"{name}= brings its own device and precision; leave device= and precision= out")
        trainer = fabric if fabric is not None else accelerator
        try:
            way, kind, sharing, ranks = _of_fabric(trainer) if fabric is not None else _of_accelerate(trainer)
        except AttributeError as error:
            wanted = "lightning.fabric.Fabric" if fabric is not None else "accelerate.Accelerator"
            raise BadArgument(f"{name}= takes a {wanted}, not a {type(trainer).__name__}") from error
        if sharing is not None:
            raise BadArgument(f"{name}= runs {sharing}, and untrain runs on one device or with whole weights on each rank (DDP); set it up so")
        if kind is None:
            raise BadArgument(f"{name}= computes in {way}, and untrain in {' or '.join(FABRIC if fabric is not None else ACCELERATE)}; set it up so")
        engine = Engine(torch.device(trainer.device), kind)
        if ranks != engine.world:
            raise BadArgument(f"{name}= counts {ranks} processes, and torch.distributed {engine.world}; launch it first (fabric.launch(), accelerate launch, torchrun)")
        return cls(engine, trainer)

    def outside(self, model: Any) -> nn.Module:
        """The user's own module, out of the wrapper of this host.

        Raises:
            BadData: no module, or a wrapper that is not this host's.
        """
        if not isinstance(model, nn.Module):
            raise BadData(f"the model is a {type(model).__name__}, not a torch.nn.Module")
        inside = bare(model)
        if inside is not model and self.trainer is None and not (isinstance(model, nn.DataParallel) or _compiled(model)):
            raise BadData(f"the model is wrapped in {type(model).__name__}; give the module inside, or the trainer that wrapped it as fabric= or accelerator=")
        return inside if self.trainer is not None else model

    def returned(self, module: nn.Module, given: nn.Module) -> nn.Module:
        """The module in the form of the one that was given: wrapped by the host where that was."""
        if self.trainer is None or not (bare(given) is not given or _patched(given)):
            return module
        wrapped: nn.Module = self.trainer.setup_module(module) if hasattr(self.trainer, "setup_module") else self.trainer.prepare_model(module)
        return wrapped


def _of_fabric(fabric: Any) -> tuple[str, Precision | None, str | None, int]:
    strategy, way = type(fabric.strategy).__name__, str(fabric.strategy.precision.precision)
    return way, FABRIC.get(way), None if strategy in ("SingleDeviceStrategy", "DDPStrategy") else strategy, int(fabric.world_size)


def _of_accelerate(accelerator: Any) -> tuple[str, Precision | None, str | None, int]:
    kind, way = str(accelerator.distributed_type.value), str(accelerator.mixed_precision)
    return way, ACCELERATE.get(way), None if kind == "NO" or kind.startswith("MULTI_") else kind, int(accelerator.num_processes)


def bare(module: nn.Module) -> nn.Module:
    """The user's own module inside DataParallel, DistributedDataParallel, torch.compile's or Fabric's wrapper; the module itself where there is none."""
    while (compiled := _compiled(module)) or isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel) or type(module).__name__ == "_FabricModule":
        module = cast(nn.Module, module._orig_mod if compiled else module.module)
    return module


def _compiled(module: nn.Module) -> bool:
    """Whether it is what `torch.compile` made of another, and looks past the hooks that layers are read by; its class is not imported, which takes as long as torch."""
    return type(module).__name__ == "OptimizedModule"


def home(model: Any) -> torch.device | None:
    """Where a model's weights lie; None where it has none."""
    first = next(iter(model.parameters()), None) if isinstance(model, nn.Module) else None
    return None if first is None or first.is_meta else first.device


def copied(module: nn.Module) -> nn.Module:
    """A deep copy of a module.

    Raises:
        BadData: it cannot be copied (says why).
    """
    # The old weight norm leaves a computed weight behind after a forward, which torch does not copy; it is computed anew at the next.
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(module, memo)
    except UntrainError:
        raise
    except Exception as error:
        raise BadData(f"the model cannot be copied: {told(error)}; give one that copy.deepcopy takes") from error


def own_copy(module: nn.Module) -> nn.Module:
    """A deep copy of a module, without the forward that Accelerate puts over the module's own for mixed precision.

    Raises:
        BadData: its weights are sharded over ranks.
    """
    _refuse_sharded(module)
    made = copied(module)
    original = made.__dict__.pop("_original_forward", None)
    made.__dict__.pop("_is_accelerate_prepared", None)
    if original is not None:
        del made.forward
        # A forward of the user's own that stood on the module and not on its class.
        if getattr(original, "__func__", None) is not type(made).forward:
            made.forward = original
    return made


def _patched(module: nn.Module) -> bool:
    return "_is_accelerate_prepared" in module.__dict__ or "_original_forward" in module.__dict__


def _refuse_sharded(module: nn.Module) -> None:
    """Refuse weights of which each rank holds a part: gradients are taken by the whole weight, and a sharded module cannot be copied.

    Raises:
        BadData: the first such weight.
    """
    # By name, since importing their classes takes a second; a sharded module's weights are whole again after its first forward.
    for name, part in module.named_modules():
        kind = next((base.__name__ for base in type(part).__mro__ if base.__name__ in ("FSDPModule", "FullyShardedDataParallel")), None)
        if kind is not None:
            raise BadData(f"the model{f' at {name!r}' if name else ''} is sharded over ranks ({kind}), which untrain does not run on; give it whole, on each rank the same")
    sharded = next((name for name, value in module.named_parameters() if type(value).__name__ == "DTensor" or type(value.data).__name__ == "DTensor"), None)
    if sharded is not None:
        raise BadData(f"{sharded} is sharded over ranks (a DTensor), which untrain does not run on; give the model whole, on each rank the same")
