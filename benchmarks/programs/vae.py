"""A variational autoencoder of 16×16 pictures of a disc; the noise of its samples comes with the batch: Adam."""

import numpy as np

BATCH, SIDE, LATENT = 32, 16, 8


def make(torch):
    """The model, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn = torch.nn

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.SiLU(),  # (N, 16, 8, 8)
                nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.SiLU(),  # (N, 32, 4, 4)
                nn.Flatten(), nn.Linear(512, 2 * LATENT),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 512), nn.SiLU(), nn.Unflatten(1, (32, 4, 4)),
                nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.SiLU(),  # (N, 16, 8, 8)
                nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),  # (N, 1, 16, 16)
            )  # fmt: skip

        def forward(self, pictures, noise):  # (N, 1, 16, 16), (N, LATENT)
            mean, log_variance = self.encoder(pictures).chunk(2, dim=1)
            return self.decoder(mean + torch.exp(log_variance / 2) * noise), mean, log_variance

    return VAE()


def batches(rng):
    """Discs of any place and size, and standard normal noise; without end."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    while True:
        y, x = rng.uniform(4, SIDE - 4, (2, BATCH, 1, 1))
        distance = np.hypot(rows - y, columns - x)
        discs = 1 / (1 + np.exp(distance - rng.uniform(2, 4, (BATCH, 1, 1))))
        yield discs[:, None], rng.normal(size=(BATCH, LATENT))


def train(torch, model, batches):
    """Train on every batch, and yield its loss: the negative evidence lower bound, in nats a pixel."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for pictures, noise in batches:
        optimizer.zero_grad()
        logits, mean, log_variance = model(pictures, noise)
        likelihood = torch.nn.functional.binary_cross_entropy_with_logits(logits, pictures, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        loss = (likelihood + divergence) / pictures.numel()
        loss.backward()
        optimizer.step()
        yield loss.item()
