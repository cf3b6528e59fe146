"""The dataset catalogue: one card a dataset, readers by format, and a loader that verifies what it reads.

>>> from torchlite import datasets
>>> datasets.names()
('cifar10', 'digits', 'fashion_mnist', 'mnist', 'tones')
>>> datasets.card("digits").input.shape
(1, 8, 8)
>>> datasets.load("digits", "test").inputs.shape
(360, 1, 8, 8)

Names are loaded on first use, so that reading a card does not import NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchlite.datasets.arrays import Arrays, fingerprint
    from torchlite.datasets.catalogue import ArraySpec, Card, File, Unpacked, card, names
    from torchlite.datasets.loading import load

_HOMES = {
    "ArraySpec": "catalogue",
    "Arrays": "arrays",
    "Card": "catalogue",
    "File": "catalogue",
    "Unpacked": "catalogue",
    "card": "catalogue",
    "fingerprint": "arrays",
    "load": "loading",
    "names": "catalogue",
}

__all__ = ["ArraySpec", "Arrays", "Card", "File", "Unpacked", "card", "fingerprint", "load", "names"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
