from __future__ import annotations

import pytest

pytest.importorskip("soundfile", reason="soundfile is not installed: the extra [audio]")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINWELL_CACHE", str(tmp_path_factory.mktemp("cache")))
