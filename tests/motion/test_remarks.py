"""Which frames a remark names."""

import torch

from portrayal.motion.remarks import frame_numbers


def test_many_stretches_are_summed_up():
    marked = torch.tensor([True, False] * 6)
    assert frame_numbers(marked) == "frames 0, 2, 4, 6 and 2 more stretches"
