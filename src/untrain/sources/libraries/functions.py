"""Functions of the user's, by `package.module:function` or `path/file.py:function`: found, hashed, imported and called.

Whatever they do but return, the end of the program included, becomes one refusal that says where.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from torch import nn

from untrain.core.disk import sha256
from untrain.core.errors import BadArgument, BadCode, UntrainError
from untrain.core.wording import told
from untrain.sources.names import Named, asked

_THEIRS = set[Path]()
"""Files and folders of the user's that code was taken from."""


def function_of(what: Named) -> Callable[..., Any]:
    """The function that is named.

    Raises:
        BadArgument: there is no such module, file or function.
    """
    with _importing(what) as module:
        function = getattr(module, what.function, None)
    if not callable(function):
        raise BadArgument(f"{what.shown}: there is no function {what.function!r} in {what.shown.rpartition(':')[0]}")
    return cast(Callable[..., Any], function)


def call(model: str, classes: int | None) -> Any:
    """Call the function that `package.module:function` or `path/file.py:function` names, with the number of classes if it takes one.

    Raises:
        BadArgument: there is no such module, file or function.
        BadCode: it ends in an error, or would end the program.
    """
    what = asked(model)
    if not what.runs_code:
        raise BadArgument(f"{model!r} names no function; write package.module:function or path/file.py:function")
    return _called(what, classes)


def _called(what: Named, classes: int | None) -> Any:
    function = function_of(what)
    try:
        # What it imports when it is called lies beside it too.
        with _beside(what):
            return function(classes) if takes_classes(function) else function()
    except (UntrainError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # whatever a stranger's function raises is a refusal in one line, that it would exit too
        raise BadCode(f"{what.shown} ended in {told(error)}; mend the function") from error


def made_by(what: Named, classes: int | None) -> nn.Module:
    """The module that the named function makes.

    Raises:
        BadArgument: it makes something else.
        BadCode: it ends in an error.
    """
    made = _called(what, classes)
    if not isinstance(made, nn.Module):
        raise BadArgument(f"{what.shown} gave a {type(made).__name__}; it is to give a torch.nn.Module")
    return made


def file_of(what: Named) -> Path:
    """The file that the user's function stands in, found without running anything: neither it nor the packages around it.

    Raises:
        BadArgument: there is no such file or module.
    """
    if what.kind == "file":
        if not Path(what.name).is_file():
            raise BadArgument(f"no file {what.name}; write path/nets.py:function")
        return Path(what.name)
    first, *rest = what.name.split(".")
    try:
        with _beside(what):
            spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    for count in range(len(rest)):
        if spec is not None:
            inner = ".".join([first, *rest[: count + 1]])
            spec = importlib.machinery.PathFinder.find_spec(inner, list(spec.submodule_search_locations or ()))
    if spec is None:
        raise BadArgument(f"{what.name} cannot be imported: there is no such module; write package.module:function or path/nets.py:function")
    if not spec.has_location or spec.origin is None:
        raise BadArgument(f"{what.name} is no file of Python; write package.module:function or path/nets.py:function")
    return Path(spec.origin)


def hash_of(what: Named) -> str:
    """Hash of the file that the user's function stands in, taken before anything of it is run."""
    return sha256(file_of(what))


def blamed(error: BaseException) -> BadCode | None:
    """The refusal that an error from the user's code amounts to, wherever it came up; None where it is not from there.

    An exit counts as theirs from wherever it comes: nothing of untrain's own exits.
    """
    if isinstance(error, UntrainError | KeyboardInterrupt | MemoryError):
        return None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if any(_lies(file, root) for root in _THEIRS):
            return BadCode(f"{file.name}, line {frame.lineno}, ended in {told(error)}; mend your code")
    return BadCode(f"code that was run ended in {told(error)}; mend it") if isinstance(error, SystemExit) else None


def _lies(file: Path, root: Path) -> bool:
    """Whether a file is one of the user's: below this place, and not what was installed, Python's or untrain's own."""
    if not file.is_relative_to(root) or "site-packages" in file.relative_to(root).parts:
        return False
    others = (Path(__file__).parents[2], *(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")))
    return not any(file.is_relative_to(other) and not root.is_relative_to(other) for other in others)


def takes_classes(function: Callable[..., Any]) -> bool:
    """Whether a function is to be told the number of classes: it needs an argument, or names one so."""
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters and parameters[0].kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) else None
    return first is not None and (first.default is inspect.Parameter.empty or first.name in ("classes", "num_classes", "n_classes"))


@contextlib.contextmanager
def _beside(what: Named) -> Iterator[None]:
    """Modules beside the user's file, or in the working folder, can be imported."""
    folder = str(Path(what.name).resolve().parent) if what.kind == "file" else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _importing(what: Named) -> Iterator[Any]:
    shown = what.shown.rpartition(":")[0]
    file = file_of(what)
    alone = what.kind == "module" and "." not in what.name and file.name != "__init__.py"
    # What lies beside a file, or in the same package, is the user's too.
    _THEIRS.add(file.resolve() if alone else file.resolve().parent)
    try:
        with _beside(what):
            yield _imported(str(file.resolve())) if what.kind == "file" else importlib.import_module(what.name)
    except (UntrainError, KeyboardInterrupt, MemoryError):
        raise
    except ModuleNotFoundError as error:
        raise BadArgument(f"{shown} cannot be imported: no module {error.name!r}; write package.module:function or path/nets.py:function") from error
    except BaseException as error:  # whatever a stranger's module raises is a refusal in one line, that it would exit too
        raise BadCode(f"{shown} cannot be imported: {told(error)}; mend it") from error


@functools.cache
def _imported(path: str) -> Any:
    """A file as a module, run once: its classes are then the same each time, and what it prints is printed once."""
    name = "untrain_user_" + hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadArgument(f"{Path(path).name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Pickling, copying and dataclasses look a class's module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
