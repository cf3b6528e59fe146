"""A DCGAN of 32×32 pictures of a disc: generator and discriminator with an optimizer each (Adam)."""

import numpy as np

BATCH, SIDE, LATENT, WIDTH = 16, 32, 32, 16


def make(torch):
    """The models, with the modules of ``torch``: PyTorch, or torchlite under that name."""
    nn = torch.nn

    def up(inputs, outputs, stride, padding):
        return nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)

    def down(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)

    generator = nn.Sequential(
        up(LATENT, 4 * WIDTH, 1, 0), nn.BatchNorm2d(4 * WIDTH), nn.ReLU(True),  # (N, 64, 4, 4)
        up(4 * WIDTH, 2 * WIDTH, 2, 1), nn.BatchNorm2d(2 * WIDTH), nn.ReLU(True),  # (N, 32, 8, 8)
        up(2 * WIDTH, WIDTH, 2, 1), nn.BatchNorm2d(WIDTH), nn.ReLU(True),  # (N, 16, 16, 16)
        up(WIDTH, 1, 2, 1), nn.Tanh(),  # (N, 1, 32, 32)
    )  # fmt: skip
    discriminator = nn.Sequential(
        down(1, WIDTH), nn.LeakyReLU(0.2, True),  # (N, 16, 16, 16)
        down(WIDTH, 2 * WIDTH), nn.BatchNorm2d(2 * WIDTH), nn.LeakyReLU(0.2, True),  # (N, 32, 8, 8)
        down(2 * WIDTH, 4 * WIDTH), nn.BatchNorm2d(4 * WIDTH), nn.LeakyReLU(0.2, True),  # (N, 64, 4, 4)
        nn.Conv2d(4 * WIDTH, 1, 4, bias=False), nn.Flatten(0),  # (N)
    )  # fmt: skip

    def initialise(module):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)

    return nn.ModuleDict({"generator": generator, "discriminator": discriminator}).apply(initialise)


def batches(rng):
    """Discs of any place and size from -1 to 1, and standard normal noise; without end."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    while True:
        y, x = rng.uniform(8, SIDE - 8, (2, BATCH, 1, 1))
        distance = np.hypot(rows - y, columns - x)
        yield np.tanh(rng.uniform(4, 8, (BATCH, 1, 1)) - distance)[:, None], rng.normal(size=(BATCH, LATENT, 1, 1))


def train(torch, model, batches):
    """Train on every batch, and yield the losses of discriminator and generator."""
    generator, discriminator = model["generator"], model["discriminator"]
    of_g, of_d = (torch.optim.Adam(m.parameters(), lr=5e-5, betas=(0.5, 0.999)) for m in (generator, discriminator))
    criterion = torch.nn.BCEWithLogitsLoss()
    for real, noise in batches:
        of_d.zero_grad()
        fake = generator(noise)
        ones, zeros = torch.ones_like(real[:, 0, 0, 0]), torch.zeros_like(real[:, 0, 0, 0])
        loss_d = criterion(discriminator(real), ones) + criterion(discriminator(fake.detach()), zeros)
        loss_d.backward()
        of_d.step()

        of_g.zero_grad()
        loss_g = criterion(discriminator(fake), ones)
        loss_g.backward()
        of_g.step()
        yield loss_d.item(), loss_g.item()
