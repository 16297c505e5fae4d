"""Equation 11 against its definition, and what the perceptual networks are."""

import pytest
import torch
from torch import nn

from portrayal.errors import InputError
from portrayal.systems.export3d.config import Config
from portrayal.systems.export3d.losses import (
    TrackerDistance,
    landmark_term,
    load_perceptual,
    made_term,
    reconstruction_terms,
)
from portrayal.systems.export3d.renderer import Fetched, View


class Brightness(nn.Module):
    """A perceptual distance by hand."""

    def forward(self, images, targets):
        return (images.mean((1, 2, 3)) - targets.mean((1, 2, 3))).abs()


def view(raw, picture):
    return View(raw, picture, torch.ones(2, 8, 8), torch.ones(2, 8, 8))


def test_the_terms_are_those_of_equation_11():
    torch.manual_seed(0)
    driving, raw, picture = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)
    terms = reconstruction_terms(view(raw, picture), driving, Brightness())
    small = driving.reshape(2, 3, 8, 4, 8, 4).mean((3, 5))
    expected = {
        "pixel": ((2 * picture - 1) - (2 * driving - 1)).square().sum() / driving.numel(),
        "raw_pixel": ((2 * raw - 1) - (2 * small - 1)).square().sum() / small.numel(),
        "perceptual": Brightness()(picture, driving).mean(),
        "raw_perceptual": Brightness()(raw, small).mean(),
    }
    assert terms.keys() == expected.keys()
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name])
    perfect = reconstruction_terms(view(small, driving), driving, Brightness())
    assert all(float(term) < 1e-6 for term in perfect.values())


def test_without_a_perceptual_network_there_are_no_such_terms():
    terms = reconstruction_terms(view(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 32, 32)), torch.rand(2, 3, 32, 32), None)
    assert set(terms) == {"pixel", "raw_pixel"}
    assert load_perceptual("none") is None


def test_the_trackers_distance_grows_with_the_difference():
    torch.manual_seed(0)
    picture = torch.nn.functional.interpolate(torch.rand(2, 3, 8, 8), (64, 64), mode="bilinear")
    net = TrackerDistance()
    other = [(picture + share * torch.randn(2, 3, 64, 64)).clamp(0, 1) for share in (0.0, 0.1, 0.4)]
    none, some, much = (net(x.requires_grad_(), picture) for x in other)
    assert none.shape == (2,)
    assert float(none.detach().max()) == 0
    assert bool((some > 0).all())
    assert bool((much > some).all())
    much.sum().backward()
    assert other[2].grad.abs().max() > 0
    assert not any(p.requires_grad for p in net.parameters())


def test_the_papers_network_is_fetched_by_a_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="run: portrayal weights get vgg16"):
        load_perceptual(Config.paper().loss.perceptual_network)


def test_features_weigh_the_pixels_of_both_pictures():
    made, truth = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    small = torch.rand(2, 3, 8, 8)
    weights = torch.zeros(2, 1, 32, 32)
    weights[:, :, 8:16, 4:12] = 1
    found = reconstruction_terms(view(small, made), truth, None, features=weights)["features"]
    fine = (2 * (made - truth))[..., 8:16, 4:12].square().mean()
    coarse = (
        (2 * (small - truth.unflatten(-1, (8, 4)).unflatten(-3, (8, 4)).mean((-1, -3))))[..., 2:4, 1:3].square().mean()
    )
    torch.testing.assert_close(found, fine + coarse)


def test_landmarks_are_fetched_from_where_the_source_has_them():
    steps = (torch.arange(16) + 0.5) / 16 * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([x, y])[None] * 0.5 + 0.1  # a view that looks at the source's middle
    driving = 0.2 + 0.6 * torch.rand(1, 478, 2)
    source = ((2 * driving - 1) * 0.5 + 0.1 + 1) / 2
    fetched = Fetched(torch.empty(0), torch.empty(0), places, None, None)
    assert landmark_term(fetched, driving, source) < 1e-5
    moved = source + torch.tensor([0.05, 0.0])
    torch.testing.assert_close(landmark_term(fetched, driving, moved), torch.tensor(0.1), atol=1e-4, rtol=0)
    lips, nose = source.clone(), source.clone()
    lips[0, 13] += 0.1
    nose[0, 1] += 0.1
    assert landmark_term(fetched, driving, lips) > 5 * landmark_term(fetched, driving, nose)


def test_what_is_made_counts_by_itself():
    made, driving, weights = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    fetched = Fetched(made, torch.empty(0), torch.empty(0), None, None)
    errors = (2 * (made - driving)).square().mean(1, keepdim=True)
    torch.testing.assert_close(
        made_term(fetched, driving, weights), errors.mean() + (errors * weights).sum() / weights.sum()
    )
