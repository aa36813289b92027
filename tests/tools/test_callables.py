import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Required

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field
from typing_extensions import TypedDict, Unpack

from codemode_graph import IdempotencyKey
from codemode_graph.errors import ToolLoadError
from codemode_graph.tools import from_function, tool
from codemode_graph.tools.from_function import from_callable
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.schema import bind


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


class User(BaseModel):
    name: str
    born: date | None = None


class Options(TypedDict):
    size: NotRequired[int]


class Opaque:
    pass


async def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function as a program does: positional arguments are bound by the schema, the values are JSON."""
    spec = from_callable(function)
    return await spec.call(bind(spec.name, spec.input_schema, args, kwargs), {})


def everything(
    when: datetime,
    colour: Colour,
    point: Point,
    users: list[User],
    options: Options,
    mode: Literal["a", "b"] = "a",
    limit: Annotated[int, Field(ge=1, description="At most.")] = 5,
    note: str = None,  # type: ignore[assignment] # noqa: RUF013
) -> tuple[Any, ...]:
    return (when, colour, point, users, options, mode, limit, note)


async def test_arguments_are_converted_to_what_the_hints_say() -> None:
    arguments = {
        "when": "2026-03-01T09:00:00",
        "colour": "red",
        "point": {"x": 1},
        "users": [{"name": "Ann", "born": "2000-01-02"}],
        "options": {"size": 3},
    }
    seen: list[Any] = []

    @functools.wraps(everything)
    def spy(**kwargs: Any) -> None:
        seen.append(kwargs)

    await call(spy, **arguments)
    assert seen == [
        {
            "when": datetime(2026, 3, 1, 9),
            "colour": Colour.RED,
            "point": Point(1),
            "users": [User(name="Ann", born=date(2000, 1, 2))],
            "options": {"size": 3},
        }
    ]


def test_the_schema_comes_from_the_hints_and_keeps_defaults() -> None:
    schema = from_callable(everything).input_schema
    assert schema["required"] == ["when", "colour", "point", "users", "options"]
    properties = schema["properties"]
    assert properties["when"] == {"type": "string", "format": "date-time"}
    assert properties["users"] == {"type": "array", "items": {"$ref": "#/$defs/User"}}
    assert properties["mode"] == {"enum": ["a", "b"], "type": "string", "default": "a"}
    assert properties["limit"] == {"type": "integer", "minimum": 1, "description": "At most.", "default": 5}
    assert properties["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert {"Colour", "Point", "User", "Options"} == schema["$defs"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"when": "soon"}, "when: Input should be a valid datetime"),
        (
            {"point": {"x": "far"}},
            "point.x: Input should be a valid integer, unable to parse string as an integer (got 'far')",
        ),
        ({"users": [{}]}, "users.0.name: Field required"),
        ({"limit": 0}, "limit: Input should be greater than or equal to 1 (got 0)"),
        (
            {"mode": "c", "colour": "blue"},
            "colour: Input should be 'red' (got 'blue'); mode: Input should be 'a' or 'b'",
        ),
    ],
)
async def test_what_does_not_fit_is_a_short_error(change: dict[str, Any], message: str) -> None:
    arguments = {"when": "2026-03-01", "colour": "red", "point": {"x": 1}, "users": [], "options": {}}
    with pytest.raises(ValueError, match="got invalid arguments") as caught:
        await call(everything, **arguments | change)
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)


class Adder:
    """Adds to a base."""

    def __init__(self, base: int) -> None:
        self.base = base

    def __call__(self, n: int) -> int:
        return self.base + n

    async def later(self, n: int) -> int:
        """Adds, later."""
        return self.base + n

    @classmethod
    def name(cls, n: int) -> str:
        return f"{cls.__name__}{n}"

    @staticmethod
    def twice(n: int) -> int:
        return 2 * n


class AsyncAdder:
    async def __call__(self, n: int) -> int:
        """Adds one."""
        return n + 1


async def add(a: int, b: int = 1) -> int:
    """Adds."""
    return a + b


def returns_awaitable(n: int) -> Awaitable[int]:
    return add(n)


def variadic(first: int, *rest: int, scale: int = 1, **more: int) -> int:
    return (first + sum(rest) + sum(more.values())) * scale


def only(position: int, /, *, keyword: int = 2) -> int:
    return position * keyword


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "name", "value"),
    [
        (add, (1,), {"b": 2}, "add", 3),
        (functools.partial(add, b=5), (1,), {}, "add", 6),
        (functools.partial(functools.partial(add, 5)), (1,), {}, "add", 6),
        (Adder(10), ("1",), {}, "Adder", 11),
        (Adder(10).later, (1,), {}, "later", 11),
        (Adder.name, (1,), {}, "name", "Adder1"),
        (Adder.twice, (1,), {}, "twice", 2),
        (AsyncAdder(), (1,), {}, "AsyncAdder", 2),
        (lambda n: n + 1, (1,), {}, "lambda", 2),
        (returns_awaitable, (1,), {}, "returns_awaitable", 2),
        (variadic, (1,), {"rest": [2, 3], "x": 4, "scale": 2}, "variadic", 20),
        (variadic, (1,), {}, "variadic", 1),
        (only, (3,), {"keyword": 4}, "only", 12),
        (len, ([1, 2],), {}, "len", 2),
        (max, ([1, 2],), {}, "max", 2),
        (str.upper, ("a",), {}, "upper", "A"),
    ],
)
async def test_everything_that_can_be_called_is_a_tool(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, value: Any
) -> None:
    assert from_callable(function).name == name
    assert await call(function, *args, **kwargs) == value


@pytest.mark.parametrize(
    ("bound", "forged"),
    [(((), {"dry_run": True}), "dry_run"), ((("me",), {}), "to"), (((), {}), "key"), (((), {}), "run")],
)
async def test_what_the_host_fills_in_is_no_further_argument(bound: Any, forged: str) -> None:
    sent: list[Any] = []

    def send(to: str, key: IdempotencyKey, run: RunnableConfig, dry_run: bool = False, **more: Any) -> None:
        """Send."""
        sent.append(more)

    spec = from_callable(functools.partial(send, *bound[0], **bound[1]))
    arguments = {"to": "you", "more": 1} if forged != "to" else {"more": 1}
    with pytest.raises(TypeError, match=f"got an unexpected argument '{forged}'"):
        await spec.call({**arguments, forged: False}, {})
    assert sent == []
    await spec.call(arguments, {"metadata": {"codemode": {"idempotency_key": "k"}}})
    assert sent == [{"more": 1}]


class Filters(TypedDict, total=False):
    since: Required[date]
    most: Annotated[int, Field(ge=1)]


async def test_unpacked_keywords_are_arguments_of_their_own() -> None:
    def find(word: str, **filters: Unpack[Filters]) -> Any:
        """Find."""
        return word, filters["since"].year, len(filters)

    spec = from_callable(find)
    assert spec.input_schema["required"] == ["word", "since"]
    assert spec.input_schema["properties"]["most"] == {"minimum": 1, "type": "integer"}
    assert await spec.call({"word": "x", "since": "2020-01-02"}, {}) == ["x", 2020, 1]
    for wrong in ({"most": 0}, {"least": 1}):
        with pytest.raises((ValueError, TypeError)):
            await spec.call({"word": "x", "since": "2020-01-02", **wrong}, {})


def test_a_partial_has_the_name_that_it_was_given() -> None:
    part = functools.partial(max, 5)
    part.__name__ = "at_least_five"  # type: ignore[attr-defined]
    assert [spec.name for spec in load_tools([part])] == ["at_least_five"]


def test_what_a_partial_has_fixed_is_no_argument() -> None:
    def fetch(url: str, token: str, retries: int = 3) -> str:
        return url

    assert list(from_callable(functools.partial(fetch, token="secret")).input_schema["properties"]) == [
        "url",
        "retries",
    ]
    assert "secret" not in str(from_callable(functools.partial(fetch, token="secret")))


@pytest.mark.parametrize(
    "doc",
    [
        "Finds.\n\nArgs:\n    query: What for.\n    page: Which.\n\nReturns:\n    A list.",
        "Finds.\n\nParameters\n----------\nquery : str\n    What for.\npage\n    Which.\n\nReturns\n-------\nlist\n    A list.",
        "Finds.\n\n:param query: What for.\n:param page: Which.\n:returns: A list.",
    ],
)
def test_the_docstring_describes_the_tool_and_its_arguments(doc: str) -> None:
    def find(query: str, page: int = 1) -> list[str]:
        return []

    find.__doc__ = doc
    spec = from_callable(find)
    assert spec.description == "Finds.\n\nReturns: A list."
    assert [item["description"] for item in spec.input_schema["properties"].values()] == ["What for.", "Which."]


def test_an_annotation_describes_an_argument() -> None:
    def find(query: Annotated[str, "What for."], page: int = Field(default=1, ge=1, description="Which.")) -> None: ...

    properties = from_callable(find).input_schema["properties"]
    assert properties["query"]["description"] == "What for."
    assert properties["page"] == {"type": "integer", "minimum": 1, "description": "Which.", "default": 1}


async def test_the_default_of_a_field_is_used() -> None:
    def find(page: int = Field(default=1)) -> int:
        return page

    assert await call(find) == 1


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int, {"type": "integer"}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (Awaitable[int], {"type": "integer"}),
        (Iterator[int], {"type": "array", "items": {"type": "integer"}}),
        (AsyncIterator[str], {"type": "array", "items": {"type": "string"}}),
        (dict, {"type": "object", "additionalProperties": True}),
        (None, None),
        (Any, None),
        (Opaque, None),
        ("Nowhere", None),
    ],
)
def test_the_return_hint_is_the_output_schema(hint: Any, schema: Any) -> None:
    def function():  # type: ignore[no-untyped-def]
        ...

    function.__annotations__["return"] = hint
    assert from_callable(function).output_schema == schema


def test_a_model_that_is_returned_is_described_as_it_is_dumped() -> None:
    class Row(BaseModel):
        ident: int = Field(alias="id")
        day: date = date(2026, 1, 1)

    async def row() -> Row:
        return Row(id=1)

    schema = from_callable(row).output_schema
    assert schema is not None
    assert schema["properties"].keys() == {"id", "day"}
    assert asyncio.iscoroutinefunction(row)


async def test_results_are_plain_data() -> None:
    async def results() -> Any:
        return [User(name="Ann", born=date(2000, 1, 2)), Point(1, 2), {Colour.RED: (1, 2)}, {"extra": None}]

    assert await call(results) == [
        {"name": "Ann", "born": "2000-01-02"},
        {"x": 1, "y": 2},
        {"red": [1, 2]},
        {"extra": None},
    ]


async def test_a_typed_dict_keeps_keys_that_its_type_does_not_have() -> None:
    async def options() -> Options:
        return {"size": 1, "more": 2}  # type: ignore[typeddict-unknown-key]

    assert await call(options) == {"size": 1, "more": 2}


async def test_what_cannot_be_dumped_comes_as_it_is() -> None:
    thing = Opaque()
    assert await call(lambda: thing) is thing


async def test_generators_are_listed_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    async def slowly(n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def inside(n: int) -> Iterator[int]:
        return numbers(n)

    monkeypatch.setattr(from_function, "MAX_STREAMED", 10)
    for function in (numbers, slowly, inside):
        assert await call(function, 3) == [0, 1, 2]
        with pytest.raises(ValueError, match="more than 10 values"):
            await call(function, 11)


def test_hints_that_cannot_be_used_accept_anything(caplog: pytest.LogCaptureFixture) -> None:
    def function(a: "Nowhere", b: Opaque, c: "int", d: "date | Nowhere" = None) -> "Nowhere": ...  # type: ignore[name-defined] # noqa: F821

    spec = from_callable(function)
    assert spec.input_schema["properties"] == {"a": {}, "b": {}, "c": {"type": "integer"}, "d": {"default": None}}
    assert "argument 'b' of function" in caplog.text


def test_a_hint_that_is_local_to_a_function_is_resolved() -> None:
    class Size(BaseModel):
        width: int

    def function(size: "Size") -> bool:
        return isinstance(size, Size)

    assert from_callable(function).input_schema["properties"]["size"] == {"$ref": "#/$defs/Size"}


async def test_a_sync_function_runs_in_a_thread_with_the_callers_context() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    assert await call(lambda: [variable.get(), threading.current_thread() is threading.main_thread()]) == [
        "mine",
        False,
    ]


async def test_a_sync_function_goes_on_after_its_call_is_cancelled_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()
        ended.set()

    task = asyncio.ensure_future(call(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with caplog.at_level(logging.WARNING, "codemode"), pytest.raises(asyncio.CancelledError):
        await task
    assert "a call of work was given up" in caplog.text
    release.set()
    assert await asyncio.to_thread(ended.wait, 5)


async def test_what_a_function_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        await call(fail)


async def test_a_call_is_a_tool_run_and_a_config_is_handed_on() -> None:
    class Handler(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.events: list[Any] = []

        async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
            self.events.append((serialized["name"], kwargs["inputs"]))

        async def on_tool_end(self, output: Any, **kwargs: Any) -> None:
            self.events.append(output)

    def look(key: str, config: RunnableConfig) -> str:
        return f"{key} {config['metadata']['who']}"

    handler = Handler()
    spec = from_callable(look)
    assert list(spec.input_schema["properties"]) == ["key"]
    assert await spec.call({"key": "a"}, {"callbacks": [handler], "metadata": {"who": "me"}}) == "a me"
    assert handler.events == [("look", {"key": "a"}), "a me"]


async def test_unknown_arguments_are_refused_even_without_binding() -> None:
    with pytest.raises(TypeError, match="unexpected argument 'config'"):
        await from_callable(add).call({"a": 1, "config": {}}, {})


def test_the_decorator_says_more_and_leaves_the_function_as_it_is() -> None:
    @tool(effect="read", name="temperature-of", timeout=5, description="How warm it is.")
    def temperature(city: str) -> float:
        return 21.5

    assert temperature("Bern") == 21.5
    for function in (temperature, functools.partial(temperature)):
        spec = from_callable(function)
        assert (spec.name, spec.effect, spec.policy.timeout) == ("temperature-of", "read", 5)
        assert spec.description == "How warm it is."
    assert from_callable(temperature, "other").name == "other"
    assert from_callable(add).effect == "write"


def test_the_decorator_marks_methods_and_objects_too() -> None:
    class Thermometer:
        @tool(effect="read")
        def __call__(self) -> float:
            return 1.0

        @tool(effect="destructive")
        def smash(self) -> None: ...

    assert from_callable(Thermometer()).effect == "read"
    assert from_callable(Thermometer().smash).effect == "destructive"


def test_what_is_no_function_or_wants_injection_is_refused() -> None:
    def injected(runtime: ToolRuntime) -> None: ...

    with pytest.raises(ToolLoadError, match="int object is not callable"):
        from_callable(3)  # type: ignore[arg-type]
    with pytest.raises(ToolLoadError, match="takes 'runtime', which LangGraph injects"):
        from_callable(injected)
