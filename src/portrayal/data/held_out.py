"""The fixed samples that previews and validations show."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from portrayal.data.clips import Split
from portrayal.errors import InputError

Samples = Dataset[dict[str, Tensor]]


def held_out_samples(read: Callable[[Split], Samples], count: int) -> list[dict[str, Tensor]]:
    """The first samples of the validation half; of data without a usable one, of the training half.

    Args:
        read: opens one half; raises InputError where it has nothing.
    """
    try:
        data = read("validation")
    except InputError:
        data = read("train")
    with torch.autocast("cpu", enabled=False):  # labels are fitted here and not in a worker
        return first_samples(data, count)


def first_samples(data: Samples, count: int) -> list[dict[str, Tensor]]:
    """The first ones, made here and now; `data` may be a stream."""
    return list(islice(data, count)) if isinstance(data, IterableDataset) else [data[i] for i in range(count)]
