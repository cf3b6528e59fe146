"""``train.precision``: what forward computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torchlite import amp, dtypes
from torchlite.autocasting import shapes_standing_for
from torchlite.devices import CPU, META, Device

_HALVES = {"bf16": dtypes.bfloat16, "fp16": dtypes.float16}


def mixed(precision: str, device: Device) -> amp.autocast:
    """The context of forward and loss: parameters stay in float32, products are computed in a half type unless fp32."""
    return amp.autocast(device.type, _HALVES.get(precision), enabled=precision in _HALVES)


@contextmanager
def mixed_on_shapes(precision: str) -> Iterator[None]:
    """The same for tensors without data: shapes, dtypes and sizes come out as they would on a CPU."""
    with META, shapes_standing_for("cpu"), mixed(precision, CPU):
        yield


def scaler_for(precision: str, device: Device) -> amp.GradScaler:
    """What keeps gradients from vanishing: float16 has 5 bits of exponent, bfloat16 as many as float32."""
    return amp.GradScaler(device.type, enabled=precision == "fp16")
