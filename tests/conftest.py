"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut


def pytest_configure(config: pytest.Config) -> None:
    import cv2
    import torch

    threads = min(4, os.cpu_count() or 1)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of development data; the test is skipped where there is none."""
    root = Path(os.environ.get("PORTRAYAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()
    if not (root / "raw").is_dir():
        pytest.skip(f"no development data in {root} (PORTRAYAL_DATA names another folder)")
    return root


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8: the portrait that scikit-image ships."""
    return astronaut()
