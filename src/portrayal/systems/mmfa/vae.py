"""The latent space of expressions (Sec. 3.3): a VAE of the feature f_delta, equations 10 to 13.

The paper gives no layers: E_f and G_f are fully connected here. It does not say what L_Adv is either; Tang et al. 2022,
which it cites, judge with a discriminator. Ours is a small fully connected one on features, trained with least squares
like the picture discriminator (A.2): it sees f_delta as real and the reconstruction as fake. An average expression
decoded from every z is then recognised at once, which is what keeps the VAE from collapsing.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from portrayal.systems.mmfa.losses import discriminator_adversarial, generator_adversarial

MOMENTUM = 0.02
"""Of the running mean and deviation of the features."""


class ExpressionVae(nn.Module):
    """E_f and G_f. Features enter and leave in the expression encoder's own units."""

    def __init__(self, *, features: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.encoder = fully_connected(features, hidden, 2 * latent)
        self.decoder = fully_connected(latent, hidden, features)
        self.latent = latent
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @property
    def trained(self) -> bool:
        """The stage `vae` has been here; before, samples mean nothing."""
        return int(self.get_buffer("steps")) > 0

    def encode(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Equation 10: mu and sigma <- E_f(f), (b, features) to twice (b, latent)."""
        mean, log_variance = self.encoder(self.normalise(feature)).chunk(2, -1)
        return mean, (0.5 * log_variance.clamp(-20, 10)).exp()

    def decode(self, z: Tensor) -> Tensor:
        """Equation 12: f = G_f(z), (b, latent) to (b, features)."""
        return self.decoder(z) * self.get_buffer("deviation") + self.get_buffer("mean")

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """`count` features (count, features) of z ~ N(0, I): expressions that nobody made."""
        device = self.get_buffer("mean").device
        z = torch.randn(count, self.latent, generator=generator, device=generator.device if generator else device)
        return self.decode(z.to(device))

    def interpolate(self, source: Tensor, driving: Tensor, weights: Tensor) -> Tensor:
        """Features on the way z_S + w d, d = z_D - z_S (Fig. 8), with z the mean of equation 10.

        Args:
            source, driving: (features,). weights: (n,), 0 is the source's expression and 1 the driving's.

        Returns:
            (n, features).
        """
        z_source, z_driving = self.encode(torch.stack([source, driving]))[0]
        return self.decode(z_source + weights[:, None] * (z_driving - z_source))

    def normalise(self, feature: Tensor) -> Tensor:
        """Zero mean, and unit deviation over all numbers together: the paper leaves the features' scale open."""
        return (feature - self.get_buffer("mean")) / self.get_buffer("deviation")

    @torch.no_grad()
    def follow(self, feature: Tensor) -> None:
        """Take a training batch (b, features) into the running mean and deviation."""
        mean, deviation, steps = (self.get_buffer(name) for name in ("mean", "deviation", "steps"))
        share = max(MOMENTUM, 1 / (1 + int(steps)))
        mean.lerp_(feature.mean(0), share)
        deviation.lerp_((feature - mean).square().mean().sqrt().clamp_min(1e-6), share)
        steps += 1


class ExpressionDiscriminator(nn.Module):
    """Is it a feature of a real face, or one that G_f made? The judge of L_Adv."""

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = fully_connected(features, hidden, 1)

    def forward(self, feature: Tensor) -> Tensor:
        """(b, features), normalised, to logits (b, 1)."""
        return self.layers(feature)


def fully_connected(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
        nn.Linear(hidden, outputs),
    )  # fmt: skip


def reparameterise(mean: Tensor, deviation: Tensor, noise: Tensor) -> Tensor:
    """Equation 11: z = mu + sigma * epsilon."""
    return mean + deviation * noise


def kl_divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """KL(N(mu, sigma) || N(0, I)), summed over the latent numbers (b, latent), the mean over the batch."""
    return 0.5 * (mean.square() + deviation.square() - 1 - 2 * deviation.log()).sum(-1).mean()


def vae_losses(
    vae: ExpressionVae, discriminator: ExpressionDiscriminator, feature: Tensor, noise: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """The three terms of equation 13, unweighted.

    Args:
        feature: f_delta, (b, features). noise: epsilon, (b, latent).

    Returns:
        feature: |f - G_f(z)|^2 in units of the features' deviation, summed over their numbers; kl; adversarial. And the
        reconstruction (b, features), normalised, for the discriminator's own step.
    """
    mean, deviation = vae.encode(feature)
    rebuilt = vae.normalise(vae.decode(reparameterise(mean, deviation, noise)))
    terms = {
        "feature": (vae.normalise(feature) - rebuilt).square().sum(-1).mean(),
        "kl": kl_divergence(mean, deviation),
        "adversarial": generator_adversarial([discriminator(rebuilt)]),
    }
    return terms, rebuilt


def discriminator_loss(discriminator: ExpressionDiscriminator, feature: Tensor, rebuilt: Tensor) -> Tensor:
    """What the discriminator minimises; both (b, features), normalised."""
    return discriminator_adversarial([discriminator(feature)], [discriminator(rebuilt.detach())])
