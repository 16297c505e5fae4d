"""Export3D as one network (Fig. 1): source picture, driving expression and camera to the driving picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.systems.export3d.clebs import ExpressionEncoder
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.generator import TriplaneGenerator
from portrayal.systems.export3d.renderer import Renderer, View


class Export3d(nn.Module):
    """The whole system; encode a source once (`generator.encode`), its planes once per expression, then any camera."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.expression_encoder = ExpressionEncoder(config.clebs)
        """f_e; trained before by the stage clebs and no further (Sec. 3.1)."""
        self.generator = TriplaneGenerator(
            config.generator, image_size=config.image_size, dimension=config.clebs.dimension
        )
        self.renderer = Renderer(
            config.renderer, plane_channels=config.generator.plane_channels, image_size=config.image_size
        )

    def forward(
        self, source: Tensor, expression: Tensor, camera: Tensor, *, gaze: Tensor | None = None
    ) -> tuple[View, Tensor]:
        """
        Args:
            source: (b, 3, H, W) in [0, 1].
            expression: (b, 64) coefficients b of the driving frame. gaze: as of `ExpressionEncoder`.
            camera: (b, 25) of the driving frame.

        Returns:
            The view, and the tri-plane (b, 3, c, H / 2, W / 2) before the moving average is added, for
            `TriplaneGenerator.follow`.
        """
        with torch.no_grad():
            code = self.expression_encoder(expression, gaze)  # beta', (b, d)
        planes = self.generator.decode(self.generator.encode(source), code)
        return self.renderer(self.generator.stabilise(planes), camera), planes
