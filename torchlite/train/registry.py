"""The components that a configuration can name: kind, name, class; found lazily.

A table says where each kind lives; the module is imported when a name is first looked up, so that nothing
here costs the command line its start.
"""

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

Kind = Literal["layer", "loss", "optimizer", "transform", "metric", "step", "callback", "logger", "initializer"]

LOSSES = {
    "cross_entropy": "CrossEntropyLoss",
    "nll": "NLLLoss",
    "multi_margin": "MultiMarginLoss",
    "bce": "BCELoss",
    "bce_with_logits": "BCEWithLogitsLoss",
    "multilabel_margin": "MultiLabelMarginLoss",
    "multilabel_soft_margin": "MultiLabelSoftMarginLoss",
    "soft_margin": "SoftMarginLoss",
    "hinge_embedding": "HingeEmbeddingLoss",
    "mse": "MSELoss",
    "l1": "L1Loss",
    "smooth_l1": "SmoothL1Loss",
    "huber": "HuberLoss",
    "poisson_nll": "PoissonNLLLoss",
    "kl_div": "KLDivLoss",
}
OPTIMIZERS = {
    name.lower(): name
    for name in (
        *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam"),
        *("RMSprop", "Rprop", "SGD"),
    )
}
INITIALIZERS = {
    name: f"{name}_"
    for name in (
        *("constant", "dirac", "eye", "kaiming_normal", "kaiming_uniform", "normal", "ones", "orthogonal", "sparse"),
        *("trunc_normal", "uniform", "xavier_normal", "xavier_uniform", "zeros"),
    )
}
METRICS = {
    "accuracy": "Accuracy",
    "top_k": "TopK",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "iou": "IoU",
    "confusion_matrix": "ConfusionMatrix",
    "roc_auc": "RocAuc",
    "average_precision": "AveragePrecision",
    "brier": "Brier",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "perplexity": "Perplexity",
    "bits_per_character": "BitsPerCharacter",
    "mean_average_precision": "MeanAveragePrecision",
}

METRIC_DIRECTIONS: dict[str, Literal["min", "max"]] = {
    **dict.fromkeys(METRICS, "max"),
    **dict.fromkeys(("loss", "mse", "rmse", "mae", "perplexity", "bits_per_character", "brier"), "min"),
}
"""Which way a monitored value improves."""
del METRIC_DIRECTIONS["confusion_matrix"]

WORDS: dict[Kind, dict[str, str]] = {
    "loss": {
        "bce_logits": "bce_with_logits",
        "binary_cross_entropy": "bce",
        "ce": "cross_entropy",
        "softmax_cross_entropy": "cross_entropy",
        "kl": "kl_div",
        "mean_squared_error": "mse",
        "mae": "l1",
    },
    "metric": {"acc": "accuracy", "bits_per_char": "bits_per_character", "bpc": "bits_per_character", "auc": "roc_auc"},
    "initializer": {
        "kaiming": "kaiming_normal",
        "he": "kaiming_normal",
        "xavier": "xavier_uniform",
        "glorot": "xavier_uniform",
    },
    "transform": {
        "random_flip": "hflip",
        "horizontal_flip": "hflip",
        "totensor": "to_float",
        "mel_spectrogram": "log_mel",
    },
    "layer": {"GlobalAveragePooling2D": "GlobalAvgPool2d", "Dense": "Linear", "Conv2D": "Conv2d", "MLP": "tabular_mlp"},
}
"""Words of other tools for the components here, for suggestions."""

ARGUMENT_WORDS = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "epsilon": "eps",
    "units": "out_features",
    "filters": "out_channels",
    "strides": "stride",
    "rate": "p",
    "prob": "p",
    "probability": "p",
}
"""Words of other tools for arguments of components, for suggestions."""

ALWAYS = {"csv": "metrics.csv is always written", "jsonl": "metrics.jsonl is always written"}
"""Loggers of other tools that need no naming here."""

_NO_LAYERS = frozenset(
    {"Module", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "RNNBase", "RNNCellBase"}
    | {"AdaptiveLogSoftmaxWithLoss"}  # it takes the targets too
)

_SUPPLIED: dict[Kind, frozenset[str]] = {
    "layer": frozenset({"device", "dtype"}),
    "initializer": frozenset({"tensor", "generator"}),
    "optimizer": frozenset({"params", "foreach", "fused", "capturable", "differentiable"}),
}
"""Arguments that are no matter of the configuration: the training itself passes them, or does without."""

FROM_DATA = frozenset({"num_embeddings", "vocab_size"})
"""Arguments of layers that the dataset decides: how many different tokens it has."""

_LENGTHS = int | tuple[int, ...]
_SIZES: dict[str, Any] = {
    "kernel_size": _LENGTHS,
    "stride": _LENGTHS | None,
    "padding": _LENGTHS | str,
    "dilation": _LENGTHS,
    "output_size": int | tuple[int | None, ...] | None,
}
"""Types of the arguments that layers leave open, because PyTorch lets one number stand for all dimensions."""


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from `low` to `high`; without `low` itself where `open_low`."""

    low: float
    high: float = float("inf")
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the range; NaN does not."""
        return (self.low < value if self.open_low else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.low == float("-inf"):
            return f"at most {self.high:g}"
        if self.high == float("inf"):
            return f"{'greater than' if self.open_low else 'at least'} {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


_COUNT, _NOT_NEGATIVE, _POSITIVE, _FRACTION = Range(1), Range(0), Range(0, open_low=True), Range(0, 1)

RANGES: dict[Kind, dict[str, Range]] = {
    "layer": {
        **dict.fromkeys(("in_features", "out_features", "in_channels", "out_channels", "groups"), _COUNT),
        **dict.fromkeys(("kernel_size", "stride", "dilation", "num_features", "normalized_shape"), _COUNT),
        **dict.fromkeys(("num_embeddings", "embedding_dim", "embed_dim", "d_model", "dim_feedforward"), _COUNT),
        **dict.fromkeys(("input_size", "hidden_size", "num_layers", "num_heads", "nhead", "num_channels"), _COUNT),
        **dict.fromkeys(("num_groups", "num_encoder_layers", "num_decoder_layers", "length"), _COUNT),
        **dict.fromkeys(("vocab_size", "context", "layers", "heads", "hidden", "num_classes"), _COUNT),
        "proj_size": _NOT_NEGATIVE,
        "p": _FRACTION,
        "dropout": _FRACTION,
        "eps": _FRACTION,
    },
    "loss": {"label_smoothing": _FRACTION, "alpha": _FRACTION, "temperature": _POSITIVE},
    "optimizer": {
        "lr": _POSITIVE,
        "betas": Range(0, 1),
        "eps": _NOT_NEGATIVE,
        "d": _COUNT,
        "rho": _FRACTION,
        "beta2_decay": Range(float("-inf"), 0),
        **dict.fromkeys(("etas", "step_sizes"), _POSITIVE),
        **dict.fromkeys(("momentum", "weight_decay", "momentum_decay", "lr_decay", "alpha"), _NOT_NEGATIVE),
        **dict.fromkeys(("initial_accumulator_value", "tolerance_grad", "tolerance_change"), _NOT_NEGATIVE),
        **dict.fromkeys(("max_iter", "max_eval", "history_size"), _COUNT),
        "ns_steps": Range(1, 99),
    },
    "transform": {
        "p": _FRACTION,
        "padding": _NOT_NEGATIVE,
        "most": _NOT_NEGATIVE,
        **dict.fromkeys(("sample_rate", "n_fft", "hop", "mels"), _COUNT),
        **dict.fromkeys(("freq", "time"), _NOT_NEGATIVE),
        **dict.fromkeys(("brightness", "contrast", "saturation"), _FRACTION),
    },
    "metric": {"k": _COUNT, "max_detections": _COUNT, "thresholds": _FRACTION},
    "step": {},
    "logger": {"every": _COUNT},
    "initializer": {"std": _NOT_NEGATIVE, "gain": _POSITIVE, "sparsity": _FRACTION, "groups": _COUNT},
    "callback": {"n": _COUNT, "tokens": _COUNT, "columns": _COUNT, "temperature": _POSITIVE},
}
"""The values that arguments may take, by kind and name; a list is checked item by item."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a component; `annotation` is `Any` where nothing is known of its type.

    `holds` says that the argument is itself a layer, a list of layers, or a list of such lists ("paths"); a value of
    its type may stand in their place.
    """

    name: str
    required: bool
    annotation: Any = Any
    positional: bool = True
    holds: Literal["value", "layer", "layers", "paths"] = "value"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a component takes.

    `inferred` are the arguments that come from the component's input: they may be left out, and positional
    arguments skip them. `takes_layers` says that its positional arguments are layers (Sequential).
    """

    parameters: tuple[Parameter, ...]
    inferred: frozenset[str] = frozenset()
    takes_layers: bool = False
    takes_any_keyword: bool = False

    def find(self, name: str) -> Parameter | None:
        """The parameter called `name`, or None."""
        return next((one for one in self.parameters if one.name == name), None)

    @property
    def first_list(self) -> Parameter | None:
        """The first parameter, where a plain list in place of the arguments stands for it because it holds layers."""
        first = self.parameters[0] if self.parameters else None
        return first if first is not None and first.holds in ("layers", "paths") else None


def _layers() -> dict[str, Callable[..., Any]]:
    nn = importlib.import_module("torchlite.nn")
    module = getattr(nn, "Module", None)
    if module is None:
        return {}
    modules = {
        name: value
        for name, value in vars(nn).items()
        if isinstance(value, type)
        and issubclass(value, module)
        and name not in _NO_LAYERS
        and not name.startswith(("_", "Lazy"))  # sizes are inferred for every layer here
        and not name.endswith("Loss")
    }
    own = importlib.import_module("torchlite.train.layers").LAYERS
    return modules | own | importlib.import_module("torchlite.train.architectures").ARCHITECTURES


def _named(module_name: str, table: dict[str, str]) -> dict[str, Callable[..., Any]]:
    module = importlib.import_module(module_name)
    return {name: found for name, attribute in table.items() if (found := getattr(module, attribute, None))}


def _table(module_name: str, attribute: str) -> dict[str, Callable[..., Any]]:
    return dict(getattr(importlib.import_module(module_name), attribute))


_LOADERS: dict[Kind, Callable[[], dict[str, Callable[..., Any]]]] = {
    "layer": _layers,
    "loss": lambda: _named("torchlite.nn", LOSSES) | _table("torchlite.train.losses", "LOSSES"),
    "optimizer": lambda: _named("torchlite.optim", OPTIMIZERS),
    "transform": lambda: (
        _table("torchlite.vision.transforms", "TRANSFORMS") | _table("torchlite.audio.transforms", "TRANSFORMS")
    ),
    "metric": lambda: _named("torchlite.train.metrics", METRICS),
    "step": dict,
    "callback": lambda: _table("torchlite.train.callbacks", "CALLBACKS"),
    "logger": lambda: _table("torchlite.train.loggers", "LOGGERS"),
    "initializer": lambda: _named("torchlite.nn.init", INITIALIZERS),
}


@dataclass
class Registry:
    """Looks components up; `tables` holds the kinds found so far."""

    tables: dict[Kind, Mapping[str, Callable[..., Any]]] = field(default_factory=dict)

    def table(self, kind: Kind) -> Mapping[str, Callable[..., Any]]:
        """Every component of a kind, by name."""
        if kind not in self.tables:
            self.tables[kind] = _LOADERS[kind]()
        return self.tables[kind]

    def find(self, kind: Kind, name: str) -> Callable[..., Any] | None:
        """The class called `name`, or None."""
        return self.table(kind).get(name)

    def names(self, kind: Kind) -> list[str]:
        """The names of a kind, sorted."""
        return sorted(self.table(kind))

    @contextmanager
    def replaced(self, tables: Mapping[Kind, Mapping[str, Callable[..., Any]]]) -> Iterator[None]:
        """Within the context the kinds in `tables` hold these components instead of their own."""
        before = dict(self.tables)
        self.tables.update(tables)
        try:
            yield
        finally:
            self.tables.clear()
            self.tables.update(before)


registry = Registry()
"""The registry of this process."""


def signature(kind: Kind, component: Callable[..., Any]) -> Signature:
    """What `component` takes from a configuration: its own arguments less those that training supplies."""
    return _signature(kind, component)


@cache
def _signature(kind: Kind, component: Callable[..., Any]) -> Signature:
    called = component.__init__ if isinstance(component, type) else component  # type: ignore[misc]
    try:
        annotations = typing.get_type_hints(called)
    except (NameError, TypeError, AttributeError):
        annotations = {}
    parameters = []
    takes_many = takes_any_keyword = False
    for parameter in inspect.signature(component).parameters.values():
        required = parameter.default is inspect.Parameter.empty
        written = annotations.get(parameter.name, Any)
        annotation, holds = _plain_part(written), _holds(written)
        if annotation is Any and kind == "layer":
            annotation = _SIZES.get(parameter.name, Any)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            takes_many = True
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_any_keyword = True
        elif parameter.name not in _SUPPLIED.get(kind, ()) and (
            required or annotation is not typing.Never or holds != "value"
        ):
            positional = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            parameters.append(Parameter(parameter.name, required, annotation, positional, holds))
    return Signature(
        tuple(parameters),
        frozenset(getattr(component, "inferred", ())) | ({one.name for one in parameters} & FROM_DATA),
        takes_layers=kind == "layer" and takes_many and not takes_any_keyword,
        takes_any_keyword=takes_any_keyword,
    )


def _holds(annotation: Any) -> Literal["value", "layer", "layers", "paths"]:
    """What a type says that an argument holds."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((found for part in parts if (found := _holds(part)) != "value"), "value")
    if typing.get_origin(annotation) is list and _holds(parts[0]) == "layers":
        return "paths"
    if isinstance(annotation, type) and hasattr(annotation, "named_parameters"):
        return "layers" if getattr(annotation, "is_layer_list", False) else "layer"
    return "value"


_PLAIN = frozenset({Any, None, type(None), bool, int, float, str, list, tuple, dict, Sequence, ...})


def _plain_part(annotation: Any) -> Any:
    """The part of a type whose values can be written in a configuration: a tensor, say, cannot."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return annotation
    if origin is None:
        return annotation if isinstance(annotation, Hashable) and annotation in _PLAIN else typing.Never
    parts = tuple(_plain_part(one) for one in inner)
    if origin in (typing.Union, types.UnionType):
        kept = tuple(part for part in parts if part is not typing.Never)
        return typing.Never if set(kept) <= {type(None)} else typing.Union[kept]  # noqa: UP007 - of any number
    return origin[parts] if origin in _PLAIN and typing.Never not in parts else typing.Never
