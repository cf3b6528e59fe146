"""A layer that gives several things, as a module of the first."""

from torchlite import nn


class First(nn.Module):
    """A recurrent layer's outputs alone."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]
