"""Tools and arguments under wrong names, corrected where only one can be meant."""

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Iterator

from codemode_sandboxes.source import Edits, tree_of

from codemode_graph.check.coroutines import Flow
from codemode_graph.check.tool_uses import MAPPING_METHODS, Reference, References, plain_name
from codemode_graph.tools.annotations import Scalar, Shape
from codemode_graph.tools.schema import Parameter
from codemode_graph.tools.signatures import Signature, Signatures

_DASHED = re.compile(r"\w+(?:-\w+)+")


def correct_spelling(code: str, signatures: Signatures, modules: Collection[str]) -> tuple[str, list[str]]:
    """Correct references to tools, and their arguments, where the program can mean only one.

    * `import tools` and `from tools import x`, which is what models write: dropped, or made an assignment.
    * `x(...)` where `x` is defined nowhere but is a tool: `tools.x(...)`.
    * `tools['list_events']`, `tools.listEvents`, `tools.list-events` for the tool `list-events`.
    * `await tools.get(...)` where `get` is a tool: `tools['get']`, for `tools.get` is the method of a mapping.
    * `calendarId=` for the argument `calendar_id`.
    * `'12'` for an argument that is a number, and `12` for one that is a text.
    * `tools.x({'a': 1})` for `tools.x(**{'a': 1})`, where the first argument can be no object.

    Args:
        code: A program.
        signatures: The tools.
        modules: Modules that can be imported.

    Returns:
        The program, its lines unmoved, and the changes, a line each.
    """
    fixes: list[str] = []
    # Each step reads the program anew: the spans of the next lie in the text that the one before has changed.
    for correct in (_imports, _methods, _tool_names, _bare_names, _arguments):
        step = _Step(code, signatures, modules)
        correct(step)
        code = step.edits.apply()
        fixes += step.fixes
    return code, fixes


class _Step:
    def __init__(self, code: str, signatures: Signatures, modules: Collection[str]) -> None:
        self.edits = Edits(code)
        self.tree = tree_of(code)
        self.signatures, self.modules = signatures.by_name, modules
        self.names = signatures.tool_names
        self.references = References(self.tree, self.names)
        self.attributes = self.names.attributes
        self.fixes: list[str] = []

    def fix(self, node: ast.expr | ast.stmt | ast.keyword, message: str) -> None:
        self.fixes.append(f"line {node.lineno}: {message}")

    def expression(self, tool: str) -> str:
        """Return the expression by which a program refers to a tool."""
        return f"tools.{self.attributes[tool]}" if tool in self.attributes else f"tools[{tool!r}]"


def _imports(step: _Step) -> None:
    # A star import brings every tool; only the names that the program reads need an assignment.
    used = {name.id for name in step.tree.unresolved()}
    for node in step.tree.of(ast.Import, ast.ImportFrom):
        match node:
            case ast.Import(names=aliases) if any(alias.name == "tools" for alias in aliases):
                rest = [ast.unparse(alias) for alias in aliases if alias.name != "tools"]
                parts = [f"import {', '.join(rest)}"] if rest else []
                parts += [
                    f"{a.asname} = tools" for a in aliases if a.name == "tools" and a.asname not in (None, "tools")
                ]
                step.edits.drop(node, "; ".join(parts))
                step.fix(node, "dropped `import tools`: tools is there already")
            case ast.ImportFrom(module="tools", names=[ast.alias(name="*")]):
                names = sorted(tool for tool, attribute in step.attributes.items() if attribute in used)
                step.edits.drop(node, "; ".join(f"{step.attributes[t]} = {step.expression(t)}" for t in names))
                step.fix(node, "replaced `from tools import *`: tools is there already")
            case ast.ImportFrom(module="tools", names=aliases):
                found = {alias: _suggestion(alias.name, step.signatures) or alias.name for alias in aliases}
                parts = [f"{a.asname or a.name} = {step.expression(t) if t in step.signatures else f'tools.{t}'}"
                         for a, t in found.items()]  # fmt: skip
                step.edits.drop(node, "; ".join(parts))
                step.fix(node, f"replaced `from tools import ...` by `{'; '.join(parts)}`")
            case ast.ImportFrom(module=str(module), names=[ast.alias(name="tools", asname=None)]):
                if module.partition(".")[0] not in step.modules:
                    step.edits.drop(node)
                    step.fix(node, "dropped the import of tools: tools is there already")


def _bare_names(step: _Step) -> None:
    for name in step.tree.unresolved():
        tool = step.names.by_attribute.get(name.id)
        # A tool named `sum` or `list` must not take the built-in's place.
        if tool is not None and not hasattr(builtins, name.id) and name.id != "tools":
            step.edits.replace(*step.edits.span(name), step.expression(tool))
            step.fix(name, f"wrote {step.expression(tool)} for {name.id}")


def _methods(step: _Step) -> None:
    called = dict(_called_methods(step))
    flow = Flow(step.tree, called.__contains__)
    for call, written in called.items():
        # What is awaited, or called with arguments of its own, is a tool: the methods of a mapping are neither.
        if flow.fate(call) == "awaited" or _takes_no_such(call, written.attr):
            step.edits.replace(step.edits.span(written.value)[1], step.edits.span(written)[1], f"[{written.attr!r}]")
            step.fix(call, f"wrote tools[{written.attr!r}] for tools.{written.attr}, which is not the tool")


def _called_methods(step: _Step) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    """Yield calls of a mapping's methods that have the names of tools, and do not look up a tool."""
    methods = {method for method in MAPPING_METHODS if method in step.names}
    for node in step.tree.of(ast.Call) if methods else ():
        match node:
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=name), *_]) if (
                name in step.signatures
            ):
                continue
            case ast.Call(func=ast.Attribute(value=value, attr=method) as written) if method in methods:
                if step.references.is_tools(value):
                    yield node, written


def _takes_no_such(call: ast.Call, method: str) -> bool:
    """Return whether a mapping's method takes no such arguments, so that the tool must be meant."""
    names = {keyword.arg for keyword in call.keywords} - {"key", "name", "default", None}
    return bool(names) or (method != "get" and bool(call.args))


def _tool_names(step: _Step) -> None:
    for reference in step.references.direct():
        if reference.tool is not None or reference.written is None:
            continue
        if _chain(step, reference):
            continue
        span = _dashed(step, reference) or _name_span(step, reference)
        written = step.edits.code[span[0] : span[1]].lstrip(".")
        tool = written if written in step.signatures else _suggestion(reference.written, step.signatures)
        if tool is None:
            continue
        attribute = step.attributes.get(tool)
        if not isinstance(reference.node, ast.Attribute):
            step.edits.replace(*span, repr(tool))
        else:
            step.edits.replace(*span, f".{attribute}" if attribute else f"[{tool!r}]")
        step.fix(reference.node, f"wrote {tool!r}, which is the tool's name, for {written}")


def _chain(step: _Step, reference: Reference) -> bool:
    """Write `tools['server.name']` for `tools.server.name`, where that is a tool; return whether it is."""
    chain = step.references.chained(reference)
    if chain is None or isinstance(reference.node, ast.Call):
        return False
    whole, written = chain
    tool = written if written in step.signatures else _suggestion(written, step.signatures)
    if tool is None or not isinstance(reference.node, ast.Attribute | ast.Subscript):
        return False
    start = step.edits.span(reference.node.value)[1]
    step.edits.replace(start, step.edits.span(whole)[1], f"[{tool!r}]")
    step.fix(reference.node, f"wrote tools[{tool!r}] for {ast.unparse(whole)}")
    return True


def _dashed(step: _Step, reference: Reference) -> tuple[int, int] | None:
    # Python reads `tools.list-events` as a subtraction.
    if not isinstance(reference.node, ast.Attribute):
        return None
    start, _ = _name_span(step, reference)
    found = _DASHED.match(step.edits.code, start + 1)
    return (start, found.end()) if found and found[0] in step.signatures else None


def _name_span(step: _Step, reference: Reference) -> tuple[int, int]:
    match reference.node:
        case ast.Subscript(slice=index) | ast.Call(args=[index, *_]):
            return step.edits.span(index)
        case ast.Attribute(value=value) as node:
            end = step.edits.span(node)[1]
            return step.edits.code.index(".", step.edits.span(value)[1]), end
    raise AssertionError("a direct reference is one of these")


def _arguments(step: _Step) -> None:
    for call, reference in step.references.calls():
        if reference.tool is None:
            continue
        signature = step.signatures[reference.tool]
        known = signature.parameters.by_name
        written = {keyword.arg for keyword in call.keywords}
        for keyword in call.keywords:
            if keyword.arg is None or keyword.arg in known or signature.parameters.open:
                continue
            suggestion = _suggestion(keyword.arg, (item.keyword for item in signature.parameters))
            if suggestion is not None and suggestion not in written:
                start = step.edits.span(keyword)[0]
                step.edits.replace(start, start + len(keyword.arg), suggestion)
                step.fix(keyword, f"wrote {suggestion}, which is the argument's name, for {keyword.arg}")
        for parameter, shape, value in _bound(call, signature):
            text = _converted(value, shape)
            if text is not None:
                step.edits.replace(*step.edits.span(value), text)
                step.fix(
                    value,
                    f"wrote {text} for {step.edits.text(value)}, which is what the argument {parameter.keyword} takes",
                )
        if _means_keywords(call, signature):
            step.edits.insert(step.edits.span(call.args[0])[0], "**")
            step.fix(call, "passed the dict as keyword arguments")


def _bound(call: ast.Call, signature: Signature) -> Iterator[tuple[Parameter, Shape, ast.expr]]:
    for parameter, value in zip(signature.parameters.positional(len(call.args)), call.args, strict=False):
        if isinstance(value, ast.Starred):
            break
        yield parameter, signature.value_shape(parameter), value
    for keyword in call.keywords:
        if keyword.arg in signature.parameters.by_name:
            parameter = signature.parameters.by_name[keyword.arg]
            yield parameter, signature.shape_of(parameter), keyword.value


def _converted(value: ast.expr, shape: Shape) -> str | None:
    """Return a written number as a text, or a text as a number, where the parameter takes only the other."""
    match value, shape:
        # No leading zero and no more than 15 digits: phone numbers and ids are texts, and a float would lose digits.
        case ast.Constant(value=str(text)), Scalar("int" | "float") if re.fullmatch(r"0|[1-9]\d{0,14}", text):
            return text
        case ast.Constant(value=int(number)), Scalar("str", "") if not isinstance(number, bool):
            return repr(str(number)) if abs(number) < 10**15 else None
    return None


def _means_keywords(call: ast.Call, signature: Signature) -> bool:
    match call.args:
        # Only a dict that is written out shows its keys.
        case [ast.Dict(keys=keys)]:
            names = {key.value if isinstance(key, ast.Constant) else None for key in keys}
            if not names & signature.parameters.by_name.keys() or not all(isinstance(name, str) for name in names):
                return False
            return not signature.parameters.first_may_be_object
    return False


def _suggestion(written: str, names: Iterable[str]) -> str | None:
    """Return the only name that differs just in case, dashes and underscores."""
    found = [name for name in names if plain_name(name) == plain_name(written)]
    return found[0] if len(found) == 1 else None
