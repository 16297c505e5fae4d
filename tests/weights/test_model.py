"""The mark of a model changes with its weights and with nothing else."""

import torch
from torch import nn

from portrayal.weights.model import mark_of


def test_mark_of_a_model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    mark = mark_of(net)
    assert len(mark) == 16
    assert mark_of(net.to(memory_format=torch.channels_last)) == mark
    with torch.no_grad():
        net[0].bias[0] += 1e-6
    assert mark_of(net) != mark
