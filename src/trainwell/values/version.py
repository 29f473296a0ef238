"""The version of trainwell, also of a source tree that was not installed."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = "unknown"


def version() -> str:
    """Return the installed version, else that of `pyproject.toml` with `+source`, else `unknown`."""
    from importlib import metadata

    try:
        return metadata.version("trainwell")
    except metadata.PackageNotFoundError:
        return _of_source(Path(__file__).parents[3] / "pyproject.toml")


def _of_source(file: Path) -> str:
    import tomllib

    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return UNKNOWN
    return f"{project['version']}+source" if project.get("name") == "trainwell" else UNKNOWN
