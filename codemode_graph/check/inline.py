"""Put saved programs in place of their calls, so that their calls of tools are calls of the program that uses them.

A saved program is a tool that no host calls: the check writes its function into the program. So approval, the journal and
replay hold for what it does as for any other call, and nothing that is true of a program is untrue of a saved one.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from codemode_sandboxes.source import Edits, Tree, tree_of

from codemode_graph.check.argument_guards import guard_arguments
from codemode_graph.check.tool_uses import References
from codemode_graph.state import Finding
from codemode_graph.tools.schema import AGAIN, Parameters, mapping_at
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.validation import wrong_argument


def inline_programs(code: str, programs: Mapping[str, ToolSpec]) -> tuple[str, list[Finding]]:
    """Write the functions of saved programs into a program that calls them.

    Args:
        code: A program in script form.
        programs: The saved programs that it calls, by name.

    Returns:
        The program, with the functions before it, and the reasons why it cannot have them.
    """
    tree, edits = tree_of(code), Edits(code)
    references = References(tree, list(programs))
    names = {name: _free(f"saved_{name}", code) for name in programs}
    functions = [
        guard_arguments(name, spec.program, spec.input_schema, prefix=_free(f"check_{name}", code + spec.program))
        for name, spec in programs.items()
    ]
    findings = [
        *_misused(tree, references),
        *_mistyped(references, programs),
        *_shadowed(tree, dict(zip(programs, functions, strict=True))),
    ]
    for call, reference in references.calls():
        if reference.tool is not None and _is_whole(call, programs[reference.tool]):
            edits.insert(edits.span(call.args[0])[0], "**")
    for reference in references.direct():
        if reference.tool is not None and not findings:
            edits.replace(*edits.span(reference.node), names[reference.tool])
    named = [
        re.sub(r"^async def \w+", f"async def {names[name]}", text, count=1, flags=re.MULTILINE)
        for name, text in zip(programs, functions, strict=True)
    ]
    return "\n".join([*named, edits.apply()]), findings


def _misused(tree: Tree, references: References) -> Iterator[Finding]:
    for call, reference in references.calls():
        if reference.tool is not None and any(keyword.arg == AGAIN for keyword in call.keywords):
            message = f"{reference.tool} is a saved program: again(...) is for single calls of tools"
            yield Finding(rule="wrong-again", message=message, line=call.lineno)
    for reference in references.direct():
        # Python 3.11 does not say where in a text an expression stands.
        if reference.tool is not None and any(
            isinstance(each, ast.JoinedStr) for each in tree.ancestors(reference.node)
        ):
            message = (
                f"{reference.tool} is a saved program: call it before the text, and put the variable into the text"
            )
            yield Finding(rule="saved-program", message=message, line=reference.node.lineno)


def _mistyped(references: References, programs: Mapping[str, ToolSpec]) -> Iterator[Finding]:
    """Find arguments that are written out and break a condition of their schema, of which no type checker knows."""
    for call, reference in references.calls():
        if reference.tool is None:
            continue
        spec = programs[reference.tool]
        parameters = Parameters(spec.input_schema)
        places = zip(parameters.positional(len(call.args)), call.args, strict=False)
        named: list[tuple[object, ast.expr]] = [(item.keyword, value) for item, value in places]
        named += [(keyword.arg, keyword.value) for keyword in call.keywords]
        dicts = [*(call.args if _is_whole(call, spec) else []), *(each.value for each in call.keywords if not each.arg)]
        for each in dicts:
            if isinstance(each, ast.Dict):
                named += [
                    (getattr(key, "value", None), value) for key, value in zip(each.keys, each.values, strict=True)
                ]
        literal = {name: value for name, node in named if isinstance(name, str) for value in _literals(node)}
        if (wrong := wrong_argument(spec.name, spec.input_schema, literal)) is not None:
            yield Finding(rule="saved-program", message=wrong, line=call.lineno)


def _literals(node: ast.expr) -> list[Any]:
    """Return the JSON value that an expression writes out; nothing where it does not, or has no such value."""
    try:
        return [json.loads(json.dumps(ast.literal_eval(node), allow_nan=False))]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return []


def _shadowed(tree: Tree, functions: Mapping[str, str]) -> Iterator[Finding]:
    """Find names that a program sets for itself, and that a saved program takes from Python."""
    for name, function in functions.items():
        used = {each.id for each in tree_of(function).unresolved()}
        for clash in sorted(used & {key for key, bindings in tree.module.bound.items() if bindings}):
            message = f"{clash} is set here, and the saved program {name} uses Python's: give yours another name"
            yield Finding(
                rule="saved-program", message=message, line=getattr(tree.module.bound[clash][0], "lineno", None)
            )


def _is_whole(call: ast.Call, spec: ToolSpec) -> bool:
    """Return whether the one dict of a call stands for its keyword arguments."""
    match call:
        case ast.Call(args=[ast.Dict(keys=keys)], keywords=[]):
            known = mapping_at(spec.input_schema, "properties")
            return bool(keys) and all(isinstance(key, ast.Constant) and key.value in known for key in keys)
    return False


def _free(name: str, code: str) -> str:
    while re.search(rf"\b{name}\b", code):
        name += "_"
    return name
