"""The rows of Table 3: what each changes, and that they train."""

from dataclasses import replace

import pytest
import torch

from portrayal.evaluate.published import ABLATIONS as PUBLISHED
from portrayal.systems.export3d.ablations import ABLATIONS
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.model import Export3d
from portrayal.tracking import silent


def test_the_rows_are_the_papers():
    (published,) = (table for table in PUBLISHED if table.convention == "export3d")
    assert list(ABLATIONS) == list(published.rows)
    paper = Config.paper()
    rows = {name: row.config(paper) for name, row in ABLATIONS.items()}
    assert [(c.clebs.encoding, c.clebs.coefficients) for c in rows.values()] == [
        ("direct", 10),
        ("end-to-end", 25),
        ("end-to-end", 10),
        ("end-to-end", 5),
        ("pretrained", 10),
    ]
    assert rows["Full (CLeBS)"] == paper


@pytest.mark.parametrize("name", ["Direct 3DMM", "E2E LeBS (n = 5)", "Full (CLeBS)"])
def test_a_row_trains_what_it_says(name, clips, tmp_path):
    torch.manual_seed(0)
    tiny = replace(Config.tiny(), steps=2, clebs=replace(Config.tiny().clebs, steps=2))
    config = ABLATIONS[name].config(tiny)
    model = ABLATIONS[name].train(config, clips, tmp_path / "row", silent)
    assert isinstance(model, Export3d)
    assert not model.training
    assert sorted(path.name for path in (tmp_path / "row").iterdir()) == (
        ["clebs", "reconstruction"] if name == "Full (CLeBS)" else ["reconstruction"]
    )
    start = Export3d(config).expression_encoder.weight
    assert model.expression_encoder.weight.shape == start.shape
    width = model.generator.conditional[0].norm1.scale_shift.in_features
    assert width == (64 if name == "Direct 3DMM" else tiny.clebs.dimension)
