"""benchmarks/otavatar.py with a tiny model: depths in millimetres, phases and parts, sheets, validation people."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console

from portrayal.data.synthetic import LabelledPicture, synthetic_pictures
from portrayal.face.camera import METRES_PER_WORLD_UNIT
from portrayal.media.image import to_tensor
from portrayal.systems import otavatar
from portrayal.systems.otavatar import animate
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.types import Depth, Portrait

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "otavatar.py"
SIDE = 128


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("otavatar_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        patch.setitem(sys.modules, spec.name, module)  # its dataclasses look themselves up there
        patch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path_factory.mktemp("cache")))
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def model() -> Otavatar:
    torch.manual_seed(0)
    return otavatar.build(Config.tiny()).eval()


@pytest.fixture(scope="module")
def head() -> LabelledPicture:
    return next(iter(synthetic_pictures(1, seed=0, size=SIDE)))


@pytest.fixture(scope="module")
def portrait(head: LabelledPicture) -> Portrait:
    return Portrait(to_tensor(head.image), head.params)


def test_depths_that_are_right_and_shifted_ones(
    benchmark: ModuleType, model: Otavatar, head: LabelledPicture, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The truth in metres before the middle of the head: its unit is 9 cm."""
    depth, params = torch.from_numpy(head.geometry().depth), head.params
    metres = 0.09 * (params.translation[0, 2] - depth) / params.scale[0]
    nose = params.landmarks[0, 1]
    x, y = (int(value) for value in nose[:2])
    assert float(depth[y, x]) == pytest.approx(float(nose[2]), abs=1.5), "depths are as those of landmarks"
    assert 0.04 < float(metres[y, x]) < 0.12
    for shift in (0.0, 0.005):
        seen = Depth((metres + shift)[None, None] / METRES_PER_WORLD_UNIT, torch.ones(1, 1, SIDE, SIDE))
        monkeypatch.setattr(animate, "render_depth", lambda *given, seen=seen: iter([seen]))
        correlation, error = benchmark.depth_agreement(model, animate.encode_source(model, portrait), head)
        assert correlation == pytest.approx(1, abs=1e-3)
        assert error == pytest.approx(1000 * shift, abs=0.05)


@torch.no_grad()
def test_a_photo_is_inverted_and_its_frames_timed(benchmark: ModuleType, model: Otavatar, portrait: Portrait) -> None:
    for _ in range(2):  # what the first one kept takes no time from the second
        source, seconds = benchmark.invert(model, portrait)
        assert list(seconds) == ["finding the identity", "tuning the generator"]
        assert min(seconds.values()) > 0
    rows = benchmark.parts(model, source, 1)
    assert rows[0][0] == "controller"
    assert rows[-1][:2] == ("render, whole", benchmark.FRAMES)
    assert all(taken > 0 for _, _, taken in rows)
    sheet = benchmark.around(model, source)
    assert sheet.shape[0] > 3 * 256
    console = Console(record=True, width=160)
    benchmark.report_inversion(console, [seconds, seconds])
    assert "s a photo, at most" in console.export_text()
