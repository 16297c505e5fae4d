"""How a portrait's own view comes out, and what that says about the other views (`RendererConfig.corrected`).

Beyond the paper. With the portrait's own camera and expression the result should be the portrait. Where the network
fetches a pixel beside its place there, it does so in the neighbouring views, too; where it draws the same as there, the
portrait's own pixels are right. Both can be read off one more view, which is made once for each portrait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from portrayal.systems.export3d.detail import OwnSight, SourceView, left_behind, sample
from portrayal.systems.export3d.renderer import View
from portrayal.systems.portrait_detail import likeness

ALIKE = 0.05
"""As `portrait_detail.ALIKE`; what is drawn here is a small part of the picture, and says more."""


@dataclass(frozen=True)
class OwnView:
    """The portrait as it stands, by the networks."""

    sight: OwnSight
    made: Tensor
    """(b, 3, H, W), about [0, 1]: what is drawn there, beside what is fetched."""
    left: Tensor
    """(b, 1, H, W) of `detail.left_behind`: not nothing, where the silhouette is wider than the head."""
    opacity: Tensor | None
    """(b, 1, H, W) of the head there, where it has a background."""

    def correct(self, view: View, source: SourceView) -> View:
        """A view that `sight` is known to, with more of the portrait: where it draws what was drawn of the
        portrait, what that drawing lacked, and the pixels themselves. Not where a head that is gone would be seen.
        """
        fetched = view.fetched
        if fetched is None:
            return view
        pixels, drawn = fetched.of(source.picture), fetched.of(self.made)
        own_left = self.left if fetched.behind is None else sample(self.left, fetched.behind)
        gone = (left_behind(source, fetched.opacity, fetched.behind) - own_left).clamp_min(0)
        alike = likeness(fetched.made, drawn, within=ALIKE) * (1 - gone)
        made = fetched.made + alike * (pixels - drawn)
        share = fetched.share + alike * (1 - fetched.share)
        return replace(view, picture=torch.lerp(made, pixels, share), fetched=replace(fetched, made=made, share=share))
