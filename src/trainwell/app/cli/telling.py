"""The verbs that only tell: techniques, env."""

from __future__ import annotations

import click

from trainwell.app.cli.output import emit, json_option, width

PACKAGES = (
    "torch", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "safetensors", "click", "rich", "polars",
    "onnx", "onnxscript", "onnxruntime",
)  # fmt: skip


@click.command()
@click.argument("name", required=False)
@json_option
def techniques(name: str | None, as_json: bool) -> None:
    """List the techniques, or tell all of NAME.

    The list has the site at which each acts, what it treats, and its doses with their ranges. NAME tells when it
    helps and when it harms, and its source.
    """
    import trainwell.techniques  # noqa: F401  (fills the registry)
    from trainwell.app.catalogue import entries, table, whole

    found = entries(name)
    if name is None:
        emit(found, table(found, width()), as_json)
    else:
        emit(found[0], whole(found[0]), as_json)


@click.command()
@json_option
def env(as_json: bool) -> None:
    """Tell versions, processor and device."""
    from trainwell.engine.environment import environment
    from trainwell.engine.hardware import choose_device

    found = environment(choose_device(None))
    packages = {name: _version(name) for name in PACKAGES}
    lines = [f"{k:14s} {'-' if v is None else v}" for k, v in {**found, **packages}.items()]
    emit({**found, "packages": packages}, lines, as_json)


COMMANDS = (techniques, env)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
