"""The portrait's own view: what it corrects, and what it leaves alone."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from portrayal.systems.export3d import animate
from portrayal.systems.export3d.config import Config, RendererConfig
from portrayal.systems.export3d.detail import nearer_places, own_places
from tests.systems.export3d.test_animate import SIZE, TINY, motion, portrait, turned

__all__ = ["portrait"]


def built(*, corrected: bool):
    """The same random model with and without."""
    torch.manual_seed(0)
    config = replace(TINY, renderer=replace(TINY.renderer, corrected=corrected))
    model = animate.build(config).eval().requires_grad_(False)
    # Offsets of up to a twentieth of the side, and a network that draws noise.
    last = model.renderer.mlps.to_colour[2]
    last.weight[-2:] = torch.randn(last.weight[-2:].shape) / 4
    return model


def test_the_portraits_own_view_is_the_portrait(portrait):
    """Whatever the networks draw and wherever they fetch from, when nothing moves."""
    smooth = F.interpolate(portrait.image[..., :12, :12], size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)
    still = replace(portrait, image=smooth)
    away = []
    for corrected in (False, True):
        model = built(corrected=corrected)
        (frame,) = animate.render(model, animate.encode_source(model, still), motion(model, still.params))
        away.append(float((frame - smooth).abs().mean()))
    assert away[0] > 0.05
    assert away[1] < 0.01


def test_places_are_off_by_nothing_in_the_own_view_and_by_as_much_in_the_next(portrait):
    own = own_places(32, 32)[None]
    misplaced = 0.1 * torch.stack([own[:, 1], -own[:, 0]], 1)  # a small turn
    torch.testing.assert_close(nearer_places(own + misplaced, misplaced), own, atol=2e-3, rtol=0)
    moved = own + 0.2  # a view that shows what lies to the lower right in the source
    inside = (..., slice(4, 24), slice(4, 24))
    found = nearer_places(moved + misplaced + 0.1 * torch.tensor([0.2, -0.2])[:, None, None], misplaced)
    torch.testing.assert_close(found[inside], moved[inside], atol=2e-3, rtol=0)


def test_another_drawing_is_left_alone(portrait):
    """A mouth that opens is drawn, not fetched: where a view differs from the portrait's own, nothing changes."""
    model = built(corrected=True)
    source = animate.encode_source(model, portrait)
    assert source.own is not None
    (view,) = animate.views(model, replace(source, own=None), motion(model, turned(portrait.params, [0.2])))
    other = replace(source.own, made=source.own.made + 1)
    torch.testing.assert_close(other.correct(view, source.view).picture, view.picture, atol=1e-4, rtol=0)


def test_every_frame_is_corrected_by_itself(portrait):
    model = built(corrected=True)
    source = animate.encode_source(model, portrait)
    params = turned(portrait.params, [0.0, 0.1, -0.2])
    together = torch.cat(list(animate.render(model, source, motion(model, params))))
    for i, frame in enumerate(together):
        (alone,) = animate.render(model, source, replace(motion(model, params[[i]]), times=(Fraction(0),)))
        torch.testing.assert_close(alone[0], frame)


def test_the_paper_knows_no_correction():
    assert not Config.paper().renderer.corrected
    with pytest.raises(ValueError, match=r"renderer\.corrected corrects"):
        RendererConfig(corrected=True)
