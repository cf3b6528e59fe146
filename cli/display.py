"""What a person or a program sees of a run: a live table on a terminal, plain lines elsewhere, JSON events on request."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from torchlite.cli.common import colored, say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from torchlite.train.loop import Ending, Observer, Step
    from torchlite.train.plan import Plan
    from torchlite.train.progress import Progress

_BLOCKS = "▁▂▃▄▅▆▇█"


def choose_display(*, plain: bool, quiet: bool, events: bool) -> Observer:
    """JSON events, nothing, plain lines or, on a terminal, the live table."""
    if events:
        return JsonEvents()
    if quiet:
        return Silent()
    if plain or not sys.stdout.isatty():
        return PlainLines()
    return LiveTable()


class Silent:
    """Shows nothing."""

    def started(self, plan: Plan, progress: Progress) -> None:
        """Nothing."""

    def stepped(self, progress: Progress, step: Step) -> None:
        """Nothing."""

    def evaluated(self, progress: Progress, row: dict[str, float], best: bool) -> None:
        """Nothing."""

    def saved(self, progress: Progress, folder: Any) -> None:
        """Nothing."""

    def warned(self, progress: Progress, message: str) -> None:  # noqa: ARG002 - an observer's signature
        """On standard error, whatever else is shown."""
        say(f"warning: {message}", err=True)

    def ended(self, progress: Progress, ending: Ending) -> None:
        """Nothing."""


class JsonEvents(Silent):
    """One JSON object a line on standard output: plan, step, eval, checkpoint, warning, end."""

    def started(self, plan: Plan, progress: Progress) -> None:
        """The plan."""
        self._emit("plan", step=progress.step, steps=plan.total_steps, params=plan.size.params, device=str(plan.device))

    def stepped(self, progress: Progress, step: Step) -> None:
        """A step."""
        self._emit("step", step=progress.step, epoch=progress.epoch, **step._asdict())

    def evaluated(self, progress: Progress, row: dict[str, float], best: bool) -> None:
        """An evaluation."""
        self._emit("eval", step=progress.step, epoch=progress.epoch, best=best, **row)

    def saved(self, progress: Progress, folder: Any) -> None:
        """A checkpoint."""
        self._emit("checkpoint", step=progress.step, path=str(folder))

    def warned(self, progress: Progress, message: str) -> None:
        """What went wrong."""
        self._emit("warning", step=progress.step, message=message)

    def ended(self, progress: Progress, ending: Ending) -> None:
        """The end."""
        self._emit("end", step=progress.step, reason=ending, **progress.setbacks.counts())

    def _emit(self, event: str, **content: Any) -> None:
        from torchlite.train.metrics_log import plain_row

        print(json.dumps({"event": event, **plain_row(content)}), flush=True)


class _Pace(Silent):
    """Times and counts since the last evaluation."""

    def started(self, plan: Plan, progress: Progress) -> None:  # noqa: ARG002 - an observer's signature
        self.plan = plan
        self.begun = time.perf_counter()
        self.loss = self.lr = float("nan")
        self.pace = (0.0, 0.0)
        self._reset()

    def stepped(self, progress: Progress, step: Step) -> None:  # noqa: ARG002 - an observer's signature
        self.samples += step.samples
        self.seconds += step.seconds
        self.waited += step.waited
        self.loss, self.lr = step.loss, step.lr

    def _reset(self) -> None:
        self.samples, self.seconds, self.waited = 0, 0.0, 0.0

    def row(self, progress: Progress, row: dict[str, float], best: bool) -> dict[str, str]:
        """One line of the table, by column."""
        epochs = progress.step / self.plan.steps_per_epoch
        cells = {"epoch": f"{epochs:.0f}" if epochs == int(epochs) else f"{epochs:.2f}", "step": str(progress.step)}
        cells |= {name: f"{value:.4f}" for name, value in whole_values(row).items()}
        cells["lr"] = f"{self.lr:.1e}"
        cells["samples/s"] = f"{self.samples / self.seconds:,.0f}" if self.seconds else ""
        cells["data wait"] = f"{100 * self.waited / self.seconds:.0f} %" if self.seconds else ""
        cells["time"] = duration(time.perf_counter() - self.begun)
        cells["best"] = "best" if best else ""
        self._reset()
        return cells


class PlainLines(_Pace):
    """One line an evaluation, for logs and pipes."""

    def started(self, plan: Plan, progress: Progress) -> None:
        """The plan, in a few lines."""
        super().started(plan, progress)
        print("\n".join(plan_lines(plan)), flush=True)
        self._header = ""

    def evaluated(self, progress: Progress, row: dict[str, float], best: bool) -> None:
        """One line."""
        cells = self.row(progress, row, best)
        widths = {name: max(len(name), 7) for name in cells}
        header = "  ".join(name.rjust(widths[name]) for name in cells)
        if header != self._header:
            print(header)
            self._header = header
        print("  ".join(text.rjust(widths[name]) for name, text in cells.items()).rstrip(), flush=True)


class LiveTable(_Pace):
    """A table that grows with every evaluation, above a line that tells how far the run is and how it goes."""

    def started(self, plan: Plan, progress: Progress) -> None:
        """The plan and an empty table."""
        super().started(plan, progress)
        from rich.live import Live

        self.console = self.make_console()
        self.progress = progress
        for line in plan_lines(plan):
            self.console.print(line, overflow="ellipsis", no_wrap=True)
        self.rows: list[dict[str, str]] = []
        self.course = Course()
        self.at_start = progress.step
        self.live: Live = Live(console=self.console, refresh_per_second=8, get_renderable=lambda: self.picture())
        self.live.start()

    def make_console(self) -> Console:
        """Where it is drawn."""
        from rich.console import Console

        return Console(highlight=False, no_color=not colored(sys.stdout))

    def stepped(self, progress: Progress, step: Step) -> None:
        """Move the bar."""
        super().stepped(progress, step)
        self.course.add(step.loss)
        self.pace = (self.samples / self.seconds, self.waited / self.seconds) if self.seconds else (0.0, 0.0)

    def evaluated(self, progress: Progress, row: dict[str, float], best: bool) -> None:
        """Add a line to the table."""
        self.rows.append(self.row(progress, row, best))

    def warned(self, progress: Progress, message: str) -> None:  # noqa: ARG002
        """Above the table."""
        self.console.print(f"warning: {message}", style="yellow", markup=False)

    def ended(self, progress: Progress, ending: Ending) -> None:  # noqa: ARG002
        """Leave the table as it is."""
        self.live.stop()

    def picture(self) -> Table:
        """What the terminal shows now."""
        from rich.table import Table
        from rich.text import Text

        whole = Table.grid(padding=(0, 0))
        if self.rows:
            table = Table(box=None, pad_edge=False, header_style="bold")
            shown = self._columns()
            for name in shown:
                table.add_column("" if name == "best" else name, justify="right", no_wrap=True)
            for cells in self.rows[-max(1, self.console.height - 8) :]:
                table.add_row(*(cells[name] for name in shown), style="green" if cells["best"] else None)
            whole.add_row(table)
        if self.progress.step < self.plan.total_steps:
            width = self.console.width - 1
            bar, rest = progress_line(self._fields(), self.progress.step / self.plan.total_steps, width)
            whole.add_row(Text.assemble((bar, "cyan"), " ", rest, no_wrap=True))
        return whole

    def _fields(self) -> list[str]:
        """What stands behind the bar, the most important first."""
        total, done = self.plan.total_steps, self.progress.step
        fields = [f"{done}/{total}"]
        taken = done - self.at_start
        if not taken:
            return fields
        spent = time.perf_counter() - self.begun
        fields += [f"loss {self.loss:.4f}", f"ETA {duration(spent / taken * (total - done))}"]
        fields.append(sparkline(self.course.values, 16))
        rate, waited = self.pace
        from torchlite.train.profiling import memory_in_use

        memory = bytes_text(memory_in_use(self.plan.device))
        return [*fields, f"data wait {100 * waited:.0f} %", memory, f"{rate:,.0f} samples/s", f"lr {self.lr:.1e}"]

    def _columns(self) -> list[str]:
        """The columns that fit; what can best be done without goes first."""
        shown = list(self.rows[-1])
        widths = {name: max(len(name), *(len(row[name]) for row in self.rows)) for name in shown}
        for spare in ("data wait", "samples/s", "step", "lr", "time"):
            if sum(widths[name] + 1 for name in shown) <= self.console.width:
                break
            shown.remove(spare)
        return shown


def whole_values(row: dict[str, float]) -> dict[str, float]:
    """The values of a whole split; those of each class, and the cells of a matrix, are in the files and in the report.

    >>> whole_values({"val/loss": 0.1, "val/f1/cat": 0.9, "val/confusion_matrix/cat/dog": 3.0})
    {'val/loss': 0.1}
    """
    return {name: value for name, value in row.items() if name.count("/") < 2}


class Course:
    """The course of a number in at most so many means: neighbours are put together when there are twice as many."""

    def __init__(self, most: int = 512) -> None:
        self.values: list[float] = []
        self._most = most
        self._each = 1
        self._open: list[float] = []

    def add(self, value: float) -> None:
        """Take in a value."""
        self._open.append(value)
        if len(self._open) < self._each:
            return
        self.values.append(sum(self._open) / self._each)
        self._open = []
        if len(self.values) == 2 * self._most:
            self.values = [(a + b) / 2 for a, b in zip(self.values[::2], self.values[1::2], strict=True)]
            self._each *= 2


def progress_line(fields: list[str], share: float, width: int) -> tuple[str, str]:
    """A bar that is done to ``share``, and behind it as many of the fields as fit; the first are the most important.

    >>> " ".join(progress_line(["5/10", "loss 0.1234", "ETA 3.0s"], 0.5, 40))
    '━━━━━━━━━━━╸────────── 5/10  loss 0.1234'
    >>> " ".join(progress_line(["5/10", "loss 0.1234", "ETA 3.0s"], 0.5, 80))
    '━━━━━━━━━━━━━━━━━━━━━━━━╸─────────────────────── 5/10  loss 0.1234  ETA 3.0s'
    """
    least = 14
    shown: list[str] = []
    for field in fields:
        if least + 1 + len("  ".join([*shown, field])) > width:
            break
        shown.append(field)
    rest = "  ".join(shown)
    length = max(least, min(48, width - 1 - len(rest)))
    done = int(share * length)
    return ("━" * done + "╸" + "─" * length)[:length], rest


def plan_lines(plan: Plan) -> list[str]:
    """What is about to happen, in a few lines."""
    config, size = plan.config, plan.size
    val = f" / {len(plan.splits.val):,} val" if plan.splits.val is not None else ""
    from torchlite.train.model import shape_text

    shapes = "; ".join(f"{shape_text(trace.input)} -> {shape_text(trace.output)}" for trace in plan.traces.values())
    return [
        f"{config.name}  seed {config.seed}  {plan.device}  {config.train.precision}",
        f"  data   {config.data.type}  {len(plan.splits.train):,} train{val}",
        f"  model  {shapes}  {size.params:,} params  peak ≈ {bytes_text(size.peak_bytes)}",
        f"  plan   {plan.total_steps:,} steps, {plan.steps_per_epoch:,} an epoch, batch {config.data.batch_size}"
        + (f" × {config.train.accumulate}" if config.train.accumulate > 1 else "")
        + f"  {config.optim.name} lr {plan.base_lr:g}",
    ]


def sparkline(values: list[float], width: int) -> str:
    """The course of the numbers in ``width`` characters.

    >>> sparkline([3, 2, 1, 0], 4)
    '█▆▃▁'
    """
    if not values:
        return ""
    size = max(1, len(values) // width)
    means = [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)][-width:]
    low, high = min(means), max(means)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0
    return "".join(_BLOCKS[round((v - low) * scale)] for v in means)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(3.21), duration(75), duration(3725)
    ('3.2s', '1m15s', '1h02m')
    """
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def bytes_text(size: int) -> str:
    """A size in bytes for people.

    >>> bytes_text(512), bytes_text(3_500_000)
    ('512 B', '3.5 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
