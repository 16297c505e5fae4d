"""Export3D as one network (Fig. 1): source picture, driving expression and camera to the driving picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.systems.export3d.clebs import ExpressionEncoder, code_size
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.generator import TriplaneGenerator
from portrayal.systems.export3d.renderer import Renderer, View
from portrayal.systems.export3d.seen import Seen
from portrayal.types import EXPRESSION_SIZE


class Export3d(nn.Module):
    """The whole system; encode a source once (`generator.encode`), its planes once per expression, then any camera."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.expression_encoder = ExpressionEncoder(config.clebs)
        """f_e; trained before by the stage clebs and no further (Sec. 3.1), unless `ClebsConfig.encoding` says so."""
        self.generator = TriplaneGenerator(
            config.generator,
            image_size=config.image_size,
            dimension=code_size(config.clebs),
            box_size=config.renderer.box_size,
        )
        self.renderer = Renderer(
            config.renderer, plane_channels=config.generator.plane_channels, image_size=config.image_size
        )
        self.seen = Seen(EXPRESSION_SIZE, config.clebs.coefficients)
        """Ranges of the training data."""

    def forward(
        self,
        source: Tensor,
        expression: Tensor,
        camera: Tensor,
        *,
        gaze: Tensor | None = None,
        source_camera: Tensor | None = None,
    ) -> tuple[View, Tensor]:
        """
        Args:
            source: (b, 3, H, W) in [0, 1].
            expression: (b, 64) coefficients b of the driving frame. gaze: as of `ExpressionEncoder`.
            camera: (b, 25) of the driving frame.
            source_camera: (b, 25), needed by `GeneratorConfig.lift` and `RendererConfig.split` and `detail`.

        Returns:
            The view, and the tri-plane (b, 3, c, H / 2, W / 2) before the moving average is added, for
            `TriplaneGenerator.follow`.
        """
        planes = self.generator.decode(self.generator.encode(source, source_camera), self.code(expression, gaze))
        seen = None if source_camera is None else SourceView(source, source_camera)
        return self.renderer(self.generator.stabilise(planes), camera, source=seen), planes

    def code(self, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """What the generator is told of an expression: beta' (..., d), or beta itself (Table 3, "direct 3DMM")."""
        if self.config.clebs.encoding == "direct":
            return self.expression_encoder.coefficients_and_gaze(expression, gaze)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.clebs.encoding == "end-to-end"):
            return self.expression_encoder(expression, gaze)
