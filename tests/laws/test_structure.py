"""Soft limits of size: what grows past them is split, or listed with a reason. (Lines: the linter's.)"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "trainwell"

FILE, TECHNIQUE_FILE = 400, 80
FUNCTION, INIT = 40, 25
"""Lines of the body, without the signature and the docstring."""
METHODS, NESTING, PUBLIC_NAMES = 12, 3, 40

ALLOWED = {
    "techniques/muon.py": "two update rules: matrices and the rest",
    "rules/view.py:View": "one short method per signal that a rule reads (issue 3)",
}
"""File, or `file:function`, that may be larger, and why."""

MODULES = sorted(SOURCE.rglob("*.py"))
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = ast.If | ast.For | ast.While | ast.Try | ast.Match


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def functions(path: Path) -> Iterator[FUNCTIONS]:
    return (n for n in nodes(path) if isinstance(n, FUNCTIONS))


def body_lines(node: FUNCTIONS) -> int:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def depth(node: ast.AST, inside: int = 0) -> int:
    """Return how deep branches and loops stand in each other; an `elif` stands beside its `if`."""
    deepest = inside
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, FUNCTIONS | ast.ClassDef):
                continue
            is_elif = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If)
            deeper = isinstance(child, BLOCKS) and not is_elif
            deepest = max(deepest, depth(child, inside + deeper))
    return deepest


def too_large(found: dict[str, int], limit: int) -> list[str]:
    return [
        f"{name}: {size} (limit {limit})"
        for name, size in found.items()
        if size > limit and name not in ALLOWED
    ]


def test_files_are_short() -> None:
    sizes = {name_of(p): p.read_text().count("\n") for p in MODULES}
    assert not too_large(sizes, FILE)


def test_technique_files_are_short() -> None:
    found = {name_of(p): p.read_text().count("\n") for p in (SOURCE / "techniques").glob("*.py")}
    assert not too_large(found, TECHNIQUE_FILE)


def test_functions_are_short() -> None:
    sizes = {f"{name_of(p)}:{f.name}": body_lines(f) for p in MODULES for f in functions(p)}
    assert not too_large({k: v for k, v in sizes.items() if not k.endswith(":__init__")}, FUNCTION)
    assert not too_large({k: v for k, v in sizes.items() if k.endswith(":__init__")}, INIT)


def test_blocks_are_not_deep() -> None:
    found = {f"{name_of(p)}:{f.name}": depth(f) for p in MODULES for f in functions(p)}
    assert not too_large(found, NESTING)


def test_classes_have_few_public_methods() -> None:
    found = {}
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, FUNCTIONS) and not m.name.startswith("_")]
                found[f"{name_of(path)}:{node.name}"] = len(methods)
    assert not too_large(found, METHODS)


def test_allow_list_is_short_and_needed() -> None:
    assert len(ALLOWED) <= 8
    for name in ALLOWED:
        assert (SOURCE / name.partition(":")[0]).exists(), f"{name} is gone: take it from the list"


def test_nothing_is_pickled() -> None:
    """No module but scikit-learn's contract names a way to run code that a file brings along."""
    banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in MODULES:
        for node in nodes(path):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & banned, path
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "torch"
            ):
                assert node.attr not in ("load", "save"), f"{path}:{node.lineno}"


def test_public_names_are_few_and_exist() -> None:
    import trainwell

    assert len(trainwell.__all__) <= PUBLIC_NAMES
    assert trainwell.__all__ == sorted(trainwell.__all__)
    for name in trainwell.__all__:
        assert getattr(trainwell, name) is not None
    assert set(trainwell.__all__) <= set(dir(trainwell))
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        trainwell.fitt  # noqa: B018
