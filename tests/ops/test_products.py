"""Which kernel computes a product follows from what arrays hold, not from the objects that describe it."""

import numpy as np

import torchlite as torch
from torchlite.backends import native
from torchlite.ops import contraction


def test_what_came_from_another_process_is_multiplied_by_the_same_kernel(monkeypatch):
    """An unpickled array has a dtype that is equal to NumPy's own but another object."""
    asked = []
    kernel = native.kernel
    monkeypatch.setattr(native, "kernel", lambda name: asked.append(name) or kernel(name))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((10, 256)).astype(np.float32), rng.standard_normal((256, 256)).astype(np.float32)
    received = x.view(np.dtype(np.float32, copy=True))
    assert received.dtype is not y.dtype
    assert x.size * y.shape[1] >= contraction._LARGE
    results = [torch.matmul(torch.from_numpy(a), torch.from_numpy(y)).numpy() for a in (x, received)]
    assert asked == ["products.matmul"] * 2
    assert results[0].tobytes() == results[1].tobytes()
