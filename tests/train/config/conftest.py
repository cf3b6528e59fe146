"""Components and datasets with fixed signatures, so that these tests say what they depend on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from torchlite.train.config import load
from torchlite.train.config.load import Loaded, inspect_config
from torchlite.train.registry import registry


class Linear:
    inferred: ClassVar[dict[str, int]] = {"in_features": -1}

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.arguments = (in_features, out_features, bias)


class Conv2d:
    inferred: ClassVar[dict[str, int]] = {"in_channels": 1}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None: ...


class MaxPool2d:
    def __init__(self, kernel_size: int | tuple[int, int], stride: int | None = None, padding: int = 0) -> None: ...


class AdaptiveAvgPool2d:
    def __init__(self, output_size: int | tuple[int | None, int | None]) -> None: ...


class BatchNorm2d:
    inferred: ClassVar[dict[str, int]] = {"num_features": 1}

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None: ...


class Dropout:
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None: ...


class Flatten:
    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None: ...


class ReLU:
    def __init__(self, inplace: bool = False) -> None: ...


class Sequential:
    def __init__(self, *layers: Any) -> None:
        self.layers = layers


class CrossEntropyLoss:
    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None: ...


class MSELoss:
    def __init__(self, reduction: str = "mean") -> None: ...


class SGD:
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None: ...


class LBFGS:
    def __init__(self, params: Any, lr: float = 1) -> None: ...


class AdamW:
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None: ...


class Plain:
    """An optimizer without weight decay."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None: ...


class ToFloat:
    def __init__(self, scale: float = 255.0) -> None: ...


class Normalize:
    def __init__(self, mean: float | list[float], std: float | list[float]) -> None: ...


class RandomCrop:
    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None: ...


class HorizontalFlip:
    def __init__(self, p: float = 0.5) -> None: ...


class Accuracy:
    def __init__(self) -> None: ...


LAYERS = {
    one.__name__: one
    for one in (Linear, Conv2d, MaxPool2d, AdaptiveAvgPool2d, BatchNorm2d, Dropout, Flatten, ReLU, Sequential)
}
TABLES: dict[Any, Any] = {
    "layer": LAYERS,
    "loss": {"cross_entropy": CrossEntropyLoss, "mse": MSELoss},
    "optimizer": {"sgd": SGD, "adamw": AdamW, "plain": Plain, "lbfgs": LBFGS},
    "transform": {"to_float": ToFloat, "normalize": Normalize, "random_crop": RandomCrop, "hflip": HorizontalFlip},
    "metric": {"accuracy": Accuracy},
}


def _card(name: str, shape: tuple[int, ...], train: int) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        input=SimpleNamespace(shape=shape, dtype="uint8"),
        num_classes=10,
        scale=255,
        classes=tuple("0123456789"),
        splits={"train": train, "test": 1000},
        mean=(0.5,) * shape[0],
        std=(0.25,) * shape[0],
    )


CARDS = {
    card.name: card
    for card in (
        _card("digits", (1, 8, 8), 1797),
        _card("mnist", (1, 28, 28), 60_000),
        _card("fashion_mnist", (1, 28, 28), 60_000),
        _card("cifar10", (3, 32, 32), 50_000),
    )
}


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replaces the registry and the dataset catalogue by the ones above."""
    monkeypatch.setattr(load, "dataset_names", lambda: tuple(CARDS))
    monkeypatch.setattr(load, "dataset_card", CARDS.__getitem__)
    with registry.replaced(TABLES):
        yield


@pytest.fixture
def inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Loads a configuration from texts: that of ``main.yaml`` and of other files, by name."""
    monkeypatch.chdir(tmp_path)

    def load_texts(text: str, *overrides: str, **files: str) -> Loaded:
        for name, content in {"main.yaml": text, **{f"{key}.yaml": value for key, value in files.items()}}.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        return inspect_config("main.yaml", overrides)

    return load_texts
