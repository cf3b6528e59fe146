"""Places around a function where it finds what it changes, or what others do: how to look there, and how to put something there."""

from types import SimpleNamespace

from torchlite import nn

VALUE = None


def in_an_attribute(value):
    kept = SimpleNamespace(value=value)

    def put(x):
        kept.value = x

    return lambda: kept.value, put


def _in_an_attribute(kept, value):
    kept.value = value

    def put(x):
        kept.value = x

    return lambda: kept.value, put


def in_an_attribute_of_the_program(value):
    class Kept:
        pass

    return _in_an_attribute(Kept(), value)


def in_an_attribute_of_a_module(value):
    class Kept(nn.Module):
        pass

    return _in_an_attribute(Kept(), value)


def in_a_slot(value):
    class Kept:
        __slots__ = ("__weakref__", "other", "value")

    return _in_an_attribute(Kept(), value)


def in_a_slot_behind_another(value):
    class Base:
        __slots__ = ("value",)

    class Kept(Base):
        __slots__ = ("value",)

    kept = Kept()
    kept.value = 7
    slot = Base.value
    slot.__set__(kept, value)

    def put(x):
        slot.__set__(kept, x)

    return lambda: slot.__get__(kept), put


def in_a_slot_behind_a_property(kept_value):
    class Base:
        __slots__ = ("value",)

    class Kept(Base):
        __slots__ = ()

        @property
        def value(self):
            return (Base.value.__get__(self),)

        @value.setter
        def value(self, x):
            Base.value.__set__(self, x)

    kept = Kept()
    kept.value = kept_value

    def put(x):
        kept.value = x

    return lambda: kept.value[0], put


def in_a_class(kept_value):
    class Kept:
        value = kept_value

    def put(x):
        Kept.value = x

    return lambda: Kept.value, put


def in_a_global(value):
    global VALUE
    VALUE = value

    def put(x):
        global VALUE
        VALUE = x

    return lambda: VALUE, put


def in_a_closure(value):
    def put(x):
        nonlocal value
        value = x

    return lambda: value, put


def in_a_dict(value):
    kept = {"value": value, "others": {"x": 1}}

    def put(x):
        kept["value"] = x

    return lambda: kept["value"], put


def in_a_list(value):
    kept = [1, value, "text"]

    def put(x):
        kept[1] = x

    return lambda: kept[1], put


def in_a_list_in_a_dict(value):
    kept = {"lists": ([value], [2])}

    def put(x):
        kept["lists"][0][-1] = x

    return lambda: kept["lists"][0][-1], put


PLACES = [
    in_an_attribute,
    in_an_attribute_of_the_program,
    in_an_attribute_of_a_module,
    in_a_slot,
    in_a_slot_behind_another,
    in_a_slot_behind_a_property,
    in_a_class,
    in_a_global,
    in_a_closure,
    in_a_dict,
    in_a_list,
    in_a_list_in_a_dict,
]
