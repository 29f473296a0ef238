"""The options that say what the data are, shared by the verbs that read DATA."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import click

from trainwell.app.cli.output import several
from trainwell.values.errors import UsageError

NAMES = (
    "val", "test", "task", "group", "time", "split_seed", "drop", "na", "categorical", "numeric", "text", "size",
    "max_bad",
)  # fmt: skip
"""What `data_options` adds, as the data take it."""

_OPTIONS = (
    click.option("--val", metavar="FILE", help="Validation part; without it one is split off."),
    click.option("--test", metavar="FILE", help="Test part; without it one is split off, unless --val is given."),
    click.option("--task", metavar="KIND", help="binary, multiclass or regression; inferred without it."),
    click.option("--group", metavar="COLUMN", help="Rows of one value of it never stand in two parts."),
    click.option("--time", metavar="COLUMN", help="The latest rows by it are the test part."),
    click.option(
        "--split-seed", type=int, default=0, show_default=True, help="Seed of the split, and of nothing else."
    ),
    several("--drop", "COLUMN", "Column to leave out."),
    several("--na", "WORD", "Word that stands for a missing value."),
    several("--categorical", "COLUMN", "Column to read as categories."),
    several("--numeric", "COLUMN", "Column to read as numbers."),
    several("--text", "COLUMN", "Column to read as text; with it the row is that text."),
    click.option("--size", type=int, metavar="PIXELS", help="Side that images are scaled to."),
    click.option("--max-bad", metavar="SHARE", help="Share of broken files that is left out, e.g. 1% [1%]."),
)  # fmt: skip


def data_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the data to a verb, in their order."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


def of_data(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the data by the names that the data take."""
    return {name: options[name] for name in NAMES}


def check_data(options: Mapping[str, Any]) -> None:
    """Refuse before torch is imported a file that is not there, and a table without a target.

    Raises:
        UsageError, DataError: says what is wrong, and which columns there are.
    """
    from trainwell.data.read import read_table
    from trainwell.data.samples.tree import is_tree

    for file in filter(None, (options["data"], options["val"], options["test"])):
        if not Path(file).is_file() and not is_tree(file):
            read_table(file)
    if options["target"] is None and not is_tree(options["data"]) and not options["data"].endswith(".npz"):
        columns = ", ".join(list(read_table(options["data"]).columns)[:40])
        raise UsageError(
            f"--target is needed: which column of {options['data']} is to be learned? It has: {columns}."
        )


def typed_again(but: Collection[str], fields: Collection[str]) -> list[str]:
    """Return the options of this command as they were typed, for another one.

    Args:
        but: parameters that the other verb does not take.
        fields: of the recipe, whose `--set` is left out.
    """
    context = click.get_current_context()
    words: list[str] = []
    for param in context.command.params:
        given = context.get_parameter_source(str(param.name)) is click.core.ParameterSource.COMMANDLINE
        if not given or param.name in but or not isinstance(param, click.Option):
            continue
        value = context.params[str(param.name)]
        for one in value if param.multiple else [value]:
            if param.name != "set" or str(one).partition("=")[0].strip() not in fields:
                words += [param.opts[0]] if param.is_flag else [param.opts[0], str(one)]
    return words
