"""A headless Chromium, where there is one: what became of a page, and what it said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


def opened(page: str | Path, folder: Path, width: int = 1000) -> tuple[str, str]:
    """Return the document after its scripts ran, and all that the browser's console said.

    Skipped where there is no Chromium.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    address = page if isinstance(page, str) else page.as_uri()
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=3000",
        "--disable-background-networking", "--no-first-run", "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    said = "\n".join(line for line in done.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line)
    return done.stdout.decode(errors="replace"), said
