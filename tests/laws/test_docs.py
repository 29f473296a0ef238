"""What the documentation shows stays true: its snippets run, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(p for p in DOCS.glob("*.md") if not p.name.startswith("log"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


def commands(page: Path) -> list[list[str]]:
    lines = [
        line for block in blocks(page, "") for line in block.splitlines() if line.startswith("trainwell ")
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_ten_minutes_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainwell.app.cli.entry import run_command

    monkeypatch.chdir(tmp_path)
    page = DOCS / "index.md"
    made, *rest = blocks(page, "python")
    exec(made, {})  # noqa: S102  (a snippet of ours)
    for words in commands(page):
        if words[0] == "fit":
            words += ["--budget", "1ep", "--no-baseline"]
        assert run_command(words) == 0, words
    for snippet in rest:
        exec(snippet.replace('preset="quick"', 'preset="quick", baseline=False, budget="1ep"'), {})  # noqa: S102
    assert (tmp_path / "runs" / "cancer" / "report.html").is_file()


def test_technique_of_the_guide_is_one(tmp_path: Path) -> None:
    from trainwell.values.technique import REGISTRY

    page = "\n".join(blocks(DOCS / "guide-technique.md", "python")[:1])
    held: dict[str, object] = {"__name__": __name__}
    try:
        exec(compile(page, "guide", "exec", dont_inherit=True), held)  # noqa: S102
        assert REGISTRY["sign_noise"] is held["SignNoise"]
    finally:
        REGISTRY.pop("sign_noise", None)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_and_options_exist(page: Path) -> None:
    from trainwell.app.cli.entry import cli

    for verb, *words in commands(page):
        assert verb in cli.commands, verb
        known = {
            name
            for option in cli.commands[verb].params
            if isinstance(option, click.Option)
            for name in option.opts
        }
        if verb == "watch":  # what follows the script is the script's
            words = words[: next((i for i, w in enumerate(words) if not w.startswith("-")), len(words))]
        assert {w.partition("=")[0] for w in words if w.startswith("--")} <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in link and link not in ("api.md", "techniques.md"):
            assert (page.parent / link).exists(), link
