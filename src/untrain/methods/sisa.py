"""SISA: train in shards from the start, slice by slice, and train anew only what a forgotten sample was in, from before it came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from untrain.core.data import Norm, Samples
from untrain.core.data.overlap import raw_digests
from untrain.core.engine import current
from untrain.core.errors import BadArgument, BadData
from untrain.core.method import Method, Recipe
from untrain.core.network import Network, called, logits
from untrain.core.trace import Phase, Trace


class Shards(nn.Module):
    """Networks that answer together, log mean softmax, each beside what it was before each of its slices.

    Args:
        members: The networks, one a shard.
        slices: Slices of each shard.
    """

    sums: Tensor

    def __init__(self, members: Sequence[nn.Module], slices: int) -> None:
        super().__init__()
        self.members, self.slices = nn.ModuleList(members), slices
        self._norm: Any = None
        # Weights of the past are no parameters: nothing may train them.
        self.kept = nn.Module()
        for number, member in enumerate(members):
            for part in range(slices):
                self.keep(number, part, member)
        self.register_buffer("sums", torch.zeros(len(members), slices, dtype=torch.int64))

    @property
    def norm(self) -> Any:
        """The normalisation that it was prepared with; the members' own where none was given."""
        return self._norm or getattr(self.members[0], "norm", None)

    @norm.setter
    def norm(self, given: Any) -> None:
        self._norm = given

    def forward(self, x: Any = None, **named: Any) -> Tensor:
        """Logits [n, C]: the logarithm of the mean over members of their probabilities."""
        x = named if x is None else {"x": x, **named} if named else x
        said = torch.stack([logits(called(member, x)).log_softmax(1) for member in self.members])
        return said.logsumexp(0) - torch.tensor(float(len(said))).log()

    def keep(self, shard: int, part: int, member: nn.Module) -> None:
        """Remember what a member is before a slice."""
        for name, value in _tensors(member).items():
            self.kept.register_buffer(f"{shard}:{part}:{name.replace('.', '/')}", value.detach().clone())

    def before(self, shard: int, part: int, member: nn.Module) -> nn.Module:
        """Make a network what this shard's was before a slice."""
        with torch.no_grad():
            for name, value in _tensors(member).items():
                value.copy_(self.kept.get_buffer(f"{shard}:{part}:{name.replace('.', '/')}"))
        return member


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class SISA(Method):
    """Sharded, isolated, sliced and aggregated training, and with it exact forgetting.

        prepare   D = D_1 + ... + D_S,   D_s = D_s1 + ... + D_sR;   for each s and r: keep theta_s, then train it by the recipe on D_s1 + ... + D_sr
        answer    log 1/S sum_s softmax f(x; theta_s)
        forget    for each s with a forgotten sample, r its first slice that has one: theta_s <- what was kept before r, then as above without it

    What comes of it is what training without the forgotten might have come to: nothing in it hangs on them. That is by how it was trained, and asks that
    the method is there then: `untrain.prepare(SISA(), train, recipe=...)`. A model that was trained whole is refused. What was kept is in the state dict beside
    the weights, and as secret as the data: what is kept before later slices has seen the earlier ones.

    A sample's shard and slice come from a hash of its input, and so need no list, survive another order, and put copies of one image together. Retained and
    forgotten are to be what it was trained on, which is looked at by a sum of these hashes. The recipe trains each slice whole; for the cost of one training the paper
    gives each 2 / (R + 1) of the epochs. Answers are means of probabilities, of which the paper says that they do as well as votes or better where classes are many.

    Args:
        shards: S, networks; 5 to 20 in the paper. More are cheaper to forget in and answer worse, each having seen fewer samples.
        slices: R of each shard; up to 50 in the paper. More cost more to keep, and save up to a third of the time for few requests.
    """

    paper = "Bourtoule et al., Machine Unlearning, IEEE S&P 2021, arXiv:1912.03817"
    small: ClassVar = {"shards": 2, "slices": 2}
    knobs: ClassVar = {"remembers": {"shards": +1}, "collapsed": {"shards": -1}, "unchanged": {"shards": -1}}

    shards: int = 5
    slices: int = 2

    def __post_init__(self) -> None:
        """Refuse no shards, or no slices.

        Raises:
            BadArgument: there are none.
        """
        super().__post_init__()
        if self.shards < 1 or self.slices < 1:
            raise BadArgument(f"SISA(shards={self.shards}, slices={self.slices}) trains nothing; there is at least one of each")

    def edits(self, model: Network, classes: tuple[int, ...]) -> dict[str, tuple[int, ...] | None]:
        """All of it: a shard that is trained anew starts from what was kept."""
        return dict.fromkeys(model.module.state_dict())

    def places(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        """Of each sample its shard, its slice there, and a number that it goes by."""
        names = [int.from_bytes(digest[:8], "big") >> 2 for digest in raw_digests(samples)]
        rows = [(name % self.shards, name // self.shards % self.slices, name) for name in names]
        shard, part, name = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).unbind(1)
        return shard, part, name

    def prepare(self, *, train: Samples, recipe: Recipe) -> tuple[Shards, Trace]:  # type: ignore[override]
        """Train each shard, slice by slice, and keep what it was before each."""
        model, shard, done = Shards([recipe.build() for _ in range(self.shards)], self.slices), self.places(train)[0], list[Phase]()
        train = train.prepared(model.norm if isinstance(model.norm, Norm) else None)
        for number in range(self.shards):
            done += self.trained(model, number, 0, train[shard == number], recipe)
        model.sums.copy_(self.summed(train))
        return model, Trace.of(*done)

    def shell(self, build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> Shards:
        """As many networks as there are shards."""
        held = list(state["sums"].shape) if "sums" in state else "none"
        if held != [self.shards, self.slices]:
            raise BadData(f"sums of {self.shards} shards of {self.slices} slices are said to be there, and they are of {held}")
        return Shards([build() for _ in range(self.shards)], self.slices)

    def trained(self, model: Shards, number: int, start: int, samples: Samples, recipe: Recipe) -> list[Phase]:
        """Train a shard from what was kept before a slice on, on these samples of it.

        Args:
            model: All shards.
            number: Which one.
            start: The slice.
            samples: What it is trained on, its earlier slices too.
            recipe: How it is trained.
        """
        fresh = current().engine.place(recipe.build())
        network, done, part = Network(model.before(number, start, fresh)), list[Phase](), self.places(samples)[1]
        for last in range(start, self.slices):
            model.keep(number, last, network.module)
            # BatchNorm has nothing to measure in a single sample.
            if bool((part == last).any()) and int((part <= last).sum()) > 1:
                done.append(recipe.train(network, samples[part <= last]))
        with torch.no_grad():
            for name, value in _tensors(model.members[number]).items():
                value.copy_(_tensors(network.module)[name])
        return done

    def summed(self, samples: Samples) -> Tensor:
        """The sum of what samples go by, slice by slice [S, R]; over all 2^64, as sums of integers run."""
        shard, part, name = self.places(samples)
        return torch.zeros(self.shards * self.slices, dtype=torch.int64).index_add_(0, shard * self.slices + part, name).view(self.shards, self.slices)

    def __call__(self, model: Network, *, forget: Samples, retain: Samples, recipe: Recipe) -> Trace:
        """Train the shards anew that a forgotten sample was in, from before its slice on."""
        shards = model.module
        if not isinstance(shards, Shards):
            raise BadArgument(
                f"SISA forgets in shards, and {type(shards).__name__} was trained whole; untrain.prepare(SISA(), train, recipe=...) trains a model that it can forget in"
            )
        if (len(shards.members), shards.slices) != (self.shards, self.slices):
            raise BadArgument(f"{self!r} is to forget in {len(shards.members)} shards of {shards.slices} slices; give the settings that it was prepared by")
        here = self.summed(retain)
        if not torch.equal(self.summed(forget) + here, shards.sums.cpu()):
            raise BadData("retained and forgotten samples together are not what SISA was trained on, or some are; give the training samples, less what is forgotten already")
        (shard, part, _), whose, done = self.places(forget), self.places(retain)[0], list[Phase]()
        for number in torch.unique(shard).tolist():
            done += self.trained(shards, number, int(part[shard == number].min()), retain[whose == number], recipe)
        shards.sums.copy_(here)
        return Trace.of(*done)
