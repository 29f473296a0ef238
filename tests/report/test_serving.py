"""The local server: only with its token, only what is a run, and a page that follows a training."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.hostile import NAMES
from trainwell.app.serving import HOST, make_server
from trainwell.values.errors import UsageError
from trainwell.values.runfolder import RunFolder


@pytest.fixture
def served(trained: Path, tmp_path: Path) -> Iterator[tuple[Path, str, int]]:
    """A folder of runs, the path that its server answers at, and the port."""
    root = tmp_path / "runs"
    shutil.copytree(trained, root / "one", ignore=shutil.ignore_patterns("best", "last"))
    (tmp_path / "secret.txt").write_text("not to be seen")
    shutil.copytree(trained, tmp_path / "outside")
    os.symlink(tmp_path / "outside", root / "linked")
    server, address = make_server(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield root, urllib.parse.urlsplit(address).path, server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def got(port: int, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"{HOST}:{port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_pages_need_the_token_and_the_right_host(served: tuple[Path, str, int]) -> None:
    _, base, port = served
    assert got(port, base)[0] == 200
    assert got(port, base + "run/one")[0] == 200
    for path in ("/", "/run/one", "/wrong/", base[:-2] + "/", base.upper()):
        assert got(port, path)[0] == 404, path
    assert got(port, base, host="evil.example:80")[0] == 404


def test_nothing_outside_is_shown(served: tuple[Path, str, int]) -> None:
    _, base, port = served
    ways = [
        "..",
        "../outside",
        "../secret.txt",
        "..%2foutside",
        "%2e%2e/outside",
        "%2e%2e%2foutside",
        "linked",
    ]
    ways += [
        "one/../..",
        "one/data.json",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "one%00",
        ".",
        "....//outside",
        "..\\outside",
    ]
    ways += ["one/"]
    for way in ways:
        status, text = got(port, base + "run/" + way)
        assert status == 404 and "not to be seen" not in text, way
        assert got(port, base + way)[0] in (404, 200) and "not to be seen" not in got(port, base + way)[1]


def test_page_follows_a_training(served: tuple[Path, str, int]) -> None:
    root, base, port = served
    before = got(port, base + "stamp")[1]
    folder = RunFolder(root / "two")
    folder.path.mkdir()
    folder.write_json("recipe", {"model": {"family": "mlp"}, "techniques": []})
    assert got(port, base + "stamp")[1] != before
    folder.journal.append("epoch", epoch=1, step=7, train_loss=0.5, val_loss=0.25, val_metric=None, best=True)
    folder.journal.close()
    assert "two: 1 epochs, best 1; training" in got(port, base)[1]


def test_runs_with_hostile_names_are_shown_and_reached(served: tuple[Path, str, int]) -> None:
    root, base, port = served
    for name in [
        n for n in NAMES if "/" not in n and "\0" not in n and len(n.encode()) < 200 and n.isprintable()
    ][:25]:
        shutil.copytree(root / "one", root / name, ignore=shutil.ignore_patterns("watch"))
        assert got(port, base + "run/" + urllib.parse.quote(name, safe=""))[0] == 200, name
    assert "<script>window.harmed=1</script>" not in got(port, base)[1]


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        make_server(tmp_path / "absent")
