"""What the adapters ask of the packages, which stand-ins write down."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_runs

from torchlite.errors import DeviceError
from torchlite.train import run
from torchlite.train.run_directory import RunDirectory


class Recorder:
    """A module each of whose functions writes down its call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **named: Any) -> Any:
            self.calls.append((name, args, named))
            return SimpleNamespace(
                info=SimpleNamespace(run_id="abc"), log=self.__getattr__("log"), finish=self.__getattr__("finish")
            )

        return call

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, named) for called, args, named in self.calls if called == name]


TEXT = small_runs.CONFIG.replace("steps: 40", "steps: 10")


def logged(monkeypatch: Any, folder: Path, name: str, log: str, **more: Any) -> tuple[Recorder, RunDirectory]:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, name, recorder)
    return recorder, small_runs.train(folder, text=f"{TEXT}log: [{log}]\n", **more)


@pytest.mark.parametrize("name", ["mlflow", "wandb", "trackio"])
def test_a_missing_package_names_its_extra(monkeypatch: Any, tmp_path: Path, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DeviceError, match=rf"pip install 'torchlite\[{name}\]'") as found:
        small_runs.train(tmp_path, text=f"{TEXT}log: [{name}]\n")
    assert found.value.exit_code == 12


def test_mlflow(monkeypatch: Any, tmp_path: Path) -> None:
    log = "{type: mlflow, experiment: digits, tracking_uri: here, every: 5}"
    recorder, directory = logged(monkeypatch, tmp_path, "mlflow", log)
    assert [called for called, _, _ in recorder.calls[:3]] == ["set_tracking_uri", "set_experiment", "start_run"]
    params = {key: value for (one,), _ in recorder.named("log_params") for key, value in one.items()}
    assert params["optim.lr"] == "0.05"
    metrics = recorder.named("log_metrics")
    assert [named["step"] for (values,), named in metrics if "train/lr" in values] == [5, 10]
    assert any("val/accuracy" in values for (values,), _ in metrics)
    assert recorder.calls[-1] == ("end_run", ("FINISHED",), {})
    resumed = small_runs.rewound(directory, 4, tmp_path / "resumed")
    run.resume(resumed, small_runs.Quiet())
    assert recorder.named("start_run")[-1] == ((), {"run_id": "abc"})


def test_wandb(monkeypatch: Any, tmp_path: Path) -> None:
    recorder, directory = logged(monkeypatch, tmp_path, "wandb", "{type: wandb, project: p, mode: offline}")
    ((_, begun),) = recorder.named("init")
    assert (begun["project"], begun["mode"], begun["id"]) == ("p", "offline", directory.path.name)
    assert begun["config"]["optim"]["lr"] == 0.05
    assert [named["step"] for (values,), named in recorder.named("log") if "train/lr" in values] == list(range(1, 11))
    assert recorder.calls[-1] == ("finish", (), {"exit_code": 0})


def test_trackio(monkeypatch: Any, tmp_path: Path) -> None:
    recorder, directory = logged(monkeypatch, tmp_path, "trackio", "trackio")
    ((_, begun),) = recorder.named("init")
    assert (begun["project"], begun["name"]) == ("small", directory.path.name)
    assert recorder.calls[-1][0] == "finish"


def test_a_run_that_breaks_off_is_closed_as_such(monkeypatch: Any, tmp_path: Path) -> None:
    recorder, _ = logged(monkeypatch, tmp_path, "wandb", "wandb", stop_at=3)
    assert recorder.calls[-1] == ("finish", (), {"exit_code": 1})
