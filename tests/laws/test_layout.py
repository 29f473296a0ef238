"""The rooms form a DAG: what each may import is one table, and the syntax trees are compared with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "trainwell"

CORE = {"values", "data", "models", "signals"}
MAY_IMPORT = {
    "values": set(),
    "data": {"values"},
    "models": {"values"},
    "signals": {"values"},
    "techniques": {"values", "models"},  # of models only the layers that a technique puts in
    "rules": {"values"},
    "search": {"values"},
    "trials": {"values"},
    "report": {"values"},
    "engine": CORE,
    "launch": {*CORE, "engine"},
    "watch": {"values", "signals", "rules"},
    "testing": {*CORE, "techniques", "rules", "search", "trials", "report", "engine", "launch", "watch"},
    "app": {*CORE, "techniques", "rules", "search", "trials", "report", "engine", "launch", "watch"},
}
"""Room -> rooms that it may import (DESIGN section 3). `testing` holds the law suites, so all but `app`."""

EXCEPTIONS = {
    (
        "engine/foreign.py",
        "trainwell.techniques.given",
    ),  # the one technique that stands for a user's optimizer
}
TORCH_FREE = ("rules", "trials", "search", "report")


def modules() -> list[Path]:
    return sorted(p for p in SOURCE.rglob("*.py") if len(p.relative_to(SOURCE).parts) > 1)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every import, also inside functions, but not under TYPE_CHECKING."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            inner = node.module == "trainwell"
            yield from (
                (node.lineno, f"trainwell.{a.name}" if inner else str(node.module)) for a in node.names
            )
        pending += ast.iter_child_nodes(node)


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def test_every_room_is_in_the_table() -> None:
    assert {room_of(p) for p in modules()} <= set(MAY_IMPORT)


def test_table_is_acyclic() -> None:
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        free = {room for room, needs in MAY_IMPORT.items() if room not in done and needs <= done}
        assert free, f"a cycle among {set(MAY_IMPORT) - done}"
        done |= free


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_only_what_the_table_allows(room: str) -> None:
    wrong = []
    for path in (p for p in modules() if room_of(p) == room):
        for line, name in imported(path):
            parts = name.split(".")
            if parts[0] != "trainwell" or len(parts) == 1:
                continue
            inside = str(path.relative_to(SOURCE))
            if parts[1] not in {*MAY_IMPORT[room], room} and (inside, name) not in EXCEPTIONS:
                wrong.append(f"{inside}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_techniques_take_only_layers_from_models() -> None:
    for path in (p for p in modules() if room_of(p) == "techniques"):
        taken = {name for _, name in imported(path) if name.startswith("trainwell.models")}
        assert taken <= {"trainwell.models.layers"}, path


@pytest.mark.parametrize("room", TORCH_FREE)
def test_rooms_of_saved_traces_never_import_torch(room: str) -> None:
    for path in (p for p in modules() if room_of(p) == room):
        assert not any(name.split(".")[0] == "torch" for _, name in imported(path)), path


def test_exceptions_are_still_needed() -> None:
    for inside, name in EXCEPTIONS:
        assert name in {n for _, n in imported(SOURCE / inside)}, f"{inside} no longer imports {name}"


def test_values_techniques_rules_and_the_package_come_without_torch_and_pandas() -> None:
    names = sorted(
        ".".join(p.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for p in modules()
        if room_of(p) in ("values", "techniques", *TORCH_FREE) and "_modules" not in p.parts
    )
    code = (
        "import importlib, sys\n"
        "import trainwell\n"
        "assert 'numpy' not in sys.modules, 'import trainwell brings numpy'\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "found = {'torch', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
