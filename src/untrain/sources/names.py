"""How a user's model or function is named: taken apart, and put together again where its folder lies elsewhere."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from untrain.core.errors import BadArgument

GRAMMAR = "torchvision:NAME, timm:NAME, hf:FOLDER or hf:owner/name, package.module:function, path/nets.py:function"
"""How a model is named that is not of the zoo."""


RUNS_CODE = "{} {} your code: the function is called as it stands"
"""Said once, before it is done."""


CONFIG = "config.json"
"""What every folder of transformers holds."""


@dataclass(frozen=True)
class Named:
    """A model's name, taken apart.

    Args:
        kind: `torchvision`, `timm`, `hf`, `module` or `file`.
        name: The name within the library, the folder or Hub name, or the module or file.
        function: The function, for `module` and `file`.
    """

    kind: str
    name: str
    function: str = ""

    @property
    def path(self) -> Path | None:
        """The folder or file that it names, if it names one."""
        return Path(self.name) if self.kind == "file" or (self.kind == "hf" and Path(self.name).is_dir()) else None

    @property
    def shown(self) -> str:
        """The name as commands and records say it: without the way to a folder or file."""
        name = self.path.resolve().name if self.path else self.name
        return f"{name}:{self.function}" if self.function else f"{self.kind}:{name}"

    @property
    def runs_code(self) -> bool:
        """Whether loading it calls a function of the user's."""
        return self.kind in ("module", "file")

    def at(self, path: Path | None) -> str:
        """The full name with its folder or file at another place."""
        if path is None:
            return f"{self.name}:{self.function}" if self.function else f"{self.kind}:{self.name}"
        return f"{path}:{self.function}" if self.function else f"{self.kind}:{path}"


def named(model: str) -> Named | None:
    """What a `--model` names, or None where that is no name of this grammar."""
    kind, colon, name = model.partition(":")
    if colon and kind in ("torchvision", "timm", "hf"):
        return Named(kind, name)
    if (Path(model) / CONFIG).is_file():
        return Named("hf", model)
    where, colon, function = model.rpartition(":")
    if not colon or not where or not function.isidentifier():
        return None
    return Named("file" if where.endswith(".py") else "module", where, function)


def asked(model: str) -> Named:
    """What a `--model` names.

    Raises:
        BadArgument: it is no name of this grammar.
    """
    what = named(model)
    if what is None:
        raise BadArgument(f"no model {model!r}; write {GRAMMAR}")
    return what


def nearest(name: str, known: list[str]) -> str:
    """Which known names are near to one, in words."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"near to it are {', '.join(close)}" if close else f"there are {', '.join(known[:3])} and {len(known) - 3} others"
