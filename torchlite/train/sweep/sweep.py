"""A whole sweep: from its section to trained trials and a leaderboard."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchlite.errors import UsageError
from torchlite.serialization.atomic import write_file
from torchlite.train import run
from torchlite.train.config.load import require_config
from torchlite.train.config.parts import Duration
from torchlite.train.config.schema import Config
from torchlite.train.config.semantics import default_monitor, direction
from torchlite.train.run_directory import RunDirectory
from torchlite.train.sweep import optuna_search, schedule, space
from torchlite.train.sweep.importance import importances
from torchlite.train.sweep.schedule import Job
from torchlite.train.sweep.trial import Trial, make_trial
from torchlite.train.sweep.workers import Here, Processes, Task, Workers

_WAIT_S = 0.5


@dataclass
class Standing:
    """Where a trial stands."""

    trial: Trial
    value: float | None = None
    step: int = 0
    rung: int | None = None
    exit_code: int = 0
    problem: str = ""


@dataclass
class Sweeping:
    """A sweep.

    Attributes:
        path, overrides: its configuration.
        config: the same, checked.
        folder: where everything lies.
        trials: all trials; those that Optuna proposes are added as soon as what they follow from is known.
        pauses: how far each rung goes, as a duration; None is the end.
        monitor, mode: what trials are compared by.
    """

    path: Path
    overrides: tuple[str, ...]
    config: Config
    folder: Path
    trials: list[Trial]
    pauses: list[str | None]
    monitor: str
    mode: str
    failed: dict[Job, tuple[int, str]] = field(default_factory=dict)
    exhausted: bool = False

    def results(self) -> dict[Job, float]:
        """What is known, the smallest being best; what went wrong is infinite."""
        sign = 1.0 if self.mode == "min" else -1.0
        found = {}
        for number, trial in enumerate(self.trials):
            known = trial.lasting()
            rungs = known.get("rungs", {})
            ended = rungs.get("end")
            for rung, pause in enumerate(self.pauses):
                noted = rungs.get(pause or "end")
                if noted is not None:
                    found[Job(number, rung)] = math.inf if noted["value"] is None else sign * noted["value"]
                elif "exit_code" in known or (Job(number, rung) in self.failed and ended is None):
                    found[Job(number, rung)] = math.inf
        return found

    def wanted(self, results: dict[Job, float]) -> list[Job]:
        """What may train now."""
        sweep = self.config.sweep
        assert sweep is not None
        self.extend(results)
        if sweep.method == "asha":
            return schedule.successive_halving(len(self.trials), len(self.pauses), sweep.asha.factor, results)
        return schedule.all_at_once(len(self.trials), results)

    @property
    def follows_results(self) -> bool:
        """Whether later trials are chosen by the results of earlier ones."""
        return self.config.sweep is not None and self.config.sweep.method == "optuna"

    def extend(self, results: dict[Job, float]) -> None:
        """Add the trials that Optuna proposes after these results, in which those that are already known stand too."""
        sweep = self.config.sweep
        assert sweep is not None
        while self.follows_results and not self.exhausted and len(self.trials) < (sweep.trials or 1):
            known = {job.trial: value for job, value in results.items()}
            if any(number not in known for number in range(optuna_search.known_before(len(self.trials)))):
                return
            values = [trial.values for trial in self.trials]
            proposed = optuna_search.propose(sweep, values, known, values)
            if proposed is None:
                self.exhausted = True
                return
            self.trials.append(make_trial(self.path, self.overrides, proposed, self.folder))
            results |= self.results()

    def leaderboard(self) -> list[Standing]:
        """All trials, those that got furthest first and among them the best."""
        board = [self._standing(number, trial) for number, trial in enumerate(self.trials)]
        sign = 1.0 if self.mode == "min" else -1.0

        def order(one: Standing) -> tuple[Any, ...]:
            value = math.inf if one.value is None else sign * one.value
            return (one.exit_code != 0, -(one.rung if one.rung is not None else -1), value)

        return sorted(board, key=order)

    def _standing(self, number: int, trial: Trial) -> Standing:
        known = trial.results()
        standing = Standing(trial, exit_code=known.get("exit_code", 0), problem=known.get("problem", ""))
        for rung, pause in enumerate(self.pauses):
            if (noted := known.get("rungs", {}).get(pause or "end")) is not None:
                standing.value, standing.step, standing.rung = noted["value"], noted["step"], rung
            elif (failure := self.failed.get(Job(number, rung))) is not None and not standing.exit_code:
                standing.exit_code, standing.problem = failure
        return standing

    def importances(self) -> dict[str, float]:
        """How much each key matters, by the trials that got furthest."""
        board = [one for one in self.leaderboard() if one.value is not None and not one.exit_code]
        furthest = max((one.rung or 0 for one in board), default=0)
        if len([one for one in board if one.rung == furthest]) < 4:
            furthest = 0
        results = self.results()
        values = [results.get(Job(number, furthest), math.inf) for number in range(len(self.trials))]
        return importances([trial.values for trial in self.trials], values)


def plan_sweep(path: Path, overrides: Sequence[str], root: Path) -> Sweeping:
    """The sweep of a configuration, with all its trials.

    Raises:
        ConfigError: showing every mistake.
        UsageError: when there is no sweep in it.
    """
    config = require_config(path, overrides)
    if config.sweep is None:
        raise UsageError(
            f"{path} has no section 'sweep'; e.g. sweep: {{trials: 20, params: {{optim.lr: [0.1, 0.01]}}}}"
        )
    sweep = config.sweep
    folder = root / config.name / "sweep"
    made = [make_trial(path, overrides, values, folder) for values in space.choose(sweep)]
    trials = list({trial.id: trial for trial in made}.values())
    monitor = sweep.monitor or config.checkpoint.monitor or default_monitor(config)
    own = sweep.mode if sweep.monitor else config.checkpoint.mode
    pauses: list[str | None] = _pauses(config) if sweep.method == "asha" else [None]
    sweeping = Sweeping(
        path, tuple(overrides), config, folder, trials, pauses, monitor, own or direction(monitor) or "min"
    )
    sweeping.extend(sweeping.results())
    return sweeping


def _pauses(config: Config) -> list[str | None]:
    """The rungs: the first, and each factor times as far, up to the end."""
    assert config.sweep is not None
    asha, length = config.sweep.asha, config.train.length
    pauses: list[str | None] = []
    value = asha.first.value
    while value < length.value:
        pauses.append(str(Duration(value, asha.first.unit)))
        value *= asha.factor
    return [*pauses, None]


def run_sweep(
    sweeping: Sweeping,
    parallel: int = 1,
    *,
    fail_fast: bool = False,
    progressed: Callable[[Standing], None] = lambda _: None,
    watched: Callable[[Collection[Trial]], None] | None = None,
) -> int:
    """Train what is not trained yet; the exit code.

    Args:
        sweeping: the sweep.
        parallel: trials at once; they share the processors.
        fail_fast: whether the first that fails stops the others.
        progressed: hears of every trial that ends or pauses.
        watched: hears several times a second of the trials that train, which then all have processes of their own.
    """
    sweeping.folder.mkdir(parents=True, exist_ok=True)
    workers: Workers = Here() if parallel == 1 and watched is None else Processes(parallel)
    running: set[Job] = set()
    stopped = 0
    with RunDirectory(sweeping.folder).locked(), run.stop_signals() as interrupt:
        while True:
            for job in [] if stopped else sweeping.wanted(sweeping.results()):
                if workers.free() and job not in running:
                    running.add(job)
                    workers.begin(job, _task(sweeping, job))
            if not running:
                break
            if interrupt() and not stopped:
                stopped = run.PREEMPTED if interrupt.signal == signal.SIGTERM else run.INTERRUPTED
                workers.stop(interrupt.signal or signal.SIGINT)
            if watched is not None:
                watched([sweeping.trials[job.trial] for job in running])
            for job, code in workers.wait(_WAIT_S):
                running.remove(job)
                if code in (run.INTERRUPTED, run.PREEMPTED):
                    stopped = stopped or code
                    continue
                standing = _take(sweeping, job, code)
                progressed(standing)
                if fail_fast and standing.exit_code and not stopped:
                    stopped = standing.exit_code if standing.exit_code > 0 else 1
                    workers.stop(signal.SIGTERM)
        write_summary(sweeping)
    return stopped or _nothing_came_of_it(sweeping)


def _nothing_came_of_it(sweeping: Sweeping) -> int:
    """The exit code of the first trial where all have failed."""
    board = sweeping.leaderboard()
    return abs(board[0].exit_code) if board and all(one.exit_code for one in board) else 0


def _task(sweeping: Sweeping, job: Job) -> Task:
    pause = sweeping.pauses[job.rung]
    return Task(sweeping.path, sweeping.overrides, sweeping.trials[job.trial], pause, sweeping.monitor, sweeping.mode)


def _take(sweeping: Sweeping, job: Job, code: int) -> Standing:
    trial = sweeping.trials[job.trial]
    if code != 0:
        log = trial.folder.with_suffix(".log")
        problem = trial.results().get("problem") or f"its process ended with {code}; see {log}"
        sweeping.failed[job] = (code, problem)
    return sweeping._standing(job.trial, trial)


def summary(sweeping: Sweeping) -> dict[str, Any]:
    """What `--json` prints and sweep.json holds."""
    return {
        "name": sweeping.config.name,
        "monitor": sweeping.monitor,
        "mode": sweeping.mode,
        "trials": [
            {
                "id": one.trial.id,
                "values": one.trial.values,
                "value": one.value,
                "step": one.step,
                "finished": one.rung == len(sweeping.pauses) - 1,
                "exit_code": one.exit_code,
                "problem": one.problem,
                "run": str(one.trial.folder),
            }
            for one in sweeping.leaderboard()
        ],
        "importance": sweeping.importances(),
    }


def write_summary(sweeping: Sweeping) -> None:
    """Write sweep.json and report.html."""
    from torchlite.train.sweep.report import as_html

    content = summary(sweeping)
    write_file(sweeping.folder / "sweep.json", [json.dumps(content, indent=2).encode() + b"\n"])
    write_file(sweeping.folder / "report.html", [as_html(content).encode()])
