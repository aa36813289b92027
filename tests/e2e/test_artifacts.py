"""Images, sounds and files: handles in programs, content blocks for models and callers, and data in the host alone."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from mcp.shared.memory import create_connected_server_and_client_session
from mcp.types import EmbeddedResource, ImageContent, TextContent
from pydantic import Base64Str, BaseModel

from codemode_graph import codemode, create_codemode
from codemode_graph.integrations.answer import answer_content
from codemode_graph.integrations.mcp_server import create_mcp_server
from codemode_graph.integrations.middleware import CodeModeMiddleware
from codemode_graph.tools.artifacts import Artifact
from codemode_graph.tools.cards import render_card
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolPolicy
from tests.integrations.agents import agent_model, answers, calling
from tests.mcp.conftest import loaded
from tests.servers import own_server
from tests.support import scripted

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DATA = base64.b64encode(PNG).decode()


def plot(n: int = 1) -> Artifact:
    """Plot numbers."""
    return Artifact(PNG, "image/png", "plot.png")


class Report(BaseModel):
    title: str
    scan: bytes


def report() -> Report:
    """Write a report."""
    return Report(title="t", scan=b"\xff\x00")


def notes() -> list[Artifact]:
    """Read the notes."""
    return [Artifact("grüße".encode(), "text/plain")]


async def test_a_program_has_handles_and_passes_them_to_tools() -> None:
    seen: list[Any] = []

    def store(data: bytes) -> int:
        """Store bytes."""
        seen.append(data)
        return len(data)

    def send(picture: Artifact) -> None:
        """Send a picture."""
        seen.append(picture)

    def post(body: Any, text: str) -> None:
        """Post a text."""
        seen.extend([body, text])

    program = """
picture, paper, papers = await tools.plot(), await tools.report(), await tools.notes()
await tools.store(picture)
await tools.store('text')
await tools.send(picture)
untyped = [papers[0]][0]
await tools.post(picture, await tools['load_value'](handle=papers[0]))
[picture['type'], picture['bytes'], picture['name'], paper['scan']['bytes'], await tools['load_value'](handle=picture)]
"""
    async with codemode(tools=[plot, report, notes, store, send, post], sandbox="monty") as cm:
        result = await cm.run_code(program)
    assert result["error"] is None
    assert result["output"] == ["image/png", len(PNG), "plot.png", 2, DATA]
    assert seen[:3] == [PNG, b"text", Artifact(PNG, "image/png", "plot.png")]
    assert seen[3]["codemode_artifact"]
    assert seen[4] == "grüße"
    # The data passed neither the state nor the journal's record of the calls.
    assert DATA not in json.dumps(result["tool_calls"][:-1])
    assert result["content"] == []


class Mail(BaseModel):
    title: str
    files: list[bytes] = []
    scan: Artifact | None = None
    code: Base64Str = ""


async def test_data_are_filled_in_wherever_a_schema_has_room_for_them() -> None:
    seen: list[Any] = []

    def send(mail: Mail, more: list[Mail] | None = None) -> None:
        """Send a mail."""
        seen.extend([mail, more])

    def pack(pair: tuple[bytes, int], named: dict[str, bytes], either: int | list[str], **others: bytes) -> None:
        """Pack files."""
        seen.append([pair, named, either, others])

    def keep(found: dict[str, Any]) -> None:
        """Keep what was found."""
        seen.append(found)

    program = """
p, n = await tools.plot(), (await tools.notes())[0]
mail = {'title': n, 'files': [p], 'scan': p, 'code': n}
await tools.send(mail, more=[mail])
await tools.pack([p, 1], {'a': p}, [n], b=p)
await tools.keep({'a': p})
"""
    async with codemode(tools=[plot, notes, send, pack, keep], sandbox="monty") as cm:
        result = await cm.run_code(program)
    assert result["error"] is None
    mail = Mail.model_construct(title="grüße", files=[PNG], scan=Artifact(PNG, "image/png", "plot.png"), code="grüße")
    assert seen[:3] == [mail, [mail], [(PNG, 1), {"a": PNG}, ["grüße"], {"b": PNG}]]
    assert seen[3]["a"]["codemode_artifact"]


def test_images_that_providers_refuse_are_no_blocks_of_a_message() -> None:
    def block(kind: str, size: int) -> dict[str, Any]:
        return {"type": kind.partition("/")[0], "base64": "A" * size, "mime_type": kind, "id": "1"}

    blocks = [block("image/svg+xml", 4), block("image/png", 6_000_000), *[block("image/jpeg; q=1", 4_500_000)] * 5]
    content: Any = answer_content({"content": blocks}, "text")
    assert [part["type"] for part in content] == ["text", *["image"] * 4]
    assert content[0]["text"] == "text\n\nNot shown: 3 of the 7 files whose handles are in the value."


async def test_a_card_says_what_comes_and_what_goes() -> None:
    def store(data: bytes) -> bytes:
        """Store bytes."""
        return data

    (spec,) = load_tools([store])
    assert "codemode_artifact" in json.dumps(spec.output_schema)
    assert "codemode_artifact" in json.dumps(spec.input_schema)
    assert "bytes: int" in render_card(spec)


async def test_artifacts_of_the_answer_reach_the_caller_as_content_blocks(tmp_path: Path) -> None:
    async with codemode(tools=[plot], sandbox="monty", durable=tmp_path / "runs.db") as cm:
        result = await cm.run_code("p = await tools.plot()\n{'plot': p, 'again': [p]}")
    (block,) = result["content"]
    assert block == {
        "type": "image",
        "base64": DATA,
        "mime_type": "image/png",
        "extras": {"name": "plot.png"},
        "id": result["output"]["plot"]["codemode_artifact"],
    }
    # In another process, from what is recorded.
    async with codemode(tools=[plot], sandbox="monty", durable=tmp_path / "runs.db") as cm:
        assert (await cm.result(str(result["run_id"])))["content"] == [block]


async def test_a_run_that_goes_on_elsewhere_finds_the_data_and_plots_nothing_twice(tmp_path: Path) -> None:
    plots: list[int] = []
    sent: list[Any] = []

    def draw() -> Artifact:
        """Draw and publish."""
        plots.append(1)
        return Artifact(PNG, "image/png")

    def send(picture: bytes) -> None:
        """Send a picture."""
        sent.append(picture)

    policies = {"send": ToolPolicy(approval=True)}
    program = "p = await tools.draw()\nawait tools.send(p)\np"
    async with codemode(tools=[draw, send], sandbox="monty", policies=policies, durable=tmp_path / "runs.db") as cm:
        waiting = await cm.run_code(program)
    assert not sent
    async with codemode(tools=[draw, send], sandbox="monty", policies=policies, durable=tmp_path / "runs.db") as cm:
        result = await cm.resume(str(waiting["run_id"]), decisions=[{"type": "approve"}])
    assert (plots, sent) == ([1], [PNG])
    assert [block["base64"] for block in result["content"]] == [DATA]


async def test_the_state_of_a_graph_has_them_and_the_next_run_of_its_thread_has_not() -> None:
    app = create_codemode(model=None, tools=[plot], sandbox="monty").compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    state = await app.ainvoke({"task": "", "code": "await tools.plot()"}, config)
    assert [block["type"] for block in state["content"]] == ["image"]
    assert not (await app.ainvoke({"task": "", "code": "1"}, config)).get("content")


async def test_a_model_sees_the_image_and_no_base64_in_text() -> None:
    model = agent_model(calling("run_program", {"code": "await tools.plot()"}), "That is it.")
    agent: Any = create_agent(model, tools=[plot], middleware=[CodeModeMiddleware(sandbox="monty")])
    (message,) = answers(await agent.ainvoke({"messages": [{"role": "user", "content": "Plot."}]}))
    assert [block["type"] for block in message.content_blocks] == ["text", "image"]
    assert DATA not in message.text
    assert '"type": "image/png"' in message.text
    assert DATA not in str(message.artifact)


async def test_lists_of_handles_become_lists_of_data_and_traces_have_neither() -> None:
    seen: list[Any] = []
    traced: list[str] = []

    class Spy(AsyncCallbackHandler):
        async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
            traced.append(input_str + str(kwargs["inputs"]))

        async def on_tool_end(self, output: Any, **kwargs: Any) -> None:
            traced.append(str(output))

    def mail(files: list[bytes], pictures: list[Artifact], factor: float) -> float:
        """Mail files."""
        seen.extend([*files, *pictures])
        return math.nan

    app = create_codemode(model=None, tools=[plot, mail], sandbox="monty").compile()
    code = "p = await tools.plot()\nawait tools.mail(files=[p, 'text'], pictures=[p], factor=float('inf'))"
    await app.ainvoke({"task": "", "code": code}, {"callbacks": [Spy()]})
    assert seen == [PNG, b"text", Artifact(PNG, "image/png", "plot.png")]
    assert traced[2].count("'codemode_artifact'") == 4  # two handles, as text and as inputs
    assert "{'codemode_exact': ['float', 'inf']}" in traced[2]
    assert traced[3] == "{'codemode_exact': ['float', 'nan']}"
    assert "IDATx" not in str(traced)


@pytest.mark.parametrize("is_langchain", [False, True])
async def test_a_text_takes_the_data_of_a_handle_and_its_trace_the_handle(is_langchain: bool) -> None:
    sent: list[Any] = []
    traced: list[str] = []

    class Spy(AsyncCallbackHandler):
        async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
            traced.append(input_str + str(kwargs["inputs"]))

    def chart() -> Artifact:
        """Draw."""
        return Artifact(PNG, "image/png", "plot.png")

    def post(picture: str, others: list[str]) -> str:
        """Post a picture."""
        sent.append((picture, others))
        return "posted"

    tools = [chart, langchain_tool(post) if is_langchain else post]
    app = create_codemode(model=None, tools=tools, sandbox="monty").compile()
    code = "p = await tools.chart()\nawait tools.post(picture=p, others=[p, 'text'])"
    state = await app.ainvoke({"task": "", "code": code}, {"callbacks": [Spy()]})
    assert state["output"] == "posted", state["error"]
    assert sent == [(DATA, [DATA, "text"])]
    assert [traced[-1].count("codemode_artifact"), "text" in traced[-1]] == [4, True]
    assert DATA not in str(traced)


async def test_the_responses_api_gets_images_as_images() -> None:
    async with codemode(model=scripted("return [await tools['plot']()]"), tools=[plot], sandbox="monty") as cm:
        call = {"type": "function_call", "call_id": "1", "name": "codemode", "arguments": '{"task": "plot"}'}
        output = (await cm.answer_openai(call))["output"]
    text, image = output
    assert image == {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}"}
    assert DATA not in text["text"]


@pytest.mark.parametrize("checkpointer", [InMemorySaver, lambda: None])
async def test_a_repaired_program_of_an_agent_finds_what_the_first_one_drew(checkpointer: Any) -> None:
    drawn: list[int] = []
    sent: list[bytes] = []

    def draw() -> Artifact:
        """Draw and publish."""
        drawn.append(1)
        return Artifact(PNG, "image/png")

    def enter() -> list[int]:
        """Enter, and return more than a record holds."""
        drawn.append(2)
        return list(range(20_000))

    def send(picture: bytes) -> None:
        """Send a picture."""
        sent.append(picture)

    both = "p = await tools.draw()\nrows = await tools.enter()\n"
    turns = [f"{both}1 / 0", f"{both}await tools.send(p)\n[p, rows[-1]]"]
    model = agent_model(*(calling("run_program", {"code": code}) for code in turns), "That is it.")
    agent: Any = create_agent(
        model, tools=[draw, enter, send], middleware=[CodeModeMiddleware(sandbox="monty")], checkpointer=checkpointer()
    )
    failed, repaired = answers(
        await agent.ainvoke({"messages": [{"role": "user", "content": "Draw."}]}, {"configurable": {"thread_id": "1"}})
    )
    assert failed.status == "error"
    assert repaired.status == "success", repaired.text
    assert (drawn, sent) == ([1, 2], [PNG])
    assert "19999" in repaired.text
    assert [block["type"] for block in repaired.content_blocks] == ["text", "image"]


async def test_our_mcp_server_answers_with_their_content() -> None:
    async with codemode(tools=[plot, notes], sandbox="monty") as cm:
        server = create_mcp_server(cm, tasks=False)
        async with create_connected_server_and_client_session(server) as client:
            answer = await client.call_tool("run_code", {"code": "[await tools.plot(), await tools.notes()]"})
    text, image, file = answer.content
    assert isinstance(text, TextContent)
    assert isinstance(image, ImageContent)
    assert (image.data, image.mimeType) == (DATA, "image/png")
    assert isinstance(file, EmbeddedResource)
    assert DATA not in text.text
    assert DATA not in str(answer.structuredContent)


async def test_parts_of_an_mcp_answer_reach_a_program_and_its_caller() -> None:
    async with loaded(own_server("answers")) as tools, codemode(tools=tools.loader.tools, sandbox="monty") as cm:
        result = await cm.run_code(
            "found = await tools['structured_and_more']()\nblob = await tools['blob']()\n"
            "[found['n'], found['_meta']['cursor'], found['_content'][0], blob]"
        )
    assert result["output"][:2] == [1, "next"]
    assert [(block["type"], block["mime_type"]) for block in result["content"]] == [
        ("image", "image/png"),
        ("file", "application/pdf"),
    ]


@pytest.mark.parametrize("sandbox", ["monty", "restricted"])
async def test_parts_that_no_schema_declares_are_no_wrong_keys(sandbox: str) -> None:
    program = (
        "one, many = await tools['number_and_more'](), await tools['list_and_more']()\n"
        "[one['n'], one['_meta']['next'], one['_content'][0]['type'], many['result'], many['_content'][0]['bytes']]"
    )
    async with loaded(own_server("answers")) as tools, codemode(tools=tools.loader.tools, sandbox=sandbox) as cm:
        result = await cm.run_code(program)
        assert (result["output"], result["error"]) == ([1, 2, "image/png", [1, 2], 2], None)
        assert "has no key 'm'" in str((await cm.run_code("(await tools['number_and_more']())['m']"))["error"])


@pytest.mark.parametrize(
    "handle", ["{'codemode_artifact': 'other-1', 'type': 'image/png', 'bytes': 1}", "{**p, 'codemode_artifact': 'x'}"]
)
async def test_a_forged_handle_opens_nothing(handle: str) -> None:
    stored: list[bytes] = []

    def store(data: bytes) -> None:
        """Store bytes."""
        stored.append(data)

    async with codemode(tools=[plot, store], sandbox="monty") as cm:
        result = await cm.run_code(f"p = await tools.plot()\nx = {handle}\nawait tools.store(x)")
        assert "there is no artifact with this handle" in str(result["error"])
        assert (await cm.run_code(f"p = await tools.plot()\n{handle}"))["content"] == []
    assert not stored


async def test_the_data_of_a_tool_with_secrets_are_kept_as_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    policies = {"plot": ToolPolicy(redact=frozenset({"token"}))}
    async with codemode(tools=[plot], sandbox="monty", policies=policies, durable=tmp_path / "runs.db") as cm:
        assert (await cm.run_code("(await tools.plot())['bytes']"))["output"] == len(PNG)
    assert DATA.encode() not in (tmp_path / "runs.db").read_bytes()
