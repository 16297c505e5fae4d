"""The rows of the supplement's Table 1: what each changes, what they share, and that each learns a controller anew."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from portrayal.errors import InputError
from portrayal.evaluate.ablation import Ablation
from portrayal.evaluate.ablations import ablation_table, shared_start
from portrayal.evaluate.published import ABLATIONS as PUBLISHED
from portrayal.evaluate.statistics import summarise
from portrayal.systems import otavatar
from portrayal.systems.otavatar.ablations import ABLATIONS
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.tracking import silent
from portrayal.train.initial import save_network
from tests.data.made_faces import make_folder

TINY = replace(Config.tiny(), steps=1)
TINY = replace(TINY, decouple=replace(TINY.decouple, steps=1, identity_steps=1, motion_steps=1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole system whose controller no row may begin with."""
    torch.manual_seed(3)
    model = otavatar.build(TINY)
    with torch.no_grad():
        model.controller.book.fill_(9)
    path = tmp_path_factory.mktemp("weights") / "otavatar.safetensors"
    save_network(path, model, {"config": json.dumps(asdict(TINY))}, system="otavatar", stage="decouple")
    return path


def trained(name: str, data: Path, folder: Path, **more: Path) -> Otavatar:
    row: Ablation = ABLATIONS[name]
    model = row.train(row.config(TINY), data, folder, silent, **more)
    assert isinstance(model, Otavatar)
    assert not model.training
    return model


def test_the_rows_are_the_papers() -> None:
    (published,) = (table for table in PUBLISHED if table.convention == "otavatar")
    assert list(ABLATIONS) == list(published.rows)
    paper = Config.paper()
    rows = [row.config(paper) for row in ABLATIONS.values()]
    chosen = [(row.controller.motion_space, row.controller.code_book) for row in rows]
    assert chosen == [("w", "orthogonal"), ("w+", "linear"), ("w+", "orthogonal")]
    assert rows[-1] == paper
    assert all(replace(row, controller=paper.controller) == paper for row in rows)


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_row_learns_its_controller_on_the_given_generator(
    name: str, data: Path, weights: Path, tmp_path: Path
) -> None:
    model = trained(name, data, tmp_path / "runs" / "row", init=weights)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["frames", "row"], "no stage eg3d"
    torch.manual_seed(3)
    given = otavatar.build(TINY)
    of_mapping = "generator.backbone.mapping.layers.0.weight"
    torch.testing.assert_close(
        model.get_parameter(of_mapping), given.get_parameter(of_mapping).half().float(), atol=0, rtol=0
    )
    assert float(model.controller.book.detach().max()) < 8
    code = model.controller(torch.randn(1, 73, 27))
    assert torch.equal(code, code[:, :1].expand_as(code)) == (name == "w_x in W")


def test_rows_without_a_given_generator_train_one_together(data: Path, tmp_path: Path) -> None:
    for name in ("w_x in W", "OTAvatar"):
        trained(name, data, tmp_path / "runs" / name)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["OTAvatar", "eg3d", "frames", "w_x in W"]
    lines = (tmp_path / "runs" / "eg3d" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) <= 2, "one step, once"


def test_the_papers_rows_stand_beside_ours() -> None:
    ours = {"w_x in W": {"aed_expression_euclidean@driving": summarise([7.25], seed=0)}}
    table = ablation_table("otavatar", {"cross": ours})
    assert "7.250" in table
    assert all(number in table for number in ("3.352", "0.457", "4.307"))


def test_which_weights_rows_begin_with(weights: Path) -> None:
    assert shared_start("otavatar", ABLATIONS, ()) == {}
    assert shared_start("otavatar", ABLATIONS, [weights]) == {"init": weights}
    with pytest.raises(InputError, match="holds weights of 'otavatar', not of directions"):
        shared_start("directions", ABLATIONS, [weights])
    with pytest.raises(InputError, match="give one file with --weights"):
        shared_start("otavatar", ABLATIONS, [weights, weights])
    scratch = {"base": Ablation(lambda config: config, lambda *given: None)}
    with pytest.raises(InputError, match="rows of mmfa are trained from scratch; leave --weights out"):
        shared_start("mmfa", scratch, [weights])
