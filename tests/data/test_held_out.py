"""Which samples previews show, and that they are made in full precision."""

from itertools import count

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from portrayal.data.held_out import held_out_samples
from portrayal.errors import InputError


def sample(index: int) -> dict[str, torch.Tensor]:
    return {"index": torch.tensor(index), "product": torch.ones(2, 2) @ torch.ones(2, 2)}


class Numbered(Dataset[dict[str, torch.Tensor]]):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return sample(index)


class Stream(IterableDataset[dict[str, torch.Tensor]]):
    def __iter__(self):
        return map(sample, count())


@pytest.mark.parametrize("data", [Numbered(), Stream()])
def test_the_first_ones_in_full_precision(data):
    with torch.autocast("cpu", torch.bfloat16):
        found = held_out_samples(lambda split: data, 3)
    assert [int(x["index"]) for x in found] == [0, 1, 2]
    assert {x["product"].dtype for x in found} == {torch.float32}


def test_without_a_validation_half_the_training_half_is_shown():
    asked = []

    def read(split):
        asked.append(split)
        if split == "validation":
            raise InputError("no validation clip")
        return Numbered()

    assert len(held_out_samples(read, 2)) == 2
    assert asked == ["validation", "train"]
