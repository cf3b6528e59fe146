"""Where a key of the configuration belongs that stands in a place where it is unknown."""

from collections.abc import Collection, Iterator
from functools import cache

from torchlite.train.config.diagnostics import closest
from torchlite.train.config.parts import Section, without_none
from torchlite.train.config.schedules import SCHEDULES
from torchlite.train.config.schema import SYNONYMS, Config
from torchlite.train.registry import registry, signature

_MOST = 3  # places that are named of a key that stands in several
_SHORT = 4  # letters of a key up to which another one is no slip of the hand


def places_of(name: str) -> tuple[str, ...]:
    """The dotted keys that end in ``name``, or in what that is another word or a slip of the hand for.

    >>> places_of("epochs"), places_of("learning_rate"), places_of("batchsize")
    (('train.epochs',), ('optim.lr',), ('data.batch_size', 'eval.batch_size'))
    """
    known = _places()
    word = SYNONYMS.get(name.casefold(), name)
    slip = closest(name, known) if len(name) > _SHORT else None
    return next((known[one] for one in (name, word, slip) if one in known), ())


def elsewhere(name: str, section: str) -> str | None:
    """A hint that names the place of a key which the dotted ``section``, '' for the whole file, does not have.

    >>> elsewhere("epochs", ""), elsewhere("optim", "train"), elsewhere("colour", "")
    ("did you mean 'train.epochs'?", "did you mean 'optim', outside of 'train'?", None)
    """
    places = places_of(name)
    if places and "." not in places[0]:
        return f"did you mean '{places[0]}', outside of '{section}'?" if section else None
    return f"did you mean {' or '.join(map(repr, places[:_MOST]))}?" if places else None


@cache
def _places() -> dict[str, tuple[str, ...]]:
    """The dotted keys by their last name, those that are nearest to the whole file."""
    found: dict[str, dict[str, None]] = {}
    for key in _keys(Config, ""):
        found.setdefault(key.rpartition(".")[2], {})[key] = None
    for schedule in SCHEDULES.values():
        for key in _keys(schedule, "schedule."):
            found.setdefault(key.rpartition(".")[2], {})[key] = None
    for optimizer in registry.table("optimizer").values():
        for parameter in signature("optimizer", optimizer).parameters:
            found.setdefault(parameter.name, {})[f"optim.{parameter.name}"] = None
    found.pop("type", None)
    return {name: _outermost(keys) for name, keys in found.items()}


def _outermost(keys: Collection[str]) -> tuple[str, ...]:
    depth = min(key.count(".") for key in keys)
    return tuple(key for key in keys if key.count(".") == depth)


def _keys(section: type[Section], before: str) -> Iterator[str]:
    for name, info in section.model_fields.items():
        if info.exclude:
            continue
        yield before + name
        inner = without_none(info.annotation)
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _keys(inner, f"{before}{name}.")
