"""Pages that the site makes of the code: the API from its docstrings, and the list of techniques."""

from __future__ import annotations

import inspect
from typing import Any

from mkdocs.structure.files import File, Files

GUIDES = {
    "guide-watch.md": "Watch the script you have",
    "guide-attach.md": "Attach to a framework",
    "guide-probe.md": "Which rate, which batch size",
    "guide-prove.md": "Prove a change",
    "guide-tune.md": "Tune a recipe",
    "guide-transfer.md": "Transfer learning",
}
"""Guides by file; one that is not written yet is left out."""


def on_config(config: Any) -> Any:
    from pathlib import Path

    docs = Path(config["docs_dir"])
    guides = [{title: name} for name, title in GUIDES.items() if (docs / name).is_file()]
    decisions = [f"decisions/{p.name}" for p in sorted((docs / "decisions").glob("*.md"))]
    logs = [p.name for p in sorted(docs.glob("log*.md"))]
    config["nav"] = [
        {"Ten minutes with a table": "index.md"},
        {
            "Guides": [
                *guides,
                {"What each finding means": "findings.md"},
                {"Write a technique": "guide-technique.md"},
            ]
        },
        {"Reference": [{"API": "api.md"}, {"Techniques": "techniques.md"}]},
        {"How it is built": [{"Architecture": "architecture.md"}, {"Decisions": decisions}, {"Logs": logs}]},
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    for name, text in (("api.md", api()), ("techniques.md", techniques())):
        files.append(File.generated(config, name, content=text))
    return files


def api() -> str:
    """Return every public name with its signature and docstring."""
    import trainwell

    lines = ["# API", "", "All of it is in `import trainwell as tw`.", ""]
    for name in sorted(trainwell.__all__, key=str.lower):
        found = getattr(trainwell, name)
        if inspect.ismodule(found) or not callable(found):
            continue
        lines += [f"## {name}", "", "```python", f"tw.{name}{signature(found)}", "```", "", *doc(found), ""]
        if inspect.isclass(found):
            lines += members(found)
    return "\n".join([*lines, *testing()])


def testing() -> list[str]:
    """Return the law suites that a file of a third party is held against."""
    import trainwell.testing as module

    lines: list[str] = []
    for name in module.__all__:
        found = getattr(module, name)
        if callable(found):
            shown = ["```python", f"trainwell.testing.{name}{signature(found)}", "```"]
            lines += [f"## testing.{name}", "", *shown, "", *doc(found), ""]
    return lines


def signature(found: Any) -> str:
    try:
        text = str(inspect.signature(found)).replace("'", "")
    except (TypeError, ValueError):
        return ""
    return text if len(text) < 90 else text.replace(", ", ",\n    ").replace("(", "(\n    ", 1)


def doc(found: Any) -> list[str]:
    return ["```text", *inspect.cleandoc(found.__doc__ or "").splitlines(), "```"] if found.__doc__ else []


def members(kind: type) -> list[str]:
    lines = []
    for name, member in vars(kind).items():
        inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(inner) or not inner.__doc__:
            continue
        shown = "" if isinstance(member, property) else signature(inner)
        lines += [
            f"### {kind.__name__}.{name}",
            "",
            "```python",
            f"{name}{shown}",
            "```",
            "",
            *doc(inner),
            "",
        ]
    return lines


def techniques() -> str:
    """Return the table of techniques, each with what it does."""
    import trainwell.techniques  # noqa: F401  (fills the registry)
    from trainwell.app.catalogue import entries, ranges

    lines = ["# Techniques", "", "`trainwell techniques NAME` prints the same.", ""]
    for entry in entries():
        sites = ", ".join(entry["sites"]) or entry["role"]
        lines += [
            f"## {entry['name']}",
            "",
            f"Acts at {sites}. Doses: {ranges(entry) or 'none'}.".replace("|", ", "),
            "",
        ]
        lines += ["```text", *entry["doc"].splitlines(), "```", ""]
    return "\n".join(lines)
