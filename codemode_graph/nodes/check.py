"""The node that looks at a program before any of it runs."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from codemode_graph.check import check_program
from codemode_graph.check.same import is_same_program
from codemode_graph.events import emit
from codemode_graph.nodes.attempts import amended, failed
from codemode_graph.nodes.node import Update
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure, Finding

__all__ = ["check"]


async def check(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Normalise the program, fix what can be fixed exactly, and find what cannot work. No tool is called."""
    checked = await check_program(
        state["program"],
        specs=parts.callable,
        capabilities=await parts.capabilities(),
        stubs=parts.stubs,
        type_checker=parts.checker,
    )
    findings = list(checked.findings) or _unchanged(state, checked.program)
    emit("check", program=checked.program, fixes=list(checked.fixes), findings=findings)
    changes: dict[str, Any] = {"program": checked.program, "fixes": list(checked.fixes), "findings": findings}
    if not findings:
        return {"program": checked.program, "attempts": amended(state, changes), "verdict": None, "error": None}
    verdict, failure = failed(state, parts, _failure(findings), verdict="error")
    changes |= {"verdict": verdict, "failure": failure}
    emit("outcome", verdict=verdict, error=failure)
    return {"program": checked.program, "attempts": amended(state, changes), "verdict": verdict, "error": failure}


def _unchanged(state: CodeModeState, program: str) -> list[Finding]:
    """A program that has already failed, unchanged, would fail again."""
    before = [attempt for attempt in state["attempts"][:-1] if attempt["verdict"] != "empty"]
    if not any(is_same_program(attempt["program"], program) for attempt in before):
        return []
    message = "this is the program that already failed, unchanged; it would fail in the same way"
    return [Finding(rule="unchanged-program", message=message, line=None)]


def _failure(findings: list[Finding]) -> Failure:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return Failure(
        kind="check", type="CheckError", message=f"{first['message']}{more}", line=first["line"], traceback=""
    )
