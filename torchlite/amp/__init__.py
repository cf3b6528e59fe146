"""Mixed precision: products in a half type, sums and losses in float32, and a loss scaled so that gradients survive.

>>> import torchlite as torch
>>> model, x = torch.nn.Linear(3, 2), torch.ones(4, 3)
>>> with torch.autocast("cpu", dtype=torch.bfloat16):
...     y = model(x)
>>> y.dtype, model.weight.dtype
(torch.bfloat16, torch.float32)
"""

from torchlite.amp.autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from torchlite.amp.grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
