"""The live display on a terminal."""

import io

from rich.console import Console
from small_runs import CONFIG, write_config

from torchlite.cli import display
from torchlite.train import run
from torchlite.train.config.load import require_config


class Recorded(display.LiveTable):
    """Keeps what it would show at every evaluation."""

    def __init__(self, width):
        self.width = width
        self.pictures = []

    def started(self, plan, progress):
        super().started(plan, progress)
        self.live.stop()
        self.console = Console(file=io.StringIO(), width=self.width, height=30, force_terminal=True, color_system=None)

    def evaluated(self, progress, row, best):
        super().evaluated(progress, row, best)
        self.console.print(self._picture())
        self.pictures.append(self.console.file.getvalue())


def test_the_live_table_at_two_widths(tmp_path, capsys):
    overrides = ["train.steps=12", "train.accumulate=1", "eval.every=4 steps"]
    for width in (80, 140):
        folder = tmp_path / str(width)
        folder.mkdir()
        shown = Recorded(width)
        run.train(require_config(write_config(folder, CONFIG), overrides), shown, root=folder / "runs")
        assert len(shown.pictures) == 3
        assert max(map(len, shown.pictures[-1].splitlines())) <= width
        assert "train/loss" in shown.pictures[0]
        assert "4/12" in shown.pictures[0]
        assert "ETA" in shown.pictures[0]
    capsys.readouterr()


def test_a_pipe_gets_plain_lines(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert isinstance(display.choose_display(plain=False, quiet=False, events=False), display.PlainLines)
    assert isinstance(display.choose_display(plain=False, quiet=False, events=True), display.JsonEvents)
    assert type(display.choose_display(plain=False, quiet=True, events=False)) is display.Silent
