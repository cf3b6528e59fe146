"""Checks across sections: values that are each in order but do not go together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic_core import PydanticCustomError

from torchlite.train.config.components import Component, KeyPath
from torchlite.train.config.diagnostics import Findings, suggestion
from torchlite.train.config.folders import Folder, class_names
from torchlite.train.config.location import Location
from torchlite.train.config.own_data import OWN_DATA, Column, CsvData, TextData
from torchlite.train.config.parts import Duration, Period, Time
from torchlite.train.config.schema import Config, locate
from torchlite.train.registry import METRIC_DIRECTIONS, registry

_EVALUATE_THEMSELVES = frozenset({"lbfgs"})
"""The optimizers whose step evaluates the loss, several times."""


class Card(Protocol):
    """What the checks need to know of a dataset."""

    splits: dict[str, Any]


class _Unknown(Exception):
    """A check needs a value that is wrong or missing; that has been reported already."""


@dataclass
class View:
    """The values of a configuration, as far as they are in order."""

    config: Config
    bad: set[KeyPath]
    card: Card | None
    findings: Findings

    def get(self, dotted: str) -> Any:
        """The value at a dotted path; None where a section on the way is unset."""
        here: Any = self.config
        path: KeyPath = ()
        for part in dotted.split("."):
            path = (*path, part)
            if path in self.bad:
                raise _Unknown
            if here is None:
                return None
            try:
                here = getattr(here, part)
            except AttributeError:
                raise _Unknown from None
        return here

    def at(self, *path: str | int) -> Location:
        """The place of a value."""
        assert self.config._tree is not None
        return locate(self.config._tree, path)  # type: ignore[return-value]

    def is_written(self, *path: str | int) -> bool:
        """Whether a value stands in the configuration that is not the default, which resolved ones spell out."""
        if self.config._tree is None or locate(self.config._tree, path, exact=True) is None:
            return False
        section: Any = self.config
        for part in path[:-1]:
            section = section[part] if isinstance(section, dict) else getattr(section, str(part))
        field = type(section).model_fields.get(str(path[-1]))
        value = getattr(section, str(path[-1]), None)
        return field is None or bool(value != field.get_default(call_default_factory=True))

    def report(self, code: str, path: KeyPath, message: str, hint: str | None = None, fix: str | None = None) -> None:
        """Adds a finding at the value of `path`."""
        key = ".".join(map(str, path))
        self.findings.report(code, self.at(*path), message, key=key, hint=hint, replacement=fix)

    def samples(self) -> tuple[int, int]:
        """Samples for training and for validation, from the card's size of the training split."""
        size = self.card.splits.get("train") if self.card is not None else None
        size = getattr(size, "samples", size)
        if not isinstance(size, int):
            raise _Unknown
        held_out = int(size * (self.get("data.split.val") or 0))
        return size - held_out, held_out

    def batches_per_epoch(self) -> int:
        """Training batches in an epoch."""
        training, _ = self.samples()
        batch_size: int = self.get("data.batch_size")
        return training // batch_size if self.get("data.drop_last") else math.ceil(training / batch_size)

    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""
        accumulate: int = self.get("train.accumulate")
        return max(1, math.ceil(self.batches_per_epoch() / accumulate))

    def longer_than_training(self, duration: Period) -> bool:
        """Whether a duration exceeds the training, as far as that is known."""
        if not isinstance(duration, Duration):
            most = self.get("train.time")
            return isinstance(duration, Time) and most is not None and duration.seconds > most.seconds
        self.get("train.epochs")
        self.get("train.steps")
        length: Duration = self.get("train.length")
        if duration.unit == length.unit:
            return duration.value > length.value
        per_epoch = self.steps_per_epoch()
        return duration.steps(per_epoch) > length.steps(per_epoch)


def check_semantics(config: Config, bad: set[KeyPath], card: Card | None, findings: Findings) -> None:
    """Runs every check whose values are in order; `card` is that of the dataset, where it is known."""
    view = View(config, bad, card, findings)
    for check in CHECKS:
        try:
            check(view)
        except _Unknown:
            continue


def monitored_values(config: Config) -> list[str]:
    """The names under which a run of `config` reports values that can be monitored."""
    names = [f"train/{name}" for name in (config.train.reports if config.train.step is not None else ["loss"])]
    if config.data.has_validation and not config.models:
        names += ["val/loss", *(f"val/{metric.called}" for metric in config.metrics if _is_a_number(metric))]
    return names


def _is_a_number(metric: Component) -> bool:
    """Whether a metric gives one number, not a matrix or one for each class."""
    return metric.name != "confusion_matrix" and metric.arguments.get("average") != "none"


def default_monitor(config: Config) -> str:
    """What decides which checkpoint is best where the configuration does not say it."""
    known = monitored_values(config)
    return "val/loss" if "val/loss" in known else (known or ["train/loss"])[0]


def direction(monitor: str, metrics: Sequence[Component] = ()) -> Literal["min", "max"] | None:
    """Which way a monitored value improves, where that is known; of ``metrics`` some have names of their own.

    >>> direction("val/accuracy"), direction("val/loss"), direction("val/surprise")
    ('max', 'min', None)
    """
    name = monitor.rpartition("/")[2]
    return METRIC_DIRECTIONS.get(next((metric.name for metric in metrics if metric.called == name), name))


def _monitor(view: View, section: str) -> None:
    if view.get(section) is None or (monitor := view.get(f"{section}.monitor")) is None:
        return
    for needed in ("metrics", "models", "train.step", "train.reports"):
        view.get(needed)
    view.get("data.split.val")
    has_validation = view.get("data.has_validation")
    known = monitored_values(view.config)
    path = (section, "monitor")
    if monitor not in known:
        best, hint = suggestion(monitor, known, what="there are")
        if f"val/{monitor}" in known:
            best, hint = f"val/{monitor}", f"did you mean 'val/{monitor}'?"
        elif monitor.startswith("val/") and not has_validation:
            best, hint = None, "there is no validation split: set data.split.val"
        elif monitor.removeprefix("val/") in METRIC_DIRECTIONS:
            best, hint = None, f"add it: metrics: [{monitor.removeprefix('val/')}]"
        view.report("TL401", path, f"'{monitor}' is not among the metrics of this run", hint, best)
        return
    mode, improves = view.get(f"{section}.mode"), direction(monitor, view.config.metrics)
    if mode is None and improves is None:
        hint = "set mode: min or mode: max"
        view.report("TL403", path, f"whether '{monitor}' should fall or rise is not known", hint)
    elif mode is not None and improves is not None and mode != improves:
        message = f"'{monitor}' improves towards its {improves}, but mode is {mode}"
        view.report("TL408", (section, "mode"), message, f"write {improves}, or leave mode out", improves)


def _checkpoint_monitor(view: View) -> None:
    _monitor(view, "checkpoint")


def _early_stop_monitor(view: View) -> None:
    _monitor(view, "early_stop")


def _sweep_monitor(view: View) -> None:
    _monitor(view, "sweep")


def _sweep_is_possible(view: View) -> None:
    """A method has what it needs, and nothing that it passes over."""
    if view.get("sweep") is None:
        return
    method, params = view.get("sweep.method"), view.get("sweep.params")
    if not params:
        view.report(
            "TL205", ("sweep", "params"), "'sweep.params' is empty", "e.g. optim.lr: {log_uniform: [1e-4, 1e-2]}"
        )
    for key, candidates in params.items():
        if key.partition(".")[0] in ("sweep", "name"):
            view.report("TL415", ("sweep", "params", key), f"a sweep cannot try values of '{key}'")
        elif method == "grid" and candidates.range is not None:
            hint = "list values, or use method: random"
            view.report("TL415", ("sweep", "params", key), f"a grid needs the values of '{key}', not a range", hint)
    if method == "grid" and view.get("sweep.trials") is not None:
        view.report("TL402", ("sweep", "trials"), "'sweep.trials' has no effect: a grid trains every combination")
    elif method != "grid" and view.get("sweep.trials") is None:
        view.report("TL204", ("sweep",), f"method {method} needs 'trials'", "e.g. trials: 20")
    if method != "asha":
        if view.is_written("sweep", "asha"):
            view.report("TL402", ("sweep", "asha"), f"'sweep.asha' has no effect with method {method}")
        return
    first, length = view.get("sweep.asha.first"), view.get("train.length")
    if first.unit != length.unit:
        message = f"'sweep.asha.first' is in {first.unit}, but the training in {length.unit}"
        view.report("TL415", ("sweep", "asha", "first"), message, f"write it in {length.unit}")
    elif first.value >= length.value:
        view.report("TL411", ("sweep", "asha", "first"), f"{first} is no sooner than the end of {length}")


def _early_stop_can_happen(view: View) -> None:
    if view.get("early_stop") is None:
        return
    patience, every = view.get("early_stop.patience"), view.get("eval.every")
    if view.longer_than_training(every):
        return
    if view.longer_than_training(every.times(patience)):
        message = f"{patience} evaluations without improvement last longer than the training"
        view.report("TL409", ("early_stop", "patience"), message)


def _warmup_fits(view: View) -> None:
    warmup = view.get("schedule.warmup")
    if warmup is not None and view.longer_than_training(warmup):
        message = f"the warm-up of {warmup} is longer than the training of {view.get('train.length')}"
        view.report("TL404", ("schedule", "warmup"), message)


def _happens_at_all(view: View) -> None:
    stretches = {"eval": "evaluation", "checkpoint": "a checkpoint", "schedule": "a decay of the learning rate"}
    for section, what in stretches.items():
        every = view.get(f"{section}.every") if hasattr(view.get(section), "every") else None
        if every is not None and view.is_written(section, "every") and view.longer_than_training(every):
            message = f"{what} every {every} comes no sooner than the end of {view.get('train.length')}"
            view.report("TL411", (section, "every"), message)


def _accumulation_fits(view: View) -> None:
    accumulate, batches = view.get("train.accumulate"), view.batches_per_epoch()
    if 0 < batches < accumulate:
        message = f"{accumulate} batches are accumulated, but an epoch has {batches}"
        view.report("TL406", ("train", "accumulate"), message)


def _loss_can_be_scaled(view: View) -> None:
    if view.get("train.precision") == "fp16" and view.get("optim").name in _EVALUATE_THEMSELVES:
        message = f"{view.get('optim').name} evaluates the loss itself, so fp16 can't scale it"
        view.report("TL412", ("train", "precision"), message, hint="bf16 needs no scaling")


def _steps_can_be_left_out(view: View) -> None:
    if view.get("train.on_nonfinite") != "skip":
        if view.is_written("train", "nonfinite_limit") and view.get("train.on_nonfinite") == "raise":
            message = "'train.nonfinite_limit' has no effect with on_nonfinite: raise"
            view.report("TL402", ("train", "nonfinite_limit"), message)
        return
    path, hint = ("train", "on_nonfinite"), "on_nonfinite: rollback undoes it"
    if view.get("train.step") is not None:
        view.report("TL412", path, "a 'train.step' of your own has updated by the time that its loss is known", hint)
    elif view.get("optim").name in _EVALUATE_THEMSELVES:
        message = f"{view.get('optim').name} has updated the weights by the time that a loss is not finite"
        view.report("TL412", path, message, hint)


def _split_leaves_samples(view: View) -> None:
    fraction = view.get("data.split.val")
    if fraction is None:
        return
    training, held_out = view.samples()
    if held_out == 0 or training == 0:
        name = "validation" if held_out == 0 else "training"
        message = f"a fraction of {fraction:g} of {training + held_out:,} samples leaves none for {name}"
        view.report("TL407", ("data", "split", "val"), message)


def _one_full_batch(view: View) -> None:
    if view.get("data.drop_last") and view.batches_per_epoch() == 0:
        training, _ = view.samples()
        message = f"{training:,} training samples do not fill one batch, and drop_last leaves it out"
        view.report("TL410", ("data", "batch_size"), message)


def _split_is_used(view: View) -> None:
    for key in ("seed", "by", "stratify"):
        path = ("data", "split", key)
        if view.get("data.split.val") is None and view.is_written(*path):
            view.report("TL402", path, f"'data.split.{key}' has no effect without 'data.split.val'")
        elif key != "by" and view.get("data.split.by") == "position" and view.is_written(*path):
            view.report("TL402", path, f"'data.split.{key}' has no effect: the last samples are held out")
    if not view.get("data.split.stratify"):
        return
    data = view.get("data")
    if isinstance(data, TextData) or (isinstance(data, CsvData) and view.get("data.target.kind") == "number"):
        view.report("TL402", ("data", "split", "stratify"), "'data.split.stratify' has no effect: there are no classes")


def _modes_are_used(view: View) -> None:
    if view.get("checkpoint.mode") is not None and view.get("checkpoint.monitor") is None:
        message = "'checkpoint.mode' has no effect without 'checkpoint.monitor'"
        view.report("TL402", ("checkpoint", "mode"), message)


def _unfreezing_is_possible(view: View) -> None:
    if view.get("freeze") is None:
        return
    modules = view.get("freeze.modules")
    for pattern, after in view.get("freeze.unfreeze").items():
        path = ("freeze", "unfreeze", pattern)
        if pattern not in modules:
            best, hint = suggestion(pattern, modules, what="frozen are")
            view.report("TL413", path, f"'{pattern}' is not among the patterns of 'freeze.modules'", hint, best)
        elif view.longer_than_training(after):
            view.report("TL411", path, f"'{pattern}' would be trained after {after}, but that is after the end")


def _own_step_leaves_them_to_itself(view: View) -> None:
    """What the loop does around a step, and a step of one's own does or does not."""
    if view.get("train.step") is None:
        if view.get("models"):
            hint = "write a class whose __call__(context, batch) trains them: step: {type: 'module:Class'}"
            view.report("TL204", ("models",), "'models' need a 'train.step'", hint)
        elif view.get("train.reports"):
            view.report("TL402", ("train", "reports"), "'train.reports' has no effect without 'train.step'")
        return
    unused: list[KeyPath] = [("train", name) for name in ("accumulate", "clip", "precision")]
    unused += [("loss",), ("metrics",), ("teacher",)] if view.get("models") else []
    for path in unused:
        name = ".".join(map(str, path))
        if view.is_written(*path):
            view.report("TL402", path, f"'{name}' has no effect with a 'train.step' of your own")


def _teacher_is_asked(view: View) -> None:
    loss, teacher = view.get("loss"), view.get("teacher")
    taught = getattr(registry.find("loss", loss.name), "needs_teacher", False)
    if taught and teacher is None:
        view.report(
            "TL414", ("loss",), f"the loss {loss.name} needs a teacher", "add teacher: {model: ..., weights: ...}"
        )
    elif teacher is not None and not taught:
        view.report("TL402", ("teacher",), f"'teacher' has no effect: the loss {loss.name} does not ask it")


def _callbacks_can_happen(view: View) -> None:
    for index, callback in enumerate(view.get("callbacks")):
        every = callback.arguments.get("every")
        if isinstance(every, str):
            try:
                Duration.parse(every)
            except PydanticCustomError as error:
                hint = (error.context or {}).get("hint")
                message = f"'every' {error.message()}, not the text {every!r}"
                view.report("TL209", ("callbacks", index, "every"), message, hint)
        name, models = callback.arguments.get("model"), view.get("models")
        if callback.name == "image_grid" and name not in models:
            best, hint = suggestion(str(name), models, what="there are")
            view.report("TL413", ("callbacks", index, "model"), f"there is no model '{name}' in 'models'", hint, best)
        elif callback.name == "image_grid" and models[name].input is None:
            message = f"image_grid needs to know the `input` of the model '{name}'"
            view.report("TL204", ("callbacks", index, "model"), message, "e.g. input: [100]")


def _columns_go_together(view: View) -> None:
    """Of `data` of one's own: what a kind of column needs and has, and that a text stands alone."""
    data = view.get("data")
    if not isinstance(data, CsvData):
        return
    view.get("data.inputs")
    texts = [name for name, column in data.inputs.items() if column.kind == "text"]
    for name, column in data.inputs.items():
        path = ("data", "inputs", name)
        for kind, names in Column.of_kind.items():
            for key in names if kind != column.kind else ():
                if view.is_written(*path, key):
                    view.report("TL402", (*path, key), f"'{key}' has no effect on a column of the kind {column.kind}")
        if column.kind == "category" and column.values is None:
            view.report("TL204", path, f"the category '{name}' needs `values`", "list them: values: [a, b]")
        if texts and len(data.inputs) > 1 and name != texts[0]:
            view.report(
                "TL211", path, f"'{name}' cannot stand beside the text '{texts[0]}'", "a text is the only input"
            )
    for needed in ("kind", "classes"):
        view.get(f"data.target.{needed}")
    target = data.target
    if target.kind != "number" and target.classes is None:
        view.report(
            "TL204", ("data", "target"), f"a target of the kind {target.kind} needs `classes`", "list its values"
        )
    elif target.kind == "binary" and target.classes is not None and len(target.classes) != 2:
        view.report("TL205", ("data", "target", "classes"), f"a binary target has 2 classes, not {len(target.classes)}")
    elif target.kind == "number" and target.classes is not None:
        view.report("TL402", ("data", "target", "classes"), "'classes' has no effect on a target that is a number")
    if target.kind != "number" and view.is_written("data", "target", "transform"):
        view.report("TL402", ("data", "target", "transform"), "'transform' has no effect on a target that is no number")


def _validation_is_one(view: View) -> None:
    data = view.get("data")
    if isinstance(data, tuple(OWN_DATA.values())) and view.get("data.split.val") and view.get("data.val"):
        message = "'data.val' names validation data, and 'data.split.val' holds some of the training data out"
        view.report("TL211", ("data", "val"), message, "keep one of the two")


def _classes_are_known(view: View) -> None:
    """Of files in folders the classes are listed, or their folders are there."""
    data = view.get("data")
    if not isinstance(data, Folder):
        return
    root, classes, target = (view.get(f"data.{key}") for key in ("root", "classes", "target"))
    if target == "none" and classes is not None:
        view.report("TL402", ("data", "classes"), "'data.classes' has no effect: the target is none")
    elif target == "class" and classes is None:
        found = class_names(view.config.path.parent / root)
        there = f"has no folders but '{found[0]}'" if found else "has no folders of classes"
        message = f"'data' needs 'classes': '{root}' {there}"
        view.report("TL204", ("data", "root"), message, "list them, put the data there, or write target: none")


def _mixes_something(view: View) -> None:
    mix = view.get("data.mix")
    if mix is not None and view.get("data.mix.mixup") is None and view.get("data.mix.cutmix") is None:
        view.report("TL204", ("data", "mix"), "'data.mix' needs mixup, cutmix or both", "e.g. mix: {mixup: 0.2}")


def _metrics_are_used(view: View) -> None:
    metrics = view.get("metrics")
    names = [metric.called for metric in metrics]
    for index, name in enumerate(names):
        if name in names[:index]:
            hint = "give one a name of its own: {type: f1, average: micro, name: f1_micro}"
            view.report("TL214", ("metrics", index), f"the metric '{name}' is listed twice", hint)


CHECKS: tuple[Callable[[View], None], ...] = (
    _checkpoint_monitor,
    _early_stop_monitor,
    _sweep_monitor,
    _sweep_is_possible,
    _early_stop_can_happen,
    _warmup_fits,
    _happens_at_all,
    _accumulation_fits,
    _loss_can_be_scaled,
    _steps_can_be_left_out,
    _split_leaves_samples,
    _one_full_batch,
    _split_is_used,
    _modes_are_used,
    _unfreezing_is_possible,
    _own_step_leaves_them_to_itself,
    _teacher_is_asked,
    _callbacks_can_happen,
    _columns_go_together,
    _validation_is_one,
    _classes_are_known,
    _mixes_something,
    _metrics_are_used,
)
"""The checks, in the order in which they run."""
