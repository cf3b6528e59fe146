"""Models that tell a class, a yes or no, a number, or whatever else they make of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torchlite.errors import DataError, UsageError
from torchlite.serve.refusal import Refused
from torchlite.serve.requests import Check
from torchlite.serve.tensors import DATATYPES, TensorSpec
from torchlite.train.config.load import data_card
from torchlite.train.config.own_data import CsvData
from torchlite.train.data import Samples, samples_of_array, samples_of_rows, table_encoder
from torchlite.train.prediction import class_names, numbers, outputs, probabilities, target_kind
from torchlite.train.sources import Rows
from torchlite.train.trained import Trained

Array = np.ndarray[Any, Any]


class ArraySamples:
    """Inputs that are one array, as the dataset has them; the run's transforms convert them."""

    def __init__(self, trained: Trained) -> None:
        self._config = trained.config
        card = data_card(trained.config.data)
        tokens = (
            trained.traces["model"].tokens if card.sample_rate is None else None
        )  # sounds are signed, and no tokens
        spec = TensorSpec("inputs", str(card.input.dtype), tuple(card.input.shape), below=tokens)
        if spec.dtype not in DATATYPES:
            raise UsageError(f"the protocol has no name for inputs of dtype {spec.dtype}")
        self.specs = (spec,)
        self.example = {"inputs": np.zeros((1, *spec.shape), spec.dtype)}

    def __call__(self, inputs: Mapping[str, Array]) -> Samples:
        """The array's samples."""
        return samples_of_array(self._config, inputs["inputs"])


class RowSamples:
    """Inputs that are the columns of a table: a tensor each, where null is a missing number and "" a missing category."""

    def __init__(self, trained: Trained) -> None:
        if not isinstance(trained.config.data, CsvData):
            raise TypeError(f"expected a table, got {trained.config.data.type}")
        self._config = trained.config
        self._encoder = table_encoder(trained.config)
        columns = trained.config.data.inputs
        self.specs = tuple(
            TensorSpec(name, "float64", nullable=True)
            if column.kind == "number"
            else TensorSpec(name, "str", parameters={"values": column.values} if column.values else {})
            for name, column in columns.items()
        )
        self.example = {spec.name: np.array([0.0]) if spec.nullable else np.array([""], object) for spec in self.specs}

    def __call__(self, inputs: Mapping[str, Array]) -> Samples:
        """The rows' samples.

        Raises:
            Refused: for a value that the configuration does not list.
        """
        columns = {name: [_cell(value) for value in values.tolist()] for name, values in inputs.items()}
        rows: Rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        try:
            return samples_of_rows(self._config, self._encoder, rows)
        except DataError as error:
            raise Refused(400, str(error)) from None


def _cell(value: str | float) -> str:
    """A value as a file would have it: nothing for a missing one, else a text that is read as the same number."""
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else repr(value)


class Predictor:
    """What `torchlite predict` says of samples, as tensors.

    A request's samples go through the model together and without those of others, in batches of the size that evaluation has:
    so an answer has the bits that `predict` writes, whoever else asks.
    """

    parameters: tuple[str, ...] = ()

    def __init__(self, trained: Trained) -> None:
        self.name, self.version = trained.config.name, str(trained.checkpoint.step)
        self._trained = trained
        self._samples = RowSamples(trained) if isinstance(trained.config.data, CsvData) else ArraySamples(trained)
        self.inputs: tuple[TensorSpec, ...] = self._samples.specs
        answered = self.answer(self._samples.example, {}, lambda: None)
        classes = {"classes": list(class_names(trained.config))}
        self.outputs = tuple(
            TensorSpec(
                name,
                "str" if values.dtype == object else str(values.dtype),
                values.shape[1:],
                classes if name == "probabilities" else {},
            )
            for name, values in answered.items()
        )

    def answer(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any], check: Check) -> dict[str, Array]:
        """The outputs, and what is predicted where they tell something."""
        del parameters
        batches = []
        for batch in outputs(self._trained, self._samples(inputs)):
            check()
            batches.append(batch)
        return self._told(np.concatenate(batches))

    def _told(self, raw: Array) -> dict[str, Array]:
        config = self._trained.config
        if target_kind(config) == "number":
            return {"prediction": numbers(config, raw), "outputs": raw}
        classes = class_names(config)
        if target_kind(config) == "class" and raw.shape[1:] != (len(classes),):
            return {"outputs": raw}
        shares = probabilities(config, raw)
        names = np.array(classes, object)[shares.argmax(1)]
        return {"prediction": names, "probabilities": shares, "outputs": raw}
