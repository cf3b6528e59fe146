"""The live display on a terminal."""

import io
import re

from rich.console import Console
from small_runs import CONFIG, write_config

from torchlite.cli import display
from torchlite.train import run
from torchlite.train.config.load import require_config


class Recorded(display.LiveTable):
    """Keeps what it would show at every evaluation."""

    def __init__(self, width, color_system=None):
        self.width, self.color_system = width, color_system
        self.pictures = []

    def make_console(self):
        return Console(
            file=io.StringIO(), width=self.width, height=30, force_terminal=True, color_system=self.color_system
        )

    def picture_now(self):
        console = self.make_console()
        console.print(self.picture())
        return console.file.getvalue()

    def evaluated(self, progress, row, best):
        super().evaluated(progress, row, best)
        self.pictures.append(self.picture_now())


def recorded(folder, width, **options):
    overrides = ["train.steps=12", "train.accumulate=1", "eval.every=4 steps"]
    shown = Recorded(width, **options)
    run.train(require_config(write_config(folder, CONFIG), overrides), shown, root=folder / "runs")
    return shown.pictures


def test_the_live_table_at_80_columns(tmp_path):
    pictures = recorded(tmp_path, 80)
    assert len(pictures) == 3
    assert max(map(len, "".join(pictures).splitlines())) <= 80
    header, row, line = pictures[0].splitlines()
    assert header.split()[:4] == ["epoch", "step", "train/loss", "val/loss"]
    assert row.split()[1] == "4"
    assert re.match(r"━+╸─+ 4/12  loss \d\.\d{4}  ETA \S+  [▁-█]+", line)
    assert "12/12" not in pictures[-1]  # what is finished needs no bar
    assert "\x1b[3" not in "".join(pictures)


def test_the_live_table_at_140_columns_says_more(tmp_path):
    first = recorded(tmp_path, 140)[0]
    assert max(map(len, first.splitlines())) <= 140
    assert "data wait" in first.splitlines()[0]
    line = first.splitlines()[2]
    assert re.search(r"data wait \d+ %  \d+\.\d MB  [\d,]+ samples/s", line)


def test_the_best_line_is_green_where_there_are_colours_and_says_so_where_there_are_none(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert "\x1b[32m" in recorded(tmp_path / "a", 80, color_system="standard")[0]
    assert "best" in recorded(tmp_path / "b", 80)[0]


def test_the_course_of_a_long_run_takes_no_more_room_than_a_short_one():
    course = display.Course(most=8)
    for value in range(1000):
        course.add(float(value))
    assert len(course.values) < 16
    assert course.values == sorted(course.values)


def test_a_pipe_gets_plain_lines(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert isinstance(display.choose_display(plain=False, quiet=False, events=False), display.PlainLines)
    assert isinstance(display.choose_display(plain=False, quiet=False, events=True), display.JsonEvents)
    assert type(display.choose_display(plain=False, quiet=True, events=False)) is display.Silent
