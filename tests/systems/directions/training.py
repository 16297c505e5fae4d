"""What the tests of the directions system's stages share."""

from __future__ import annotations

import torch
from torch import nn

from portrayal.systems.directions.config import Config
from portrayal.train.stage import Stage
from portrayal.train.state import TrainState


class Maps(nn.Module):
    """A small frozen network that gives maps, as the perceptual losses' networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        maps = self.first(images).relu()
        return [maps, self.second(maps)]


def start(stage: Stage, config: Config) -> TrainState:
    """As the training loop starts; a generator that is only used counts as trained."""
    torch.manual_seed(0)
    networks, averaged = (nn.ModuleDict(stage.networks(config)) for _ in range(2))
    generator = networks["generator"]
    if not any(p.requires_grad for p in generator.parameters()):
        generator.mapping.w_mean.copy_(generator.mapping.measure_mean(256))
    averaged.load_state_dict(networks.state_dict())
    frozen = nn.ModuleDict(stage.frozen(config) if stage.frozen else {}).eval().requires_grad_(False)
    return TrainState(
        networks.train(), averaged.eval().requires_grad_(False), stage.optimizers(networks, config), frozen
    )


def values(state: TrainState) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in state.networks.state_dict().items()}


def changed(state: TrainState, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters that moved since `before`."""
    return {name for name, p in state.networks.named_parameters() if not torch.equal(p, before[name])}
