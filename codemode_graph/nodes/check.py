"""The node that looks at a program before any of it runs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from codemode_sandboxes import Choice
from codemode_sandboxes.source import is_same_program, tree_of
from langchain_core.runnables import RunnableConfig

from codemode_graph.check import check_program
from codemode_graph.check.tool_uses import References
from codemode_graph.events import CheckEvent, OutcomeEvent, emit
from codemode_graph.nodes.causes import GAVE_UP, join_failures
from codemode_graph.nodes.learn import notes_of, observed_types
from codemode_graph.nodes.node import Update, amend, judge_failure, return_type
from codemode_graph.nodes.run_log import close_ended, journal_of
from codemode_graph.nodes.sandbox_choice import choose, tell, why_not_others
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure, Finding


async def check(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Normalise the program, fix what can be fixed exactly, and find what cannot work. No tool is called."""
    returns = return_type(state, parts)
    checked = await check_program(
        state["program"],
        signatures=await parts.signatures(),
        capabilities=await parts.capabilities_for(state["program"]),
        stubs=parts.catalogue.stubs,
        type_checker=parts.checker,
        returns=returns,
        search_tools=[spec.name for spec in parts.catalogue.tools],
        seen=partial(observed_types, parts.catalogue, notes_of(journal_of(parts, config))),
        capabilities_for=parts.capabilities_for,
    )
    *previous, newest = state["attempts"]
    # An answer without a program comes with the reason, which the check cannot know.
    unwritten = list(newest["findings"]) if not state["program"].strip() else []
    findings = unwritten or _reserved(checked.program, parts.reserved, checked.findings)
    # A program that repeats a failed one would fail again, so that is looked for only where it passes the check.
    findings = findings or _unchanged(state, parts, checked.program)
    choice = None if findings else await choose(checked.program, parts)
    if choice is not None and not isinstance(choice, Choice):
        findings = [choice]
    emit(CheckEvent(type="check", program=checked.program, fixes=list(checked.fixes), findings=findings))
    changes: dict[str, Any] = {"program": checked.program, "fixes": list(checked.fixes), "findings": findings}
    if isinstance(choice, Choice):
        tell(choice, parts)
        update: Update = {"program": checked.program, "attempts": amend(state, changes)}
        return {**update, "sandbox": choice.sandbox.name, "verdict": None, "error": None}
    failure = _failure(findings)
    if any(finding["rule"] in ("missing-module", "unsupported-syntax", "no-sandbox") for finding in findings):
        failure["message"] += await why_not_others(checked.program, parts)
    verdict, failure = judge_failure(state, parts, failure, verdict="error")
    if findings[0]["rule"] in GAVE_UP and any(
        f["rule"] in GAVE_UP for attempt in previous for f in attempt["findings"]
    ):
        verdict = "exhausted"
    ended = failure
    if verdict == "exhausted":
        ended = join_failures(previous, failure, state["tool_calls"], {**newest, "findings": findings})
        await close_ended(state, parts, config, verdict)
    changes |= {"verdict": verdict, "failure": failure}
    emit(OutcomeEvent(type="outcome", verdict=verdict, error=ended))
    return {"program": checked.program, "attempts": amend(state, changes), "verdict": verdict, "error": ended}


def _reserved(program: str, reserved: Sequence[str], findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings; a tool that programs may not call is reported as reserved, not as unknown."""
    if not reserved or not any(finding["rule"] in ("unknown-tool", "undefined-name") for finding in findings):
        return list(findings)
    tree = tree_of(program)
    named = [(found.tool, found.node.lineno) for found in References(tree, reserved).direct() if found.tool]
    named += [(name.id, name.lineno) for name in tree.unresolved() if name.id in reserved]
    explained = [
        Finding(
            rule="reserved-tool",
            message=f"tools[{tool!r}] is not for programs: leave it out; it is called directly, by a tool call of its own",
            line=line,
        )
        for tool, line in dict.fromkeys(named)
    ]
    # The finding for an unknown tool on the same line says the same, and less.
    lines = {line for _, line in named}
    others = [f for f in findings if f["line"] not in lines or f["rule"] not in ("unknown-tool", "undefined-name")]
    return sorted([*explained, *others], key=lambda finding: finding["line"] or 0)


def _unchanged(state: CodeModeState, parts: Parts, program: str) -> list[Finding]:
    """Return a finding where a model repaired nothing: unchanged, a program that has failed would fail again."""
    if parts.model is None:
        return []
    before = [attempt for attempt in state["attempts"][:-1] if attempt["verdict"] != "empty"]
    if not any(is_same_program(attempt["program"], program) for attempt in before):
        return []
    message = "this is the program that already failed, unchanged; it would fail in the same way"
    return [Finding(rule="unchanged-program", message=message, line=None)]


def _failure(findings: list[Finding]) -> Failure:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return Failure(
        kind="check",
        type="CheckError",
        message=f"{first['message']}{more}",
        line=first["line"],
        traceback=first.get("excerpt", ""),
    )
