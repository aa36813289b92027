"""LangSmith's OpenTelemetry mode: the same runs as spans, over OTLP, to whoever takes them."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.tracing.service import ingest

PROGRAM = """
import asyncio, sys
from codemode_graph import ToolPolicy, create_codemode, tool
from tests.support import scripted

@tool(effect="read")
async def look(name: str, token: str) -> str:
    '''Look.'''
    await asyncio.sleep(0.05)
    return name

graph = create_codemode(
    model=scripted("import asyncio\\nawait asyncio.gather(*[tools.look(name=n, token='t'+'op-secret') for n in ['a', 'b']])"),
    tools=[look], policies={"look": ToolPolicy(redact=frozenset({"token"}))},
).compile(name="codemode")
print(asyncio.run(graph.ainvoke({"task": "look"}))["output"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["otel", "hybrid"])
def test_runs_are_spans(mode: str) -> None:
    with ingest() as service:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL", "LANGCHAIN"))}
        environment |= {
            "LANGSMITH_TRACING": "true",
            "LANGSMITH_TRACING_MODE": mode,
            "LANGSMITH_ENDPOINT": service.url,
            "LANGSMITH_API_KEY": "lsv2_pt_this_is_the_key",
            "OTEL_EXPORTER_OTLP_ENDPOINT": service.url,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=90
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == "['a', 'b']\n"
    assert ("/runs/multipart" in service.paths) == (mode == "hybrid")
    spans = {span.span_id: span for span in service.spans}
    assert len({span.trace_id for span in spans.values()}) == 1
    children: dict[bytes, list[Any]] = {}
    for span in sorted(spans.values(), key=lambda span: span.start_time_unix_nano):
        children.setdefault(span.parent_span_id, []).append(span)

    def shape(span: Any) -> Any:
        below = children.get(span.span_id, [])
        return [span.name, *map(shape, below)] if below else span.name

    (root,) = children[b""]
    assert shape(root) == [
        "codemode",
        ["generate", "ScriptedModel"],
        "check",
        ["execute", ["sandbox monty", "look", "look"]],
        "inspect_output",
    ]
    by_name = {span.name: attributes(span) for span in spans.values()}
    assert by_name["look"]["langsmith.span.kind"] == "tool"
    assert by_name["sandbox monty"]["langsmith.span.kind"] == "chain"
    assert by_name["ScriptedModel"]["langsmith.span.kind"] == "llm"
    assert by_name["ScriptedModel"]["gen_ai.usage.input_tokens"] == 100
    assert by_name["ScriptedModel"]["gen_ai.usage.output_tokens"] == 20
    assert json.loads(by_name["look"]["gen_ai.prompt"])["token"] == "[redacted]"
    first, second = (span for span in spans.values() if span.name == "look")
    assert max(first.start_time_unix_nano, second.start_time_unix_nano) < min(
        first.end_time_unix_nano, second.end_time_unix_nano
    )
    assert "top-secret" not in service.raw
    assert "lsv2_pt_this_is_the_key" not in service.raw


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
