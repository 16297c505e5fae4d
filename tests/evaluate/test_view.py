"""What is wrong with a clip is said in one sentence that names it."""

import pytest
import torch

from portrayal.errors import InputError
from portrayal.evaluate.identity import IdentityNetwork
from portrayal.evaluate.metrics_face import Akd, Csim
from portrayal.evaluate.metrics_image import L1, MsSsim
from portrayal.evaluate.metrics_temporal import LandmarkJitter
from portrayal.evaluate.view import View, foreground, points68
from tests.evaluate.made_views import faces, pictures, view


def test_lengths():
    with pytest.raises(InputError, match=r"talk\.mp4: 3 frames, but truth has 2; cut them"):
        L1().update(View(pictures(3), clip="talk.mp4"), View(pictures(2), clip="truth"))
    with pytest.raises(InputError, match="b: 2 pictures, but 3 params"):
        View(pictures(2), clip="b", params=faces(3))
    one = View(pictures(1))
    metric = L1()
    metric.update(View(pictures(1).expand(3, -1, -1, -1)), one)  # one reference picture stands for all
    assert metric.compute() == 0


def test_sizes():
    with pytest.raises(InputError, match="a: its frames are 64x48 and those of b 32x24; resize"):
        L1().update(View(pictures(1), clip="a"), View(pictures(1, height=24, width=32), clip="b"))
    with pytest.raises(InputError, match="must be"):
        View(torch.zeros(2, 4, 8, 8))
    with pytest.raises(InputError, match="MS-SSIM needs 176 pixels a side or more, its frames are 64x48"):
        MsSsim().update(View(pictures(1)), View(pictures(1)))


def test_frames_that_are_not_finite():
    images = pictures(3)
    images[1, 0, 5, 5] = torch.nan
    with pytest.raises(InputError, match="a: frame 1 holds numbers that are not finite"):
        L1().update(View(images, clip="a"), View(pictures(3)))
    with pytest.raises(InputError, match="b: frame 1 holds"):
        L1().update(View(pictures(3)), View(images, clip="b"))


def test_frames_without_a_face():
    params = faces(3)
    blind = params.replace(confidence=torch.tensor([1.0, 0, 0]))
    with pytest.raises(InputError, match="a: 2 of 3 frames have no face, the first is frame 1"):
        Akd().update(View(pictures(3), clip="a", params=blind), view())
    with pytest.raises(InputError, match="a: its faces were not tracked; track it first"):
        Akd().update(View(pictures(3), clip="a"), view())
    landmarks = params.landmarks.clone()
    landmarks[2, 7] = torch.inf
    with pytest.raises(InputError, match="the landmarks of frame 2 are not finite"):
        Akd().update(View(pictures(3), params=params.replace(landmarks=landmarks)), view())
    net = IdentityNetwork(torch.nn.Identity(), name="none", size=(8, 8), aligned_points=((1, 1),) * 5)
    with pytest.raises(InputError, match="2 of 3 frames have no face"):
        Csim(net).update(View(pictures(3), params=blind), view())


def test_points_and_times():
    points = torch.zeros(3, 68, 2)
    assert points68(View(pictures(3), points68=points)) is points
    points[1] = torch.nan
    with pytest.raises(InputError, match="the 68 points of frame 1"):
        points68(View(pictures(3), points68=points))
    with pytest.raises(InputError, match="frame times are unknown"):
        LandmarkJitter().update(View(pictures(3), params=faces(3)), view())


def test_nothing_to_measure():
    with pytest.raises(InputError, match="nothing to measure"):
        L1().compute()


def test_foreground():
    mask = torch.zeros(2, 1, 48, 64)
    mask[:, :, :, :32] = 1
    images = pictures(2)
    painted = foreground(View(images, mask=mask), background=0.5).images
    torch.testing.assert_close(painted[..., :32], images[..., :32])
    assert (painted[..., 32:] == 0.5).all()
    with pytest.raises(InputError, match="no mask"):
        foreground(View(images))
