"""What the README shows stays true."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_table_of_techniques_equals_the_registry() -> None:
    with_table = runpy.run_path(str(ROOT / "examples" / "technique_table.py"))["with_table"]
    assert with_table(README) == README, "run: python examples/technique_table.py"


def test_commands_and_options_exist() -> None:
    from trainwell.app.cli.entry import cli

    lines = [line.partition("#")[0] for line in README.splitlines() if line.startswith("trainwell ")]
    assert {line.split()[1] for line in lines} == set(cli.commands)
    for line in lines:
        options = [p for p in cli.commands[line.split()[1]].params if isinstance(p, click.Option)]
        known = {name for option in options for name in option.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line


def test_python_names_exist() -> None:
    import trainwell

    used = set(re.findall(r"\btw\.(\w+)", README))
    assert used, "the README shows the use from Python"
    assert used <= set(trainwell.__all__)
