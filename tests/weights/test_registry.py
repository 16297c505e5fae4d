"""Writing weights."""

import pytest
import torch
from safetensors import safe_open

from portrayal.weights.registry import save_tensors


def test_save_tensors(tmp_path):
    path, other = tmp_path / "a.safetensors", tmp_path / "other"
    other.touch()
    save_tensors(path, {"x": torch.arange(3)}, {"licence": "CC0-1.0"})
    assert path.stat().st_mode == other.stat().st_mode
    with safe_open(path, "pt") as file:
        assert file.get_tensor("x").tolist() == [0, 1, 2]
        assert file.metadata() == {"licence": "CC0-1.0"}


def test_save_tensors_leaves_nothing_behind_after_a_failure(tmp_path):
    shared = torch.zeros(4)
    path = tmp_path / "a.safetensors"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="share memory"):
        save_tensors(path, {"x": shared, "y": shared}, {})
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
