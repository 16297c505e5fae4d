"""OTAvatar as one network: an identity code and a window of coefficients to a face that any camera can look at."""

from __future__ import annotations

from torch import Tensor, nn

from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.controller import Controller
from portrayal.systems.otavatar.encoder import build_encoder
from portrayal.systems.otavatar.generator import TriplaneGenerator
from portrayal.systems.otavatar.inversion import first_identity, limit


class Otavatar(nn.Module):
    """G(w_id, x; Theta) = G_eg(w_id + C(x; Theta_c); Theta_eg) (Algorithm 1, "Input").

    The names of its parts are those of the weights files that the stage `decouple` and the conversion write.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generator = TriplaneGenerator(config.generator)
        self.controller = Controller(config.controller, layers=self.generator.layers, w_dim=config.generator.w_dim)
        self.encoder = build_encoder(config)

    def latents(self, identity: Tensor, window: Tensor) -> Tensor:
        """w_id (b, layers, w_dim) and windows (b, rows, 27) to what the generator reads, (b, layers, w_dim).

        Differs: the official code limits these latents in training and inversion (`DecoupleConfig.clamp`), but not when
        it animates; here the face that is rendered is the one that was inverted.
        """
        return limit(identity + self.controller(window), self.generator.w_mean, self.config.decouple.clamp)

    def first_identity(self, pictures: Tensor, window: Tensor) -> Tensor:
        """Where the inversion of faces (b, 3, s, s) in [-1, 1] with windows (b, rows, 27) begins: w (b, w_dim)."""
        start = first_identity(self.encoder, self.generator.w_mean, pictures, self.controller(window))
        return start.expand(len(pictures), -1)

    def forward(self, identity: Tensor, window: Tensor, camera: Tensor) -> Tensor:
        """Identities, windows and cameras (b, 25) to pictures (b, 3, s, s), about [-1, 1]."""
        return self.generator(self.latents(identity, window), camera)
