"""`GradScaler`: a loss multiplied so that small gradients survive in float16, and steps with infinite ones left out."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from torchlite import backends, dtypes
from torchlite._tensor import Tensor
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.arithmetic import mul
from torchlite.ops.construct import constant
from torchlite.ops.creation import tensor
from torchlite.tracing import valid

_HALVES = (dtypes.float16, dtypes.bfloat16)


class OptState(Enum):
    """How far an optimizer is since the last `GradScaler.update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


@dataclass
class _OfOptimizer:
    """What is known of an optimizer in this iteration; ``finite`` is None where it had no gradient at all."""

    stage: OptState = OptState.READY
    finite: bool | None = None


class GradScaler:
    """Multiplies the loss by a factor, takes it out of the gradients again, and skips steps whose gradients overflowed.

    After a skipped step the factor is multiplied by ``backoff_factor``, after ``growth_interval`` steps in a row that
    were not skipped by ``growth_factor``.

    Args:
        device: "cuda" or "cpu"; where there is no CUDA, the first disables the scaler with a warning.
        init_scale: the first factor.
        growth_factor: more than 1.
        backoff_factor: less than 1.
        growth_interval: in steps.
        enabled: False makes `step` the optimizer's own and everything else do nothing.

    >>> import torchlite as torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    >>> scaler.scale(model(torch.ones(4, 2)).sum()).backward()
    >>> _ = model.weight.grad.fill_(torch.inf)
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale()
    512.0
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        if enabled and device == "cuda" and not backends.cuda_device_count():
            warnings.warn("GradScaler for 'cuda' is enabled, but CUDA is not available. Disabling.", stacklevel=2)
            enabled = False
        _require(growth_factor > 1.0, "The growth factor must be > 1.0.")
        _require(backoff_factor < 1.0, "The backoff factor must be < 1.0.")
        self._enabled = enabled
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._scale: Tensor | None = None  # a factor in float32, from the first call of `scale` on
        self._optimizers: defaultdict[int, _OfOptimizer] = defaultdict(_OfOptimizer)

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each of several, multiplied by the factor; what backward begins with.

        Raises:
            ValueError: for anything else.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = tensor(self._init_scale, dtype=dtypes.float32)
            if outputs.dtype not in _HALVES:
                return outputs * self._scale
            return (outputs.to(dtypes.float32) * self._scale).to(outputs.dtype)  # the factor may be beyond float16
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    @no_grad()
    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the factor, so that they can be clipped before `step`.

        Raises:
            RuntimeError: when this or `step` was called for the optimizer since the last `update`.
            ValueError: for float16 gradients, which belong to float16 parameters.
        """
        if not self._enabled:
            return
        factor = self._factor("unscale_")
        state = self._optimizers[id(optimizer)]
        if state.stage is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state.stage is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = constant(1.0 / factor.item(), np.dtype(np.float32))
        finite: dict[Any, Tensor] = {}
        for group in optimizer.param_groups:
            for param in group["params"]:
                grad = param.grad
                if grad is None:
                    continue
                if grad.dtype is dtypes.float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                here = grad.isfinite().all()
                finite[grad.device] = here if grad.device not in finite else finite[grad.device] & here
                mul(grad, inverse, out=grad)
        state.finite = (
            all(map(valid, finite.values())) if finite else None
        )  # a captured step with others is run uncompiled
        state.stage = OptState.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`unscale_`, unless that is done, and ``optimizer.step(*args, **kwargs)`` where all gradients are finite.

        Returns:
            what the optimizer returns; None where the step was skipped.

        Raises:
            RuntimeError: for a closure, and for a second step without `update`.
            AssertionError: when no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        state = self._optimizers[id(optimizer)]
        if state.stage is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state.stage is OptState.READY:
            self.unscale_(optimizer)
        _require(state.finite is not None, "No inf checks were recorded for this optimizer.")
        result = optimizer.step(*args, **kwargs) if state.finite else None
        state.stage = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """End the iteration: shrink the factor if a step was skipped, grow it if none was for long.

        Args:
            new_scale: the factor from now on, instead.

        Raises:
            AssertionError: when nothing was scaled or no optimizer stepped, and for a ``new_scale`` that is no factor.
        """
        if not self._enabled:
            return
        scale = self._factor("update")
        if new_scale is None:
            checks = [state.finite for state in self._optimizers.values() if state.finite is not None]
            _require(bool(checks), "No inf checks were recorded prior to update.")
            self._adapt(scale, all(checks))
        else:
            if isinstance(new_scale, Tensor):
                fits = new_scale.device.type == self._device and new_scale.numel() == 1 and not new_scale.requires_grad
                _require(
                    fits,
                    f"new_scale should be a float or a 1-element Tensor on {self._device} with requires_grad=False.",
                )
            scale.fill_(float(new_scale))
        self._optimizers.clear()

    def _adapt(self, scale: Tensor, finite: bool) -> None:
        if not finite:
            scale.fill_(scale.item() * self._backoff_factor)
            self._growth_tracker = 0
            return
        self._growth_tracker += 1
        if self._growth_tracker == self._growth_interval:
            if valid((scale * self._growth_factor).isfinite()):
                scale.fill_(scale.item() * self._growth_factor)
            self._growth_tracker = 0

    def _changing_numbers(self) -> list[tuple[dict[str, Any], Any]]:
        """For a captured step: where Python numbers are that change from step to step."""
        return [(vars(self), None)]

    def _factor(self, function: str) -> Tensor:
        _require(
            self._scale is not None,
            f"Attempted {function} but _scale is None.  This may indicate your script did not use scaler.scale(loss or "
            "outputs) earlier in the iteration.",
        )
        return self._scale  # type: ignore[return-value]

    def get_scale(self) -> float:
        """The factor; 1 where the scaler is disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """By what the factor grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by what the factor grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By what the factor shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by what the factor shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps in a row the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many steps in a row the factor grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """All that the scaler must know to go on; empty where it is disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            RuntimeError: for the empty state of a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]

    def __getstate__(self) -> dict[str, Any]:
        _require(
            not self._enabled or not self._optimizers,
            "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
            "scaler.update().",
        )
        return self.__dict__


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)  # PyTorch's type for misuse of this class
