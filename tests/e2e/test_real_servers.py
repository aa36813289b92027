"""Programs and tasks on MCP servers that are not ours: what they say is so in the world, and so exactly once."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from codemode_graph import MCPToolLoader, codemode
from tests.e2e.world import World, open_world
from tests.servers import HttpServer, children, listening, real_server
from tests.support import scripted

pytestmark = pytest.mark.slow

PATHS = {"stdio": "", "sse": "/sse", "streamableHttp": "/mcp"}


class Everything:
    """server-everything over one transport."""

    def __init__(self, loader: MCPToolLoader, server: HttpServer | None, processes: set[int]) -> None:
        self.tools, self.processes, self._server = loader.tools, processes, server

    async def restart(self) -> None:
        """Kill it; one that listens is started again by somebody, one over stdio by its next call."""
        if self._server is not None:
            await self._server.kill()
            await self._server.start()
        for process in self.processes:
            os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module", params=PATHS)
async def everything(request: pytest.FixtureRequest) -> AsyncIterator[Everything]:
    params, before = real_server("everything", request.param), children()
    async with AsyncExitStack() as stack:
        loader = await stack.enter_async_context(MCPToolLoader())
        server = None
        if request.param == "stdio":
            loader.add_stdio_server("everything", **params)
        else:
            server = await stack.enter_async_context(listening(params, PATHS[request.param]))
            add = loader.add_sse_server if request.param == "sse" else loader.add_http_server
            add("everything", server.url)
        await loader.load()
        yield Everything(loader, server, set() if server else children() - before)
        await loader.aclose()


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program, its value, and what is so in the world when it has ended."""

    code: str
    output: Any
    seen: Callable[[World], Any] = lambda world: None
    there: Any = None


PROGRAMS = {
    "a file written and read back": Program(
        code=r"""
text = 'one\n"two"\t\\ Zürich 😀\n'
await tools.write_file(path=root + '/a.txt', content=text)
found = await tools.read_text_file(path=root + '/a.txt')
[found['content'] == text, len(text)]
""",
        output=[True, 21],
        seen=lambda world: world.text("a.txt"),
        there='one\n"two"\t\\ Zürich 😀\n',
    ),
    "many files at one time": Program(
        code="""
import asyncio, json
await tools.create_directory(path=root + '/many')
await asyncio.gather(*[tools.write_file(path=f'{root}/many/{n:02}.txt', content='x' * n) for n in range(20)])
tree = json.loads((await tools.directory_tree(path=root + '/many'))['content'])
[each['name'] for each in tree][:3] + [len(tree)]
""",
        output=["00.txt", "01.txt", "02.txt", 20],
        seen=lambda world: [len(path.read_text()) for path in sorted((world.folder / "many").iterdir())],
        there=list(range(20)),
    ),
    "a file edited and moved": Program(
        code="""
async def main():
    draft, final = root + '/draft.md', root + '/final.md'
    await tools['write_file'](path=draft, content='# Title\\n\\nBody.\\n')
    await tools['edit_file'](path=draft, edits=[{'oldText': '# Title', 'newText': '# News'}])
    await tools['move_file'](source=draft, destination=final)
    return (await tools['read_text_file'](path=final, head=1))['content']
""",
        output="# News",
        seen=lambda world: (world.text("draft.md"), world.text("final.md")),
        there=(None, "# News\n\nBody.\n"),
    ),
    "files searched and counted": Program(
        code="""
for name in ['b1.log', 'b2.log', 'b3.csv']:
    await tools.write_file(path=f'{root}/{name}', content='line\\n' * 3)
found = (await tools.search_files(path=root, pattern='b*.log'))['content'].split('\\n')
sum([len((await tools.read_text_file(path=path))['content'].splitlines()) for path in found])
""",
        output=6,
        seen=lambda world: sorted(path.name for path in world.folder.glob("b?.*")),
        there=["b1.log", "b2.log", "b3.csv"],
    ),
    "a missing file is caught": Program(
        code="""
async def main():
    try:
        return (await tools.read_text_file(path=root + '/missing.txt'))['content']
    except Exception as error:
        await tools.write_file(path=root + '/missing.txt', content='now it is here')
        return str(error).split(',')[0]
""",
        output="ENOENT: no such file or directory",
        seen=lambda world: world.text("missing.txt"),
        there="now it is here",
    ),
    "what is outside the folder is refused": Program(
        code="""
try:
    await tools.write_file(path=root + '/../outside.txt', content='x')
    found = 'written'
except Exception as error:
    found = str(error)[:41]
found
""",
        output="Access denied - path outside allowed dire",
        seen=lambda world: (world.folder.parent / "outside.txt").exists(),
        there=False,
    ),
    "a graph built and queried": Program(
        code="""
async def main():
    people = [('Ada', 'programs'), ('Charles', 'builds')]
    await tools.create_entities(entities=[
        {'name': name, 'entityType': 'person', 'observations': [f'{name} {verb}']} for name, verb in people
    ] + [{'name': 'Engine', 'entityType': 'machine', 'observations': []}])
    await tools.create_relations(relations=[
        {'from': name, 'to': 'Engine', 'relationType': verb} for name, verb in people
    ])
    found = await tools.open_nodes(names=['Ada', 'Charles', 'Engine'])
    return {r['from']: r['relationType'] for r in found['relations'] if r['to'] == 'Engine'}
""",
        output={"Ada": "programs", "Charles": "builds"},
        seen=lambda world: (len(world.entities("Engine")), [each["type"] for each in world.entities("Ada")]),
        there=(3, ["entity", "relation"]),
    ),
    "observations added and found": Program(
        code="""
await tools.create_entities(entities=[{'name': 'Grace', 'entityType': 'person', 'observations': ['an admiral']}])
await tools.add_observations(observations=[{'entityName': 'Grace', 'contents': ['found a moth']}])
found = await tools.search_nodes(query='moth')
[(each['name'], each['observations']) for each in found['entities']]
""",
        output=[["Grace", ["an admiral", "found a moth"]]],
        seen=lambda world: [each["observations"] for each in world.entities("Grace")],
        there=[["an admiral", "found a moth"]],
    ),
    "an entity deleted": Program(
        code="""
for name in ['Keep', 'Drop']:
    await tools.create_entities(entities=[{'name': name, 'entityType': 'test', 'observations': []}])
await tools.delete_entities(entityNames=['Drop'])
[each['name'] for each in (await tools.open_nodes(names=['Keep', 'Drop']))['entities']]
""",
        output=["Keep"],
        seen=lambda world: (len(world.entities("Keep")), len(world.entities("Drop"))),
        there=(1, 0),
    ),
    "an unknown entity is caught": Program(
        code="""
try:
    await tools.add_observations(observations=[{'entityName': 'Nobody', 'contents': ['x']}])
except RuntimeError as error:
    result = str(error)
result
""",
        output="Entity with name Nobody not found",
        seen=lambda world: world.entities("Nobody"),
        there=[],
    ),
    "times converted at one time": Program(
        code="""
import asyncio
zones = ['Asia/Tokyo', 'Asia/Kolkata', 'UTC']
found = await asyncio.gather(*[
    tools.convert_time(source_timezone='UTC', time='12:00', target_timezone=zone) for zone in zones
])
{zone: (each['time_difference'], each['target']['datetime'][11:16]) for zone, each in zip(zones, found)}
""",
        output={"Asia/Tokyo": ["+9.0h", "21:00"], "Asia/Kolkata": ["+5.5h", "17:30"], "UTC": ["+0.0h", "12:00"]},
    ),
    "the time now, computed with": Program(
        code="""
from datetime import datetime
utc = datetime.fromisoformat((await tools.get_current_time(timezone='UTC'))['datetime'])
tokyo = datetime.fromisoformat((await tools.get_current_time(timezone='Asia/Tokyo'))['datetime'])
[tokyo.utcoffset().total_seconds() / 3600, abs((tokyo - utc).total_seconds()) < 60]
""",
        output=[9.0, True],
    ),
    "unknown time zones are caught one by one": Program(
        code="""
async def offset(zone):
    try:
        return (await tools.convert_time('UTC', '00:00', zone))['time_difference']
    except RuntimeError as error:
        return 'Invalid timezone' in str(error)

async def main():
    return [await offset(zone) for zone in ['Asia/Tokyo', 'Mars/Base', 'Asia/Kolkata']]
""",
        output=["+9.0h", True, "+5.5h"],
    ),
    "a file written, added and committed": Program(
        code="""
await tools.write_file(path=repo + '/notes.txt', content='first\\n')
before = await tools.git_status(repo_path=repo)
await tools.git_add(repo_path=repo, files=['notes.txt'])
await tools.git_commit(repo_path=repo, message='Add notes')
log = await tools.git_log(repo_path=repo, max_count=1)
['notes.txt' in before, 'Add notes' in str(log)]
""",
        output=[True, True],
        seen=lambda world: (world.commits("Add notes"), world.git("show", "HEAD:notes.txt")),
        there=(1, ["first"]),
    ),
    "a diff read, and nothing left staged": Program(
        code="""
await tools.write_file(path=repo + '/diff.txt', content='old\\n')
await tools.git_add(repo_path=repo, files=['diff.txt'])
await tools.write_file(path=repo + '/diff.txt', content='new\\n')
diff = await tools.git_diff_unstaged(repo_path=repo)
await tools.git_reset(repo_path=repo)
[line for line in diff.splitlines() if line in ('-old', '+new')]
""",
        output=["-old", "+new"],
        seen=lambda world: world.git("ls-files", "diff.txt"),
        there=[],
    ),
    "a branch made and listed": Program(
        code="""
await tools.git_create_branch(repo_path=repo, branch_name='topic')
sorted(line.strip('* ') for line in (await tools.git_branch(repo_path=repo, branch_type='local')).split('\\n'))
""",
        output=["main", "topic"],
        seen=lambda world: world.git("branch", "--format=%(refname:short)"),
        there=["main", "topic"],
    ),
    "an unknown revision is caught": Program(
        code="""
async def main():
    try:
        await tools.git_show(repo_path=repo, revision='no-such-thing')
    except Exception as error:
        return 'no-such-thing' in str(error)
""",
        output=True,
    ),
    "a table made, filled and summed": Program(
        code="""
await tools.create_table(query='CREATE TABLE sales (region TEXT, amount INTEGER)')
for region, amount in [('north', 10), ('south', 20), ('north', 5)]:
    await tools.write_query(query=f"INSERT INTO sales VALUES ('{region}', {amount})")
await tools.read_query(query='SELECT region, sum(amount) AS total FROM sales GROUP BY region ORDER BY region')
""",
        output="[{'region': 'north', 'total': 15}, {'region': 'south', 'total': 20}]",
        seen=lambda world: world.rows("SELECT count(*), sum(amount) FROM sales"),
        there=[(3, 35)],
    ),
    "rows updated and deleted": Program(
        code="""
await tools.create_table(query='CREATE TABLE stock (item TEXT, left INTEGER)')
await tools.write_query(query="INSERT INTO stock VALUES ('apple', 3), ('pear', 0)")
await tools.write_query(query="UPDATE stock SET left = left - 1 WHERE item = 'apple'")
gone = await tools.write_query(query='DELETE FROM stock WHERE left = 0')
gone
""",
        output="[{'affected_rows': 1}]",
        seen=lambda world: world.rows("SELECT * FROM stock"),
        there=[("apple", 2)],
    ),
    "an error that is only a text": Program(
        code="""
found = await tools.read_query(query='SELECT * FROM missing')
if found.startswith('Database error'):
    await tools.create_table(query='CREATE TABLE missing (n INTEGER)')
    found = await tools.read_query(query='SELECT count(*) AS n FROM missing')
found
""",
        output="[{'n': 0}]",
        seen=lambda world: world.rows("SELECT * FROM missing"),
        there=[],
    ),
    "a file put into a table": Program(
        code="""
await tools.write_file(path=root + '/prices.csv', content='apple,3\\npear,4\\nplum,5\\n')
lines = (await tools.read_text_file(path=root + '/prices.csv'))['content'].splitlines()
values = ', '.join(f"('{name}', {price})" for name, price in (line.split(',') for line in lines))
await tools.create_table(query='CREATE TABLE prices (name TEXT, price INTEGER)')
await tools.write_query(query=f'INSERT INTO prices VALUES {values}')
await tools.read_query(query='SELECT max(price) AS dearest FROM prices')
""",
        output="[{'dearest': 5}]",
        seen=lambda world: world.rows("SELECT count(*) FROM prices"),
        there=[(3,)],
    ),
    "five servers at one time": Program(
        code="""
import asyncio
await asyncio.gather(
    tools.write_file(path=root + '/five.txt', content='5'),
    tools.create_entities(entities=[{'name': 'Five', 'entityType': 'number', 'observations': []}]),
    tools.create_table(query='CREATE TABLE five (n INTEGER)'),
    tools.git_create_branch(repo_path=repo, branch_name='five'),
)
found = await asyncio.gather(
    tools.read_text_file(root + '/five.txt'), tools.open_nodes(['Five']), tools.describe_table('five'),
    tools.git_branch(repo, 'local'), tools.convert_time('UTC', '05:00', 'Asia/Tokyo'),
)
[found[0]['content'], found[1]['entities'][0]['name'], "'n'" in found[2], 'five' in found[3], found[4]['target']['datetime'][11:13]]
""",
        output=["5", "Five", True, True, "14"],
        seen=lambda world: (world.text("five.txt"), len(world.entities("Five")), world.git("branch", "--list", "five")),
        there=("5", 1, ["  five"]),
    ),
}


@pytest.mark.parametrize("case", PROGRAMS.values(), ids=PROGRAMS)
async def test_a_program_gives_its_value_and_has_its_effect(world: World, case: Program) -> None:
    async with codemode(tools=world.tools) as cm:
        result = await cm.run_code(world.program(case.code))
    assert result["error"] is None
    assert result["output"] == case.output
    assert case.seen(world) == case.there
    assert all(call["status"] in ("done", "failed") for call in result["tool_calls"])


WRONG: dict[str, tuple[str, str]] = {
    "unknown tool": ("await tools.put(path=root + '/no.txt', content='')", "there is no tool 'put'"),
    "unknown argument": ("await tools.write_file(path=root + '/no.txt', text='')", "text"),
    "missing argument": ("await tools.write_file(path=root + '/no.txt')", "content"),
    "a list for a text": ("await tools.write_file(path=root + '/no.txt', content=['a'])", "content"),
    "a text for a list": ("await tools.delete_entities(entityNames='Ada')", "entityNames"),
    "a value that is not allowed": ("await tools.list_directory_with_sizes(root, sortBy='date')", "'name'"),
    "unknown key": ("(await tools.read_text_file(root + '/a.txt'))['text']", "content"),
    "key for an attribute": ("(await tools.get_current_time('UTC')).datetime", "['datetime']"),
    "unknown key, deep down": (
        "[e['kind'] for e in (await tools.read_graph())['entities']]",
        "Entities, in what tools['read_graph'] returns, has no key 'kind': its keys are 'name', 'entityType'",
    ),
    "an effect, then an unknown key": (
        "await tools.write_file(path=root + '/no.txt', content='')\n"
        "(await tools.convert_time('UTC', '12:00', 'Asia/Tokyo'))['target']['time']",
        "TimeResult, in what tools['convert_time'] returns, has no key 'time': its keys are 'timezone', 'datetime'",
    ),
    "an effect, then an undefined name": (
        "await tools.create_table(query='CREATE TABLE no (n INTEGER)')\ntabels",
        "tabels",
    ),
    "a module that is not there": (
        "import no_such_module\nawait tools.write_file(root + '/no.txt', '')\nno_such_module.connect(root)",
        "no_such_module",
    ),
}


@pytest.mark.parametrize(("code", "told"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_found_before_anything_runs(world: World, code: str, told: str) -> None:
    async with codemode(tools=world.tools) as cm:
        result = await cm.run_code(world.program(code))
    assert not result["success"]
    assert told in str(result["error"])
    assert result["tool_calls"] == []
    assert result["metrics"]["total_executions"] == 0
    assert world.text("no.txt") is None
    assert world.rows("SELECT name FROM sqlite_master WHERE name = 'no'") == []


EVERYTHING: dict[str, tuple[str, Any]] = {
    "an echo": ("await tools.echo(message='Grüße 😀')", "Echo: Grüße 😀"),
    "a hundred calls at one time": (
        "import asyncio\nfound = await asyncio.gather(*[tools['get-sum'](a=n, b=n) for n in range(100)])\n"
        "sum(int(text.rstrip('.').split()[-1]) for text in found)",
        9900,
    ),
    "structured content": (
        "cities = ['New York', 'Chicago', 'Los Angeles']\n"
        "sorted([(await tools['get-structured-content'](location=city))['temperature'] for city in cities])",
        [33, 36, 73],
    ),
    "an image among texts": (
        "blocks = await tools['get-tiny-image']()\n"
        "[b if isinstance(b, str) else (b['type'], b['bytes'] > 1000, 'data' in b) for b in blocks][:2]",
        ["Here's the image you requested:", ["image/png", True, False]],
    ),
    "resource links": (
        "[b['uri'].split('/')[-1] for b in (await tools['get-resource-links'](count=3))[1:]]",
        ["1", "2", "3"],
    ),
    "a server's complaint, caught": (
        "import json\ntry:\n    await tools.echo(message=json.loads('1'))\n"
        "except RuntimeError as error:\n    found = 'expected string, received number' in str(error)\nfound",
        True,
    ),
}


@pytest.mark.parametrize(("code", "output"), EVERYTHING.values(), ids=EVERYTHING)
async def test_a_program_works_over_every_transport(everything: Everything, code: str, output: Any) -> None:
    async with codemode(tools=everything.tools) as cm:
        result = await cm.run_code(code)
    assert result["error"] is None
    assert result["output"] == output


async def test_a_slow_call_that_a_program_gives_up_does_not_hold_the_next_one(everything: Everything) -> None:
    program = """
import asyncio
try:
    await asyncio.wait_for(tools['trigger-long-running-operation'](duration=60, steps=2), 0.5)
except TimeoutError:
    found = await tools.echo(message='on')
found
"""
    async with codemode(tools=everything.tools, backend="restricted", timeout=30) as cm:
        result = await cm.run_code(program)
    assert (result["error"], result["output"]) == (None, "Echo: on")
    assert [call["status"] for call in result["tool_calls"]] == ["failed", "done"]


async def test_a_server_killed_between_two_programs_is_there_for_the_second(everything: Everything) -> None:
    program = EVERYTHING["a hundred calls at one time"][0]
    async with codemode(tools=everything.tools) as cm:
        assert (await cm.run_code(program))["output"] == 9900
        await everything.restart()
        result = await cm.run_code(program)
    assert (result["error"], result["output"]) == (None, 9900)
    assert not everything.processes & children()
    assert all(call["status"] == "done" for call in result["tool_calls"])


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A wrong program, what the model is told of it, and the right one."""

    wrong: str
    right: str
    told: list[str]
    output: Any
    seen: Callable[[World], Any] = lambda world: None
    there: Any = None
    made: dict[str, int] = field(default_factory=dict)
    """How often tools with an effect were really called, by name."""
    timeout: float = 20.0


INSERT = "await tools.write_query(query=\"INSERT INTO {0} VALUES ('one')\")"
COMMIT = """
await tools.write_file(path=repo + '/{0}.txt', content='x')
await tools.git_add(repo_path=repo, files=['{0}.txt'])
await tools.git_commit(repo_path=repo, message='{0}')
"""
ENTITY = "made = await tools.create_entities(entities=[{{'name': '{0}', 'entityType': 'r', 'observations': ['x']}}])\n"

REPAIRS = {
    "a key that the check knows is wrong": Repair(
        wrong="await tools.write_file(root + '/r1.txt', 'one')\n(await tools.read_text_file(root + '/r1.txt'))['text']",
        right="await tools.write_file(root + '/r1.txt', 'one')\n(await tools.read_text_file(root + '/r1.txt'))['content']",
        told=["has no key 'text'", "'content'"],
        output="one",
        seen=lambda world: world.text("r1.txt"),
        there="one",
        made={"write_file": 1},
    ),
    "a file that is not there, after one was edited": Repair(
        wrong="await tools.write_file(root + '/r2.txt', 'a')\n"
        "await tools.edit_file(root + '/r2.txt', [{'oldText': 'a', 'newText': 'aa'}])\n"
        "(await tools.read_text_file(root + '/r2.md'))['content']",
        right="await tools.write_file(root + '/r2.txt', 'a')\n"
        "await tools.edit_file(root + '/r2.txt', [{'oldText': 'a', 'newText': 'aa'}])\n"
        "(await tools.read_text_file(root + '/r2.txt'))['content']",
        told=["ENOENT: no such file or directory", "write_file", "edit_file"],
        output="aa",
        seen=lambda world: world.text("r2.txt"),
        there="aa",
        made={"write_file": 1, "edit_file": 1},
    ),
    "JSON that is not what was thought, after a move": Repair(
        wrong="import json\nawait tools.write_file(root + '/r3.txt', 'x')\n"
        "await tools.move_file(root + '/r3.txt', root + '/r3.moved')\n"
        "tree = json.loads((await tools.directory_tree(root))['content'])\n"
        "[e for e in tree['children'] if e['name'].startswith('r3')]",
        right="import json\nawait tools.write_file(root + '/r3.txt', 'x')\n"
        "await tools.move_file(root + '/r3.txt', root + '/r3.moved')\n"
        "tree = json.loads((await tools.directory_tree(root))['content'])\n"
        "[e['name'] for e in tree if e['name'].startswith('r3')]",
        told=["TypeError: list indices must be integers or slices", "move_file"],
        output=["r3.moved"],
        seen=lambda world: (world.text("r3.txt"), world.text("r3.moved")),
        there=(None, "x"),
        made={"write_file": 1, "move_file": 1},
    ),
    "an entity made, then a wrong index": Repair(
        wrong=ENTITY.format("R4") + "made['entities'][1]['name']",
        right=ENTITY.format("R4") + "made['entities'][0]['name']",
        told=["IndexError", "create_entities"],
        output="R4",
        seen=lambda world: len(world.entities("R4")),
        there=1,
        made={"create_entities": 1},
    ),
    "a relation that the server refuses": Repair(
        wrong=ENTITY.format("R5")
        + "await tools.create_relations(relations=[{'from': 'R5', 'to': 'R5', 'type': 'is'}])\nlen(made['entities'])",
        right=ENTITY.format("R5")
        + "await tools.create_relations(relations=[{'from': 'R5', 'to': 'R5', 'relationType': 'is'}])\n"
        "len(made['entities'])",
        told=["relations[0].relationType", "create_entities"],
        output=1,
        seen=lambda world: [each["type"] for each in world.entities("R5")],
        there=["entity", "relation"],
        made={"create_entities": 1, "create_relations": 1},
    ),
    "an answer that was forgotten": Repair(
        wrong="async def main():\n    made = await tools.create_entities("
        "[{'name': 'R6', 'entityType': 'r', 'observations': []}])\n    print(made)",
        right="async def main():\n    made = await tools.create_entities("
        "[{'name': 'R6', 'entityType': 'r', 'observations': []}])\n    return made['entities'][0]['name']",
        told=["It printed", "returned data"],
        output="R6",
        seen=lambda world: len(world.entities("R6")),
        there=1,
        made={"create_entities": 1},
    ),
    "a time zone that is none": Repair(
        wrong="(await tools.convert_time('UTC', '12:00', 'Bern'))['time_difference']",
        right="(await tools.convert_time('UTC', '12:00', 'Asia/Tokyo'))['time_difference']",
        told=["Invalid timezone", "Bern"],
        output="+9.0h",
    ),
    "an argument of another name": Repair(
        wrong="(await tools.convert_time(source='UTC', time='12:00', target='Asia/Tokyo'))['time_difference']",
        right="(await tools.convert_time('UTC', '12:00', 'Asia/Tokyo'))['time_difference']",
        told=["source_timezone"],
        output="+9.0h",
    ),
    "a commit of nothing": Repair(
        wrong="await tools.git_commit(repo_path=repo, message='R9')",
        right=COMMIT.format("R9") + "'R9' in str(await tools.git_log(repo, 1))",
        told=["No changes staged for commit"],
        output=True,
        seen=lambda world: world.commits("R9"),
        there=1,
        made={"git_commit": 1, "write_file": 1, "git_add": 1},
    ),
    "a commit made, then a wrong index": Repair(
        wrong=COMMIT.format("R10") + "(await tools.git_log(repo, 1))['commits']",
        right=COMMIT.format("R10") + "'R10' in str(await tools.git_log(repo, 1))",
        told=["git_commit", "TypeError"],
        output=True,
        seen=lambda world: world.commits("R10"),
        there=1,
        made={"git_commit": 1, "write_file": 1, "git_add": 1},
    ),
    "a branch made, then a revision that is none": Repair(
        wrong="await tools.git_create_branch(repo, 'r11')\nstr(await tools.git_show(repo, 'r12'))",
        right="await tools.git_create_branch(repo, 'r11')\n'commit' in str(await tools.git_show(repo, 'r11')).lower()",
        told=["r12", "git_create_branch"],
        output=True,
        seen=lambda world: world.git("branch", "--list", "r11"),
        there=["  r11"],
        made={"git_create_branch": 1},
    ),
    "rows taken for a list": Repair(
        wrong="await tools.create_table(query='CREATE TABLE r12 (name TEXT)')\n"
        + INSERT.format("r12")
        + "\n(await tools.read_query(query='SELECT * FROM r12'))[0]['name']",
        right="await tools.create_table(query='CREATE TABLE r12 (name TEXT)')\n"
        + INSERT.format("r12")
        + "\n'one' in await tools.read_query(query='SELECT * FROM r12')",
        told=["TypeError", "write_query", "[{'name': 'one'}]"],
        output=True,
        seen=lambda world: world.rows("SELECT * FROM r12"),
        there=[("one",)],
        made={"create_table": 1, "write_query": 1, "read_query": 1},
    ),
    "a database error that the program raises": Repair(
        wrong="await tools.create_table(query='CREATE TABLE r13 (name TEXT)')\n"
        + INSERT.format("r13")
        + "\nfound = await tools.read_query(query='SELECT nmae FROM r13')\n"
        "if found.startswith('Database error'):\n    raise ValueError(found)\nfound",
        right="await tools.create_table(query='CREATE TABLE r13 (name TEXT)')\n"
        + INSERT.format("r13")
        + "\nawait tools.read_query(query='SELECT name FROM r13')",
        told=["ValueError: Database error: no such column: nmae"],
        output="[{'name': 'one'}]",
        seen=lambda world: world.rows("SELECT count(*) FROM r13"),
        there=[(1,)],
        made={"create_table": 1, "write_query": 1, "read_query": 2},
    ),
    "a program that takes too long, after an insert": Repair(
        wrong="import asyncio\nawait tools.create_table(query='CREATE TABLE r14 (name TEXT)')\n"
        + INSERT.format("r14")
        + "\nawait asyncio.sleep(60)\n'done'",
        right="await tools.create_table(query='CREATE TABLE r14 (name TEXT)')\n" + INSERT.format("r14") + "\n'done'",
        told=["did not end within 3 seconds", "write_query"],
        output="done",
        seen=lambda world: world.rows("SELECT * FROM r14"),
        there=[("one",)],
        made={"create_table": 1, "write_query": 1},
        timeout=3.0,
    ),
    "four effects at one time, then a wrong key": Repair(
        wrong="import asyncio\nawait tools.create_table(query='CREATE TABLE r15 (name TEXT)')\n"
        "await asyncio.gather(tools.write_file(root + '/r15.txt', 'x'), tools.git_create_branch(repo, 'r15'), "
        "tools.create_entities([{'name': 'R15', 'entityType': 'r', 'observations': []}]), "
        + INSERT.format("r15").removeprefix("await ")
        + ")\n{}['no such key']",
        right="import asyncio\nawait tools.create_table(query='CREATE TABLE r15 (name TEXT)')\n"
        "done = await asyncio.gather(tools.write_file(root + '/r15.txt', 'x'), tools.git_create_branch(repo, 'r15'), "
        "tools.create_entities([{'name': 'R15', 'entityType': 'r', 'observations': []}]), "
        + INSERT.format("r15").removeprefix("await ")
        + ")\nlen(done)",
        told=["KeyError: no such key", "write_file", "git_create_branch", "create_entities", "write_query"],
        output=4,
        seen=lambda world: (world.text("r15.txt"), len(world.entities("R15")), world.rows("SELECT * FROM r15")),
        there=("x", 1, [("one",)]),
        made={"create_table": 1, "write_file": 1, "git_create_branch": 1, "create_entities": 1, "write_query": 1},
    ),
}


@pytest.mark.parametrize("case", REPAIRS.values(), ids=REPAIRS)
async def test_a_task_is_repaired_and_its_effects_happen_once(world: World, case: Repair) -> None:
    model = scripted(world.program(case.wrong), world.program(case.right))
    async with codemode(tools=world.tools, code_model=model, timeout=case.timeout) as cm:
        result = await cm.run("Do it.")
    assert result["error"] is None
    assert result["output"] == case.output
    assert len(result["attempts"]) == 2
    assert case.seen(world) == case.there
    for told in case.told:
        assert told in model.prompts[1]
    done = [call["tool"] for call in result["tool_calls"] if call["effect"] != "read" and call["status"] == "done"]
    assert {name: done.count(name) for name in done} == case.made


EVERYTHING_REPAIRS: dict[str, tuple[str, str, str, Any]] = {
    "an unknown key": (
        "(await tools['get-structured-content'](location='Chicago'))['temp']",
        "(await tools['get-structured-content'](location='Chicago'))['temperature']",
        "'temperature'",
        36,
    ),
    "a value that is not allowed": (
        "(await tools['get-structured-content'](location='Paris'))['humidity']",
        "(await tools['get-structured-content'](location='Chicago'))['humidity']",
        "'Los Angeles'",
        82,
    ),
    "a text taken for a number": (
        "int(await tools['get-sum'](a=1, b=2))",
        "int((await tools['get-sum'](a=1, b=2)).rstrip('.').split()[-1])",
        "The sum of 1 and 2 is 3.",
        3,
    ),
}


@pytest.mark.parametrize("case", EVERYTHING_REPAIRS.values(), ids=EVERYTHING_REPAIRS)
async def test_a_task_is_repaired_over_every_transport(everything: Everything, case: tuple[str, str, str, Any]) -> None:
    wrong, right, told, output = case
    model = scripted(wrong, right)
    async with codemode(tools=everything.tools, code_model=model) as cm:
        result = await cm.run("Do it.")
    assert (result["error"], result["output"]) == (None, output)
    assert told in model.prompts[1]


async def test_nothing_is_left_of_the_servers(tmp_path: Path) -> None:
    before = children()
    async with open_world(tmp_path) as world, codemode(tools=world.tools) as cm:
        assert (await cm.run_code(world.program("(await tools.read_graph())['entities']")))["output"] == []
        assert len(children() - before) >= 6
    assert children() <= before
