"""The sections of a configuration, their keys, types, ranges and defaults; pydantic models, one a section."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PrivateAttr
from pydantic_core import PydanticCustomError

from torchlite.train.config.components import Component
from torchlite.train.config.document import Mapping, Node, Sequence
from torchlite.train.config.location import Location
from torchlite.train.config.parts import UNITS, Duration, Mode, Of, Period, Section, Time
from torchlite.train.config.schedules import ConstantSchedule, Schedule
from torchlite.train.config.search import Sweep

_DEVICE = re.compile(r"(cpu|auto|cuda(:[0-9]+)?)\Z")


def _device(text: str) -> str:
    if _DEVICE.match(text):
        return text
    hint = "did you mean 'cuda'?" if text.casefold() in ("gpu", "nvidia", "cude") else None
    raise PydanticCustomError("device", "must be cpu, cuda, cuda:N or auto", {"hint": hint or ""})


class Split(Section):
    """How the training data is divided."""

    val: float | None = Field(
        default=None, gt=0, lt=1, description="Fraction of the training split held out for validation."
    )
    seed: int | None = Field(default=None, ge=0, description="Seed of the division; the run's seed where unset.")
    by: Literal["random", "position"] = Field(
        default="random", description="Which samples are held out: random ones, or the last, as of a text or a series."
    )
    stratify: bool = Field(default=False, description="Whether every class has the same share of the held out samples.")


class Transforms(Section):
    """What is done to a sample; a plain list stands for both training and evaluation."""

    from_list: ClassVar[tuple[str, ...]] = ("train", "eval")

    train: list[Annotated[Component, Of("transform")]] = Field(
        default=[], description="Transforms of training samples, in order."
    )
    eval: list[Annotated[Component, Of("transform")]] = Field(
        default=[], description="Transforms of validation and test samples, in order."
    )


class Mix(Section):
    """Training samples mixed with others of their batch, and their targets with them."""

    mixup: float | None = Field(
        default=None,
        gt=0,
        description="Mixup: both samples are added, with weights of the Beta distribution of this parameter.",
    )
    cutmix: float | None = Field(
        default=None,
        gt=0,
        description="CutMix: a rectangle of one image lies on the other; its share of the area likewise.",
    )
    p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the batches that are mixed; with both ways half of these in each.",
    )


class Data(Section):
    """The dataset and how batches are made of it."""

    type: str = Field(description="Name of a dataset in the catalogue, e.g. digits or fashion_mnist.")
    root: str | None = Field(
        default=None,
        min_length=1,
        description="Folder that holds the dataset's files; the catalogue's places where unset.",
    )
    split: Split = Field(default=Split(), description="Division of the training data.")
    batch_size: int = Field(ge=1, description="Samples in a training batch.")
    workers: int = Field(
        default=0, ge=0, le=1024, description="Worker processes that load batches; 0 loads in the main one."
    )
    transforms: Transforms = Field(default=Transforms(), description="What is done to the samples.")
    mix: Mix | None = Field(default=None, description="Mixup and CutMix of training batches; off where unset.")
    download: bool = Field(default=True, description="Whether missing files may be downloaded.")
    drop_last: bool = Field(default=False, description="Whether a last, smaller training batch is left out.")

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split: a part of the training data, or files of its own."""
        return self.split.val is not None or bool(getattr(self, "val", None))


class Initial(Section):
    """Initial values of some parameters."""

    match: str | None = Field(
        default=None,
        min_length=1,
        description="Pattern of the parameters' names; weights of two dimensions or more where unset.",
    )
    component: Annotated[Component, Of("initializer")] = Field(exclude=True, description="The initializer.")


class Model(Section):
    """The network: a list of layers, or one class with its arguments."""

    layers: list[Annotated[Component, Of("layer")]] | None = Field(
        default=None, description="Layers applied in order; input sizes are inferred."
    )
    input: list[int] | None = Field(
        default=None, description="Shape of one sample that the model takes; that of the data where unset."
    )
    init: list[Initial] = Field(
        default=[],
        description="Initial values instead of those of the layers: an initializer, or a list of them, each with a `match`.",
    )
    component: Annotated[Component, Of("layer")] | None = Field(
        default=None, exclude=True, description="The class named by `type`, with its arguments."
    )

    @property
    def components(self) -> list[Component]:
        """The layers, or the one class."""
        return self.layers if self.layers is not None else [self.component] if self.component is not None else []


class ParameterGroup(Section):
    """Parameters with hyper-parameters of their own."""

    match: str = Field(min_length=1, description="Pattern of the parameters' names.")
    arguments: dict[str, Any] = Field(default={}, exclude=True, description="What differs from the optimizer's.")


class Optim(Section):
    """An optimizer, with what it does differently to some parameters; or one for each of several models."""

    component: Annotated[Component, Of("optimizer")] | None = Field(
        default=None, exclude=True, description="The optimizer."
    )
    groups: list[ParameterGroup] = Field(
        default=[], description="Parameters with other hyper-parameters; of several that match, the first counts."
    )
    no_decay: list[str] = Field(
        default=[], description="Parameters without weight decay: bias, norm (of normalizing layers), or patterns."
    )
    by_model: dict[str, "Optim"] = Field(default={}, exclude=True, description="The optimizers of `models`.")

    @property
    def name(self) -> str:
        """The name of the optimizer, or of all of them."""
        if self.component is None:
            return ", ".join(f"{model} {optim.name}" for model, optim in self.by_model.items())
        return self.component.name

    @property
    def arguments(self) -> dict[str, Any]:
        """What the optimizer is constructed with."""
        return {} if self.component is None else self.component.arguments


class Teacher(Section):
    """A trained model whose outputs a loss such as distill compares with; it stays as it is."""

    model: Model | None = Field(
        default=None, description="The network of the teacher; that of the run which `weights` names where unset."
    )
    weights: str = Field(
        min_length=1, description="Run, checkpoint folder, .safetensors, .pt or .npz file that holds its weights."
    )


class Init(Section):
    """The values that training starts from."""

    weights: str = Field(
        min_length=1, description="Run, checkpoint folder, .safetensors, .pt or .npz file that the model starts from."
    )
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="What the file's SHA-256 must be.")
    rename: dict[str, str] = Field(
        default={}, description="Replacements in the names of the file: regular expression to text, in order."
    )
    expect_missing: list[str] = Field(
        default=[],
        description="Patterns of parameters that the file need not have; any other that is missing is an error.",
    )
    ignore_extra: bool = Field(default=False, description="Whether the file may hold tensors that the model has not.")


class Freeze(Section):
    """Parts of the model that are not trained, for a while or at all."""

    from_list: ClassVar[tuple[str, ...]] = ("modules",)

    modules: list[str] = Field(min_length=1, description="Patterns of the names of parameters that stay as they are.")
    unfreeze: dict[str, Duration] = Field(
        default={}, description="When a pattern of `modules` is trained after all, e.g. {layer2: 3 epochs}."
    )


class Clip(Section):
    """Bounds on the gradient; one of the two."""

    norm: float | None = Field(default=None, gt=0, description="Largest norm of all gradients together.")
    value: float | None = Field(default=None, gt=0, description="Largest absolute value of an element.")


class Train(Section):
    """How long and how training runs; one of epochs and steps."""

    epochs: int | None = Field(default=None, ge=1, description="Passes over the training data.")
    steps: int | None = Field(default=None, ge=1, description="Optimizer steps.")
    time: Time | None = Field(
        default=None, description="Longest time of training, e.g. 30 min, if its length is not reached before."
    )
    device: Annotated[
        str, AfterValidator(_device), Field(description="Where to compute: cpu, cuda, cuda:N, or auto.")
    ] = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="fp32, or products in bf16 or fp16 with parameters and losses in float32."
    )
    clip: Clip | None = Field(default=None, description="Gradient clipping.")
    accumulate: int = Field(default=1, ge=1, description="Batches whose gradients are averaged into one step.")
    step: Annotated[Component, Of("step")] | None = Field(
        default=None, description="A class of your own that takes each training step, as module:Class."
    )
    reports: list[str] = Field(default=[], description="The names of the numbers that `step` returns, for monitors.")
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay of a moving average of the weights, which is what is evaluated and exported.",
    )
    compile: Literal["auto", "no-cudagraphs"] | bool = Field(
        default="auto",
        description="Whether steps are compiled; auto does so where a run is long enough. On a GPU they are replayed as CUDA "
        "graphs, which keep memory of their own, but for no-cudagraphs.",
    )
    on_oom: Literal["fail", "accumulate"] = Field(
        default="fail",
        description="When a batch does not fit into memory: end with exit code 7, or cut it into parts whose gradients "
        "add up to the same.",
    )
    on_nonfinite: Literal["raise", "skip", "rollback"] = Field(
        default="raise",
        description="When the loss or a gradient is NaN or infinite: end with exit code 8, leave the step out, or go back "
        "to the last checkpoint and on with the batches behind the bad one.",
    )
    nonfinite_limit: int = Field(
        default=5,
        ge=1,
        description="Steps in a row that may be left out, or times to go back, before the run ends after all.",
    )

    @property
    def length(self) -> Duration:
        """The length of the training as a duration."""
        if self.steps is not None:
            return Duration(self.steps, "steps")
        return Duration(self.epochs or 0, "epochs")


class Eval(Section):
    """When and how the validation split is evaluated."""

    every: Period = Field(
        default=Duration(1, "epochs"),
        description="Stretch between two evaluations, of training or, as 10 min, of time.",
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="Samples in an evaluation batch; the training's where unset."
    )
    batches: int | None = Field(
        default=None, ge=1, description="Batches of an evaluation during training; the whole split where unset."
    )


class Keep(Section):
    """How many checkpoints stay on disk."""

    last: int = Field(default=2, ge=2, description="Newest checkpoints to keep; two, so that one is always whole.")
    best: int = Field(default=1, ge=0, description="Best checkpoints to keep, by the monitored value.")


class Checkpoint(Section):
    """When checkpoints are written and which are kept."""

    every: Period = Field(
        default=Duration(1, "epochs"),
        description="Stretch between two checkpoints, of training or, as 10 min, of time.",
    )
    keep: Keep = Field(default=Keep(), description="How many stay on disk.")
    monitor: str | None = Field(
        default=None,
        description="Value that decides which is best; val/loss, or train/loss without validation, where unset.",
    )
    mode: Mode | None = Field(default=None, description="Whether the smallest (min) or largest (max) value is best.")


class EarlyStop(Section):
    """Training ends when the monitored value stops improving."""

    monitor: str = Field(description="Value that is watched, e.g. val/loss.")
    mode: Mode | None = Field(default=None, description="Whether it improves by falling (min) or rising (max).")
    patience: int = Field(ge=1, description="Evaluations without improvement before training ends.")
    min_delta: float = Field(default=0.0, ge=0, description="Smallest change that counts as an improvement.")


class Config(Section):
    """A whole configuration, checked; see `load_config`."""

    version: Literal[1] = Field(description="Version of the configuration format.")
    name: str = Field(
        default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Name of the run's folder."
    )
    seed: int = Field(default=0, ge=0, lt=2**64, description="Seed of everything random.")
    vars: dict[str, Any] = Field(default={}, description="Values of your own, for references: $vars.name.")
    code: list[str] = Field(default=[], description="Python files whose classes may be named as module:Class.")
    extends: str | list[str] | None = Field(default=None, description="Configurations that this one is merged over.")
    abstract: bool = Field(default=False, description="Whether this is only a base that others extend.")
    data: Data = Field(description="The dataset and its batches.")
    model: Model = Field(default=Model(), description="The network; required, unless there are `models`.")
    models: dict[str, Model] = Field(default={}, description="Networks by name, for a `train.step` of your own.")
    teacher: Teacher | None = Field(default=None, description="A trained model to learn from.")
    loss: Annotated[Component, Of("loss")] = Field(
        default=Component("loss", "cross_entropy", {}, ("loss",)), description="The loss; cross_entropy where unset."
    )
    init: Init | None = Field(default=None, description="Values to start from; random ones where unset.")
    freeze: Freeze | None = Field(default=None, description="What is not trained.")
    optim: Annotated[Optim, Of("optimizer")] = Field(description="The optimizer.")
    schedule: Schedule = Field(default=ConstantSchedule(), description="The course of the learning rate.")
    train: Train = Field(description="Length and manner of the training.")
    eval: Eval = Field(default=Eval(), description="Validation during training.")
    metrics: list[Annotated[Component, Of("metric")]] = Field(default=[], description="Metrics besides the loss.")
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="Checkpoints.")
    callbacks: list[Annotated[Component, Of("callback")]] = Field(
        default=[], description="What else happens during training, in order."
    )
    log: list[Annotated[Component, Of("logger")]] = Field(
        default=[], description="Where the numbers go besides metrics.jsonl and metrics.csv."
    )
    report: bool = Field(default=True, description="Whether a finished run gets a page, report.html.")
    export: list[Literal["safetensors", "npz", "pt", "onnx", "c"]] = Field(
        default=[],
        description="Formats in which the best weights (of onnx and c the whole model) are written when training has finished.",
    )
    early_stop: EarlyStop | None = Field(default=None, description="Early stopping; off where unset.")
    sweep: Sweep | None = Field(default=None, description="What `torchlite sweep` tries; other commands pass it over.")

    _path: Path = PrivateAttr(default_factory=Path)
    _tree: Mapping | None = PrivateAttr(None)

    @property
    def path(self) -> Path:
        """The file that the configuration was read from."""
        return self._path

    def at(self, path: tuple[str | int, ...]) -> Location | None:
        """The place of the value at a key path, e.g. ``("model", "layers", 3)``, or of what is nearest to it."""
        return locate(self._tree, path) if self._tree is not None else None

    @property
    def uses_user_code(self) -> bool:
        """Whether a component is a class from the user's own files."""
        beside = [
            *self.metrics,
            *self.callbacks,
            *self.log,
            *([self.train.step] if self.train.step is not None else []),
        ]
        return self.builds_user_code or any(component.is_user_code for component in beside)

    @property
    def builds_user_code(self) -> bool:
        """Whether one of what is built to follow shapes is: models, loss, optimizers, transforms."""
        components = [self.loss]
        components += [
            one.component for one in (self.optim, *self.optim.by_model.values()) if one.component is not None
        ]
        components += [*self.data.transforms.train, *self.data.transforms.eval]
        components += [layer for model in (self.model, *self.models.values()) for layer in model.components]
        components += (
            self.teacher.model.components if self.teacher is not None and self.teacher.model is not None else []
        )
        return any(component.is_user_code for component in components)

    def resolved(self) -> dict[str, Any]:
        """What is trained as plain values, defaults filled in and references replaced; loads to an equal configuration.

        A sweep is no part of that: its keys name values as they are written, and one trial is what a run trains.
        """
        plain: dict[str, Any] = _plain(self)
        plain.pop("sweep", None)
        return plain

    @property
    def origins(self) -> dict[str, str]:
        """Where each value of `resolved` was written, by dotted path: ``file:line``, an override, or ``default``."""
        found: dict[str, str] = {}

        def walk(value: Any, path: tuple[str | int, ...]) -> None:
            if isinstance(value, (dict, list)) and value:
                for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                    walk(item, (*path, key))
                return
            at = locate(self._tree, path, exact=True) if self._tree is not None else None
            if at is None:
                origin = "default"
            elif at.source.kind == "override":
                origin = f"command line: {at.source.lines[0]}"
            else:
                origin = f"{at.file}:{at.line}"
            found[".".join(map(str, path))] = origin

        walk(self.resolved(), ())
        return found


def locate(tree: Mapping, path: tuple[str | int, ...], *, exact: bool = False) -> Location | None:
    """The place of the node at `path`: of the value where it is short, of the key where it is a block.

    An argument of a component is found in each of the component's three forms. What is not written gives the
    nearest part that is, or None if `exact`.
    """
    here: Node = tree
    at: Location | None = None
    for depth, part in enumerate(path):
        step = _step(here, part)
        if step is None and _holds_components(path[:depth]):
            step = _step_into_component(here, part)
        if step is None:
            return None if exact else (at or tree.at)
        here, at = step
    return at or tree.at


def _holds_components(path: tuple[str | int, ...]) -> bool:
    return path[:1] in {
        (name,) for name in ("model", "models", "loss", "optim", "schedule", "metrics", "callbacks", "log")
    } or (path[:2] in {("data", "transforms"), ("train", "step"), ("teacher", "model")})


def _step(node: Node, part: str | int) -> tuple[Node, Location] | None:
    if isinstance(node, Sequence):
        if isinstance(part, str) and part.isdecimal():
            part = int(part)
        if isinstance(part, int) and -len(node.items) <= part < len(node.items):
            item = node.items[part]
            return item, head(item)
    entry = node.entries.get(str(part)) if isinstance(node, Mapping) else None
    if entry is None:
        return None
    return entry.value, entry.key_at if isinstance(entry.value, Mapping) else entry.value.at


def _step_into_component(node: Node, part: str | int) -> tuple[Node, Location] | None:
    """The name or an argument of a component that is not written as ``{type: name, ...args}``."""
    if isinstance(node, Sequence):
        return (node, node.at) if part in Transforms.from_list else None
    if not isinstance(node, Mapping):
        return (node, node.at) if part == "type" else None
    if len(node.entries) != 1 or "type" in node.entries or "layers" in node.entries:
        return None
    (only,) = node.entries.values()
    if part == "type":
        return only.value, only.key_at
    return _step(only.value, part) if isinstance(only.value, Mapping) else (only.value, only.value.at)


def head(node: Node) -> Location:
    """The place that stands for a node: the first key of a mapping, else the node itself."""
    if isinstance(node, Mapping) and node.entries:
        return next(iter(node.entries.values())).key_at
    return node.at


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        beside = {"input": value.input} if value.input is not None else {}
        beside |= {"init": _plain(value.init)} if value.init else {}
        if value.component is not None:
            return {**_plain(value.component), **beside}
        return {"layers": _plain(value.layers), **beside} if value.layers is not None else None
    if isinstance(value, Optim):
        special = {name: _plain(getattr(value, name)) for name in ("groups", "no_decay")}
        own = _plain(value.component) if value.component is not None else _plain(value.by_model)
        return {**own, **{name: item for name, item in special.items() if item}}
    if isinstance(value, Initial):
        return ({} if value.match is None else {"match": value.match}) | _plain(value.component)
    if isinstance(value, ParameterGroup):
        return {"match": value.match, **_plain(value.arguments)}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, Section):
        fields = type(value).model_fields
        plain = {name: _plain(getattr(value, name)) for name in fields if name not in ("extends", "abstract")}
        return {name: item for name, item in plain.items() if item is not None}
    if isinstance(value, Component):
        plain = {"type": value.name, **{name: _plain(item) for name, item in value.arguments.items()}}
        if value.layers:
            plain["layers"] = _plain(value.layers)
        wiring = {"name": value.label, "inputs": list(value.inputs) or None, "output": value.output}
        return plain | {key: item for key, item in wiring.items() if item is not None}
    if isinstance(value, UNITS):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


SYNONYMS = {
    "dataset": "data",
    "datasets": "data",
    "criterion": "loss",
    "optimizer": "optim",
    "optimiser": "optim",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "trainer": "train",
    "training": "train",
    "validation": "eval",
    "network": "model",
    "checkpoints": "checkpoint",
    "checkpointing": "checkpoint",
    "early_stopping": "early_stop",
    "variables": "vars",
    "loggers": "log",
    "logger": "log",
    "logging": "log",
    "base": "extends",
    "random_seed": "seed",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_workers": "workers",
    "augment": "transforms",
    "augmentation": "transforms",
    "augmentations": "transforms",
    "mixing": "mix",
    "max_batches": "batches",
    "limit_batches": "batches",
    "sr": "sample_rate",
    "sampling_rate": "sample_rate",
    "duration": "clip",
    "resize": "fit",
    "image_size": "image",
    "class_names": "classes",
    "initializer": "init",
    "weight_init": "init",
    "stratified": "stratify",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "max_steps": "steps",
    "num_steps": "steps",
    "gradient_accumulation": "accumulate",
    "accumulation": "accumulate",
    "grad_accum": "accumulate",
    "amp": "precision",
    "mixed_precision": "precision",
    "nan_policy": "on_nonfinite",
    "on_nan": "on_nonfinite",
    "terminate_on_nan": "on_nonfinite",
    "detect_anomaly": "on_nonfinite",
    "gradient_clip": "clip",
    "grad_clip": "clip",
    "from": "weights",
    "pretrained": "init",
    "param_groups": "groups",
    "ema_decay": "ema",
    "warmup_steps": "warmup",
    "max_time": "time",
    "time_limit": "time",
    "timeout": "time",
    "learning_rate": "lr",
    "frequency": "every",
    "path": "root",
    "data_dir": "root",
    "hyperopt": "sweep",
    "search": "sweep",
    "parameters": "params",
    "search_space": "params",
    "num_trials": "trials",
    "n_trials": "trials",
}
"""Words of other tools for the keys here, for suggestions."""

VALUE_WORDS = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "half": "fp16",
    "float": "fp32",
    "safetensor": "safetensors",
    "pth": "pt",
}
"""Words of other tools for values that keys choose among, for suggestions."""

ADVICE = {
    "async": "a checkpoint is always whole before the next step",
    "bucket_by_length": "texts are padded to max_len",
    "channels_last": "the compiler chooses how arrays lie in memory",
    "drop": "columns that `inputs` does not list are left out",
    "features": "put log_mel into data.transforms, behind what is done to the waves",
    "folds": "a sweep over data.split.seed trains on several divisions",
    "strict": "`expect_missing` and `ignore_extra` say what may differ",
    "task": "of a text every place is to tell the character after it",
    "tokenizer": "of a text `alphabet` lists the characters that count, of a column `vocab` says how many words",
}
"""What stands in place of keys that other tools have and nothing here is called by."""
