"""Pose vector and matrix of directions: by hand, and equal to the released code."""

from __future__ import annotations

import math

import pytest
import torch

from portrayal.systems.directions.matrix import DirectionMatrix
from portrayal.systems.directions.pose import (
    RELEASED_HEAD_RANGES_DEG,
    deca_attributes,
    pose_change,
    rescaling,
)
from tests.parity import parity_fixture


@torch.no_grad()
def test_released_matrix() -> None:
    fixture = parity_fixture("directions_matrix")
    c, x = fixture.configuration, fixture.inputs
    net = DirectionMatrix(c["input_dim"], w_dim=c["shift_dim"], layers=c["num_layers"], bias=c["bias"])
    fixture.load(net)
    fixture.check("shift", net(x["delta_p"]))
    fixture.check("shift_of_zero", net(torch.zeros(1, c["input_dim"])))
    fixture.check("shifted_w_plus", net.move(x["w_plus"], x["delta_p"]))


def test_released_pose() -> None:
    fixture = parity_fixture("directions_pose")
    c, x = fixture.configuration, fixture.inputs
    measured = torch.from_numpy(fixture.arrays["extra.ranges_min_max"]).float()
    assert [-r[0] for r in RELEASED_HEAD_RANGES_DEG] == [c[f"{n}_scale_deg"] for n in ("yaw", "pitch", "roll")]
    ranges = torch.cat([torch.tensor(RELEASED_HEAD_RANGES_DEG), measured[3:]])
    source = deca_attributes(x["pose_source"], x["exp_source"])
    target = deca_attributes(x["pose_target"], x["exp_target"])
    fixture.check("angles_deg_source", source[:, :3])
    fixture.check("angles_deg_target", target[:, :3])
    fixture.check("jaw_and_exp_slope_intercept", torch.stack(rescaling(ranges[3:], a=c["shift_scale"]), 1))
    fixture.check("delta_p", pose_change(source, target, ranges, a=c["shift_scale"]))


def test_the_papers_matrix_is_linear() -> None:
    net = DirectionMatrix(4, w_dim=5, layers=2)
    a, b, w = torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 6, 5)
    torch.testing.assert_close(net(a + 2 * b), net(a) + 2 * net(b))
    torch.testing.assert_close(net.move(w, torch.zeros(3, 4)), w)
    moved = net.move(w, a)
    torch.testing.assert_close(moved[:, 2:], w[:, 2:])
    torch.testing.assert_close(moved[:, :2] - w[:, :2], net(a))
    assert not torch.allclose(moved[:, :2], w[:, :2])


def test_another_models_code_is_refused() -> None:
    net = DirectionMatrix(4, w_dim=5, layers=3)
    for shape in ((1, 2, 5), (1, 6, 4)):
        with pytest.raises(ValueError, match="different models"):
            net.move(torch.zeros(shape), torch.zeros(1, 4))


def test_ranges_become_the_common_one() -> None:
    ranges = torch.tensor([[-2.0, 4.0], [0.0, 1.0]])
    slope, intercept = rescaling(ranges, a=3)
    torch.testing.assert_close(slope[:, None] * ranges + intercept[:, None], torch.tensor([[-3.0, 3.0]] * 2))
    change = pose_change(torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 0.5]]), ranges, a=3)
    torch.testing.assert_close(change, torch.tensor([[3.0, 3.0]]))
    with pytest.raises(ValueError, match="above its lowest"):
        rescaling(torch.tensor([[1.0, 1.0]]))


def test_turns_about_one_axis() -> None:
    """Axis and angle about x is pitch, about z roll, about y the negative yaw of the released code."""
    turn = math.radians(30)
    pose = torch.zeros(3, 6)
    pose[0, 0] = pose[1, 1] = pose[2, 2] = turn
    pose[:, 3] = 0.7
    found = deca_attributes(pose, torch.arange(20.0).expand(3, -1))
    expected = torch.tensor([[0.0, 30, 0], [-30, 0, 0], [0, 0, 30]])
    torch.testing.assert_close(found[:, :3], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, 3:], torch.tensor([0.7, *range(11)]).expand(3, -1))
