"""`portrayal mesh`: from a photo to a file, and who cannot make one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from portrayal.cli import main
from portrayal.errors import InputError
from portrayal.mesh import make_mesh
from portrayal.options import MeshOptions
from portrayal.systems import export3d
from tests.untrained import write_untrained


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_untrained, tmp_path)


def test_a_photo_becomes_a_head(
    tmp_path: Path, small_portrait: Path, weights: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The density of an untrained export3d begins as a head's ellipsoid."""
    output, file = tmp_path / "head.ply", weights(export3d, "export3d")
    typed = ["mesh", "-s", small_portrait, "-o", output, "--weights", file, "--resolution", "32", "--device", "cpu"]
    assert main([str(word) for word in typed]) == 0
    assert "triangles in" in capsys.readouterr().out
    header, _, body = output.read_bytes().partition(b"end_header\n")
    count = int(header.split(b"element vertex ")[1].split()[0])
    rows = torch.frombuffer(bytearray(body[: 15 * count]), dtype=torch.uint8).reshape(count, 15)
    points = rows[:, :12].contiguous().view(torch.float32)
    high = float((points.amax(0) - points.amin(0))[1])
    assert 0.15 < high < 0.35, "metres, top to chin and neck"


def test_systems_without_a_shape_say_so(small_portrait: Path) -> None:
    with pytest.raises(InputError, match=r"meshwarp draws pictures and has no shape.*--system: export3d"):
        make_mesh(small_portrait, None, MeshOptions(system="meshwarp"))


def test_what_cannot_be_made_is_refused_before_any_work(tmp_path: Path, talking: Path) -> None:
    with pytest.raises(InputError, match="a mesh is written as"):
        make_mesh(None, tmp_path / "head.obj")
    with pytest.raises(InputError, match="resolution must be from 16 to 512"):
        MeshOptions(resolution=4)
    with pytest.raises(InputError, match="a mesh is one head"):
        MeshOptions(face="all")


def test_a_video_is_refused(talking: Path, weights: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="is a video; mesh takes a picture"):
        make_mesh(talking, None, MeshOptions(weights=weights(export3d, "export3d"), device="cpu"))
