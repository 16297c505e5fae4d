"""Export3D as one network (Fig. 1): source picture, driving expression and camera to the driving picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portrayal.systems.export3d.clebs import ExpressionEncoder, code_size
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.flow import Look
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
        view: SourceView | None = None,
    ) -> tuple[View, Tensor]:
        """
        Args:
            source: (b, 3, H, W) in [0, 1].
            expression: (b, 64) coefficients b of the driving frame.
            gaze: (b, 2, 2) of the driving frame, needed by `ClebsConfig.gaze` and `RendererConfig.flow`.
            camera: (b, 25) of the driving frame.
            view: the source again with its camera and its face, needed by `GeneratorConfig.lift` and by
                `RendererConfig.split`, `detail` and `flow`.

        Returns:
            The view, and the tri-plane (b, 3, c, H / 2, W / 2) before the moving average is added, for
            `TriplaneGenerator.follow`.
        """
        features = self.generator.encode(source, None if view is None else view.camera)
        planes = self.generator.decode(features, self.code(expression, gaze))
        look = None if gaze is None else Look(expression, gaze)
        return self.renderer(self.generator.stabilise(planes), camera, source=view, look=look), planes

    def code(self, expression: Tensor, gaze: Tensor | None = None) -> Tensor:
        """What the generator is told of an expression: beta' (..., d), or beta itself (Table 3, "direct 3DMM"). Gaze is
        read only where `ClebsConfig.gaze` asks for it."""
        if not self.expression_encoder.gaze:
            gaze = None
        if self.config.clebs.encoding == "direct":
            return self.expression_encoder.coefficients_and_gaze(expression, gaze)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.clebs.encoding == "end-to-end"):
            return self.expression_encoder(expression, gaze)
