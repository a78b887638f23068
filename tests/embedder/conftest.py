from __future__ import annotations

from pathlib import Path

import pytest

from embedder.bundle import Bundle


@pytest.fixture(scope="session")
def default_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The offline default model, exported once."""
    from embedder.export import export_default_bundle

    out: Path = tmp_path_factory.mktemp("default") / "bundle"
    return export_default_bundle(out)
