"""Reports of a run: the page beside it, with its errors where the data can be had again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainwell.app.catalogue import entries
from trainwell.report.build import html_of
from trainwell.report.saved import Saved, find_folder, read_saved
from trainwell.values.atomic import atomic_write_text
from trainwell.values.errors import TrainwellError, UsageError
from trainwell.values.journal import dumps

if TYPE_CHECKING:
    from trainwell.app.run import Run

REPORT, ERRORS = "report.html", "errors.json"


def write_report(spec: str | Path, out: str | Path | None = None, *, errors: bool = True) -> Path:
    """Write the report of a run as one HTML file and return its path.

    Args:
        spec: the folder of a run, its name in `runs/`, or `latest`.
        out: the file to write; `report.html` in the folder of the run without it.
        errors: score the rows of the run again where its data lie where they lay, for the section on errors.

    Raises:
        RunError: there is no such run. UsageError: the file cannot be written.
    """
    folder = find_folder(spec)
    target = folder / REPORT if out is None else Path(out).expanduser()
    if target.is_dir():
        raise UsageError(f"--out {target} is a folder; give the name of a file, e.g. {target / REPORT}.")
    if errors and not (folder / ERRORS).is_file():
        _write_errors(folder)
    html = html_of(read_saved(folder, catalogue()))
    try:
        atomic_write_text(target, html)
    except OSError as error:
        said = f"{target} cannot be written: {error.strerror}."
        raise UsageError(
            f"{said} Name another place: --out FILE." if out is None else f"--out {said}"
        ) from error
    return target


def report_of(run: Run, out: str | Path | None = None) -> Path:
    """Write the report of a run that was just trained; see `write_report`."""
    if run.path is None:
        raise UsageError("this run was not written (out=False): a report needs its folder.")
    return write_report(run.path, out)


def catalogue() -> dict[str, dict[str, Any]]:
    """Return what is known of each technique, by name."""
    import trainwell.techniques  # noqa: F401  (fills the registry)

    return {str(e["name"]): e for e in entries()}


def _write_errors(folder: Path) -> None:
    """Score the rows of a finished run and write `errors.json`; a reason where that cannot be done."""
    saved = read_saved(folder)
    found = errors_of(saved)
    if found:
        try:
            atomic_write_text(folder / ERRORS, dumps(found, indent=1) + "\n")
        except OSError:
            return  # a folder that cannot be written still gets its report


def errors_of(saved: Saved) -> Mapping[str, Any]:
    """Return what `errors.json` holds: nothing for a run without a score, a reason where its rows are not at hand."""
    if saved.score is None:
        return {}
    source = saved.part("data").get("source") or {}
    if "data" not in source or source.get("again"):
        return {"reason": "the data were passed from Python; report() can score only what lies in files."}
    if not Path(str(source["data"])).exists():
        return {}  # perhaps it comes back: nothing is written
    try:
        from trainwell.app.mistakes import mistakes

        return mistakes(saved.path, saved.scored_part)
    except TrainwellError as error:
        return {"reason": str(error)}
