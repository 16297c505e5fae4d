"""The portrait's detail on drawings of it: all of it where nothing moves, none where something else is drawn."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from portrayal.face.topology import LEFT_EYE, RIGHT_EYE
from portrayal.media.cutout import cut_out
from portrayal.media.head import head_mask, pixel_centres
from portrayal.media.matte import Matte
from portrayal.media.overlay import Overlay
from portrayal.motion.edit import apply_edit
from portrayal.systems import meshwarp
from portrayal.systems.meshwarp.config import Config
from portrayal.systems.portrait_detail import FACE, PortraitDetail, hue_change, likeness
from portrayal.types import Driving, Edit, FaceParams, Layers, Portrait


def blurred(image: torch.Tensor) -> torch.Tensor:
    """What a network that is too smooth makes of a picture."""
    return F.avg_pool2d(image, 15, 1, 7, count_include_pad=False)


def on(mask: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    return picture[:, :, mask[0] == 1]


def enlarged(x: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False)


@pytest.fixture
def head(portrait: Portrait) -> torch.Tensor:
    """(1, h, w): 1 on the head."""
    return head_mask(portrait.params, pixel_centres(portrait.image.shape[2:], portrait.image.device))


def test_a_drawing_of_the_portrait_becomes_the_portrait(portrait: Portrait, head: torch.Tensor) -> None:
    own = blurred(portrait.image)
    detail = PortraitDetail(portrait, own)
    found = detail.add(own, portrait.params)
    torch.testing.assert_close(detail.carry(portrait.params).moved, portrait.image, atol=0.01, rtol=0)
    assert float((on(head, own) - on(head, portrait.image)).abs().mean()) > 0.02
    torch.testing.assert_close(on(head, found), on(head, portrait.image), atol=0.01, rtol=0)


def test_the_detail_goes_with_the_skin(portrait: Portrait) -> None:
    """Against meshwarp's own picture of the moved head, of which the drawing is a blurred one."""
    params = apply_edit(portrait.params, Edit(yaw=0.15))
    model = meshwarp.build(Config())
    motion = Driving(params, (0,))  # type: ignore[arg-type]
    (true,) = meshwarp.render(model, meshwarp.encode_source(model, portrait), motion)
    detail = PortraitDetail(portrait, blurred(portrait.image))
    found, moved = detail.add(blurred(true), params), detail.carry(params).moved
    places = pixel_centres(portrait.image.shape[2:], portrait.image.device)
    face = head_mask(params, places, half_axes=(0.6, 0.6), hair=0)
    before = (on(face, blurred(true)) - on(face, true)).abs().mean()
    after = (on(face, found) - on(face, true)).abs().mean()
    assert float(after) < 0.6 * float(before)
    assert float((on(face, moved) - on(face, true)).abs().mean()) < 0.05


def test_another_drawing_stays(portrait: Portrait) -> None:
    own = blurred(portrait.image)
    other = 1 - own * 0.2  # another one everywhere, of the same hue as far as a mean tells
    grey = other.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    detail = PortraitDetail(portrait, grey * 0.2)
    found = detail.add(grey, portrait.params)
    lids = portrait.params.landmarks[0, list(LEFT_EYE + RIGHT_EYE), :2]
    places = pixel_centres(portrait.image.shape[2:], portrait.image.device)
    skin = torch.cdist(places.flatten(0, 1), lids).amin(1).view(256, 256) > 9  # eyeballs are the portrait's
    torch.testing.assert_close(found[:, :, skin], grey[:, :, skin], atol=2e-3, rtol=0)


def test_around_the_face_is_the_portrait(portrait: Portrait) -> None:
    """Moved by meshwarp; in the face what is drawn counts."""
    params = apply_edit(portrait.params, Edit(yaw=0.15, shift=(0.3, -0.2)))
    detail, overlay = PortraitDetail(portrait, blurred(portrait.image)), Overlay(portrait)
    grey = torch.full_like(portrait.image, 0.5)
    squares = torch.tensor([[128.0, 128.0, 256.0, 0.0]])
    drawn = detail.draw_over(overlay, grey, params, squares)
    added, carried = detail.add(grey, params), detail.carry(params)
    moved = carried.moved
    places = pixel_centres(portrait.image.shape[2:], portrait.image.device)
    face = head_mask(params, places, half_axes=FACE, hair=0)
    around = enlarged(carried.drawn, 256)[0, 0] == 0
    assert float((around & (face[0] == 0)).float().mean()) > 0.6
    assert torch.equal(drawn[:, :, around], moved[:, :, around])
    torch.testing.assert_close(on(face, drawn), on(face, added), atol=0.01, rtol=0)
    assert float((moved - portrait.image).abs().mean()) > 0.01
    less = PortraitDetail(portrait, blurred(portrait.image), strength=0.5)
    border = torch.lerp(overlay.blend(less.add(grey, params), params, squares), moved, 0.5)
    half = less.draw_over(overlay, grey, params, squares)
    torch.testing.assert_close(half[:, :, around], border[:, :, around])


def test_what_the_portrait_hides_is_drawn(portrait: Portrait) -> None:
    """A head that turns far: the side that comes into view is the drawing's."""
    detail = PortraitDetail(portrait, blurred(portrait.image))
    still, turned = portrait.params, apply_edit(portrait.params, Edit(yaw=0.7))
    places = pixel_centres(portrait.image.shape[2:], portrait.image.device)
    face = head_mask(still, places, half_axes=FACE, hair=0)
    assert float(on(face, enlarged(detail.carry(still).known, 256)).min()) == 1
    known = enlarged(detail.carry(turned).known, 256)[0, 0]
    hidden = (known == 0) & (head_mask(turned, places)[0] == 1)
    assert float(hidden.float().mean()) > 0.005
    grey = torch.full_like(portrait.image, 0.5)
    drawn = detail.draw_over(Overlay(portrait), grey, turned, torch.tensor([[128.0, 128.0, 256.0, 0.0]]))
    brightness = drawn[:, :, hidden].mean(1)
    torch.testing.assert_close(brightness, torch.full_like(brightness, 0.5), atol=0.03, rtol=0)


def test_every_frame_by_itself(portrait: Portrait) -> None:
    params = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(yaw=0.2, smile=0.5))])
    drawn = torch.cat([blurred(portrait.image), portrait.image.roll(5, 3)])
    detail = PortraitDetail(portrait, blurred(portrait.image))
    together = detail.add(drawn, params)
    assert together.shape == drawn.shape
    for i in range(2):
        torch.testing.assert_close(detail.add(drawn[i : i + 1], params[[i]]), together[i : i + 1])


def test_likeness_of_drawings() -> None:
    own = torch.rand(1, 3, 32, 32) / 2
    torch.testing.assert_close(likeness(own, own, within=0.1), torch.ones(1, 1, 32, 32))
    torch.testing.assert_close(likeness(own + 0.1, own, within=0.1), torch.full((1, 1, 32, 32), 1 / torch.e))


def test_a_tint_of_the_head_is_found_and_a_brighter_head_is_none() -> None:
    own, head = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    green = torch.tensor([-0.1, 0.2, -0.1])[:, None, None].expand(1, 3, 64, 64)
    no_mouth = torch.zeros_like(head)
    torch.testing.assert_close(hue_change(own + green, own, head, no_mouth), green, atol=1e-5, rtol=0)
    torch.testing.assert_close(hue_change(own + 0.3, own, head, no_mouth), torch.zeros(1, 3, 64, 64), atol=1e-5, rtol=0)


def test_a_mouth_has_white_black_and_the_hue_of_its_lips() -> None:
    """Between red lips grey teeth and a darker tongue are what a mouth may show; green teeth become grey."""
    own, head, mouth = torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    own[:, 0] = 0.6
    mouth[..., 20:44, 20:44] = 1
    drawn, green = own.clone(), torch.tensor([0.0, 0.2, -0.2])[:, None, None]
    drawn[..., 26:30, 26:38] = 0.8
    drawn[:, 0, 34:38, 26:38] = 0.3
    torch.testing.assert_close(hue_change(drawn, own, head, mouth), torch.zeros_like(own), atol=1e-5, rtol=0)
    found = hue_change(drawn + green * mouth, own, head, mouth)
    torch.testing.assert_close(found, green * mouth, atol=1e-5, rtol=0)


def test_layers_are_the_person_as_it_moves(portrait: Portrait) -> None:
    """Head and hair of the drawing in front of its noise, 30 pixels to the right."""
    params = FaceParams.cat([portrait.params, apply_edit(portrait.params, Edit(shift=(0.75, 0.0)))])
    detail, overlay = PortraitDetail(portrait, blurred(portrait.image)), Overlay(portrait)
    faces = Layers(blurred(portrait.image).expand(2, -1, -1, -1), torch.zeros(2, 1, 64, 64))
    squares = torch.tensor([[128.0, 128.0, 256.0, 0.0]]).expand(2, -1)
    layers = detail.draw_layers(overlay, faces, params, squares)
    assert layers.person is not None
    shown = detail.draw_over(overlay, overlay.place(faces.picture, squares), params, squares).clamp(0, 1)
    inside = -torch.nn.functional.max_pool2d(-layers.person, 17, 1, 8) > 0.999  # at the outline it is cut out
    assert bool((inside.sum((1, 2, 3)) > 500).all())
    torch.testing.assert_close(layers.picture * inside, shown * inside, atol=1e-4, rtol=0)
    assert bool((layers.person >= layers.opacity).all())
    by = params.landmarks[1, 1, 0] - params.landmarks[0, 1, 0]
    assert float(by) > 20
    nose = int(params.landmarks[0, 1, 1])
    columns = torch.arange(256.0)
    still, moved = (x[0, :nose].sum(0) @ columns / x[0, :nose].sum() for x in layers.opacity)
    assert float(moved - still) == pytest.approx(float(by), rel=0.2)
    matte = cut_out(portrait, Matte.of(portrait))[1][0, 0]
    torch.testing.assert_close(layers.person[0, 0], matte, atol=0.05, rtol=0)
    torch.testing.assert_close(layers.opacity[0, 0, :nose], matte[:nose], atol=0.05, rtol=0)
