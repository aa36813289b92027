"""The task sets: AgentDojo, tau2's retail and airline, and BFCL's multi-turn set; it needs their packages' environment."""

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

__all__ = ["SETS", "Case", "ToolFacts", "World", "cases", "plain"]

SETS = ("agentdojo", "retail", "airline", "bfcl")
"""AgentDojo, two domains of tau2, and BFCL's conversations."""

DOJO_VERSION = "v1.2.2"
_READS = ("get_", "search_", "list_", "read_", "check_")
_CHANGING_READS = ("get_unread_emails",)  # marks what it returns as read
_BFCL_READS = (
    *(
        "get_",
        "list_",
        "search_",
        "view_",
        "check_",
        "estimate_",
        "find",
        "display",
        "retrieve_",
        "compute_",
        "verify_",
    ),
    *("filter_", "liter_", "gallon_", "message_get", "posting_get", "ticket_get", "trading_get", "travel_get"),
)
_BFCL_FILE_READS = ("pwd", "ls", "cat", "wc", "sort", "grep", "du", "tail", "diff")
# They draw from the random numbers of their world, so that one that is made twice changes the next.
_BFCL_CHANGING_READS = ("get_current_speed", "get_outside_temperature_from_google")
_BFCL_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


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
        turns: The user's turns, where there are several: the text of each, and the number of its right calls.
    """

    suite: str
    name: str
    text: str
    actions: Sequence[tuple[str, dict[str, Any]]]
    answer: str
    open: Callable[[], World] = field(repr=False)
    system: str = field(default="", repr=False)
    turns: Sequence[tuple[str, int]] = ()


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
    """Yield the tasks of a set: one of `SETS`."""
    yield from _dojo() if suite == "agentdojo" else _bfcl() if suite == "bfcl" else _tau2(suite)


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


def _bfcl() -> Iterator[Case]:
    """Yield the conversations of BFCL's set `multi_turn_base`, each as one task that has all turns of its user."""
    data = Path(str(import_module("bfcl_eval").__file__)).parent / "data"
    answers = {each["id"]: each["ground_truth"] for each in _lines(data / "possible_answer" / _BFCL_FILE)}
    for entry in _lines(data / _BFCL_FILE):
        right = answers[entry["id"]]
        said = ["\n".join(message["content"] for message in turn) for turn in entry["question"]]
        yield Case(
            suite="bfcl multi-turn",
            name=entry["id"].rpartition("_")[2],
            text="\n".join(said),
            actions=[_bfcl_action(call, entry["involved_classes"]) for turn in right for call in turn],
            answer="",
            open=partial(_BfclWorld, data, entry, right),
            turns=[(text, len(calls)) for text, calls in zip(said, right, strict=True)],
        )


_BFCL_FILE = "BFCL_v4_multi_turn_base.json"


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in _read(path).splitlines() if line.strip()]


def _bfcl_methods(classes: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return the API and the function of each tool."""
    backend = import_module("bfcl_eval.constants.executable_backend_config")
    found: dict[str, tuple[str, Any]] = {}
    for name in classes:
        kind = getattr(import_module(backend.CLASS_FILE_PATH_MAPPING[name]), name)
        found |= {method: (name, function) for method, function in vars(kind).items() if not method.startswith("_")}
    return found


def _bfcl_action(call: str, classes: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return a right call, which the set writes as Python, with all arguments by name."""
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    values = [ast.literal_eval(each) for each in node.args]
    named = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
    _, function = _bfcl_methods(classes)[node.func.id]
    bound = inspect.signature(function).bind(None, *values, **named).arguments
    return node.func.id, plain({name: value for name, value in bound.items() if name != "self"})


def _bfcl_schema(schema: Any) -> Any:
    """Return a schema of BFCL's documentation as JSON Schema."""
    if isinstance(schema, list):
        return [_bfcl_schema(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _bfcl_schema(value) for key, value in schema.items()}
    if isinstance(schema.get("type"), str):
        found["type"] = _BFCL_TYPES.get(schema["type"], schema["type"])
    return found


class _BfclWorld:
    def __init__(self, data: Path, entry: dict[str, Any], right: Sequence[Sequence[str]]) -> None:
        self._entry, self._right = entry, right
        self._functions = _bfcl_methods(entry["involved_classes"])
        self._apis = self._fresh()
        self._results: list[str] = []
        files = import_module("bfcl_eval.constants.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
        self.tools: Sequence[ToolFacts] = [
            ToolFacts(
                name=facts["name"],
                description=facts["description"],
                input_schema=_bfcl_schema(facts["parameters"]),
                effect=self._effect(name, facts["name"]),
            )
            for name in entry["involved_classes"]
            for facts in _lines(data / "multi_turn_func_doc" / files[name])
            if facts["name"] not in entry.get("excluded_function", ())
        ]

    def _fresh(self) -> dict[str, Any]:
        stateless = import_module("bfcl_eval.constants.executable_backend_config").STATELESS_CLASSES
        apis = {}
        for name in self._entry["involved_classes"]:
            function = next(function for api, function in self._functions.values() if api == name)
            apis[name] = getattr(inspect.getmodule(function), name)()
            if name not in stateless:
                apis[name]._load_scenario(deepcopy(self._entry["initial_config"].get(name, {})))
        return apis

    @staticmethod
    def _effect(api: str, name: str) -> str:
        reads = api == "MathAPI" or name in _BFCL_FILE_READS or name.startswith(_BFCL_READS)
        return "read" if reads and name not in _BFCL_CHANGING_READS else "write"

    def _make(self, apis: dict[str, Any], name: str, arguments: dict[str, Any]) -> Any:
        # An API keeps the lists that it is passed, and later calls change them.
        return plain(getattr(apis[self._functions[name][0]], name)(**deepcopy(arguments)))

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        value = self._make(self._apis, name, arguments)
        self._results.append(json.dumps(value))
        return value

    def is_solved(self, answer: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        """Ask BFCL's own checks, once at the end: the state of every API, and the results of all right calls."""
        checks = import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")
        apis, results = self._fresh(), []
        for turn in self._right:
            for call in turn:
                results.append(json.dumps(self._make(apis, *_bfcl_action(call, self._entry["involved_classes"]))))
        same = checks.state_checker(self._apis, apis)["valid"]
        return bool(same and checks.response_checker(self._results, results, 0)["valid"])
