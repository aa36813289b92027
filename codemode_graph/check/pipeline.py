"""The check of one program, step by step: script form, fixes, findings, types."""

import ast
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from codemode_sandboxes import Capabilities, SandboxUnavailable
from codemode_sandboxes.errors import SandboxError
from codemode_sandboxes.source import Tree, plain_text, to_script, tree_of

from codemode_graph.catalogue.observation import ObservedSchemas
from codemode_graph.check.again import mark_again, without_marks
from codemode_graph.check.arguments import find_wrong_calls
from codemode_graph.check.awaits import add_awaits
from codemode_graph.check.envelope import find_wrapped
from codemode_graph.check.inline import inline_programs
from codemode_graph.check.lookups import find_wrong_lookups
from codemode_graph.check.missing_calls import call_tools, find_missing_calls
from codemode_graph.check.modules import add_missing_imports, drop_idle_imports, find_missing_modules, imported_modules
from codemode_graph.check.near_keys import correct_keys
from codemode_graph.check.return_value import find_wrong_values
from codemode_graph.check.spelling import correct_spelling
from codemode_graph.check.syntax import find_misplaced, find_undefined_names, find_unsupported, syntax_finding
from codemode_graph.check.tool_uses import References
from codemode_graph.check.types import TypeChecker, TypeFindings
from codemode_graph.state import Finding
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.tools.signatures import Signatures, Stubs

_LOGGER = logging.getLogger(__name__)
# Bounds for hostile replies: characters, and nodes, of which a check takes time that grows faster than their number.
_LONGEST = 200_000
_MOST_NODES = 10_000
_MOST_FINDINGS = 20
_SHORTER = "write a short one: use loops, and values that tools return instead of data written out"


class Checked(NamedTuple):
    """A program, ready to run where it has no findings.

    Attributes:
        program: In script form, with the fixes; unchanged where it is not Python.
        fixes: The changes, one line each.
        findings: The reasons why it must not run, in the order of its lines; empty where it may.
        tools: The tools that it calls by name, in the order of their first call.
        imports: The top-level modules that it imports.
    """

    program: str
    fixes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    tools: tuple[str, ...] = ()
    imports: frozenset[str] = frozenset()


async def check_program(
    program: str,
    *,
    signatures: Signatures,
    capabilities: Capabilities,
    stubs: Stubs | str | None = None,
    type_checker: TypeChecker | None = None,
    returns: ReturnType | None = None,
    search_tools: Collection[str] = (),
    seen: Callable[[], Awaitable[ObservedSchemas]] | None = None,
    capabilities_for: Callable[[str], Awaitable[Capabilities]] | None = None,
) -> Checked:
    """Bring a program into script form, fix what can be fixed exactly, and find what cannot work.

    Args:
        program: The text of a model or a person; any text.
        signatures: Those of the tools that it may call.
        capabilities: Those of the sandbox.
        stubs: The same tools as declarations, or what writes them, where the caller has it.
        type_checker: Adds findings about types; None leaves them out.
        returns: The type that its value must have.
        search_tools: Tools that find tools: a program that calls no others is no answer yet, and its value of any type.
        seen: Returns JSON Schemas of what earlier calls returned, by the names of tools that declare no result. They
            correct the spelling of keys, and make no finding.
        capabilities_for: Returns those of the sandbox for a program with the functions of saved programs in it, where the
            sandbox is chosen by the program; None where they are the same.

    Returns:
        The program, the fixes and the findings. No text of a program makes it raise an exception.

    Raises:
        SandboxUnavailable: The type checker cannot run here.
    """
    if len(program) > _LONGEST:
        return _refused(program, "too-long", f"the program has {len(program):,} characters; {_SHORTER}")
    try:
        tree = tree_of(plain_text(program))
        if not _does_something(tree):
            return _refused(
                program, "no-program", "there is no program: write one that calls the tools and ends in the answer"
            )
        if wrapped := tuple(find_wrapped(tree, signatures.tool_names)):
            return Checked(program=program, findings=wrapped)
        if _is_large(tree):
            return _refused(program, "too-long", f"the program has {program.count(chr(10)):,} lines; {_SHORTER}")
        script = to_script(program)
        code, fixes = _fixed(script.code, signatures, capabilities)
    except SyntaxError as error:
        return Checked(program=program, findings=(syntax_finding(error, program),))
    plain = without_marks(code)
    tree = tree_of(plain)
    references = References(tree, signatures.tool_names)
    tools = tuple(dict.fromkeys(r.tool for _, r in references.calls() if r.tool is not None))
    called = [signatures.by_name[tool] for tool in tools]
    findings = [*fixes.findings, *_found(tree, references, signatures, capabilities)]
    try:
        declared = ""
        if type_checker is not None:
            # A name that is computed is none that a type checker could follow.
            declared = stubs if isinstance(stubs, str) else await (stubs or Stubs(signatures)).text(references.named())
            diagnostics = await type_checker.type_check(plain, declared)
            types = TypeFindings(plain, tree, references, signatures)
            findings += await find_wrong_lookups(
                plain, tree, types, types.findings(diagnostics), stubs=declared, type_checker=type_checker
            )
        # Types follow from calls that are right: what is wrong with those is told first.
        if returns is not None and not findings and not (tools and set(tools) <= set(search_tools)):
            findings += await find_wrong_values(
                plain, tree, returns, signatures=signatures, stubs=declared, type_checker=type_checker
            )
        # A program that asks for a call again has marks in it, which would move what is corrected.
        vague = any(signature.is_vague for signature in called)
        if type_checker is not None and seen is not None and vague and not findings and code == plain:
            code, corrected = await correct_keys(code, called, await seen(), type_checker)
            fixes.lines.extend(corrected)
    except SandboxUnavailable:
        raise
    except SandboxError as error:  # such as a check that took too long: the program may run all the same
        _LOGGER.warning("a program was not type-checked: %s", error)
    # A saved program may also be kept in a variable or a list, and called by that.
    named = [signatures.by_name[r.tool].tool for r in references.direct() if r.tool is not None]
    programs = {spec.name: spec for spec in named if spec.program}
    if programs and not findings:
        whole, misused = inline_programs(code, programs)
        if not misused:
            # Checked as a whole: a saved program has to fit the tools as they are now. It may need more of a sandbox.
            checked = await check_program(
                whole,
                signatures=signatures.only(set(signatures.by_name) - programs.keys()),
                capabilities=capabilities if capabilities_for is None else await capabilities_for(whole),
                type_checker=type_checker,
                returns=returns,
                search_tools=search_tools,
                seen=seen,
            )
            length = whole.count("\n") - code.count("\n")
            found = tuple(_name_origin(finding, length) for finding in checked.findings)
            return checked._replace(fixes=(*script.notes, *fixes.lines, *checked.fixes), findings=found)
        findings += misused
    return Checked(
        program=code,
        fixes=(*script.notes, *fixes.lines),
        findings=tuple(_in_order(findings)),
        tools=tools,
        imports=imported_modules(tree),
    )


def _name_origin(finding: Finding, length: int) -> Finding:
    """Return a finding; of one in the functions of saved programs, which are the first lines, with words that say so."""
    if finding["line"] is None or finding["line"] > length:
        return finding
    message = f"a saved program does not fit the tools as they are now: {finding['message']}"
    return {**finding, "message": message}


class _Fixes(NamedTuple):
    lines: list[str]
    findings: list[Finding]


def _fixed(code: str, signatures: Signatures, capabilities: Capabilities) -> tuple[str, _Fixes]:
    names = signatures.tool_names
    code, anew, misused = mark_again(code, names)
    # Spelling first: an import, an await or a check that follows must see the tools by their names.
    code, spelling = correct_spelling(code, signatures, capabilities.modules)
    code, idle = drop_idle_imports(code, capabilities.modules)
    code, imports = add_missing_imports(code, capabilities.modules)
    code, calls = call_tools(code, signatures)
    code, awaits, findings = add_awaits(code, names)
    return code, _Fixes([*anew, *spelling, *idle, *imports, *calls, *awaits], [*misused, *findings])


def _found(tree: Tree, references: References, signatures: Signatures, capabilities: Capabilities) -> Iterator[Finding]:
    by_name = signatures.by_name
    yield from find_misplaced(tree)
    yield from find_wrong_calls(tree, references, by_name)
    yield from find_missing_calls(tree, references, by_name)
    yield from find_missing_modules(tree, capabilities.modules)
    yield from find_unsupported(tree, capabilities.gaps)
    yield from find_undefined_names(tree, by_name)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by line, drop repetitions, and keep no more than a model can use."""
    unique: dict[tuple[str, int | None, str], Finding] = {}
    for finding in findings:
        once = finding["rule"] in ("unawaited-call", "undefined-name", "unsupported-syntax")
        unique.setdefault((finding["rule"], finding["line"], "" if once else finding["message"]), finding)
    return sorted(unique.values(), key=lambda finding: finding["line"] or 0)[:_MOST_FINDINGS]


def _refused(program: str, rule: str, message: str) -> Checked:
    return Checked(program=program, findings=(Finding(rule=rule, message=message, line=None),))


def _does_something(tree: Tree) -> bool:
    """Return whether a program is more than comments, `pass` and `...`."""
    body = tree.root.body
    return not all(isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and _is_ellipsis(s.value)) for s in body)


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _is_large(tree: Tree) -> bool:
    # Constants do not count: data cost less than code.
    nodes = sum(not isinstance(node, ast.Constant | ast.expr_context) for node in tree.nodes)
    return nodes > _MOST_NODES
