"""Values on their way between tools, programs and people: what arrives is what was sent."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz_values import fuzz
from codemode_graph import codemode, create_codemode
from codemode_graph.exact import decode, encode
from codemode_graph.tools.spec import ToolPolicy
from tests.support import scripted

SECRET = "correct horse battery staple"


async def test_random_values_arrive_as_they_were_sent_or_not_at_all() -> None:
    for way, outcomes in (await fuzz(110, sandboxes=("monty", "restricted"))).items():
        assert not outcomes.wrong, way
        # Monty refuses lone surrogates, in every third text here; nothing else refuses what JSON has a type for.
        assert outcomes.refused <= (outcomes.sent // 3 if "monty" in way else 7), way


@pytest.mark.parametrize(
    "value",
    [
        {"codemode_exact": ["int", "9" * 5000]},
        {"codemode_exact": ["int", "1_0"]},
        {"codemode_exact": ["float", "x"]},
        {"codemode_exact": ["text", "\\xZZ"]},
        {"codemode_exact": ["text", "é"]},
        {"codemode_exact": ["dict", [[1, 2]]]},
        {"codemode_exact": ["dict", [["a"]]]},
        {"codemode_exact": ["list", []]},
        {"codemode_exact": 1},
    ],
)
def test_what_only_looks_like_the_exact_form_stays_as_it_is(value: Any) -> None:
    assert decode(value) == value
    assert decode(encode(value)) == value


class Opaque:
    def __repr__(self) -> str:
        return "<receipt 4711>"


async def test_the_text_of_a_result_that_no_program_can_use_is_kept_for_the_next_one(tmp_path: Path) -> None:
    paid = []

    async def pay(to: str) -> Any:
        """Pay somebody."""
        paid.append(to)
        return {"receipt": Opaque()}

    first = "receipt = await tools.pay('ann')\nreceipt['receipt']"
    async with codemode(tools=[pay], sandbox="monty", durable=tmp_path / "runs.db") as cm:
        failed = await cm.run_code(first)
        assert not failed["success"]
        # It says what a program can do, and not what the author of the tool could.
        assert failed["error"] is not None
        assert "counts as done" in failed["error"]
        assert "pass its parts" not in failed["error"]
        (call,) = failed["tool_calls"]
        assert call["status"] == "done"
        handle = call["value"]["codemode_reference"]
        assert handle in failed["error"]
        # Another process, which has nothing but the journal.
        async with codemode(tools=[pay], sandbox="monty", durable=tmp_path / "runs.db") as other:
            repaired = await other.run_code(
                f"try:\n    await tools.pay('ann')\nexcept TypeError:\n    pass\nawait tools['load_value'](handle={handle!r})",
                after=failed["run_id"],
            )
    assert json.loads(repaired["output"]) == {"receipt": "<receipt 4711>"}
    assert paid == ["ann"]


async def test_the_model_is_told_how_to_go_on_after_such_a_result() -> None:
    async def pay(to: str) -> Any:
        """Pay somebody."""
        return {"receipt": Opaque()}

    model = scripted("return (await tools['pay'](to='ann'))['receipt']", "return 'paid'")
    async with codemode(model=model, tools=[pay], sandbox="monty") as cm:
        result = await cm.run("Pay ann.")
    assert result["output"] == "paid"
    prompt = model.prompts[1]
    assert "returned None" not in prompt
    assert "tools['load_value'](handle=" in prompt
    assert 'with {"to": "ann"}: done' in prompt


async def test_the_kept_text_is_as_secret_as_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)

    async def login() -> Any:
        return {"token": SECRET, "session": Opaque()}

    async with codemode(
        tools=[login], sandbox="monty", policies={"login": ToolPolicy(redact=frozenset({"token"}))}
    ) as cm:
        result = await cm.run_code("await tools.login()")
    assert SECRET not in str(result)


async def test_texts_that_are_no_values_stay_texts_everywhere(tmp_path: Path) -> None:
    async def fail() -> None:
        raise ValueError("a\0b\ud800")

    failing = "# \0\ntry:\n    await tools.fail()\nexcept ValueError as error:\n    print(error)\n    raise"
    async with codemode(tools=[fail], sandbox="restricted", durable=tmp_path / "runs.db") as cm:
        for code in (failing, failing.replace("# \0\n", "")):
            result = await cm.run_code(code)
            assert isinstance(result["error"], str)
            assert "codemode_exact" not in str(result)
            result.trace.save(tmp_path / "page.html")
            assert isinstance(result["attempts"][0]["program"], str)
    (call,) = result["tool_calls"]
    assert call["error"] == {"type": "ValueError", "message": "a\ufffdb\ufffd"}


async def test_a_nan_is_a_value_like_another() -> None:
    async def measure() -> float:
        return math.nan

    async with codemode(tools=[measure], sandbox="monty") as cm:
        result = await cm.run_code("x = await tools.measure()\n[x, -0.0, 2**100]")
    assert repr(result["output"]) == f"[nan, -0.0, {2**100}]"
    # The state, which checkpoints and JSON have to carry, holds it in the exact form.
    app = create_codemode(model=None, tools=[measure], sandbox="monty").compile()
    state = await app.ainvoke({"task": "", "code": "await tools.measure()"})
    assert state["output"] == {"codemode_exact": ["float", "nan"]}
    assert state["tool_calls"][0]["value"] == {"codemode_exact": ["float", "nan"]}
