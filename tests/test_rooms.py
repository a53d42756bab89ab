"""The rooms of the house: no circle of imports, nothing private used from another file, no two files of one name, none too long without a reason.

import-linter holds layers; here every import is read, also those in functions and under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from untrain.verbs.inputs import Inputs

SRC = Path(__file__).parent.parent / "src"
FILES = {".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path for path in sorted((SRC / "untrain").rglob("*.py"))}
LONGEST = 400


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imported(name: str) -> Iterator[tuple[str, str | None, str | None]]:
    """What a file imports of the package: the module, the name taken out of it, and what it is called here."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, alias.asname) for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield (module, None, alias.asname or alias.name) if module in FILES else (node.module, alias.name, alias.asname or alias.name)


def circle(edges: dict[str, set[str]]) -> list[str] | None:
    """A circle in a graph, if there is one."""
    done: set[str] = set()

    def walk(at: str, way: list[str]) -> list[str] | None:
        if at in way:
            return [*way[way.index(at) :], at]
        if at in done:
            return None
        found = next((c for other in sorted(edges.get(at, ())) if (c := walk(other, [*way, at]))), None)
        done.add(at)
        return found

    return next((c for start in sorted(edges) if (c := walk(start, []))), None)


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None


def edges(names: Iterable[str]) -> dict[str, set[str]]:
    return {name: {module for module, _, _ in imported(name) if module != name} for name in names}


def test_no_circle_of_imports() -> None:
    assert circle(edges(FILES)) is None


@pytest.mark.parametrize("name", FILES)
def test_nothing_private_is_used_from_another_file(name: str) -> None:
    def private(word: str) -> bool:
        return word.startswith("_") and not word.startswith("__")

    taken = [f"{module}.{what}" for module, what, _ in imported(name) if what is not None and private(what)]
    modules = {called for module, what, called in imported(name) if what is None}
    attributes = [node for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute) and private(node.attr)]
    reached = [f"{node.value.id}.{node.attr}" for node in attributes if isinstance(node.value, ast.Name) and node.value.id in modules]
    assert taken + reached == []


def test_no_two_files_of_one_name() -> None:
    # A method, an audit and the laws of one are found by its name.
    free = [path for path in FILES.values() if path.parent.name not in ("methods", "audits", "of") and path.name not in ("__init__.py", "__main__.py")]
    assert [name for name, count in Counter(path.name for path in free).items() if count > 1] == []


@pytest.mark.parametrize("name", FILES)
def test_a_long_file_has_a_reason(name: str) -> None:
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST or any("in one file" in line for line in lines[:12]), f"{len(lines)} lines; cut it, or say in its docstring why it stands in one file"


READS_DATA = ("untrain.verbs.given.given_data", "untrain.verbs.given.load", "untrain.sources.reading.read")
"""They read data alone, and take what tells of data by keyword, as `untrain.given_data` and `untrain.load`, which are public."""


def test_no_list_of_the_fields_of_inputs_stands_twice() -> None:
    """Fault of the old house: nineteen loose arguments that travelled through four files."""
    names = {field.name for field in fields(Inputs)}
    for name in FILES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
                assert len(given & names) < 8 or f"{name}.{node.name}" in READS_DATA, f"{name}.{node.name} takes {sorted(given & names)}; let it take Inputs"
