from pathlib import Path

import pytest


@pytest.fixture
def raw(data_root: Path) -> Path:
    """The folder of uncropped development videos and pictures."""
    return data_root / "raw"
