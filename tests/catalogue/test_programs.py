"""Programs that are kept: how they become functions, what they may do, and that nothing they do happens twice."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes.source import to_script
from langchain_core.tools import ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from mcp.shared.memory import create_connected_server_and_client_session
from pydantic import BaseModel, Field

from codemode_graph import ConfigurationError, ToolPolicy, codemode, create_agent, tool
from codemode_graph.calls.values import LOAD_VALUE
from codemode_graph.catalogue.parameterise import to_function
from codemode_graph.catalogue.program_file import SavedProgram
from codemode_graph.integrations.mcp_server import create_mcp_server
from tests.integrations.agents import agent_model, calling
from tests.support import scripted

ISSUES = {"a/b": [{"number": 1, "open": True}, {"number": 2, "open": False}], "c/d": [{"number": 7, "open": True}]}
PROGRAM = """
import asyncio

async def main():
    repository = "a/b"
    issues = await tools.list_issues(repository)
    closed = [await tools.close_issue(repository, issue["number"]) for issue in issues if issue["open"]]
    return {"closed": len(closed), "total": len(issues)}
"""
CLOSE_C = "async def main():\n    close_all = await tools.close_all(repository='c/d')\n    return close_all['closed']"
ASK = {"close_issue": ToolPolicy(approval=True)}


class Tracker:
    """Issues, and what was closed."""

    def __init__(self) -> None:
        self.closed: list[tuple[str, int]] = []

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def list_issues(repository: str) -> list[dict[str, Any]]:
            """List issues."""
            return ISSUES[repository]

        @tool(effect="write")
        async def close_issue(repository: str, number: int) -> str:
            """Close an issue."""
            self.closed.append((repository, number))
            return "done"

        return [list_issues, close_issue]


def make(tmp_path: Path, tracker: Tracker, *replies: str, tools: Any = None, **options: Any) -> Any:
    options.setdefault("sandbox", "monty")
    return codemode(tools=tools or tracker.tools, durable=tmp_path / "runs.sqlite", model=scripted(*replies), **options)


async def save(cm: Any, **more: Any) -> SavedProgram:
    saved: SavedProgram = await cm.save(await cm.run_code(PROGRAM), name="close_all", parameters=["repository"], **more)
    return saved


async def test_a_saved_program_is_a_tool_for_later_programs_and_its_calls_are_theirs(tmp_path: Path) -> None:
    tracker = Tracker()
    cm = make(tmp_path, tracker, CLOSE_C)
    saved = await save(cm, description="Close all open issues of a repository.")
    assert (list(saved.tools), saved.parameters["required"]) == (["list_issues", "close_issue"], ["repository"])
    tracker.closed.clear()
    result = await cm.run("Close those of c/d.")
    assert (result["output"], tracker.closed) == (1, [("c/d", 7)])
    assert [(call["tool"], call["effect"]) for call in result["tool_calls"]] == [
        ("list_issues", "read"),
        ("close_issue", "write"),
    ]
    shown = cm._model.asked[0][-1].text
    assert "await tools['close_all'](repository: str)\n" in shown
    assert "it calls list_issues, close_issue" in shown
    assert "seen: {closed: int, total: int}" in shown
    again = await cm.run_program("close_all", repository="c/d")
    assert again["output"] == {"closed": 1, "total": 1}
    await cm.aclose()


async def test_it_is_a_file_that_can_be_read_and_changed_by_hand(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        saved = await save(cm, description="Close all.")
        path = tmp_path / "runs.programs" / "close_all.py"
        text = path.read_text()
        assert SavedProgram.from_text(text) == saved
        assert "async def close_all(repository: str):\n    import asyncio\n" in text
        assert "a/b" not in text
        compile(text, "close_all.py", "exec")
        path.write_text(text.replace('return {"closed"', 'return {"number_closed"'))
        (path.parent / "other.py").write_text("print('no header')\n")
    tracker.closed.clear()
    async with make(tmp_path, tracker) as cm:
        assert [each.name for each in cm.programs.list()] == ["close_all"]
        assert (await cm.run_program("close_all", repository="c/d"))["output"] == {"number_closed": 1, "total": 1}
        assert cm.programs.remove("close_all").name == "close_all"
        (path.parent / "other.py").write_text("print('no header')\n")
        assert cm.programs.list() == []
        with pytest.raises(ConfigurationError, match="it has no header"):
            cm.programs.remove("other")
        with pytest.raises(ConfigurationError, match="no saved program is called 'close_al'"):
            cm.programs.get("close_al")
        assert "no tool" in (await cm.run_code(CLOSE_C))["error"]


async def test_its_calls_ask_as_those_of_any_program_and_nothing_is_done_twice(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
    tracker.closed.clear()
    cm = make(tmp_path, tracker, CLOSE_C, policies=ASK)
    result = await cm.run("Close those of c/d.", run_id="one")
    assert [(call["tool"], call["arguments"]) for call in result.trace.pending] == [
        ("close_issue", {"repository": "c/d", "number": 7})
    ]
    assert tracker.closed == []
    # Another process goes on, though the program was removed meanwhile; and is asked twice.
    cm.programs.remove("close_all")
    await cm.aclose()
    for _ in range(2):
        async with make(tmp_path, tracker, policies=ASK) as cm:
            result = await cm.resume("one", decisions=[{"type": "approve"}])
            assert result["output"] == 1
    assert tracker.closed == [("c/d", 7)]


async def test_a_repaired_program_does_not_repeat_what_a_saved_one_did(tmp_path: Path) -> None:
    tracker = Tracker()
    broken = CLOSE_C.replace("return close_all['closed']", "return close_all['closed'] / 0")
    async with make(tmp_path, tracker, broken, CLOSE_C) as cm:
        await save(cm)
        tracker.closed.clear()
        result = await cm.run("Close those of c/d.")
        assert (result["output"], len(result["attempts"]), tracker.closed) == (1, 2, [("c/d", 7)])


async def test_two_calls_of_it_are_two_and_each_of_their_calls_is_its_own(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
        tracker.closed.clear()
        text = "await tools.close_all('c/d')\nawait tools['close_all'](repository='c/d')\nawait tools.close_all({'repository': 'c/d'})"
        result = await cm.run_code(text)
        assert result["success"], result["error"]
        assert tracker.closed == [("c/d", 7)] * 3
        assert len({call["id"] for call in result["tool_calls"]}) == 6


async def test_it_is_checked_against_the_tools_as_they_are_now(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)

    @tool(effect="destructive")
    async def close_issue(repository: str, number: int, reason: str) -> str:
        """Close an issue, and say why."""
        raise AssertionError("not called")

    async with make(tmp_path, tracker, tools=[tracker.tools[0], close_issue]) as cm:
        saved = next(spec for spec in cm.tools if spec.program)
        assert saved.effect == "destructive"  # the strongest of what it calls now
        assert "lacks the argument 'reason'" in await cm.programs.problem(cm.programs.get("close_all"))
        error = (await cm.run_code("await tools.close_all(repository='c/d')"))["error"]
        assert "a saved program does not fit the tools as they are now: tools['close_issue'] lacks" in error
    async with make(tmp_path, tracker, tools=tracker.tools[:1]) as cm:
        assert [spec.name for spec in cm.tools] == ["list_issues"]
        assert await cm.programs.problem(cm.programs.get("close_all")) == "there is no tool close_issue"


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("await tools.close_all(repo='c/d')", "has no argument 'repo'"),
        ("f'{await tools.close_all(repository=\"c/d\")}'", "call it before the text"),
        ("len = 3\nawait tools.close_all(repository='c/d')", "len is set here"),
        ("name = 'close_all'\nawait tools[name](repository='c/d')", "do not compute the name"),
        ("await again(tools.close_all(repository='c/d'))", "again"),
    ],
)
async def test_a_call_that_cannot_be_made_so_is_told_before_anything_runs(
    tmp_path: Path, program: str, error: str
) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
        tracker.closed.clear()
        result = await cm.run_code(program)
        assert error in result["error"]
        assert tracker.closed == []


async def test_what_a_tool_returned_does_not_come_into_a_file(tmp_path: Path) -> None:
    @tool(effect="read")
    async def find_customer(city: str) -> dict[str, str]:
        """Find a customer."""
        return {"id": "cust-zq81"}

    first = "async def main():\n    found = await tools.find_customer('Oslo')\n    return found['number']"
    second = "async def main():\n    found = await tools.find_customer('Oslo')\n    return found['id'] == 'cust-zq81'"
    async with make(tmp_path, Tracker(), first, second, tools=[find_customer]) as cm:
        result = await cm.run("Find the customer of Oslo.")
        assert result["output"] is True
        with pytest.raises(ConfigurationError, match="which a tool returned: make it a parameter"):
            await cm.save(result, name="known")
        await cm.save(result, name="known", parameters={"customer": "cust-zq81"})
        assert "zq81" not in (tmp_path / "runs.programs" / "known.py").read_text()


async def test_a_credential_of_the_author_does_not_come_into_a_file(tmp_path: Path) -> None:
    @tool(effect="read")
    async def look(key: str) -> str:
        """Look with a key."""
        return "seen"

    program = "key = 'sk-proj-abcdefghijklmnop1234'\nreturn await tools.look(key)"
    async with make(tmp_path, Tracker(), tools=[look]) as cm:
        result = await cm.run_code(program)
        with pytest.raises(ConfigurationError, match="looks like a credential in it: make it a parameter by its type"):
            await cm.save(result, name="looks")
        await cm.save(result, name="looks", parameters={"key": str})
    assert "sk-proj" not in (tmp_path / "runs.programs" / "looks.py").read_text()


@pytest.mark.parametrize(
    "line",
    ["return found['id'] == 'id: cust-zq81.'", "return found['id']  # cust-zq81", "return found['size'] == 471193"],
)
async def test_nor_within_a_text_a_comment_or_as_a_number(tmp_path: Path, line: str) -> None:
    @tool(effect="read")
    async def find_customer(city: str) -> dict[str, Any]:
        """Find a customer."""
        return {"id": "cust-zq81", "size": 471193}

    first = "async def main():\n    found = await tools.find_customer('Oslo')\n    return found['number']"
    second = first.replace("return found['number']", line)
    async with make(tmp_path, Tracker(), first, second, tools=[find_customer]) as cm:
        result = await cm.run("Find the customer of Oslo.")
        assert result["success"], result["error"]
        with pytest.raises(ConfigurationError, match="which a tool returned"):
            await cm.save(result, name="known")
        assert not (tmp_path / "runs.programs").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return {", "return ({"),
        ("return {", "return '\0' or {"),
        ("async def main():", "global kept\n    async def main():"),
        ("repository: str)", "repository: str, *more)"),
        ("repository: str)", "repository: str = 'a/b')"),
        ('"repository": {', '"city": {'),
        ("tools.close_issue(", "tools['close_' + 'issue']("),
        ("tools.close_issue(", "[tools][0].close_issue("),
        ("tools.close_issue(", "getattr(tools, 'close_issue')("),
        ("tools.close_issue(", "eval('tools').close_issue("),
        ("tools.close_issue(", "tools.close_all("),
        ("# {\n", "# " + "[" * 50_000 + "\n"),
        ("# ///\n\n\n", "# ///\n\n\nprint('before')\n"),
        ("    return await main()\n", "    return await main()\n\n\nprint('beside')\n"),
    ],
)
async def test_a_file_that_is_not_one_function_of_known_tools_is_left_out(tmp_path: Path, old: str, new: str) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
    path = tmp_path / "runs.programs" / "close_all.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    tracker.closed.clear()
    async with make(tmp_path, tracker) as cm:
        assert [spec.name for spec in cm.tools if spec.program] == []
        assert "no tool" in (await cm.run_code(CLOSE_C))["error"]
    assert tracker.closed == []


async def test_its_effect_is_that_of_its_function_whatever_the_header_says(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
    path = tmp_path / "runs.programs" / "close_all.py"
    path.write_text(path.read_text().replace('"close_issue":', '"list_issues":'))
    async with make(tmp_path, tracker) as cm:
        assert [(spec.effect, "close_issue" in spec.description) for spec in cm.tools if spec.program] == [
            ("write", True)
        ]


@pytest.mark.parametrize(
    "program",
    [
        "kept = [tools.close_all]\nawait kept[0]('c/d')",
        "kept = {'close': tools.close_all}\nawait kept['close'](repository='c/d')",
        "def choose(tools):\n    return tools.close_all\nawait choose(tools)('c/d')",
    ],
)
async def test_a_call_by_another_name_is_one_of_it(tmp_path: Path, program: str) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
        tracker.closed.clear()
        result = await cm.run_code(program)
        assert result["success"], result["error"]
    assert tracker.closed == [("c/d", 7)]


async def test_files_are_whole_and_of_their_owner_when_many_save_at_once(tmp_path: Path) -> None:
    async with make(tmp_path, Tracker()) as cm:
        result = await cm.run_code(PROGRAM)
        again = {"name": "close_all", "parameters": ["repository"], "overwrite": True}
        await asyncio.gather(*(cm.save(result, **again) for _ in range(8)))
        (path,) = (tmp_path / "runs.programs").iterdir()
        assert SavedProgram.from_text(path.read_text()).name == "close_all"
        if os.name == "posix":
            assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("edit", ["# by hand\n", "\nthis is no Python"])
async def test_a_file_is_overwritten_only_where_that_is_said(tmp_path: Path, edit: str) -> None:
    async with make(tmp_path, Tracker()) as cm:
        result = await cm.run_code(PROGRAM)
        found = await asyncio.gather(
            *(cm.save(result, name="close_all", parameters=["repository"]) for _ in range(4)), return_exceptions=True
        )
        assert sum(isinstance(each, SavedProgram) for each in found) == 1
        assert sum("overwrite=True" in str(each) for each in found) == 3
        (path,) = (tmp_path / "runs.programs").iterdir()
        path.write_text(edited := path.read_text() + edit)
        with pytest.raises(ConfigurationError, match=r"close_all\.py, perhaps with changes .* overwrite=True"):
            await cm.save(result, name="close_all")
        assert path.read_text() == edited
        await cm.save(result, name="close_all", overwrite=True)
        assert "repository: str" not in path.read_text()
        path.write_text(edited + edit)
        assert (cm.programs.remove("close_all") is None) == ("Python" in edit)
        assert list(path.parent.iterdir()) == []


async def test_a_file_that_holds_no_program_says_why(tmp_path: Path) -> None:
    async with make(tmp_path, Tracker()) as cm:
        await save(cm)
        path = tmp_path / "runs.programs" / "close_all.py"
        path.write_text(path.read_text() + "\nreturn (")
        assert cm.programs.list() == []
        with pytest.raises(
            ConfigurationError, match=r"close_all\.py holds no saved program: its function is no Python"
        ):
            cm.programs.get("close_all")
        with pytest.raises(ConfigurationError, match="did you mean 'close_all'"):
            cm.programs.remove("close_al")


async def test_a_default_that_is_a_list_is_new_in_each_call(tmp_path: Path) -> None:
    async with make(tmp_path, Tracker()) as cm:
        result = await cm.run_code("tags = ['a']\ntags.append('b')\nlen(tags)")
        await cm.save(result, name="count", parameters={"tags": {"type": "array", "default": ["a"]}})
        assert (await cm.run_code("[await tools.count(), await tools.count(), await tools.count([])]")).value == [
            2,
            2,
            1,
        ]


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        (
            "await tools.close_one(number=len('abc') * 3, repository='c/d')",
            "'number' of close_one is wrong: 9 does not fit",
        ),
        ("await tools.close_one(**{'number': 0, 'repository': 'c/d'})", "'number' of close_one is wrong: 0"),
        (
            "n = (await tools.list_issues('c/d'))[0]\nawait tools.close_one(number=n['open'], repository='c/d')",
            "wrong: True",
        ),
        (
            "r = (await tools.list_issues('c/d'))[0]\nawait tools.close_one(number=1, repository=r['number'])",
            "wrong: 7",
        ),
        (
            "f = tools.close_one\nr = ''.join(['x', '/x/'])\nawait f(number=1, repository=r)",
            "'repository' of close_one is wrong: 'x/x/'",
        ),
        ("await tools.close_one(number=1 + 1, repository='c' + '/d')", None),
        ("await tools.close_one(number=float(2), repository='c' + '/d')", None),
    ],
)
async def test_a_computed_argument_is_held_against_its_conditions(
    tmp_path: Path, program: str, wrong: str | None
) -> None:
    tracker = Tracker()
    cm = make(tmp_path, tracker)
    result = await cm.run_code("number = 1\nrepository = 'a/b'\nawait tools.close_issue(repository, number)")
    number = {"type": "integer", "minimum": 1, "maximum": 5}
    await cm.save(result, name="close_one", parameters={"number": number, "repository": {"enum": ["a/b", "c/d"]}})
    tracker.closed.clear()

    result = await cm.run_code(program)

    assert (wrong or "") in (result["error"] or "")
    assert (result["error"] is None, len(tracker.closed)) == ((wrong is None), int(wrong is None))
    await cm.aclose()


class Part(BaseModel):
    """A part of an order."""

    sku: str = Field(min_length=2)
    count: int = Field(ge=1, le=5)
    note: str | None = None


@pytest.mark.parametrize(
    ("parts", "is_right"),
    [
        ('[{"sku": "ab", "count": 5}, {"sku": "abc", "count": 1, "note": null}]', True),
        ("[]", True),
        ('[{"sku": "a", "count": 5}]', False),
        ('[{"sku": "ab", "count": 6}]', False),
        ('[{"sku": "ab"}]', False),
        ('[{"sku": "ab", "count": 1, "note": 5}]', False),
        ('{"sku": "ab", "count": 1}', False),
    ],
)
async def test_a_computed_argument_is_held_against_the_fields_of_its_model(
    tmp_path: Path, parts: str, is_right: bool
) -> None:
    cm = make(tmp_path, Tracker())
    result = await cm.run_code("parts = []\n[part['sku'] for part in parts]")
    await cm.save(result, name="skus", parameters={"parts": list[Part]})

    result = await cm.run_code(f"import json\nawait tools.skus(parts=json.loads({parts!r}))")

    assert (result["error"] is None) is is_right
    assert is_right or "the argument 'parts' of skus is wrong: " in result["error"]
    await cm.aclose()


async def test_a_saved_program_runs_where_it_can_also_where_its_caller_needs_less(tmp_path: Path) -> None:
    cm = make(tmp_path, Tracker(), sandbox=None, auto=["monty", "restricted"])
    code = "import statistics\nlast = 3\ndef numbers():\n    yield 1\n    yield last\nstatistics.mean(numbers())"
    await cm.save(await cm.run_code(code), name="middle", parameters=["last"])

    results = [await cm.run_code("await tools.middle(last=5)"), await cm.run_program("middle", last=7)]

    assert [(each["output"], each["error"], each["sandbox"]) for each in results] == [
        (3, None, "restricted"),
        (4, None, "restricted"),
    ]
    await cm.aclose()


async def test_what_cannot_be_saved_says_why(tmp_path: Path) -> None:
    async with make(tmp_path, Tracker()) as cm:
        result = await cm.run_code(PROGRAM)
        refused: list[tuple[dict[str, Any], str]] = [
            ({"name": "Close All"}, "small letters"),
            ({"name": "../x"}, "small letters"),
            ({"name": "list_issues"}, "a tool is called 'list_issues'"),
            ({"name": LOAD_VALUE.name}, "a tool of code mode is called"),
            ({"name": "run_code"}, "a tool of code mode is called"),
            ({"name": "x", "parameters": {"class": "a/b"}}, "named as a variable is"),
            ({"name": "x", "parameters": ["city"]}, "has no variable 'city'"),
            ({"name": "x", "parameters": {"city": "Rome"}}, "does not have the value 'Rome'"),
            ({"name": "x", "parameters": ["issues"]}, "'issues' to something else"),
        ]
        for wrong, message in refused:
            with pytest.raises(ConfigurationError, match=message):
                await cm.save(result, **wrong)
        with pytest.raises(ConfigurationError, match="only a program that succeeded"):
            await cm.save(await cm.run_code("1 / 0"), name="x")
        for code in (
            "[await tools[name]('a/b') for name in ['list_issues']]",
            "kept = [tools]\nawait kept[0].list_issues('a/b')",
        ):
            dynamic = await cm.run_code(code)
            assert dynamic["success"], dynamic["error"]
            with pytest.raises(ConfigurationError, match="computes the name of a tool"):
                await cm.save(dynamic, name="x")
    async with codemode(tools=Tracker().tools, sandbox="monty") as cm:
        with pytest.raises(ConfigurationError, match="there is no folder for saved programs"):
            await cm.save(await cm.run_code(PROGRAM), name="close_all")


@pytest.mark.parametrize(
    ("program", "parameters", "header", "value"),
    [
        ("city = 'Oslo'\ncity.upper()", ["city"], "city: str", "OSLO"),
        ("'Oslo'.upper() + 'Oslo'", {"city": "Oslo"}, "city: str", "OSLOOslo"),
        ("n = 3\nn * 2", {"n": int}, "n: int", 6),
        ("n = 3\nn * 2", {"n": {"type": "integer", "default": 3}}, "n: int = 3", 6),
        ("a = [1, 2]\nb = 'x'\nlen(a), b", {"b": str, "a": list[int]}, "b: str, a: list", (2, "x")),
        ("text = '''a\n  b'''\ntext", [], "", "a\n  b"),
        ("def f():\n    return 1\nf()", [], "", 1),
        ("def f(n):\n    return n * 2\nn = 5\nf(n)", ["n"], "n: int", 6),
        ("def f(n):\n    m = 5\n    return n * m\n[f(n) for n in [1, 2]]", {"m": int}, "m: int", [4, 8]),
    ],
)
async def test_a_program_becomes_a_function(program: str, parameters: Any, header: str, value: Any) -> None:
    text, schema = to_function(to_script(program).code, "f0", parameters)
    assert text.startswith(f"async def f0({header}):\n")
    assert list(schema["properties"]) == list(parameters)
    scope: dict[str, Any] = {}
    exec(text, scope)
    given = {"city": "Oslo", "n": 3, "m": 4, "a": [1, 2], "b": "x"}
    assert await scope["f0"](**{name: given[name] for name in schema["properties"]}) == value


async def test_an_agent_has_saved_programs_as_tools_and_is_asked_about_their_calls(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm, description="Close all open issues.")
    tracker.closed.clear()
    async with make(tmp_path, tracker, policies=ASK) as cm:
        (close_all,) = cm.as_langchain_tools()
        assert close_all.args == {"repository": {"type": "string"}}
        model = agent_model(calling("close_all", {"repository": "c/d"}), "Done.")
        agent = create_agent([close_all], llm=model, codemode=False, checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "1"}}
        state = await agent.ainvoke({"messages": [("user", "Close them.")]}, config)
        assert len(state["__interrupt__"]) == 1
        assert tracker.closed == []
        await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
        assert tracker.closed == [("c/d", 7)]


async def test_a_server_offers_saved_programs_beside_run_code(tmp_path: Path) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm, description="Close all open issues.")
        tracker.closed.clear()
        async with create_connected_server_and_client_session(create_mcp_server(cm, tasks=False)) as client:
            offered: dict[str, Any] = {each.name: each for each in (await client.list_tools()).tools}
            assert list(offered) == ["run_code", "close_all"]
            assert offered["close_all"].annotations.readOnlyHint is False
            result: Any = await client.call_tool("close_all", {"repository": "c/d"})
            assert result.structuredContent["output"] == {"closed": 1, "total": 1}
            wrong: Any = await client.call_tool("close_all", {"repo": "c/d"})
            assert wrong.isError
            assert "has no argument 'repo'" in wrong.content[0].text
    assert tracker.closed == [("c/d", 7)]


@pytest.mark.parametrize(
    ("program", "parameters", "message"),
    [
        ("match 'a':\n    case 'a':\n        1\n    case 'b':\n        2", {"kind": "a"}, "stands in a `case`"),
        ("match {'a': 1}:\n    case {'a': n}:\n        n", {"kind": "a"}, "stands in a `case`"),
        (
            "def f(n):\n    def g():\n        n = 1\n        return n\n    return g()\nf(2)",
            ["n"],
            "more than one constant",
        ),
        ("n = len('a')\ndef f():\n    n = 1\n    return n\nf()", ["n"], "something else|more than one constant"),
        ("for each in 'ab':\n    seen = []\n    seen.append(each)\nseen", ["seen"], "anew each time"),
        ("kinds = {'a', 'b'}\n'a' in kinds", ["kinds"], "no JSON value"),
        ("n = 2\nn", {"n": {"type": "strin"}}, "no JSON Schema"),
        ("n = 2\nn", {"n": {"type": "integer", "default": "x"}}, "not of type 'integer': that is its default"),
        ("config = 'a'\nconfig", ["config"], "cannot be called 'config'"),
        ("# key: sk-abcdefghijklmnop1234567890\n1", [], "credential"),
        ("password = 'hunter2hunter2'\nlen(password)", [], "credential"),
        ("len({'api_key': 'hunter2hunter2'})", [], "credential"),
        ("n = 2\nn", {"n": {"type": "integer", "description": "sk-abcdefghijklmnop1234567890"}}, "credential"),
    ],
)
async def test_what_would_be_another_program_is_not_saved(
    tmp_path: Path, program: str, parameters: Any, message: str
) -> None:
    async with make(tmp_path, Tracker(), sandbox="restricted") as cm:
        result = await cm.run_code(program)
        assert result["success"], result["error"]
        with pytest.raises(ConfigurationError, match=message):
            await cm.save(result, name="x", parameters=parameters)
        assert cm.programs.list() == []


async def test_arguments_are_held_against_the_whole_schema_of_the_parameters(tmp_path: Path) -> None:
    tracker = Tracker()
    number = {"type": "integer", "minimum": 1, "maximum": 3}
    async with make(tmp_path, tracker) as cm:
        result = await cm.run_code("number = 2\nawait tools.close_issue('a/b', number)")
        await cm.save(result, name="close_one", parameters={"number": number})
        await cm.save(result, name="close_named", parameters={"name": 2})
        tracker.closed.clear()
        for wrong in (100, True, "2", None):
            with pytest.raises(ConfigurationError, match="the argument 'number' of close_one is wrong"):
                await cm.run_program("close_one", number=wrong)
        for call in ("close_one(number=100)", "close_one(-1)", "close_one({'number': 100})"):
            refused = await cm.run_code(f"await tools.{call}")
            assert "close_one is wrong" in str(refused["error"]), call
        by_name = {each.name: each for each in cm.as_langchain_tools()}
        with pytest.raises(ToolException, match="greater than the maximum of 3"):
            await by_name["close_one"].ainvoke({"number": 100})
        assert tracker.closed == []
        assert (await cm.run_program("close_named", name=3)).value == "done"


@pytest.mark.parametrize("now", ["team: str, repository: str = ''", "repo: str", "number: int, repository: str"])
async def test_an_argument_by_position_never_goes_to_another_one(tmp_path: Path, now: str) -> None:
    tracker = Tracker()
    async with make(tmp_path, tracker) as cm:
        await save(cm)
    scope: dict[str, Any] = {}
    exec(f"async def list_issues({now}) -> list[dict]:\n    'List.'\n    raise AssertionError", scope)
    tools = [tool(effect="read")(scope["list_issues"]), tracker.tools[1]]
    async with make(tmp_path, tracker, tools=tools) as cm:
        assert [spec.name for spec in cm.tools if spec.program] == []
        with pytest.raises(ConfigurationError, match="what it passes to list_issues as repository would be"):
            await cm.run_program("close_all", repository="c/d")
        path = cm.programs.folder / "close_all.py"
        # Written by its name it means what it says, and the check finds where there is no such argument.
        path.write_text(path.read_text().replace("list_issues(repository)", "list_issues(repository=repository)"))
        assert cm.programs._unfit(cm.programs.get("close_all")) is None


@pytest.mark.parametrize("called", ["close_all", "other"])
async def test_a_file_that_calls_a_saved_program_is_left_out_and_says_so(
    tmp_path: Path, called: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with make(tmp_path, Tracker()) as cm:
        await save(cm)
        path = cm.programs.folder / "close_all.py"
        (cm.programs.folder / "other.py").write_text(path.read_text().replace("def close_all", "def other"))
        path.write_text(path.read_text().replace("tools.list_issues(", f"tools.{called}("))
    async with make(tmp_path, Tracker()) as cm:
        assert [spec.name for spec in cm.tools if spec.program] == ["other"]
        reason = f"there is no tool {called}; {called} is a saved program, and none can call another one or itself"
        assert f"the saved program close_all is left out: {reason}" in caplog.text
        with pytest.raises(ConfigurationError, match=reason):
            await cm.run_program("close_all", repository="c/d")
