"""The task sets: AgentDojo, and the retail and airline domains of tau2; it needs the environment with their packages."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

__all__ = ["SETS", "Case", "ToolFacts", "World", "cases", "plain"]

SETS = ("agentdojo", "retail", "airline")
"""AgentDojo, and two domains of tau2."""

DOJO_VERSION = "v1.2.2"
_READS = ("get_", "search_", "list_", "read_", "check_")
_CHANGING_READS = ("get_unread_emails",)  # marks what it returns as read


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """The facts that a set states about a tool."""

    name: str
    description: str
    input_schema: dict[str, Any]
    effect: str


class World(Protocol):
    """The state that the tools of a task work on."""

    tools: Sequence[ToolFacts]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool, and return its value as JSON.

        Raises:
            ValueError: The tool failed.
        """

    def is_solved(self, answer: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        """Ask the set's own check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One task of a set.

    Attributes:
        suite: The set, and its part.
        name: The task's name there.
        text: The task, as a user says it.
        actions: The right calls.
        answer: What the set wants to read in the answer; empty where it only looks at the state.
        open: Makes a new world.
        system: The instructions that the set gives to its agent.
    """

    suite: str
    name: str
    text: str
    actions: Sequence[tuple[str, dict[str, Any]]]
    answer: str
    open: Callable[[], World] = field(repr=False)
    system: str = field(default="", repr=False)


def plain(value: Any) -> Any:
    """Return a value of a tool as JSON values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return json.loads(json.dumps(value, default=str))


def untitled(schema: Any) -> Any:
    """Return a JSON Schema without the titles that pydantic gives to every field, as LangChain sends it to a model."""
    if isinstance(schema, dict):
        return {key: untitled(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return [untitled(each) for each in schema] if isinstance(schema, list) else schema


def cases(suite: str) -> Iterator[Case]:
    """Yield the tasks of a set: `agentdojo`, `retail` or `airline`."""
    yield from _dojo() if suite == "agentdojo" else _tau2(suite)


class _DojoWorld:
    def __init__(self, suite: Any, task: Any) -> None:
        runtime = import_module("agentdojo.functions_runtime")
        self._task = task
        self._env = task.init_environment(suite.load_and_inject_default_environment({}))
        self._before = self._env.model_copy(deep=True)
        self._runtime = runtime.FunctionsRuntime(suite.tools)
        self._call_type = runtime.FunctionCall
        self.tools: Sequence[ToolFacts] = [
            ToolFacts(
                name=each.name,
                description=each.description,
                input_schema=untitled(each.parameters.model_json_schema()),
                effect="read" if each.name.startswith(_READS) and each.name not in _CHANGING_READS else "write",
            )
            for each in suite.tools
        ]

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        value, error = self._runtime.run_function(self._env, name, arguments)
        if error:
            raise ValueError(error)
        return plain(value)

    def is_solved(self, answer: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        traces = [self._call_type(function=name, args=arguments) for name, arguments in calls]
        found = self._task.utility_from_traces(answer, self._before, self._env, traces)
        return bool(self._task.utility(answer, self._before, self._env) if found is None else found)


def _dojo() -> Iterator[Case]:
    for name, suite in import_module("agentdojo.task_suite.load_suites").get_suites(DOJO_VERSION).items():
        for task in suite.user_tasks.values():
            environment = task.init_environment(suite.load_and_inject_default_environment({}))
            yield Case(
                suite=f"agentdojo {name}",
                name=task.ID,
                text=task.PROMPT,
                actions=[(call.function, plain(dict(call.args))) for call in task.ground_truth(environment)],
                answer=task.GROUND_TRUTH_OUTPUT or "",
                open=partial(_DojoWorld, suite, task),
            )


@cache
def _read(path: Path) -> str:
    return Path(path).read_text(encoding="utf-8")


class _Tau2World:
    def __init__(self, domain: str, expected: str | None) -> None:
        module = import_module(f"tau2.domains.{domain}.tools")
        data = import_module(f"tau2.domains.{domain}.data_model")
        paths = import_module(f"tau2.domains.{domain}.utils")
        kind = {"retail": "Retail", "airline": "Flight"}[domain]
        text = _read(getattr(paths, f"{domain.upper()}_DB_PATH"))
        self._kit = getattr(module, f"{domain.title()}Tools")(getattr(data, f"{kind}DB").model_validate_json(text))
        self._expected = expected
        # tau2 makes its schemas with names that the docstring alone has.
        tools = []
        for name, tool in self._kit.get_tools().items():
            facts = tool.openai_schema["function"]
            effect = "write" if self._kit.tool_type(name).value == "write" else "read"
            tools.append(
                ToolFacts(
                    name=name,
                    description=facts["description"],
                    input_schema=untitled(facts["parameters"]),
                    effect=effect,
                )
            )
        self.tools: Sequence[ToolFacts] = tools

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        return plain(self._kit.use_tool(name, **arguments))

    def hash(self) -> str:
        return str(self._kit.db.get_hash())

    def is_solved(self, answer: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        return self.hash() == self._expected


def _tau2(domain: str) -> Iterator[Case]:
    import_module("loguru").logger.remove()  # tau2 logs every reservation
    paths = import_module(f"tau2.domains.{domain}.utils")
    policy = _read(getattr(paths, f"{domain.upper()}_POLICY_PATH"))
    for task in json.loads(_read(getattr(paths, f"{domain.upper()}_TASK_SET_PATH"))):
        actions = [
            (action["name"], action["arguments"])
            for action in task["evaluation_criteria"]["actions"] or ()
            if action.get("requestor", "assistant") == "assistant"
        ]
        said = task["user_scenario"]["instructions"]
        yield Case(
            suite=f"tau2 {domain}",
            name=task["id"],
            text="\n".join(
                said[key] for key in ("reason_for_call", "known_info", "task_instructions") if said.get(key)
            ),
            actions=actions,
            answer="",
            open=partial(_open_tau2, domain, cache(partial(_final, domain, actions))),
            system=policy,
        )


def _open_tau2(domain: str, final: Callable[[], str]) -> World:
    return _Tau2World(domain, final())


def _final(domain: str, actions: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Return the hash of the state after the right calls; tau2 ignores those that fail."""
    world = _Tau2World(domain, None)
    for name, arguments in actions:
        try:
            world.call(name, arguments)
        except Exception:
            continue
    return world.hash()
