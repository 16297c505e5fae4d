import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("PORTRAYAL_DATA", "../shared/data"))


@pytest.fixture
def raw():
    """The folder of uncropped development videos."""
    if not (DATA / "raw").is_dir():
        pytest.skip(f"no development data at {DATA} (set PORTRAYAL_DATA)")
    return DATA / "raw"
