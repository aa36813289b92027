"""Tools that are used without a call, and names that no tool has: put right where that is certain, else told exactly."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from codemode_graph import ToolSpec, codemode
from codemode_graph.state import Finding
from codemode_graph.tools import tool


@tool(effect="read", name="list-repos")
def list_repos(limit: int = 3) -> list[str]:
    """List repositories."""
    return ["a", "b"][:limit]


@tool(effect="read")
def owner(name: str, page: int = 1) -> dict[str, str]:
    """Look up an owner."""
    return {"name": name}


@tool(effect="write")
def refresh() -> int:
    """Refresh."""
    return 1


async def echo(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    return arguments


def issue_tool(name: str) -> ToolSpec:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    return ToolSpec(name=name, call=echo, effect="read", input_schema=schema)


TOOLS = [list_repos, owner, refresh]
SERVERS = [
    issue_tool(name) for name in ("github.create_issue", "gitlab.create_issue", "gitea.create-issue", "jira.find")
]
A, WAITERS = ["a", "b"], "import asyncio\n"


async def run(program: str, tools: Any = TOOLS) -> tuple[Any, str, list[Finding], list[str]]:
    async with codemode(tools=tools, sandbox="restricted") as cm:
        result = await cm.run_code(program)
    (attempt,) = result["attempts"]
    return result["output"], str(result["error"]), attempt["findings"], [call["tool"] for call in result["tool_calls"]]


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("await tools['list-repos']", A),
        ("await tools.refresh", 1),
        ("tools.list_repos", A),
        ("async def main():\n    return tools['list-repos']", A),
        (
            "async def find():\n    return tools['list-repos']\nasync def main():\n    x = await find()\n    return {'x': x}",
            {"x": A},
        ),
        ("t = tools.list_repos\nt", A),
        ("t = tools.list_repos\nawait t", A),
        ("[tools.list_repos, 1]", [A, 1]),
        ("{'repos': tools.list_repos}", {"repos": A}),
        ("tools.list_repos[0]", "a"),
        ("[r for r in tools['list-repos']]", A),
        ("n = 0\nfor r in tools['list-repos']:\n    n += 1\nn", 2),
        ("len(tools.list_repos)", 2),
        ("f'{tools.list_repos}'", "['a', 'b']"),
        ("tools.list_repos + ['c']", ["a", "b", "c"]),
        ("print(tools.list_repos)", A),
        ("tools.list_repos == ['b']", False),
        (f"{WAITERS}await asyncio.gather(tools.list_repos, tools.refresh)", [A, 1]),
        (f"{WAITERS}await asyncio.gather(*[tools.list_repos, tools.refresh])", [A, 1]),
        (f"{WAITERS}await asyncio.gather(*[tools.list_repos for _ in range(2)])", [A, A]),
        (f"{WAITERS}calls = [tools.list_repos, tools.refresh]\nawait asyncio.gather(*calls)", [A, 1]),
        (f"{WAITERS}await asyncio.wait_for(tools.list_repos, 5)", A),
        (f"{WAITERS}await asyncio.gather(*[tools[n] for n in ['refresh', 'list-repos']])", [1, A]),
        ("n = 'list-repos'\nawait tools[n]", A),
        ("await (tools.list_repos if 1 > 0 else tools.refresh)", A),
        ("t = tools.refresh if 0 > 1 else tools.list_repos\nawait t", A),
        ("await (t := tools.list_repos)", A),
        ("[await t for t in (tools.list_repos, tools.refresh)]", [A, 1]),
        ("x = []\nfor n in ['refresh']:\n    x.append(await tools[n])\nx", [1]),
        ("[*tools.list_repos]", A),
        ("'a' in tools.list_repos", True),
        ("[r async for r in tools.list_repos]", A),
        ("n = 0\nasync for r in tools.list_repos():\n    n += 1\nn", 2),
        ("await len(tools.list_repos())", 2),
        # What no check sees is called where it is awaited.
        ("async def use(t):\n    return await t\nawait use(tools.list_repos)", A),
        ("x = []\nx.append(tools.refresh)\n[await t for t in x]", [1]),
        (f"{WAITERS}x = {{'a': tools.list_repos}}\nawait asyncio.gather(*x.values())", [A]),
        ("await getattr(tools, 'list_repos')", A),
        (
            f"{WAITERS}async with asyncio.TaskGroup() as group:\n    t = group.create_task(tools.refresh)\nt.result()",
            1,
        ),
    ],
)
async def test_a_tool_that_requires_nothing_is_called(program: str, value: Any) -> None:
    output, error, findings, _ = await run(program)
    assert (output, error, findings) == (value, "None", [])


CALL = "write await tools['owner'](name=...) (its arguments are name, page=1)"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("await tools.owner", CALL),
        ("tools['owner']", CALL),
        ("async def main():\n    return {'x': tools.owner}", CALL),
        ("t = tools.owner\nawait t", CALL),
        ("tools.owner['name']", CALL),
        (f"{WAITERS}await asyncio.gather(tools.owner, tools.list_repos)", CALL),
        (f"{WAITERS}await asyncio.gather(*[tools.owner for _ in range(3)])", CALL),
        ("[await tools[n] for n in list(tools)]", "with the arguments of that tool in it: await tools[n](...)"),
        (
            "[await tools[n] for n in ('refresh', 'owner')]",
            "await tools[n](...), here await tools['refresh']() or await tools",
        ),
        ("await (tools.owner if 1 > 0 else tools.refresh)", "await (tools.owner if 1 > 0 else tools.refresh)(...)"),
        ("tools.refresh", "write await tools['refresh']()"),
        ("tools.refresh\n1", "write await tools['refresh']()"),
        ("len(tools.refresh)", "write await tools['refresh']()"),
    ],
)
async def test_another_one_is_told_with_the_call_to_write(program: str, words: str) -> None:
    _, error, findings, calls = await run(program)
    assert words in error
    assert (findings[0]["rule"], calls) == ("uncalled-tool", [])


async def test_a_tool_that_needs_arguments_and_that_no_check_sees_is_refused_by_its_name() -> None:
    _, error, _, calls = await run("async def use(t):\n    return await t\nawait use(tools.owner)")
    assert "owner() is missing the argument 'name'" in error
    assert calls == []


async def test_a_tool_that_is_returned_is_told_as_one() -> None:
    _, error, _, _ = await run("x = {}\nx['a'] = tools.refresh\nx")
    assert "the tool 'refresh' was not called" in error


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("find = {'repos': tools.list_repos}\nawait find['repos']()", A),
        ("def pick():\n    return tools.list_repos\nawait pick()()", A),
        ("async def call(f):\n    return await f()\nawait call(tools.list_repos)", A),
        ("import functools\nawait functools.partial(tools.list_repos, 1)()", ["a"]),
        ("'yes' if tools.get('owner') else 'no'", "yes"),
        ("tools.owner is tools['owner']", True),
        ("[tools.owner == f for f in (tools.owner, tools.refresh)]", [True, False]),
        ("callable(tools.owner)", True),
        ("x = 0\nfor f in [tools.list_repos, tools.list_repos]:\n    x += len(await f())\nx", 4),
    ],
)
async def test_a_tool_that_may_be_called_later_is_left_alone(program: str, value: Any) -> None:
    output, error, findings, _ = await run(program)
    assert (output, error, findings) == (value, "None", [])


THREE = (
    "tools['github.create_issue'](title) or tools['gitlab.create_issue'](title) or tools['gitea.create-issue'](title)"
)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("await tools.create_issue(title='x')", THREE),
        ("await tools['create_issue'](title='x')", THREE),
        ("await tools.createIssue(title='x')", THREE),
        ("await tools.create_isue(title='x')", THREE),
        ("await tools.bitbucket.create_issue(title='x')", THREE),
        ("await tools['bitbucket.create_issue'](title='x')", THREE),
        ("await tools.find('x')", "did you mean tools['jira.find'](title)?"),
        ("await tools.github.create_isue('x')", "did you mean tools['github.create_issue'](title)?"),
        ("await create_issue('x')", "tools['github.create_issue'](...) or tools['gitlab.create_issue'](...)"),
        ("await jira.find('x')", "did you mean tools['jira.find'](...)?"),
        ("await client.create_issue('x')", "client is not defined; did you mean tools['github.create_issue'](...) or"),
        ("await self.jira_find('x')", "self is not defined"),
        ("n = 'create_issue'\nawait tools[n](title='x')", "'github.create_issue' or 'gitlab.create_issue'"),
    ],
)
async def test_every_server_that_has_the_tool_is_named(program: str, words: str) -> None:
    _, error, _, calls = await run(program, SERVERS)
    assert words in error
    assert calls == []


async def test_of_many_tools_those_with_a_word_of_the_written_one_are_shown() -> None:
    tools = [issue_tool(f"tool_{number}") for number in range(300)] + [issue_tool("payMonthlyBill")]
    _, error, _, _ = await run("await tools.pay(1)", tools)
    assert "call one of these as tools['name'](argument=value): 'payMonthlyBill', 'tool_0'" in error


async def test_a_name_that_two_tools_could_have_calls_neither() -> None:
    tools = [issue_tool(name) for name in ("my-srv.find", "my_srv.find", "a.find", "a_find")]
    _, error, _, calls = await run("await tools.my_srv_find('x')", tools)
    assert "tools['my-srv.find'](title) or tools['my_srv.find'](title)" in error
    assert calls == []
    assert (await run("await tools.a_find('x')", tools))[3] == ["a_find"]


@pytest.mark.parametrize(
    "program", ["tools.jira.find('x')", "tools['jira']['find']('x')", "tools.jira['find'](title='x')"]
)
async def test_a_tool_of_a_server_is_called_by_both_names(program: str) -> None:
    output, error, _, calls = await run(f"await {program}", SERVERS)
    assert (output, error, calls) == ({"title": "x"}, "None", ["jira.find"])
