"""The face model's expression as a field: nothing at rest, the mesh's own motion on the face, still around it."""

import pytest
import torch

from portrayal.data.expressions import mirror_signs
from portrayal.errors import InputError
from portrayal.face.camera import WORLD_UNITS_PER_HEAD_UNIT, head_to_world
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.topology import CHIN, LEFT_EYE, LIPS_INNER, LIPS_OUTER, RIGHT_EYE
from portrayal.motion.edit import apply_edit
from portrayal.systems.export3d.config import Config, RendererConfig
from portrayal.systems.export3d.detail import SourceView
from portrayal.systems.export3d.flow import SIDE, ExpressionFlow, Look
from portrayal.systems.export3d.renderer import Renderer
from portrayal.types import Edit
from tests.systems.export3d.cameras import camera

FACE = load_face_model()
SKIN = [i for i in range(468) if i not in {*LIPS_INNER, *RIGHT_EYE, *LEFT_EYE}]


AHEAD = torch.zeros(1, 2, 2)


def looks(*expressions):
    """They look straight ahead."""
    return [Look(expression, AHEAD) for expression in expressions]


@pytest.fixture(scope="module")
def flow():
    return ExpressionFlow()


@pytest.fixture(scope="module")
def faces():
    """Somebody, shut and with an open mouth."""
    torch.manual_seed(0)
    identity, rest = 0.5 * torch.randn(1, 80), torch.zeros(1, 64)
    landmarks = FACE.shape(identity, rest, torch.zeros(1, 2, 2)) * 50 + torch.tensor([64.0, 64, 0])
    params = fit_params(FACE, landmarks, width=128, height=128, identity=identity[0])
    return identity, params.expression, apply_edit(params, Edit(mouth_open=0.7)).expression


def test_the_same_expression_moves_nothing(flow, faces):
    identity, _, open_ = faces
    field = flow(identity, *looks(open_, open_))
    assert field.shape == (1, 4, SIDE, SIDE)
    assert not field[:, :2].any()


def test_skin_goes_back_to_where_the_source_has_it(flow, faces):
    identity, shut, open_ = faces
    before, after = (FACE.shape(identity, b) for b in (shut, open_))
    moved, _ = flow.move(head_to_world(after), flow(identity, *looks(shut, open_)))
    true = (before - after)[0, SKIN, :2].norm(dim=-1)
    left = (head_to_world(before) - moved)[0, SKIN, :2].norm(dim=-1) / WORLD_UNITS_PER_HEAD_UNIT
    assert true.max() > 0.1
    assert left.mean() < 0.15 * true.mean()
    assert left[[SKIN.index(i) for i in LIPS_OUTER]].max() < 0.02


def test_openings_are_where_the_driving_face_has_them(flow, faces):
    identity, shut, open_ = faces
    shape = FACE.shape(identity, open_)
    points = torch.stack([shape[0, [13, 14]].mean(0), shape[0, [159, 145]].mean(0), shape[0, 1]])[None]
    _, wide = flow.move(head_to_world(points), flow(identity, *looks(shut, open_)))
    torch.testing.assert_close(wide[0], torch.tensor([[1.0, 0], [0, 1], [0, 0]]), atol=0.1, rtol=0)
    assert flow(identity, *looks(open_, shut))[0, 2].sum() < 0.5 * flow(identity, *looks(shut, open_))[0, 2].sum()


def test_irises_go_where_the_gaze_looks(flow, faces):
    identity, shut, _ = faces
    gaze = torch.tensor([[[0.3, 0.1], [0.3, 0.1]]])
    before, after = (FACE.shape(identity, shut, g)[:, [468, 473]] for g in (AHEAD, gaze))
    moved, _ = flow.move(head_to_world(after), flow(identity, Look(shut, AHEAD), Look(shut, gaze)))
    left = (head_to_world(before) - moved)[..., :2].norm(dim=-1) / WORLD_UNITS_PER_HEAD_UNIT
    assert left.max() < 0.2 * (before - after)[..., :2].norm(dim=-1).min()


def test_hair_neck_and_the_back_of_the_head_stay(flow, faces):
    identity, shut, open_ = faces
    chin = FACE.shape(identity, open_)[0, CHIN]
    points = head_to_world(torch.stack([torch.tensor([0, -1.2, 0]), chin * torch.tensor([1, 2, 1]), -chin])[None])
    moved, openings = flow.move(points, flow(identity, *looks(shut, open_)))
    torch.testing.assert_close(moved, points, atol=1e-3, rtol=0)
    assert not openings.any()


def test_a_mirrored_expression_gives_the_mirrored_field(flow, faces):
    torch.manual_seed(1)
    a, b = 0.5 * torch.randn(1, 80), torch.randn(1, 64)
    rest = torch.zeros(1, 64)
    one = flow(a, *looks(rest, b))
    other = flow(a * mirror_signs(FACE.identity_basis), *looks(rest, b * mirror_signs(FACE.expression_basis)))
    back = other.flip(-1) * torch.tensor([-1.0, 1, 1, 1])[:, None, None]
    assert (back - one).abs().mean() < 0.05 * one.abs().mean()


def test_the_renderer_asks_for_what_the_flow_needs():
    renderer = Renderer(Config.tiny().renderer, plane_channels=8, image_size=64)
    source = SourceView(torch.rand(1, 3, 64, 64), camera(), torch.zeros(1, 80), Look(torch.zeros(1, 64), AHEAD))
    with pytest.raises(InputError, match="needs the driving expression"):
        renderer(torch.randn(1, 3, 8, 32, 32), camera(), source=source)
    with pytest.raises(ValueError, match=r"renderer\.detail fetches"):
        RendererConfig(flow=True)
    with pytest.raises(ValueError, match=r"set renderer\.split"):
        RendererConfig(body=True, detail=True)
