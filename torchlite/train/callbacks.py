"""What else happens during training: ``callbacks`` of a configuration, and how they are told.

A callback of the user's own is a class with any of the methods of `torchlite.train.loop.Observer`; it finds the folder of
the run in ``self.folder``, and raises to stop the run.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchlite import backends
from torchlite.autograd.grad_mode import no_grad
from torchlite.ops.exchange import from_numpy
from torchlite.serialization.atomic import write_file
from torchlite.train.config.parts import Duration
from torchlite.train.generation import Alphabet, Sampling, generate
from torchlite.vision.png import encode_png

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Observers:
    """Tells several observers, each what it wants to know.

    One that finds the disk full does not end the training: that is told once, and then it is told on.

    Attributes:
        problems: what could not be written.
    """

    def __init__(self, observers: Sequence[Any]) -> None:
        self._observers = list(observers)
        self.problems: list[str] = []

    def _tell(self, event: str, *what: Any) -> None:
        for observer in self._observers:
            heard = getattr(observer, event, None)
            if heard is None:
                continue
            try:
                heard(*what)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                problem = f"{type(observer).__name__} could not write everything ({error.strerror})"
                if problem not in self.problems:
                    self.problems.append(problem)

    def started(self, *what: Any) -> None:
        """The run is about to take its first step."""
        self._tell("started", *what)

    def stepped(self, *what: Any) -> None:
        """An optimizer step is done."""
        self._tell("stepped", *what)

    def evaluated(self, *what: Any) -> None:
        """The model was evaluated."""
        self._tell("evaluated", *what)

    def saved(self, *what: Any) -> None:
        """A checkpoint is durable."""
        self._tell("saved", *what)

    def warned(self, *what: Any) -> None:
        """Something went wrong, and the run goes on."""
        self._tell("warned", *what)

    def ended(self, *what: Any) -> None:
        """There will be no further step."""
        self._tell("ended", *what)

    def failed(self, *what: Any) -> None:
        """The run ended with an exception; observers need not want to know."""
        self._tell("failed", *what)


class _Every(ABC):
    """A callback that makes something every so often, in the folder ``samples`` of the run."""

    folder: Path = Path()

    def __init__(self, every: str) -> None:
        self._every = Duration.parse(every)
        self._plan: Any = None

    def started(self, plan: Any, _progress: Any) -> None:
        """Remember what is trained."""
        self._plan = plan

    def stepped(self, progress: Any, _step: Any) -> None:
        """Make it, where it is time."""
        if progress.step % self._every.steps(self._plan.steps_per_epoch) == 0:
            model = self._plan.evaluated
            training = model.training
            model.eval()
            try:
                with no_grad():
                    self.make(progress.step)
            finally:
                model.train(training)

    @abstractmethod
    def make(self, step: int) -> None:
        """What it makes after optimizer step ``step``."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder ``samples``."""
        (self.folder / "samples").mkdir(exist_ok=True)
        write_file(self.folder / "samples" / name, [content])


class ImageGrid(_Every):
    """Images that a model makes of the same noise every time: samples/step-N.png.

    Args:
        model: the name of the model, one that says its `input`.
        n: how many images.
        columns: how many in a row.
        every: how often, e.g. 1 epoch.
    """

    def __init__(self, model: str, n: int = 64, columns: int = 8, every: str = "1 epoch") -> None:
        super().__init__(every)
        self.model, self.n, self.columns = model, n, columns

    def make(self, step: int) -> None:
        """Write the grid."""
        config = self._plan.config
        noise = np.random.default_rng(config.seed).standard_normal((self.n, *config.models[self.model].input))
        model = getattr(self._plan.evaluated, self.model)
        images = model(from_numpy(noise.astype(np.float32)).to(self._plan.device))
        self.write(f"step-{step:06d}.png", encode_png(grid(backends.to_numpy(images._data), self.columns)))


class SampleText(_Every):
    """Text that a language model writes on after a beginning: samples/step-N.txt.

    Args:
        prompt: the beginning, of characters that the dataset has.
        tokens: how many to write.
        temperature: how daring: logits are divided by it.
        every: how often, e.g. 1 epoch.
    """

    def __init__(self, prompt: str, tokens: int = 100, temperature: float = 1.0, every: str = "1 epoch") -> None:
        super().__init__(every)
        self.prompt, self.tokens, self.temperature = prompt, tokens, temperature

    def make(self, step: int) -> None:
        """Write the text."""
        alphabet = Alphabet(self._plan.config.data.alphabet)
        tokens = generate(
            self._plan.evaluated,
            alphabet.encode(self.prompt),
            self.tokens,
            context=self._plan.traces["model"].input.shape[1],
            sampling=Sampling(self.temperature),
            rng=np.random.default_rng(self._plan.config.seed),
            device=self._plan.device,
        )
        text = "".join(alphabet.decoded(tokens))
        self.write(f"step-{step:06d}.txt", (self.prompt + text).encode())


def grid(images: np.ndarray[Any, Any], columns: int) -> np.ndarray[Any, Any]:
    """Images (N, C, H, W) beside and below each other as bytes (rows · H, columns · W, C), from least to greatest value."""
    n, channels, height, width = images.shape
    low, high = float(images.min()), float(images.max())
    scaled = np.uint8(255 * (images - low) / (high - low or 1.0))
    rows = -(-n // columns)
    padded = np.zeros((rows * columns, channels, height, width), np.uint8)
    padded[:n] = scaled
    tiled = padded.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)  # rows, H, columns, W, C
    return tiled.reshape(rows * height, columns * width, channels)


CALLBACKS = {"image_grid": ImageGrid, "sample_text": SampleText}
