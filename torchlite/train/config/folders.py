"""Data in folders: ``type: image_folder`` and ``type: audio_folder``, with a folder of files for each class.

The classes may be listed; where they are not, their names are those of the folders that are there. No file is opened for that.
"""

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from torchlite.train.config.parts import Seconds, Section
from torchlite.train.config.schema import Data


def _two_sizes(sizes: list[int]) -> list[int]:
    if len(sizes) != 2 or min(sizes) < 1:
        raise PydanticCustomError("bounds", "must hold a height and a width of at least 1", {"hint": "e.g. [32, 32]"})
    return sizes


class Folder(Data):
    """Files in a folder for each class."""

    root: str = Field(
        min_length=1,
        description="Folder with a folder of training files for each class, relative to the configuration.",
    )
    val: str | None = Field(
        default=None, min_length=1, description="Folder with the validation files, where they have one of their own."
    )
    test: str | None = Field(default=None, min_length=1, description="Folder with the test files.")
    classes: list[str] | None = Field(
        default=None,
        min_length=2,
        description="Names of the classes' folders; those of the folders in `root` where unset.",
    )
    target: Literal["class", "none"] = Field(
        default="class", description="What a file is of: the class that its folder names, or none, as for a GAN."
    )
    cache: Literal["none", "ram"] = Field(
        default="none",
        description="ram decodes every file once, before training; none does so whenever a batch needs it, in the workers.",
    )

    suffixes: ClassVar[frozenset[str]] = frozenset()
    """The files that count, by the ends of their names in lower case."""


class Image(Section):
    """What images become."""

    size: Annotated[list[int], AfterValidator(_two_sizes)] = Field(description="Height and width.")
    channels: Literal[1, 3] = Field(default=3, description="1 for grey, 3 for colours.")
    fit: Literal["crop", "stretch", "exact"] = Field(
        default="crop",
        description="How others get that size: scaled, with the middle cut out; scaled in both directions; or not at all.",
    )


class ImageFolder(Folder):
    """Images in a folder for each class; other formats than PNG, PGM and PPM, and other sizes, need Pillow."""

    type: Literal["image_folder"] = Field(description="image_folder.")
    image: Image = Field(description="What images become.")

    suffixes: ClassVar[frozenset[str]] = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".pgm", ".ppm"})


class AudioFolder(Folder):
    """Recordings, WAV files in a folder for each class; of several channels the mean is taken."""

    type: Literal["audio_folder"] = Field(description="audio_folder.")
    sample_rate: int = Field(ge=1, description="Samples a second that every file must have.")
    clip: Seconds = Field(
        description="Stretch of each recording, from its start, e.g. 1.0 s; shorter ones are filled with silence."
    )

    suffixes: ClassVar[frozenset[str]] = frozenset({".wav"})

    @property
    def length(self) -> int:
        """Samples in a clip."""
        return max(1, round(self.clip * self.sample_rate))


def class_names(root: Path) -> list[str]:
    """The folders in ``root``, in the order of the alphabet; none where there is no such folder."""
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def with_classes(data: Folder, folder: Path) -> Folder:
    """The section with the names of its classes, as far as they can be known; its paths are relative to ``folder``."""
    if data.classes is not None or data.target == "none":
        return data
    names = class_names(folder / data.root)
    return data.model_copy(update={"classes": names}) if len(names) > 1 else data
