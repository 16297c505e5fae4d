"""The rows of Tables 2 to 5: what each leaves out, and that runs are shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from portrayal.systems.directions import train_directions
from portrayal.systems.directions.ablations import ABLATIONS
from portrayal.systems.directions.config import Config
from portrayal.tracking import silent
from tests.data.made_faces import make_folder


def test_each_row_leaves_out_what_it_says() -> None:
    config = Config.paper()
    rows = {name: row.config(config) for name, row in ABLATIONS.items()}
    off = {
        name: {
            field
            for field in ("shape", "eye", "mouth", "identity", "perceptual", "pixel")
            if getattr(row.reenactment, field) == 0
        }
        for name, row in rows.items()
    }
    assert list(off.values()) == [{"identity", "perceptual"}, {"eye", "mouth"}, set(), set(), set(), set()]
    assert [row.tuning.steps > 0 for row in rows.values()] == [True, True, True, True, False, True]
    assert rows["paired"] == config
    assert all(replace(row, reenactment=config.reenactment, tuning=config.tuning) == config for row in rows.values())


@pytest.mark.slow
def test_rows_share_their_generator_and_their_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_directions, "VALIDATED", 4)  # what a row reports does not matter here
    data = make_folder(tmp_path / "faces", frames=4)
    tiny = Config.tiny()
    length = replace(tiny.lengths.synthetic, steps=1, batch=2)
    names = ("stylegan", "encoder", "synthetic", "mixed", "paired")
    tiny = replace(tiny, lengths=replace(tiny.lengths, **dict.fromkeys(names, length)))  # type: ignore[arg-type]
    models = {}
    for i, name in enumerate(("synthetic", "paired, w/o optim.", "paired")):
        row = ABLATIONS[name]
        models[name] = row.train(row.config(tiny), data, tmp_path / "runs" / str(i), silent)
    runs = sorted(path.name.rpartition("-")[0] or path.name for path in (tmp_path / "runs").iterdir())
    assert runs == ["encoder", "frames", "mixed", "paired", "stylegan", "synthetic"]
    plain, tuned = models["paired, w/o optim."], models["paired"]
    pairs = zip(plain.state_dict().values(), tuned.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert (plain.config.tuning.steps, tuned.config.tuning.steps) == (0, 12)  # type: ignore[union-attr]
    assert not plain.training
