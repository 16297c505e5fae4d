"""The encoder that learns along with the generator (`AutoencodingConfig`): a framed face to one w."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from portrayal.nn.e4e import E4eEncoder
from portrayal.systems.otavatar.config import Config


class FaceEncoder(nn.Module):
    """e4e's encoder without offsets: the identity code is a vector of W (Algorithm 1, line 3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        chosen = config.autoencoding
        trunk = tuple(zip(chosen.channels, chosen.units, strict=True))
        self.net = E4eEncoder(chosen.encoder_side, w_dim=config.generator.w_dim, layers=1, trunk=trunk)

    def forward(self, pictures: Tensor) -> Tensor:
        """Faces (b, 3, s, s) in [-1, 1], framed as in training, to w (b, w_dim)."""
        seen = F.interpolate(pictures, [self.net.size, self.net.size], mode="area")
        return self.net(seen)[:, 0].float()


def build_encoder(config: Config) -> FaceEncoder | None:
    """None where the configuration has no encoder."""
    return FaceEncoder(config) if config.autoencoding.is_on else None
