"""The JSON Schema of configurations, for editors: completion and checks while typing, after `# yaml-language-server`."""

import types
import typing
from collections.abc import Callable
from collections.abc import Sequence as AbstractSequence
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from torchlite.train.config.own_data import OWN_DATA
from torchlite.train.config.parts import UNITS, Section, mark_of, without_none
from torchlite.train.config.reference import KINDS, is_section
from torchlite.train.config.schedules import SCHEDULES, Schedule
from torchlite.train.config.schema import Config, Data, Model, Optim
from torchlite.train.registry import RANGES, Kind, Parameter, registry, signature

Schema = dict[str, Any]

_REFERENCE: Schema = {"type": "string", "pattern": r"\$"}
"""What may stand in any place: the value comes from elsewhere."""

_OWN_KEYS: Schema = {"^x-": {}}


def json_schema() -> Schema:
    """The schema of a whole configuration; every component of the registry with its arguments is a definition in it."""
    definitions = {f"{kind}.{name}": _component(kind, name) for kind in KINDS for name in registry.names(kind)}
    definitions |= {kind: _choice(kind, registry.names(kind)) for kind in KINDS}
    definitions |= {f"schedule.{name}": _section(model) for name, model in SCHEDULES.items()}
    definitions["schedule"] = _choice("schedule", list(SCHEDULES))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "torchlite configuration",
        # Only what is written is checked: what is missing may stand in a file that this one extends.
        **_section(Config),
        "$defs": definitions,
    }


def _section(model: type[Section]) -> Schema:
    properties = {name: _field(info) for name, info in model.model_fields.items()}
    schema: Schema = {
        "type": "object",
        "properties": {**properties, "$replace": {"const": True}},
        "patternProperties": _OWN_KEYS,
        "additionalProperties": False,
    }
    if model.from_list:
        return {"anyOf": [schema, properties[model.from_list[0]]]}
    return schema


def _field(info: FieldInfo) -> Schema:
    annotation = without_none(info.annotation)
    mark = mark_of(info)
    if mark is not None:
        schema: Schema = {"$ref": f"#/$defs/{mark.kind}"}
        if typing.get_origin(annotation) is list:
            schema = {"type": "array", "items": schema}
    elif annotation is Model:
        layers = {"type": "array", "items": {"$ref": "#/$defs/layer"}}
        own = {"type": "object", "properties": {"layers": layers}, "required": ["layers"]}
        schema = {"anyOf": [own, {"$ref": "#/$defs/layer"}]}
    elif annotation is Schedule:
        schema = {"$ref": "#/$defs/schedule"}
    elif annotation == list[Schedule]:
        schema = {"type": "array", "items": {"$ref": "#/$defs/schedule"}}
    elif annotation is Data:
        schema = _data()
    elif is_section(annotation):
        schema = _section(annotation)
    else:
        schema = _bounded(_value(info.annotation), info)
    return _documented(schema, info)


def _data() -> Schema:
    """The section of the kind of data that `type` names; that of the catalogue, or part of any, for other names."""
    sections_of_data: list[type[Section]] = [Data, *OWN_DATA.values()]
    names = {name for own in sections_of_data for name in own.model_fields}
    schema: Schema = {"if": {"properties": {"type": {"enum": list(OWN_DATA)}}, "required": ["type"]}}
    schema["then"] = {
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": _section(own)} for name, own in OWN_DATA.items()
        ]
    }
    whole = _section(Data)
    own_keys: Schema = {name: {} for name in sorted(names - set(whole["properties"]))}
    untyped = {**whole, "properties": {**whole["properties"], **own_keys}}
    schema["else"] = {"if": {"required": ["type"]}, "then": whole, "else": untyped}
    return schema


def _documented(schema: Schema, info: FieldInfo) -> Schema:
    extra: Schema = {"description": info.description} if info.description else {}
    default = info.default
    if default is not PydanticUndefined and isinstance(default, (bool, int, float, str)):
        extra["default"] = default
    return {**schema, **extra}


def _bounded(schema: Schema, info: FieldInfo) -> Schema:
    words = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
    bounds = {
        word: getattr(bound, name)
        for bound in info.metadata
        for name, word in words.items()
        if getattr(bound, name, None) is not None
    }
    return {**schema, **bounds}  # bounds say nothing of texts, so references stay allowed


def _component(kind: Kind, name: str) -> Schema:
    """The arguments of a component in the form ``{type: name, ...args}``, `type` among them."""
    target: Callable[..., Any] = registry.table(kind)[name]
    taken = signature(kind, target)
    properties = {parameter.name: _argument(kind, parameter) for parameter in taken.parameters}
    if kind == "layer":
        properties |= {"name": {"type": "string"}, "inputs": {}, "output": {}}
        properties |= {"input": {}, "init": {}}  # what a model has besides the arguments of its one class
        if taken.takes_layers:
            properties["layers"] = {"type": "array", "items": {"$ref": "#/$defs/layer"}}
    elif kind == "metric":
        properties["name"] = {"type": "string"}
    schema: Schema = {
        "type": "object",
        "properties": {"type": {"const": name}, "$replace": {"const": True}, **properties},
    }
    if kind == "optimizer":
        groups = {"type": "object", "properties": {"match": {"type": "string"}, **properties}, "required": ["match"]}
        properties |= {"groups": {"type": "array", "items": groups}, "no_decay": _field(Optim.model_fields["no_decay"])}
        schema["properties"] |= properties
    if not taken.takes_any_keyword:
        schema |= {"patternProperties": _OWN_KEYS, "additionalProperties": False}
    return schema


def _choice(kind: str, names: list[str]) -> Schema:
    """The three forms of a component: its name, ``{name: args}``, ``{type: name, ...args}``; and a user's class."""
    by_key = {name: {"anyOf": [{"not": {"type": "object"}}, {"$ref": f"#/$defs/{kind}.{name}"}]} for name in names}
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"$ref": f"#/$defs/{kind}.{name}"},
        }
        for name in names
    ]
    own_class = {"type": "string", "pattern": ":"}
    structure: Schema = {"repeat": {}} if kind == "layer" else {}
    return {
        "anyOf": [
            {"enum": names},
            own_class,
            _REFERENCE,
            {"type": "object", "required": ["type"], **({"allOf": by_type} if by_type else {})},
            {
                "type": "object",
                "properties": {**by_key, **structure},
                "patternProperties": {":": {}},
                "additionalProperties": False,
                "maxProperties": 1,
                "not": {"required": ["type"]},
            },
            # Over a base that names the type, a section holds only what differs.
            *([] if kind == "layer" else [{"type": "object", "propertyNames": {"not": {"enum": ["type", *names]}}}]),
        ]
    }


def _argument(kind: Kind, parameter: Parameter) -> Schema:
    layer: Schema = {"$ref": "#/$defs/layer"}
    if parameter.holds != "value":
        nested = {"layer": layer, "layers": {"type": "array", "items": layer}}.get(parameter.holds, {"type": "array"})
        return {"anyOf": [nested, _value(parameter.annotation)]}
    schema = _value(parameter.annotation)
    allowed = RANGES[kind].get(parameter.name)
    if allowed is not None and allowed.low != float("-inf"):
        schema = {**schema, "exclusiveMinimum" if allowed.open_low else "minimum": allowed.low}
    if allowed is not None and allowed.high != float("inf"):
        schema = {**schema, "maximum": allowed.high}
    return schema


def _value(annotation: Any) -> Schema:
    """The schema of a plain type, with references allowed in its place."""
    plain = _plain(annotation)
    return plain if not plain or plain == {"type": "string"} else {"anyOf": [plain, _REFERENCE]}


_PLAIN_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object"}


def _plain(annotation: Any) -> Schema:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return {"type": "null"}
    if annotation in UNITS:
        return {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*[A-Za-z]+$"}
    if origin is typing.Annotated:
        return _plain(inner[0])
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_plain(one) for one in inner]}
    base = origin or annotation
    if base in (list, tuple, AbstractSequence):
        items = _value(inner[0]) if inner and (base is list or inner[-1] is ...) else {}
        return {"type": "array", "items": items}
    if base in _PLAIN_TYPES:
        return {"type": _PLAIN_TYPES[base]}
    return {}
