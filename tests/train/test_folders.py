"""Images and recordings in folders: what is there, how it is decoded, and what is wrong with it."""

import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import Quiet, final_state, rewound

from torchlite.audio.wav import read_wav
from torchlite.errors import DataError, DeviceError, MissingDataError
from torchlite.train import run
from torchlite.train.check import check_data
from torchlite.train.config.load import inspect_config, require_config
from torchlite.train.config.schema import Config
from torchlite.train.data import load_split, load_splits
from torchlite.train.drift import drift
from torchlite.train.inputs import read_inputs
from torchlite.train.prediction import outputs, records
from torchlite.train.trained import load_trained
from torchlite.vision.images import image_size, read_image

IMAGES = """\
version: 1
name: small
data:
  type: image_folder
  root: pictures
  image: {size: [6, 5], channels: 1}
  split: {val: 0.25, stratify: true}
  batch_size: 4
  transforms: [to_float]
model: {layers: [Flatten, {Linear: $data.num_classes}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 2}
checkpoint: {every: 1 steps, keep: {last: 50}}
"""
SOUNDS = """\
version: 1
name: small
data:
  type: audio_folder
  root: sounds
  sample_rate: 1000
  clip: 40 ms
  batch_size: 4
  transforms: [{to_float: $data.scale}, {time_shift: 5 ms}, {log_mel: {n_fft: 16, hop: 8, mels: 4}}]
model: {layers: [Flatten, {Linear: $data.num_classes}]}
optim: {type: sgd, lr: 0.1}
train: {epochs: 1}
"""
Load = Callable[..., Config]


def pgm(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = b"P5" if pixels.ndim == 2 else b"P6"
    height, width = pixels.shape[:2]
    path.write_bytes(kind + f"\n# made here\n{width} {height}\n255\n".encode() + pixels.astype(np.uint8).tobytes())


def wav(path: Path, samples: np.ndarray[Any, Any], *, rate: int = 1000, width: int = 2, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


@pytest.fixture
def load(tmp_path: Path) -> Load:
    rng = np.random.default_rng(0)
    for kind, value in (("dark", 20), ("light", 200)):
        for number in range(8):
            pgm(tmp_path / "pictures" / kind / f"{number}.pgm", value + rng.integers(0, 30, (6, 5)))
        for number in range(6):
            wav(tmp_path / "sounds" / kind / f"{number}.wav", rng.integers(-value, value, 50 - number).astype("<i2"))

    def config(text: str, *overrides: str) -> Config:
        path = tmp_path / "main.yaml"
        path.write_text(text)
        return require_config(path, overrides)

    return config


def test_classes_are_the_folders_and_samples_the_files(load: Load, tmp_path: Path) -> None:
    splits = load_splits(load(IMAGES))
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == (12, 4)
    assert np.bincount(splits.val.targets).tolist() == [2, 2], "as many of each class"
    inputs, targets = splits.train.get_batch([0, 11])
    assert inputs.shape == (2, 1, 6, 5) and targets.tolist() == [0, 1]
    assert (inputs[0] < 0.3).all() and (inputs[1] > 0.7).all()
    assert load(IMAGES).resolved()["data"]["classes"] == ["dark", "light"], "what was found is what the run says"


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_files_train_alike_whenever_they_are_decoded_and_resume(load: Load, cache: str, tmp_path: Path) -> None:
    config = load(IMAGES, f"data.cache={cache}")
    whole = run.train(config, Quiet(), root=tmp_path / "runs").run
    again = run.train(load(IMAGES, "data.workers=2"), Quiet(), root=tmp_path / "others").run
    assert final_state(again) == final_state(whole)
    part = rewound(whole, 2, tmp_path / "part")
    run.resume(part, Quiet())
    assert final_state(part) == final_state(whole)


def test_a_run_whose_files_have_changed_does_not_go_on(load: Load, tmp_path: Path) -> None:
    whole = run.train(load(IMAGES), Quiet(), root=tmp_path / "runs").run
    part = rewound(whole, 2, tmp_path / "part")
    pgm(tmp_path / "pictures" / "dark" / "0.pgm", np.zeros((6, 5)))
    with pytest.raises(DataError, match="is not what"):
        run.resume(part, Quiet())


def test_what_is_learned_is_forbidden_to_change_and_how_it_is_read_is_not(load: Load) -> None:
    effects = {
        one.key: one.effect for one in drift(load(IMAGES), load(IMAGES, "data.cache=ram", "data.image.channels=3"))
    }
    assert effects == {"data.cache": "exact", "data.image.channels": "forbidden"}


def test_validation_and_test_files_of_their_own(load: Load, tmp_path: Path) -> None:
    for kind in ("dark", "light"):
        pgm(tmp_path / "later" / kind / "a.pgm", np.full((6, 5), 7))
    config = load(IMAGES.replace("split: {val: 0.25, stratify: true}", "val: later"))
    splits = load_splits(config)
    assert splits.val is not None
    assert (len(splits.train), len(splits.val)) == (16, 2)
    assert len(load_split(load(IMAGES, "data.test=later"), "test")) == 2
    with pytest.raises(DataError, match=r"data\.test"):
        load_split(load(IMAGES), "test")


def test_files_of_no_class(load: Load) -> None:
    config = load(
        IMAGES.replace("$data.num_classes", "1").replace(", stratify: true", ""), "data.target=none", "loss=mse"
    )
    splits = load_splits(config)
    assert len(splits.train) == 12 and splits.train.targets.tolist() == [0] * 12


def messages(text: str, folder: Path) -> list[str]:
    (folder / "main.yaml").write_text(text)
    return [f"{one.code} {one.message}" for one in inspect_config(folder / "main.yaml").diagnostics]


def test_classes_must_be_known_without_the_files(load: Load, tmp_path: Path) -> None:
    missing = IMAGES.replace("pictures", "nowhere")
    assert messages(missing, tmp_path) == ["TL204 'data' needs 'classes': 'nowhere' has no folders of classes"]
    listed = missing.replace("  batch_size", "  classes: [a, b, c]\n  batch_size")
    assert messages(listed, tmp_path) == []
    (problem,) = check_data(load(listed))
    assert problem.code == "TL601" and "nowhere" in problem.message


def test_folders_that_are_no_classes_are_named(load: Load, tmp_path: Path) -> None:
    pgm(tmp_path / "all" / "train" / "dark" / "a.pgm", np.zeros((6, 5)))
    (tmp_path / "all" / "test").mkdir()
    config = load(IMAGES.replace("pictures", "all"), "data.classes=dark,light")
    with pytest.raises(DataError, match=r"these are splits: write root: all/test"):
        load_splits(config)
    (tmp_path / "pictures" / "none").mkdir()
    (problem,) = check_data(load(IMAGES))
    assert problem.code == "TL602" and "for none" in problem.message


def test_headers_are_checked_without_decoding(load: Load, tmp_path: Path) -> None:
    config = load(IMAGES, "data.image.fit=exact")
    assert check_data(config) == []
    for number in range(7):
        pgm(tmp_path / "pictures" / "dark" / f"{number}.pgm", np.zeros((4, 5)))
    (problem,) = check_data(config)
    assert "4x5 pixels, not 6x5" in problem.message and "and 2 more" in problem.message


def test_recordings_are_cut_and_filled(load: Load, tmp_path: Path) -> None:
    config = load(SOUNDS)
    assert check_data(config) == []
    inputs, _ = load_splits(config).train.get_batch([0, 1])
    assert inputs.shape == (2, 1, 4, 4)
    wav(tmp_path / "sounds" / "dark" / "0.wav", np.full(10, 100, "<i2"))
    clip = load_splits(config).train.inputs[0]
    assert clip.shape == (1, 40) and clip[0, :10].tolist() == [100] * 10 and not clip[0, 10:].any()
    wav(tmp_path / "sounds" / "dark" / "0.wav", np.zeros(10, "<i2"), rate=8000)
    (problem,) = check_data(config)
    assert problem.code == "TL602" and "8000 samples a second, data.sample_rate says 1000" in problem.message


@pytest.mark.parametrize(
    "width, written, wanted", [(1, [0, 128, 255], [-(2**15), 0, 127 << 8]), (2, [-5, 0, 7], [-5, 0, 7])]
)
def test_samples_of_every_width(width: int, written: list[int], wanted: list[int], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav(path, np.array(written, {1: "u1", 2: "<i2"}[width]), width=width)
    assert read_wav(path).tolist() == wanted


def test_wide_samples_and_several_channels(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", np.array([1 << 16, -(1 << 20)], "<i4"), width=4)
    assert read_wav(tmp_path / "a.wav").tolist() == [1, -16]
    wav(tmp_path / "b.wav", np.array([[10, 20], [30, 50]], "<i2"), channels=2)
    assert read_wav(tmp_path / "b.wav").tolist() == [15, 40]
    (tmp_path / "c.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(DataError, match="no WAV file"):
        read_wav(tmp_path / "c.wav")


def test_images_of_the_right_size_need_nothing_else(tmp_path: Path) -> None:
    colours = np.arange(4 * 3 * 3).reshape(4, 3, 3)
    pgm(tmp_path / "a.ppm", colours)
    assert image_size(tmp_path / "a.ppm") == (4, 3)
    assert np.array_equal(read_image(tmp_path / "a.ppm", (4, 3), 3), colours.transpose(2, 0, 1))
    (tmp_path / "b.pgm").write_bytes(b"P5 4 3 255\n1234")
    with pytest.raises(DataError, match="cut off"):
        read_image(tmp_path / "b.pgm", (3, 4), 1)


def test_others_are_decoded_and_scaled(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((8, 4, 3), np.uint8)
    pixels[2:6] = 255
    image.fromarray(pixels).save(tmp_path / "a.png")
    assert image_size(tmp_path / "a.png") == (8, 4)
    cropped = read_image(tmp_path / "a.png", (4, 4), 1, "crop")
    assert cropped.shape == (1, 4, 4) and (cropped == 255).all(), "the middle"
    assert read_image(tmp_path / "a.png", (4, 4), 3, "stretch").shape == (3, 4, 4)
    with pytest.raises(DataError, match="8x4 pixels, not 4x4"):
        read_image(tmp_path / "a.png", (4, 4), 1, "exact")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no image"):
        image_size(tmp_path / "b.png")


def test_without_pillow_the_error_names_it(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DeviceError, match=r"torchlite\[images\]"):
        read_image(tmp_path / "a.jpg", (4, 4), 1)
    (tmp_path / "pictures" / "dark" / "a.jpg").write_bytes(b"")
    (problem,) = check_data(load(IMAGES))
    assert problem.code == "TL602" and "torchlite[images]" in problem.message


def test_files_and_folders_are_predicted(load: Load, tmp_path: Path) -> None:
    directory = run.train(
        load(IMAGES, "train.epochs=30", "checkpoint.every=30 epochs"), Quiet(), root=tmp_path / "runs"
    ).run
    trained = load_trained(directory.path, "best", "cpu", allow_code=False)
    samples = read_inputs(trained, str(tmp_path / "pictures" / "light"), None).samples
    (batch, *_) = outputs(trained, samples)
    assert {one["prediction"] for one in records(trained, batch, 0, 1)} == {"light"}
    one = read_inputs(trained, str(tmp_path / "pictures" / "light" / "3.pgm"), None)
    assert (len(one.samples), one.files) == (1, (str(tmp_path / "pictures" / "light" / "3.pgm"),))
    with pytest.raises(DataError, match="no files that end"):
        read_inputs(trained, str(tmp_path / "sounds"), None)


def test_a_split_without_a_folder_says_so(load: Load) -> None:
    with pytest.raises(MissingDataError, match=r"data\.test"):
        load_split(load(IMAGES, "data.test=gone"), "test")
