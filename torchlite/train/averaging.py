"""The moving average of the weights, ``train.ema``: what is evaluated, kept as best and exported."""

from __future__ import annotations

from typing import Any

from torchlite import backends, nn
from torchlite.ops.exchange import from_numpy
from torchlite.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """mean ← decay · mean + (1 - decay) · weight after every step, from the first step's weights on."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def model(self) -> nn.Module:
        """The model with the averages, and with the buffers that the trained one had at the last step."""
        return self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step."""
        self._averaged.update_parameters(model)

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {name: backends.to_numpy(x._data) for name, x in self._averaged.state_dict().items()}

    def restore(self, arrays: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._averaged.load_state_dict({name: from_numpy(array) for name, array in arrays.items()})
