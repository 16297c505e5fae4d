"""Which process gets which sample, and what happens with samples that cannot be made."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portrayal.errors import InputError
from portrayal.train.batches import ATTEMPTS, Share, open_loader
from portrayal.train.loop import train
from tests.train.conftest import metrics
from tests.train.toy import STAGE, Config, Samples, collate


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
def test_every_sample_is_prepared_once(processes, parts, size, step, more):
    batch = size * processes * parts
    shares = [list(Share(batch, rank, processes, parts).indices(step, step + more)) for rank in range(processes)]
    assert all(len(share) == more * parts for share in shares)
    for i in range(more):
        in_step = [index for share in shares for part in share[i * parts : (i + 1) * parts] for index in part]
        assert sorted(in_step) == list(range((step + i) * batch, (step + i + 1) * batch))


def test_batches_that_cannot_be_cut(options):
    with pytest.raises(InputError, match=r"batch of 8 .* 1 devices x --accumulate 3"):
        train(STAGE, Config(), options(accumulate=3))


def indices(loader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_samples_are_replaced_and_counted(workers):
    """The same ones on every run, at the same place of another batch."""

    def load():
        return open_loader(
            Samples(0, 40, bad=(3, 17)),
            collate,
            Share(4),
            step=0,
            steps=10,
            workers=workers,
            device=torch.device("cpu"),
        )

    loader = load()
    found = indices(loader)
    assert loader.skipped == ["clip3.mp4 cannot be read", "clip17.mp4 cannot be read"]
    assert found[1] == [4, 5, 6, 7]
    assert found[0][:3] == [0, 1, 2]
    assert found[0][3] % 4 == 3
    assert found[0][3] not in (3, 17)
    assert indices(load()) == found


def test_bad_samples_do_not_stop_a_training(options, capsys):
    stage = dataclasses.replace(STAGE, dataset=lambda root, config, seed, samples: Samples(seed, samples, bad=(3, 30)))
    train(stage, Config(steps=5), options())
    assert [line["skipped"] for line in metrics(options().out)] == [1, 1, 1, 2, 2]
    assert (options().out / "skipped.txt").read_text() == "clip3.mp4 cannot be read\nclip30.mp4 cannot be read\n"
    assert capsys.readouterr().err.count("left out: clip3.mp4 cannot be read") == 1


def test_data_without_good_samples():
    loader = open_loader(
        Samples(0, 40, bad=range(40)), collate, Share(4), step=0, steps=10, workers=0, device=torch.device("cpu")
    )
    with pytest.raises(InputError, match=f"{ATTEMPTS} samples in a row cannot be used; the last: clip"):
        next(loader)


def test_time_spent_waiting():
    loader = open_loader(Samples(0, 8), collate, Share(4), step=1, steps=2, workers=0, device=torch.device("cpu"))
    assert indices(loader) == [[4, 5, 6, 7]]
    assert 0 < loader.waited_seconds < 60
