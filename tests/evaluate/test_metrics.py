"""The table of metrics, the papers' conventions, networks and cost."""

import time
from pathlib import Path

import pytest
import torch

from portrayal.errors import InputError
from portrayal.evaluate.conventions import CONVENTIONS, conventions_table, find_convention
from portrayal.evaluate.metrics import METRICS, available_metrics, build_metrics, find_metric, metrics_table
from portrayal.evaluate.metrics_base import ViewMetric
from portrayal.evaluate.metrics_cost import Cost
from portrayal.evaluate.networks import Networks, detect_points68
from portrayal.nn.fan import Fan
from portrayal.nn.mobilefacenet import MobileFaceNet
from tests.evaluate.made_views import view


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PORTRAYAL_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PORTRAYAL_DEV_WEIGHTS", raising=False)


@pytest.fixture
def identity_weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "identity.pth"
    torch.save(MobileFaceNet().state_dict(), path)
    return path


def test_without_weights_the_rest_works_and_the_message_names_the_command(nothing_installed):
    there, missing = available_metrics(Networks())
    assert {"psnr", "ssim", "akd", "apd", "aed_expression", "perceptual_tracker", "frechet_tracker", "flicker"} <= set(
        there
    )
    assert set(missing) == {
        "lpips_alex", "lpips_vgg", "lpips_squeeze", "fid", "kid", "fvd", "csim", "aed_identity", "aed_identity_l1",
        "identity_drift", "frechet_identity",
    }  # fmt: skip
    assert missing["lpips_alex"].endswith("is missing; run: portrayal weights get alexnet")
    assert missing["fid"].endswith("run: portrayal weights get fid-inception")
    assert missing["csim"].endswith("run: portrayal weights get arcface-irse50")
    assert missing["fvd"].endswith("run: portrayal weights get i3d-kinetics400")


def test_every_metric_measures_a_clip(nothing_installed, identity_weights):
    networks = Networks(identity_weights=identity_weights)
    names = available_metrics(networks)[0]
    assert "csim" in names
    metrics = build_metrics(names, networks)
    generated, reference = view(4, seed=1), view(4, seed=2)
    for name, metric in metrics.items():
        assert isinstance(metric, ViewMetric)
        metric.update(generated, reference)
        value = float(metric.compute())
        assert torch.isfinite(torch.tensor(value)), name
        assert metric.higher_is_better in (None, METRICS[name].better == "higher"), name


def test_same_clip_is_best(nothing_installed, identity_weights):
    networks = Networks(identity_weights=identity_weights)
    same = view(4, seed=1)
    apart = {
        "kernel_tracker",
        "flicker",
    }  # an unbiased estimate is below 0 here; flicker sees frames that are unrelated
    names = [n for n in available_metrics(networks)[0] if METRICS[n].against != "itself" and n not in apart]
    for name, metric in build_metrics(names, networks).items():
        metric.update(same, same)
        best = {"psnr": 100}.get(name, 1 if METRICS[name].better == "higher" else 0)
        assert float(metric.compute()) == pytest.approx(best, abs=1e-4), name


def test_entries_say_what_they_are():
    for name, entry in METRICS.items():
        assert entry.title, name
        assert entry.definition[0].islower() or entry.definition[0] in "1PFE", name
        assert entry.source, name
        assert (entry.build is None) != (entry.read is None), name
    assert METRICS["psnr"].arrow == "↑"
    with pytest.raises(InputError, match="there is no metric 'pnsr'; choose from: psnr"):
        find_metric("pnsr")


def test_conventions_name_metrics():
    assert set(CONVENTIONS) == {"mmfa", "export3d", "directions", "otavatar"}
    for convention in CONVENTIONS.values():
        for column in convention.same_identity + convention.cross_identity:
            assert column.metric in METRICS
            assert column.entry is METRICS[column.metric]
        assert all(column.against != "target" for column in convention.cross_identity)  # there is no true frame
    assert [c.title for c in CONVENTIONS["mmfa"].same_identity] == ["LPIPS", "CSIM", "PSNR", "APD", "AKD", "AED", "FID"]
    # One name, two meanings.
    aed = {
        name: next(c.metric for c in CONVENTIONS[name].cross_identity if c.title == "AED")
        for name in ("mmfa", "export3d")
    }
    assert aed == {"mmfa": "aed_identity", "export3d": "aed_expression"}
    with pytest.raises(InputError, match="no convention 'mfa'"):
        find_convention("mfa")


def test_given_feature_networks(nothing_installed):
    class Mean(torch.nn.Module):
        def forward(self, images):
            return images.flatten(2).mean(2)

    networks = Networks(picture_features=(Mean(), 3), video_features=(Mean(), 3))
    assert {"fid", "kid", "fvd"} <= set(available_metrics(networks)[0])
    (fid,) = build_metrics(["fid"], networks).values()
    fid.update(view(4, seed=1), view(4, seed=2))
    assert float(fid.compute()) > 0


def test_identity_network_of_the_developer(monkeypatch, tmp_path, identity_weights):
    identity_weights.rename(tmp_path / "mobilefacenet.npz.pth")
    monkeypatch.setenv("PORTRAYAL_DEV_WEIGHTS", str(tmp_path / "mobilefacenet.npz.pth"))
    assert Networks().identity.name == "MobileFaceNet"
    monkeypatch.setenv("PORTRAYAL_DEV_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=r"PORTRAYAL_DEV_WEIGHTS names .*, but there is no mobilefacenet\.npz"):
        _ = Networks().identity


def test_points_of_a_landmark_network_lie_where_its_maps_say(monkeypatch):
    def upper_left(self, images, **kwargs):
        maps = torch.zeros(len(images), 68, 64, 64)
        maps[:, :, 1, 1] = 1
        return maps

    monkeypatch.setattr(Fan, "heatmaps", upper_left)
    with torch.device("meta"):
        fan = Fan()
    tracked = view(2)
    found = detect_points68(fan, tracked).points68
    box = torch.cat([tracked.params.landmarks[..., :2].amin(1), tracked.params.landmarks[..., :2].amax(1)], 1)
    side = 200 * (box[:, 2:] - box[:, :2]).sum(1) / 195
    corner = (box[:, :2] + box[:, 2:]) / 2 - side[:, None] / 2
    corner[:, 1] -= 0.12 * (box[:, 3] - box[:, 1])
    expected = corner + 1.5 / 64 * side[:, None]
    torch.testing.assert_close(found, expected[:, None].expand(2, 68, 2), atol=0.01, rtol=0)


def test_cost():
    cost = Cost()
    with pytest.raises(InputError, match="nothing to measure"):
        _ = cost.frames_per_second
    for _ in range(2):
        with cost.measure(frames=5):
            time.sleep(0.05)
    assert 60 < cost.frames_per_second <= 100
    assert METRICS["frames_per_second"].read(cost) == cost.frames_per_second
    assert METRICS["peak_memory"].read(cost) > 10


def test_the_page_about_metrics_is_up_to_date():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert metrics_table() in page
    assert conventions_table() in page
    assert all(note in page for convention in CONVENTIONS.values() for note in convention.notes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: results on it are those of the CPU")
def test_on_a_gpu(nothing_installed, identity_weights):
    results = []
    for device in ("cpu", "cuda"):
        networks = Networks(device, identity_weights=identity_weights)
        views = [v.replace(images=v.images.to(device)) for v in (view(4, seed=1), view(4, seed=2))]
        metrics = build_metrics(available_metrics(networks)[0], networks)
        for metric in metrics.values():
            metric.update(*views)
        results.append({name: float(metric.compute()) for name, metric in metrics.items()})
    assert results[1] == pytest.approx(results[0], rel=1e-2, abs=1e-3)
