"""The latent space of expressions: equations 10 to 13, and a training that does not collapse."""

import pytest
import torch

from portrayal.systems.mmfa.vae import (
    ExpressionDiscriminator,
    ExpressionVae,
    discriminator_loss,
    kl_divergence,
    reparameterise,
    vae_losses,
)

FEATURES, LATENT = 32, 8


def make(seed: int = 0) -> tuple[ExpressionVae, ExpressionDiscriminator]:
    torch.manual_seed(seed)
    vae = ExpressionVae(features=FEATURES, latent=LATENT, hidden=64)
    return vae, ExpressionDiscriminator(features=FEATURES, hidden=64)


def expressions(count: int, seed: int) -> torch.Tensor:
    """Toy features: four numbers of expression, bent into 32, far from zero and small."""
    mix = torch.randn(2, 4, FEATURES, generator=torch.Generator().manual_seed(99))
    z = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return 5 + 0.1 * (z @ mix[0] + (z @ mix[1]).sin())


def fit(*, kl: float, adversarial: float, steps: int = 600) -> ExpressionVae:
    vae, discriminator = make()
    mine = torch.optim.Adam(vae.parameters(), 1e-3, betas=(0.5, 0.9))
    theirs = torch.optim.Adam(discriminator.parameters(), 1e-3, betas=(0.5, 0.9))
    for step in range(steps):
        feature, noise = expressions(64, step), torch.randn(64, LATENT)
        vae.follow(feature)
        terms, rebuilt = vae_losses(vae, discriminator, feature, noise)
        mine.zero_grad()
        (terms["feature"] + kl * terms["kl"] + adversarial * terms["adversarial"]).backward()
        mine.step()
        theirs.zero_grad()
        discriminator_loss(discriminator, vae.normalise(feature), rebuilt).backward()
        theirs.step()
    return vae.eval()


def spread(features: torch.Tensor) -> float:
    return float(features.var(0).sum())


def test_equation_10_gives_a_mean_and_a_positive_deviation():
    vae, _ = make()
    mean, deviation = vae.encode(torch.randn(5, FEATURES) * 100)
    assert mean.shape == deviation.shape == (5, LATENT)
    assert float(deviation.min()) > 0


def test_equation_11_moves_the_mean_by_sigma_epsilon():
    mean, deviation, noise = torch.randn(3, 2), torch.rand(3, 2), torch.randn(3, 2)
    for i in range(3):
        for j in range(2):
            z = float(mean[i, j]) + float(deviation[i, j]) * float(noise[i, j])
            assert float(reparameterise(mean, deviation, noise)[i, j]) == pytest.approx(z, rel=1e-5)


def test_the_divergence_is_the_one_of_torch_distributions():
    mean, deviation = torch.randn(6, LATENT), torch.rand(6, LATENT) + 0.1
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, deviation), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(kl_divergence(mean, deviation), expected.sum(-1).mean())
    assert float(kl_divergence(torch.zeros(1, 4), torch.ones(1, 4))) == 0


def test_equation_13_term_by_term():
    vae, discriminator = make()
    feature, noise = expressions(4, 0), torch.randn(4, LATENT)
    vae.follow(feature)
    terms, rebuilt = vae_losses(vae, discriminator, feature, noise)
    mean, deviation = vae.encode(feature)
    decoded = vae.decode(mean + deviation * noise)
    unit = vae.get_buffer("deviation")
    torch.testing.assert_close(terms["feature"], ((feature - decoded) / unit).square().sum(1).mean(), rtol=1e-3, atol=0)
    torch.testing.assert_close(terms["kl"], kl_divergence(mean, deviation))
    logits = discriminator(vae.normalise(decoded))
    torch.testing.assert_close(terms["adversarial"], (1 - logits).square().mean(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(rebuilt, vae.normalise(decoded))


def test_the_judge_does_not_teach_the_vae():
    vae, discriminator = make()
    feature = expressions(4, 0)
    _, rebuilt = vae_losses(vae, discriminator, feature, torch.randn(4, LATENT))
    discriminator_loss(discriminator, feature, rebuilt).backward()
    assert all(p.grad is None for p in vae.parameters())
    assert all(p.grad is not None for p in discriminator.parameters())


def test_the_running_mean_and_deviation_find_those_of_the_data():
    vae, _ = make()
    assert not vae.trained
    for step in range(300):
        vae.follow(expressions(64, step))
    data = expressions(4000, 1)
    torch.testing.assert_close(vae.get_buffer("mean"), data.mean(0), atol=0.05, rtol=0)
    deviation = (data - data.mean(0)).square().mean().sqrt()
    assert float(vae.get_buffer("deviation")) == pytest.approx(float(deviation), rel=0.1)
    assert vae.trained


def test_samples_are_as_varied_as_the_data_and_expressions_come_back():
    vae, data = fit(kl=1.0, adversarial=1.0), expressions(1000, 12345)
    with torch.no_grad():
        samples, rebuilt = vae.sample(1000, torch.Generator().manual_seed(0)), vae.decode(vae.encode(data)[0])
    assert 0.7 < spread(samples) / spread(data) < 1.3
    assert spread(rebuilt - data) < 0.1 * spread(data)
    torch.testing.assert_close(samples.mean(0), data.mean(0), atol=0.15, rtol=0)


def test_a_strong_divergence_collapses_without_the_adversarial_term_and_not_with_it():
    data, varied = expressions(1000, 12345), {}
    for adversarial in (0.0, 20.0):
        vae = fit(kl=12.0, adversarial=adversarial)
        with torch.no_grad():
            varied[adversarial] = spread(vae.decode(vae.encode(data)[0]))
    assert varied[0.0] < 0.15 * spread(data)
    assert varied[20.0] > 2 * varied[0.0]


def test_interpolation_begins_at_the_source_and_ends_at_the_driving():
    vae, _ = make()
    source, driving = torch.randn(2, FEATURES)
    way = vae.interpolate(source, driving, torch.linspace(0, 1, 5))
    z = vae.encode(torch.stack([source, driving]))[0]
    torch.testing.assert_close(way[[0, 4]], vae.decode(z))
    torch.testing.assert_close(way[2], vae.decode((z[0] + z[1])[None] / 2)[0])


def test_samples_repeat_with_the_seed():
    vae, _ = make()
    assert torch.equal(*(vae.sample(3, torch.Generator().manual_seed(4)) for _ in range(2)))
