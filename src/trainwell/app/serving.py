"""A local page over all runs of a folder, which follows those that train. Needs no torch.

The server binds to the loopback address only. Every address begins with a token that is drawn at the start, so that
another program or a page in the browser cannot read the runs. A run is looked up among the folders that are there, never
by joining what was asked for to a path.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trainwell.app.reporting import catalogue
from trainwell.report import words
from trainwell.report.blocks import Block, Chart, Items, Text
from trainwell.report.build import html_of
from trainwell.report.compare import curves
from trainwell.report.page import page, policy, scripts_of
from trainwell.report.saved import Saved, read_saved
from trainwell.values.errors import UsageError
from trainwell.values.finding import title_of

HOST = "127.0.0.1"
SHOWN_CURVES = 6


class Runs:
    """The runs of a folder, by name; looked at anew each time."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def found(self) -> dict[str, Path]:
        """Return the runs that are there, the newest first; no links, so that nothing outside is shown."""
        made = [p for p in self.root.iterdir() if p.is_dir() and not p.is_symlink() and _is_run(p)]
        return {p.name: p for p in sorted(made, key=_changed, reverse=True)}

    def stamp(self) -> str:
        """Return a text that changes when a run does."""
        return ";".join(f"{name}:{_changed(path):.3f}" for name, path in self.found().items())


def _is_run(path: Path) -> bool:
    return (path / "recipe.json").is_file() or (path / "findings.json").is_file()


def _changed(path: Path) -> float:
    files = [path / name for name in ("journal.jsonl", "results.json", "findings.json", "recipe.json")]
    return max((f.stat().st_mtime for f in files if f.is_file()), default=0.0)


def overview(runs: Runs, base: str) -> str:
    """Return the page over all runs."""
    saved = [read_saved(path) for path in runs.found().values()]
    blocks: list[Block] = [
        Items(list(_lines(saved)), links=[f"{base}/run/{_quoted(s.path.name)}" for s in saved])
    ]
    if not saved:
        blocks = [Text("There is no run here yet; this page shows them as they begin.")]
    drawn: list[Chart] = list(curves(saved[:SHOWN_CURVES])) if saved else []
    sections: list[tuple[str, str, list[Block]]] = [("runs", "Runs", blocks)]
    if drawn:
        sections.append(("curves", "The newest runs", [*drawn]))
    return page(f"Runs in {runs.root.name}", sections, str(runs.root), refresh=f"{base}/stamp")


def _lines(saved: list[Saved]) -> Iterator[tuple[str, str]]:
    for run in saved:
        score = (
            f"{words.metric_name(run.metric)} {words.score(run.score, run.metric)}"
            if run.score is not None
            else ""
        )
        state = str(run.part("results").get("stop_reason") or ("training" if run.rows else "no epoch yet"))
        alarms = [title_of(f["ailment"]) for f in run.findings if f.get("severity") != "information"]
        told = [
            score,
            f"{len(run.rows)} epochs, best {run.best_epoch}",
            state,
            *(["findings: " + words.joined(alarms, 3)] if alarms else []),
        ]
        yield f"{run.path.name}: {'; '.join(t for t in told if t)}", ""


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")


def make_server(root: Path, port: int = 0, token: str | None = None) -> tuple[ThreadingHTTPServer, str]:
    """Return a server that listens on the loopback address, and the address of its page.

    Args:
        root: the folder that holds the runs.
        port: 0 takes a free one.
        token: what every address must begin with; drawn where none is given.

    Raises:
        UsageError: the folder is not there, or the port is taken.
    """
    if not root.is_dir():
        raise UsageError(
            f"serve {root}: there is no such folder. Give the folder that holds the runs, e.g. runs/."
        )
    secret = token or secrets.token_urlsafe(24)
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(Pages(Runs(root), secret)))
    except OSError as error:
        raise UsageError(f"--port {port}: cannot listen there: {error.strerror}.") from error
    server.daemon_threads = True
    return server, f"http://{HOST}:{server.server_address[1]}/{secret}/"


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve until it is interrupted."""
    server, address = make_server(root, port)
    say(address)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


class Pages:
    """What the server answers.

    Args:
        runs: that it shows.
        token: what every address must begin with.
    """

    def __init__(self, runs: Runs, token: str) -> None:
        self.runs, self.token, self.known = runs, token, catalogue()
        self.lock = threading.Lock()

    def answer(self, path: str, host: str) -> tuple[str, str] | None:
        """Return kind and body of what is asked for; None where there is no such thing.

        A page elsewhere that made its own name point here is turned away by the host that it asks for.
        """
        given, _, rest = path.removeprefix("/").partition("/")
        if host not in (HOST, "localhost") or not hmac.compare_digest(given.encode(), self.token.encode()):
            return None
        base = f"/{self.token}"
        with self.lock:
            if rest == "":
                return "text/html", overview(self.runs, base)
            if rest == "stamp":
                return "application/json", json.dumps(self.runs.stamp())
            kind, _, name = rest.partition("/")
            folder = self.runs.found().get(urllib.parse.unquote(name)) if kind == "run" else None
            if folder is None:
                return None
            return "text/html", html_of(read_saved(folder, self.known), refresh=f"{base}/stamp")


def _headers(kind: str, length: int) -> dict[str, str]:
    return {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(length),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": policy(scripts_of(live=True), live=True),
    }


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers GET for a page, and nothing else."""

        server_version, sys_version = "trainwell", ""

        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            found = pages.answer(urllib.parse.urlsplit(self.path).path, host)
            kind, body = found or (
                "text/plain",
                "not found: open the address that `trainwell serve` printed.",
            )
            data = body.encode()
            self.send_response(200 if found else 404)
            for name, value in _headers(kind, len(data)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the address holds the token."""

    return Handler
