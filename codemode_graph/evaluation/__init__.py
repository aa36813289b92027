"""Evaluation: a file of tasks with what is right, a run of each, and what came of it.

`load_tasks` reads the file, `evaluate` runs the tasks, `report_page` shows the outcomes; `langsmith` has the same for
LangSmith's `evaluate`.
"""

from codemode_graph.evaluation.evaluate import Evaluation, TaskOutcome, evaluate
from codemode_graph.evaluation.judge import Effect, Judgement, judge
from codemode_graph.evaluation.langsmith import EVALUATORS, examples, target
from codemode_graph.evaluation.report_page import report_page
from codemode_graph.evaluation.task_file import EvalTask, TaskSet, load_tasks

__all__ = [
    "EVALUATORS",
    "Effect",
    "EvalTask",
    "Evaluation",
    "Judgement",
    "TaskOutcome",
    "TaskSet",
    "evaluate",
    "examples",
    "judge",
    "load_tasks",
    "report_page",
    "target",
]
