"""From the body of a request to that of its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Protocol

import numpy as np

from torchlite.serve.limits import Limits
from torchlite.serve.refusal import Refused, quoted
from torchlite.serve.strict_json import read_json
from torchlite.serve.tensors import TensorSpec, check_characters, check_keys, check_plain, read_tensor, write_tensor

Array = np.ndarray[Any, Any]
Check = Callable[[], None]
"""Raises when there is no more time; called between the parts of a computation."""

_REQUEST_KEYS = {"id", "inputs", "outputs", "parameters"}
_BINARY = "binary_data_output"
_LONGEST_ID = 256
_BESIDES_DATA = 10_000


class Model(Protocol):
    """What answers requests.

    Attributes:
        name, version: how it is asked for.
        inputs, outputs: what it takes and gives.
        parameters: what a request may set besides.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]

    def answer(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any], check: Check) -> dict[str, Array]:
        """The outputs by name for inputs with as many samples each."""


def metadata(model: Model) -> dict[str, Any]:
    """What a model takes and gives, as the protocol says it."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "torchlite",
        "inputs": [spec.described() for spec in model.inputs],
        "outputs": [spec.described() for spec in model.outputs],
    }


def max_values(model: Model, limits: Limits) -> int:
    """How many values a request may hold that the model could answer, with the lists around them."""
    elements = sum(prod(spec.shape) * (len(spec.shape) + 2) for spec in model.inputs)
    return limits.max_batch * elements + _BESIDES_DATA


def infer(model: Model, limits: Limits, body: bytes, check: Check) -> bytes:
    """The answer to a request.

    Raises:
        Refused: where the request is not one that the model can answer.
    """
    request = read_json(body, max_values(model, limits))
    if not isinstance(request, dict):
        raise Refused(400, f"expected a JSON object with inputs, got {quoted(request)}")
    check_keys(request, _REQUEST_KEYS, "the request")
    identity = _read_id(request)
    parameters = _read_parameters(model, request.get("parameters", {}))
    wanted = _read_outputs(model, request.get("outputs"))
    inputs = _read_inputs(model, request.get("inputs"), limits)
    check()
    outputs = model.answer(inputs, parameters, check)
    answer = {
        "model_name": model.name,
        "model_version": model.version,
        **identity,
        "outputs": [write_tensor(spec, outputs[spec.name]) for spec in wanted],
    }
    return json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()


def _read_id(request: Mapping[str, Any]) -> dict[str, str]:
    if "id" not in request:
        return {}
    given = request["id"]
    if not isinstance(given, str) or len(given) > _LONGEST_ID:
        raise Refused(400, f"expected an id of at most {_LONGEST_ID} characters, got {quoted(given)}")
    check_characters(given, "id")
    return {"id": given}


def _read_parameters(model: Model, given: Any) -> dict[str, Any]:
    check_plain(given, "the request")
    found = {name: value for name, value in given.items() if name != _BINARY}
    if unknown := sorted(set(found) - set(model.parameters)):
        known = f"known are {', '.join(model.parameters)}" if model.parameters else "this model has none"
        raise Refused(400, f"there is no parameter {quoted(unknown[0])}; {known}")
    return found


def _read_outputs(model: Model, given: Any) -> tuple[TensorSpec, ...]:
    """The outputs that are asked for, in that order; all of them where none are named."""
    if given is None or given == []:
        return model.outputs
    there = {spec.name: spec for spec in model.outputs}
    names = [one["name"] for one in _named(given, "outputs", set(there))]
    for one in given:
        check_keys(one, {"name", "parameters"}, f"output '{one['name']}'")
        check_plain(one.get("parameters", {}), f"output '{one['name']}'")
    return tuple(there[name] for name in names)


def _read_inputs(model: Model, given: Any, limits: Limits) -> dict[str, Array]:
    there = {spec.name: spec for spec in model.inputs}
    tensors = {one["name"]: one for one in _named(given, "inputs", set(there))}
    if missing := [name for name in there if name not in tensors]:
        raise Refused(400, f"input '{missing[0]}' is missing; the model takes {', '.join(there)}")
    arrays = {name: read_tensor(spec, tensors[name], limits.max_batch) for name, spec in there.items()}
    if len({len(array) for array in arrays.values()}) != 1:
        raise Refused(400, "the inputs have different numbers of samples")
    return arrays


def _named(given: Any, what: str, known: set[str]) -> list[dict[str, Any]]:
    """A list of objects, each with a name of its own that is known."""
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise Refused(400, f"expected a list of objects as {what}, got {quoted(given)}")
    seen: set[str] = set()
    for one in given:
        name = one.get("name")
        if not isinstance(name, str) or name not in known:
            raise Refused(400, f"{what}: there is no {quoted(name)}; the model has {', '.join(sorted(known))}")
        if name in seen:
            raise Refused(400, f"{what}: '{name}' stands there twice")
        seen.add(name)
    return given
