"""What meshwarp's mesh draws of a portrait in place of somebody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from portrayal.media.image import to_tensor
from portrayal.systems.meshwarp.mesh import Face
from portrayal.systems.meshwarp.outline import face_mask
from portrayal.systems.portrait_mesh import PortraitMesh
from portrayal.types import FaceParams, Layers, Portrait
from tests.systems.conftest import SIZE, mean_params
from tests.systems.test_meshwarp import turned
from tests.systems.test_meshwarp_behind import shifted
from tests.systems.test_meshwarp_twin import drawn, halves

WITHIN = (0.2, 0.5)
GREEN = torch.tensor([0.0, 1.0, 0.0])[None, :, None, None].expand(1, 3, SIZE, SIZE)


def test_the_hidden_half_is_that_of_the_portrait_and_the_rest_is_as_drawn() -> None:
    ahead = mean_params(SIZE)
    aside = turned(ahead, yaw=50.0)
    mesh, grey = PortraitMesh(Portrait(to_tensor(drawn(aside)), aside)), torch.full((2, 3, SIZE, SIZE), 0.5)
    still, filled = mesh.lay_over(grey, FaceParams.cat([aside, ahead]), within=WITHIN).split(1)
    assert torch.equal(still, grey[:1]), "which shows no more than the portrait"
    near, far = halves(ahead)
    if aside.landmarks[0, 454, 2] < aside.landmarks[0, 234, 2]:
        near, far = far, near
    near &= face_mask(Face.of(ahead, 0).landmarks, near.shape) > 0.99  # its rim is the mesh's in a turned head
    changed = (filled - 0.5).abs().amax((0, 1)).numpy() > 0.02
    assert changed[far].mean() > 0.5
    assert changed[near].mean() < 0.05
    truth = to_tensor(drawn(ahead))
    taken = far & changed
    assert (filled - truth).abs().mean((0, 1)).numpy()[taken].mean() < 0.1


@pytest.mark.parametrize("yaw", [-25.0, 25.0])
def test_around_a_face_that_has_turned_all_is_the_meshs(haired: Portrait, yaw: float) -> None:
    params = turned(haired.params, yaw=yaw)
    laid = PortraitMesh(haired).lay_over(GREEN, params, within=WITHIN)
    green = (laid - GREEN).abs().amax((0, 1)) < 0.05
    x, y = params.landmarks[0, 5, :2].int().tolist()
    assert green[y, x]
    low, high = params.landmarks[0, :468, :2].amin(0).int(), params.landmarks[0, :468, :2].amax(0).int()
    assert green[low[1] : high[1], low[0] : high[0]].float().mean() > 0.4
    green[low[1] : high[1], low[0] : high[0]] = False
    assert not green.any()


def test_what_looks_about_as_in_the_portrait_stays_as_it_is_drawn(haired: Portrait) -> None:
    params = FaceParams.cat([turned(haired.params, yaw=8.0), turned(haired.params, pitch=-8.0)])
    frames = torch.rand(2, 3, SIZE, SIZE)
    assert PortraitMesh(haired).lay_over(frames, params, within=WITHIN) is frames


def test_masks_are_those_of_what_is_drawn(haired: Portrait) -> None:
    """Where the mesh's hair is, is head; where its wall is, nothing."""
    params, nothing = turned(haired.params, yaw=25.0), torch.zeros(1, 1, SIZE, SIZE)
    mesh = PortraitMesh(haired)
    layers = mesh.lay_layers(Layers(GREEN, nothing, nothing), params, within=WITHIN)
    assert layers.person is not None
    white = torch.lerp(torch.ones_like(layers.picture), layers.picture, layers.person)
    dark = white[0].mean(0) < 0.2
    assert dark.sum() > 1000
    assert layers.opacity[0, 0][dark].mean() > 0.8
    assert (layers.person >= layers.opacity - 1e-4).all()
    assert layers.person[..., :8, :].max() < 0.05
    without_person = Layers(GREEN, nothing)
    assert mesh.lay_layers(without_person, params, within=WITHIN) is without_person
    still = Layers(GREEN, nothing, nothing)
    assert mesh.lay_layers(still, haired.params, within=WITHIN) is still


def test_in_a_video_nothing_asks_for_a_matte(haired: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would flicker; what has turned is the mesh's all the same."""
    monkeypatch.setattr("portrayal.systems.meshwarp.behind.Matte", None)
    mesh = PortraitMesh(replace(haired, moving=True))
    frames = torch.rand(1, 3, SIZE, SIZE)
    assert mesh.lay_over(frames, shifted(haired.params, 0, 44), within=WITHIN) is frames
    assert not torch.equal(mesh.lay_over(frames, turned(haired.params, yaw=25.0), within=WITHIN), frames)
