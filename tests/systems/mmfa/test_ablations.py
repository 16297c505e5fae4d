"""The ablation table's rows: cumulative as in Table 2, each trainable, the last one the whole system."""

from dataclasses import replace

import torch

from portrayal.systems.mmfa.ablations import ABLATIONS
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.model import Mmfa
from portrayal.systems.mmfa.train import STAGE
from portrayal.tracking import silent
from tests.data.made_faces import make_folder


def test_each_row_adds_a_loss_and_changes_nothing_else():
    config = Config.paper()
    rows = [row.config(config) for row in ABLATIONS.values()]
    assert list(ABLATIONS) == ["base", "+ L_Exp", "+ L_C", "+ L_M"]
    assert [r.loss.expression > 0 for r in rows] == [False, True, True, True]
    assert [r.loss.identity > 0 for r in rows] == [False, False, True, True]
    for name in ("landmarks_face", "landmarks_mouth", "landmarks_pupil"):
        assert [getattr(r.loss, name) > 0 for r in rows] == [False, False, False, True]
    assert rows[-1] == config
    assert all(replace(row, loss=config.loss) == config for row in rows)


def test_compact_has_the_rows_of_the_unsupervised_method():
    """The light renderer has other losses; main and its ablation take the paper's own at that scale."""
    rows = [row.config(Config.compact()) for row in ABLATIONS.values()]
    assert {row.renderer for row in rows} == {"volume"}
    assert rows[-1] == Config.compact().unguided() == STAGE.configure(Config.compact())
    assert Config.tiny().unguided() == Config.tiny()
    Mmfa(rows[-1])


def test_a_row_is_trained_once_and_taken_over_afterwards(tmp_path):
    data = make_folder(tmp_path / "faces", frames=4)
    config = ABLATIONS["base"].config(replace(Config.tiny(), steps=1, batch=2))
    trained, again = (ABLATIONS["base"].train(config, data, tmp_path / "run", silent) for _ in range(2))
    assert not trained.training
    pairs = zip(trained.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) <= 2
    frames = [path.name for path in (tmp_path / "frames").iterdir()]
    ABLATIONS["+ L_Exp"].train(config, data, tmp_path / "other", silent)
    assert frames
    assert not (tmp_path / "other" / "frames").exists()  # the rows share what is decoded
