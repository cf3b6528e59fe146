"""The training step of digits_gan.yaml."""

from typing import Any

import torchlite as torch
from torchlite.nn.functional import binary_cross_entropy_with_logits as loss_of


class GanStep:
    """One step of the discriminator on real and made digits, then one of the generator against it."""

    def __init__(self, noise: int = 32) -> None:
        self.noise = noise

    def __call__(self, context: Any, batch: Any) -> dict[str, float]:
        """The losses of both."""
        real, _ = batch
        generator, discriminator = context.models["G"], context.models["D"]
        ones, zeros = real.new_ones(len(real), 1), real.new_zeros(len(real), 1)
        made = generator(torch.randn(len(real), self.noise, device=context.device))

        context.optimizers["D"].zero_grad()
        loss_d = loss_of(discriminator(real), ones) + loss_of(discriminator(made.detach()), zeros)
        loss_d.backward()
        context.optimizers["D"].step()

        context.optimizers["G"].zero_grad()
        loss_g = loss_of(discriminator(made), ones)
        loss_g.backward()
        context.optimizers["G"].step()
        return {"loss_g": loss_g.item(), "loss_d": loss_d.item()}
