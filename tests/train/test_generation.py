"""Text from a language model: which tokens may be drawn, and characters of several bytes."""

import numpy as np
import pytest

import torchlite as torch
from torchlite.devices import CPU
from torchlite.errors import UsageError
from torchlite.train.generation import Alphabet, Sampling, generate

LOGITS = np.log(np.array([0.1, 0.4, 0.3, 0.2]))


def drawn(sampling, count=2000):
    rng = np.random.default_rng(0)
    return np.bincount([sampling.draw(LOGITS, rng) for _ in range(count)], minlength=4) / count


def test_shares_are_the_model_s():
    np.testing.assert_allclose(drawn(Sampling()), [0.1, 0.4, 0.3, 0.2], atol=0.03)
    squared = np.array([0.01, 0.16, 0.09, 0.04])
    np.testing.assert_allclose(drawn(Sampling(0.5)), squared / squared.sum(), atol=0.03)


def test_only_the_most_probable():
    assert drawn(Sampling(0.0), 50).tolist() == [0, 1, 0, 0]
    assert drawn(Sampling(top_k=1), 50).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(drawn(Sampling(top_k=2)), [0, 4 / 7, 3 / 7, 0], atol=0.04)
    np.testing.assert_allclose(drawn(Sampling(top_p=0.65)), [0, 4 / 7, 3 / 7, 0], atol=0.04)
    assert drawn(Sampling(top_p=0.01), 50).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(drawn(Sampling(top_p=1.0)), drawn(Sampling()))


@pytest.mark.parametrize("arguments", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_what_can_t_be(arguments):
    with pytest.raises(UsageError):
        Sampling(**arguments)


class Counting(torch.nn.Module):
    """Expects the number after the last one it sees, of five; numbers of the padding are 0."""

    def forward(self, tokens):
        return torch.nn.functional.one_hot((tokens + 1) % 5, 5).float() * 50


def test_tokens_follow_the_last_ones_of_the_context():
    rng = np.random.default_rng(0)
    arguments = {"context": 3, "sampling": Sampling(), "rng": rng, "device": CPU}
    assert list(generate(Counting(), [1], 8, **arguments)) == [2, 3, 4, 0, 1, 2, 3, 4]
    assert list(generate(Counting(), [], 2, **arguments)) == [1, 2]


def test_alphabets():
    few = Alphabet("abc")
    assert few.encode("cabx") == [2, 0, 1]
    assert few.unknown("cxaxy") == "xy"
    assert "".join(few.decoded(iter([2, 0]))) == "ca"
    every = Alphabet(None)
    assert every.unknown("é€") == ""
    assert list(every.decoded(iter(every.encode("aé€")))) == ["a", "é", "€"]
    assert "".join(every.decoded(iter([0xC3, 0x41, 0xE2]))) == "\ufffdA\ufffd"
