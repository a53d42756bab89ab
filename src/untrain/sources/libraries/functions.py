"""Functions of the user's, by `package.module:function` or `path/file.py:function`: imported and called."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from torch import nn

from untrain.core.errors import BadArgument, UntrainError
from untrain.sources.names import Named, asked


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
        BadArgument: there is no such module, file or function, or it ends in an error.
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
    except UntrainError:
        raise
    except Exception as error:  # whatever a stranger's function raises is a refusal in one line
        raise BadArgument(f"{what.shown} ended in {type(error).__name__}: {str(error).partition(chr(10))[0]}; mend the function") from error


def made_by(what: Named, classes: int | None) -> nn.Module:
    """The module that the named function makes.

    Raises:
        BadArgument: it makes something else, or ends in an error.
    """
    made = _called(what, classes)
    if not isinstance(made, nn.Module):
        raise BadArgument(f"{what.shown} gave a {type(made).__name__}; it is to give a torch.nn.Module")
    return made


def file_of(what: Named) -> str:
    """The file that the user's function stands in."""
    with _importing(what) as module:
        return str(module.__file__)


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
    if what.kind == "file" and not Path(what.name).is_file():
        raise BadArgument(f"no file {what.name}; write path/nets.py:function")
    try:
        with _beside(what):
            yield _imported(str(Path(what.name).resolve())) if what.kind == "file" else importlib.import_module(what.name)
    except UntrainError:
        raise
    except ModuleNotFoundError as error:
        raise BadArgument(f"{shown} cannot be imported: no module {error.name!r}; write package.module:function or path/nets.py:function") from error
    except Exception as error:  # whatever a stranger's module raises is a refusal in one line
        raise BadArgument(f"{shown} cannot be imported: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error


@functools.cache
def _imported(path: str) -> Any:
    """A file as a module, run once: its classes are then the same each time, and what it prints is printed once."""
    name = "untrain_user_" + hashlib.sha256(path.encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadArgument(f"{Path(path).name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Pickling, copying and dataclasses look a class's module up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
