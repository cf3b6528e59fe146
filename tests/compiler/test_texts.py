"""Texts, and numbers in containers, among the arguments that are others at every call, such as the name of each file in a batch."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
from eager_and_compiled import both, captured

import torchlite as torch

Named = namedtuple("Named", "x name")


@dataclass
class Labelled:
    x: torch.Tensor
    name: str
    weight: float


def called(compile_, function, make, calls=12):
    f = compile_(function)
    results = []
    for i in range(calls):
        batch = make(torch.full((2,), float(i)), f"file {i}", i)
        results += [f(batch), vars(batch) if isinstance(batch, Labelled) else batch]
    return results


PASSED_ON = {
    "in a dict": (lambda x, name, i: {"name": name, "x": x}, lambda b: b["x"] * 2),
    "in a list in a dict": (lambda x, name, i: {"x": x, "names": [name, name + "b"]}, lambda b: b["x"] * 2),
    "in a tuple": (lambda x, name, i: (x, (name, 3)), lambda b: b[0] * 2),
    "in a named tuple": (lambda x, name, i: Named(x, name), lambda b: b.x * 2),
    "in a dataclass": (lambda x, name, i: Labelled(x, name, i / 4), lambda b: b.x * b.weight),
    "returned": (lambda x, name, i: {"name": name, "x": x}, lambda b: {"of": b["name"], "y": b["x"] * 2}),
    "returned with its batch": (lambda x, name, i: {"name": name, "x": x}, lambda b: (b, b["x"] * 2)),
    "returned with its tuple": (lambda x, name, i: (x, [name]), lambda b: (b[1], b[0] * 2)),
    "asked for its type": (
        lambda x, name, i: {"name": name, "x": x},
        lambda b: [v * 2 for v in b.values() if not isinstance(v, str)],
    ),
    "taken out": (lambda x, name, i: {"name": name, "x": x}, lambda b: (b.pop("name"), b["x"] * 2)),
    "a number in a dict": (lambda x, name, i: {"x": x, "step": i}, lambda b: b["x"] * b["step"]),
    "a number in a list": (lambda x, name, i: [x, i, i / 2], lambda b: b[0] * b[1] + b[2]),
    "the same dict twice": (lambda x, name, i: [d := {"x": x, "step": i, "name": name}, d], lambda b: b[0]["x"] * b[1]["step"]),
}  # fmt: skip


@pytest.mark.parametrize("how", PASSED_ON)
def test_what_is_passed_on_is_captured_twice(how):
    make, function = PASSED_ON[how]
    (f,) = both(lambda compile_: called(compile_, function, make))
    assert len(f.variants) == 2 and f.refused is None


LOOKED_AT = {
    "compared": lambda b: b["x"] * (2 if b["name"] == "file 3" else 3),
    "compared the other way round": lambda b: b["x"] * (2 if "file 3" == b["name"] else 3),  # noqa: SIM300
    "searched": lambda b: b["x"] * (2 if "3" in b["name"] else 3),
    "split": lambda b: b["x"] * float(b["name"].split()[1]),
    "a key": lambda b: {b["name"]: b["x"] * 2},
    "among others": lambda b: b["x"] * (2 if b["name"] in ("file 1", "file 3") else 3),
    "in a set": lambda b: b["x"] * (2 if b["name"] in {"file 1", "file 3"} else 3),
    "in a text": lambda b: (b["x"] * 2, f"of {b['name']}"),
    "in an old text": lambda b: (b["x"] * 2, "of %s" % b["name"]),  # noqa: UP031
    "joined": lambda b: (b["x"] * 2, "/".join([b["name"], "a"])),
    "added": lambda b: (b["x"] * 2, "of " + b["name"], b["name"] + "."),
    "its length": lambda b: b["x"] * len(b["name"]),
    "its truth": lambda b: b["x"] * 2 if b["name"] else b["x"],
    "sorted": lambda b: (b["x"] * 2, sorted([b["name"], "file 4"])),
    "its type": lambda b: b["x"] * 2 if type(b["name"]) is str else b["x"],
    "what it is": lambda b: b["x"] * 2 if b["name"].__class__ is str else b["x"],
    "a name of an attribute": lambda b: getattr(b["x"], b["name"][:2].replace("fi", "sin")[:3])(),
    "despite an error": lambda b: b["x"] * swallowing(lambda: int(b["name"])),
    "set": lambda b: b.update(name=b["name"]) or b["x"] * 2,
    "replaced": lambda b: b.update(step=b["step"] + 1) or b["x"] * 2,
}


def swallowing(function):
    try:
        return function()
    except:  # noqa: E722
        return 7


@pytest.mark.parametrize("how", LOOKED_AT)
@pytest.mark.filterwarnings("ignore:torchlite.compile")
def test_what_is_looked_at_has_captures_of_its_own(how):
    def make(x, name, i):
        return {"x": x, "name": name[:5] + str(i % 4), "step": i % 4}

    both(lambda compile_: called(compile_, LOOKED_AT[how], make))


def test_a_batch_that_is_also_around_the_function():
    """What its dict holds is a condition there, so it is none among the arguments."""

    def program(compile_):
        batch = {"x": torch.ones(2), "name": "a", "n": 1}
        f = compile_(lambda b: (b["x"] * batch["n"], batch["name"]))
        results = []
        for i in range(6):
            batch.update(name=f"file {i}", n=i)
            results.append(f(batch))
        return results

    both(program)


def test_only_the_text_that_is_looked_at_has_captures_of_its_own():
    def program(compile_):
        f = compile_(lambda b: b["x"] * (2 if b["task"] == "train" else 3))
        return [f({"x": torch.ones(2), "task": ("train", "test")[i % 2], "file": f"file {i}"}) for i in range(16)]

    (f,) = both(program)
    assert captured(f) and len(f.variants) <= 4 and f.refused is None
