"""Run the tasks of a file, one after another, and count what came of them."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol, get_args

from codemode_graph.errors import CodeModeError
from codemode_graph.evaluation.bounds import call_function
from codemode_graph.evaluation.judge import Effect, Judgement, OutcomeWord, judge, standing
from codemode_graph.evaluation.task_file import EvalTask, TaskSet
from codemode_graph.result import RunResult
from codemode_graph.tools.spec import ToolSpec


class TaskRunner(Protocol):
    """The part of a `CodeMode` that an evaluation uses."""

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """The tools of its runs."""

    async def run(self, task: str, *, returns: Any = None) -> RunResult[Any]:
        """Do a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """One run of one task.

    Attributes:
        task: The task.
        number: The run's number, from 1, where each task is run several times.
        judgement: What came of it.
        result: The run's result; None where the task's setup failed.
        effects: The calls that took effect.
        seconds: From the end of the setup to the answer.
    """

    task: EvalTask
    number: int
    judgement: Judgement
    result: RunResult[Any] | None
    effects: tuple[Effect, ...] = ()
    seconds: float = 0.0

    @property
    def programs(self) -> int:
        """The number of programs that the model wrote."""
        return 0 if self.result is None else len(self.result["attempts"])

    @property
    def calls(self) -> int:
        """The number of tool calls that were made."""
        return 0 if self.result is None else len(self.result["tool_calls"])

    @property
    def tokens(self) -> tuple[int, int]:
        """The tokens that the model read, and those that it wrote."""
        if self.result is None:
            return 0, 0
        used = self.result["metrics"]
        return used["total_input_tokens"], used["total_output_tokens"]

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        judged = asdict(self.judgement)
        return {
            "name": self.task.name,
            "run": self.number,
            **judged,
            "output": None if self.result is None else self.result["output"],
            "effects": [asdict(effect) for effect in self.effects],
            "programs": self.programs,
            "tool_calls": self.calls,
            "input_tokens": self.tokens[0],
            "output_tokens": self.tokens[1],
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The outcomes of all tasks, in the order of the file."""

    outcomes: tuple[TaskOutcome, ...]

    @property
    def counts(self) -> dict[OutcomeWord, int]:
        """The number of runs of each outcome."""
        found = Counter(each.judgement.outcome for each in self.outcomes)
        return {word: found[word] for word in get_args(OutcomeWord)}

    @property
    def right(self) -> bool:
        """True where every run solved its task."""
        return all(each.judgement.right for each in self.outcomes)

    @property
    def wrong_effects(self) -> dict[str, int]:
        """The number of calls that are missing, repeated and unexpected in all runs."""
        kinds = ("missing", "repeated", "unexpected")
        return {kind: sum(len(getattr(each.judgement, kind)) for each in self.outcomes) for kind in kinds}

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as JSON values."""
        return {
            "counts": self.counts,
            "effects": self.wrong_effects,
            "input_tokens": sum(each.tokens[0] for each in self.outcomes),
            "output_tokens": sum(each.tokens[1] for each in self.outcomes),
            "seconds": round(sum(each.seconds for each in self.outcomes), 3),
            "tasks": [each.to_json() for each in self.outcomes],
        }


async def evaluate(
    tasks: TaskSet,
    cm: TaskRunner,
    *,
    only: Sequence[str] = (),
    repeat: int = 1,
    watch: Callable[[TaskOutcome], None] | None = None,
) -> Evaluation:
    """Run tasks, one after another: their tools may share a world, which the setup brings back.

    Args:
        tasks: The tasks.
        cm: Runs them.
        only: Names of the tasks to run; by default all.
        repeat: How often each is run.
        watch: Is called after each run.

    Raises:
        ConfigurationError: An effect of a task can be none of these tools'.
    """
    tasks = tasks.for_tools(cm.tools)
    outcomes = []
    for task in tasks.tasks:
        if only and task.name not in only:
            continue
        for number in range(1, repeat + 1):
            outcomes.append(await run_task(task, tasks, cm, number=number))
            if watch is not None:
                watch(outcomes[-1])
    return Evaluation(outcomes=tuple(outcomes))


async def run_task(task: EvalTask, tasks: TaskSet, cm: TaskRunner, *, number: int = 1) -> TaskOutcome:
    """Set up, run and judge one task. A setup that raises is an outcome too, so that the other tasks are run.

    Args:
        task: The task, of `TaskSet.for_tools`.
        tasks: The set with its functions.
        cm: Runs it.
        number: The run's number.
    """
    outcome = partial(TaskOutcome, task=task, number=number)
    for name, arguments in task.setups:
        try:
            await call_function(tasks.functions[name], **arguments)
        except Exception as error:
            reason = f"setup {name}: {type(error).__name__}: {error}"
            return outcome(judgement=Judgement(outcome="not judged", reason=reason), result=None)
    start = time.monotonic()
    try:
        result = await cm.run(task.task, returns=task.returns)
    except CodeModeError as error:
        return outcome(judgement=Judgement(outcome="not judged", reason=str(error)), result=None)
    seconds = time.monotonic() - start
    judgement = await judge(task, result, tasks.functions)
    return outcome(judgement=judgement, result=result, effects=tuple(standing(result)), seconds=seconds)
