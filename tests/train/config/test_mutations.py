"""Thousands of damaged configurations: each gives findings with a place inside the text, never an exception."""

import random
from pathlib import Path

import pytest

from torchlite.train.config.load import inspect_config
from torchlite.train.config.render import as_github, as_json, as_markdown, as_text

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))

FRAGMENTS = [
    *"[]{}:,-#&*!|>'\"%@`$?~\t\n ",
    "${", "}", "$a.b", "${vars.x}", "${1/0}", "${2**9999}", "${env:HOME}", "<<: ", "- ", ": ", "\n\n", "  ",
    "null", "true", "no", "1e-3", ".nan", "-.inf", "010", "0x1F", "1e999", "9" * 500, "1 epoch", "0 steps",
    "type: ", "layers: ", "x-", "extends: ", "extends: .", "&a [*a]", "*a", "!!python/name:os.system ",
    "é", "\u2028", "\x00", "\x85", "\ufeff", "\U0001f600", "a: " * 70, "[" * 80, "code: [a.py]", "mod:Class",
]  # fmt: skip


def mutate(text: str, rng: random.Random) -> str:
    """`text` with one to four random edits: fragments put in, stretches or lines dropped, doubled or swapped."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randint(0, 12))
        lines = text.splitlines(keepends=True) or [""]
        row = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                text = text[:start] + rng.choice(FRAGMENTS) + text[start:]
            case 1:
                text = text[:start] + rng.choice(FRAGMENTS) + text[end:]
            case 2:
                text = text[:start] + text[end:]
            case 3:
                text = "".join([*lines[:row], *lines[row + 1 :]])
            case 4:
                text = "".join([*lines[: row + 1], *lines[row:]])
            case 5:
                text = "".join([*lines[:row], " " * rng.randint(1, 3) + lines[row], *lines[row + 1 :]])
            case _:
                rng.shuffle(lines)
                text = "".join(lines)
    return text


def check(path: Path, content: bytes, overrides: tuple[str, ...] = ()) -> None:
    loaded = inspect_config(path, overrides, content=content)
    assert loaded.config is not None or loaded.diagnostics or loaded.abstract
    for one in loaded.diagnostics:
        assert one.line >= 1 and 1 <= one.col <= one.end_col, one
        if one.origin.kind == "file" and one.source_line:
            assert one.col <= len(one.source_line) + 1, one
    as_text(loaded.diagnostics)
    as_json({"ok": True, "files": []}, loaded.diagnostics)
    as_github(loaded.diagnostics)
    as_markdown([], loaded.diagnostics)
    if loaded.ok:
        assert loaded.config is not None
        assert loaded.config.resolved()
        assert loaded.config.origins


@pytest.mark.parametrize("seed", range(8))
def test_mutated_text(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(250):
        path = rng.choice(CONFIGS)
        text = mutate(path.read_text(encoding="utf-8"), rng)
        check(path, text.encode("utf-8", errors="surrogatepass"))


def test_mutated_bytes() -> None:
    rng = random.Random(99)
    for _ in range(300):
        path = rng.choice(CONFIGS)
        content = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 5)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        check(path, bytes(content))


def test_mutated_overrides() -> None:
    rng = random.Random(7)
    valid = ["optim.lr=3e-4", "data.transforms.normalize.mean=0.5", "metrics+=accuracy", "unset:train.clip"]
    valid += ["model.layers.1.Linear=7", "loss.type=mse", "schedule={type: step, every: 1 epoch}", "vars.a=1,2"]
    for _ in range(600):
        path = rng.choice(CONFIGS)
        check(path, path.read_bytes(), tuple(mutate(one, rng) for one in rng.sample(valid, 2)))


@pytest.mark.slow
def test_many_more_mutations() -> None:
    rng = random.Random(2024)
    for _ in range(20_000):
        path = rng.choice(CONFIGS)
        text = mutate(path.read_text(encoding="utf-8"), rng)
        check(path, text.encode("utf-8", errors="surrogatepass"))
