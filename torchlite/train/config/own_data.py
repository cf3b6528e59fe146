"""Data of one's own: ``type: csv`` and ``type: text``, and what is known of all kinds of it before any of it is read.

Everything that decides a shape stands in the configuration: the classes, the values of a category, the size of a vocabulary. So
shapes are checked without the data, and a file that holds something else is found when it is read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from torchlite.train.config.folders import AudioFolder, Folder, ImageFolder, class_names
from torchlite.train.config.parts import Section
from torchlite.train.config.schema import Data


class Column(Section):
    """One column of a table that the model gets."""

    kind: Literal["number", "category", "text"] = Field(description="What the column holds.")
    impute: Literal["median", "mean", "zero"] = Field(
        default="median", description="What stands for a number that is missing; of the training rows."
    )
    transform: Literal["none", "log1p"] = Field(default="none", description="What is done to numbers first.")
    scale: Literal["standard", "none"] = Field(
        default="standard",
        description="Whether numbers are shifted and scaled to mean 0 and variance 1 of the training rows.",
    )
    values: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Values of a category; each becomes an input, a missing one is none of them.",
    )
    vocab: int = Field(
        default=10_000,
        ge=3,
        description="Tokens of a text: padding, the unknown, and the most frequent words of the training rows.",
    )
    max_len: int = Field(default=128, ge=1, description="Words of a text that are read; shorter ones are padded.")
    lower: bool = Field(default=True, description="Whether a text is read in lower case.")

    of_kind: ClassVar[dict[str, tuple[str, ...]]] = {
        "number": ("impute", "transform", "scale"),
        "category": ("values",),
        "text": ("vocab", "max_len", "lower"),
    }
    """The keys that a kind of column has besides `kind`."""


class Target(Section):
    """The column that the model is to tell."""

    column: str = Field(min_length=1, description="Name of the column.")
    kind: Literal["class", "binary", "number"] = Field(
        description="A class for cross_entropy, a yes or no for bce_with_logits, a number for mse."
    )
    classes: list[str] | None = Field(
        default=None,
        min_length=2,
        description="Values of a class, or of a binary target with the one that means yes last.",
    )
    transform: Literal["none", "log1p"] = Field(default="none", description="What is done to a number first.")


class CsvData(Data):
    """A table in a CSV file whose first line names the columns."""

    type: Literal["csv"] = Field(description="csv.")
    train: str = Field(min_length=1, description="File with the training rows, relative to the configuration.")
    val: str | None = Field(
        default=None, min_length=1, description="File with the validation rows, where they have one of their own."
    )
    test: str | None = Field(default=None, min_length=1, description="File with the test rows.")
    inputs: dict[str, Column] = Field(
        min_length=1, description="The columns that the model gets, by name; one text, or any others."
    )
    target: Target = Field(description="The column that it is to tell.")


class TextData(Data):
    """A long text, cut into stretches; every place is to tell the character after it."""

    type: Literal["text"] = Field(description="text.")
    files: list[str] = Field(min_length=1, description="Files with the training text, relative to the configuration.")
    val: list[str] = Field(default=[], description="Files with the validation text, where it has some of its own.")
    test: list[str] = Field(default=[], description="Files with the test text.")
    context: int = Field(ge=1, description="Characters in a stretch.")
    alphabet: str | None = Field(
        default=None,
        min_length=2,
        description="The characters that count, others are left out; all 256 bytes where unset.",
    )


OWN_DATA: dict[str, type[Data]] = {
    "csv": CsvData,
    "text": TextData,
    "image_folder": ImageFolder,
    "audio_folder": AudioFolder,
}
"""The sections for data of one's own, by `data.type`."""


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of what one sample holds."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class OwnCard:
    """What is known of data of one's own; the same as a card of the catalogue says.

    `scale` is the largest value of inputs that are whole numbers; `target` is that of one sample; `sample_rate` that of sounds.
    """

    name: str
    input: Spec
    target: Spec
    classes: tuple[str, ...]
    scale: int = 1
    splits: Mapping[str, Any] = field(default_factory=dict)  # how many rows a file has is not known before it is read
    sample_rate: int | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes; of a target without classes, of the numbers that tell it."""
        return len(self.classes) or 1


def card_of(data: Data) -> OwnCard:
    """What is known of the data that a section describes."""
    if isinstance(data, TextData):
        symbols = tuple(data.alphabet) if data.alphabet is not None else tuple(map(chr, range(256)))
        tokens = Spec((data.context,), "int64")
        return OwnCard("text", tokens, tokens, symbols, len(symbols) - 1)
    if isinstance(data, Folder):
        return _card_of_folder(data)
    assert isinstance(data, CsvData)
    target = Spec((), "int64") if data.target.kind == "class" else Spec((1,), "float32")
    classes = tuple(data.target.classes or ()) if data.target.kind == "class" else ()
    text = text_column(data)
    if text is not None:
        return OwnCard("csv", Spec((text.max_len,), "int64"), target, classes, text.vocab - 1)
    width = sum(len(one.values or ()) if one.kind == "category" else 1 for one in data.inputs.values())
    return OwnCard("csv", Spec((width,), "float32"), target, classes)


def text_column(data: CsvData) -> Column | None:
    """The text among the inputs, if there is one."""
    return next((column for column in data.inputs.values() if column.kind == "text"), None)


def _card_of_folder(data: Folder) -> OwnCard:
    target, classes = Spec((), "int64"), tuple(data.classes or ())
    if isinstance(data, ImageFolder):
        return OwnCard(data.type, Spec((data.image.channels, *data.image.size), "uint8"), target, classes, 255)
    assert isinstance(data, AudioFolder)
    wave = Spec((1, data.length), "int16")
    return OwnCard(data.type, wave, target, classes, 2**15 - 1, sample_rate=data.sample_rate)


def own_facts(name: str, value_of: Callable[[str], Any], folder: Path) -> dict[str, Any]:
    """What ``$data.*`` knows of data of one's own; `value_of` gives the plain value of a key of the section.

    Paths in the section are relative to `folder`.
    """
    if name == "text":
        alphabet = value_of("alphabet")
        symbols = len(alphabet) if isinstance(alphabet, str) else 256
        return {"num_classes": symbols, "vocab_size": symbols}
    if name == "csv":
        target = value_of("target")
        classes = target.get("classes") if isinstance(target, dict) and target.get("kind") == "class" else None
        return {"num_classes": len(classes) if isinstance(classes, list) else 1, "classes": classes or []}
    classes, root = value_of("classes"), value_of("root")
    if not isinstance(classes, list) and value_of("target") != "none":
        classes = class_names(folder / root) if isinstance(root, str) else None
    facts = {"num_classes": len(classes or ()) or 1, "classes": classes or []}
    return facts | (
        {"scale": 255} if name == "image_folder" else {"scale": 2**15 - 1, "sample_rate": value_of("sample_rate")}
    )
