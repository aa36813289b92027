"""Tools that a program uses as if they were their results: `await tools['x']`, `tools.x['id']`, `return tools.x`.

Where such a tool requires no argument it is called; else a finding has the call to write. A tool that is passed on, stored
or compared may be called later, and is left alone.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Literal

from codemode_sandboxes.source import Edits, Tree, tree_of

from codemode_graph.check.tool_uses import Reference, References, returned
from codemode_graph.state import Finding
from codemode_graph.tools.signatures import Signature, Signatures
from codemode_graph.tools.text import vocabulary

_WAITERS = frozenset({"create_task", "ensure_future", "gather", "shield", "wait", "wait_for", "as_completed"})
# Python's own functions that can do nothing with a function: `map`, `callable` and `isinstance` can.
_OF_VALUES = vocabulary("len sorted sum str list dict set tuple min max int float print enumerate zip")
_DEPTH = 20
_CHOICES = ast.IfExp | ast.BoolOp | ast.NamedExpr
# A finding that lists calls of many tools helps no more than one with a few.
_MOST_CALLS = 3


def call_tools(code: str, signatures: Signatures) -> tuple[str, list[str]]:
    """Call the tools that are used without a call, where they require no argument.

    One that changes something is called only where it is awaited: that says that a call was meant.

    Args:
        code: A program in script form.
        signatures: The tools.

    Returns:
        The program, its lines unmoved, and the changes, a line each.
    """
    by_name = signatures.by_name
    tree, edits, fixes = tree_of(code), Edits(code), []
    for node, found, use in _Uses(tree, References(tree, signatures.tool_names)).missing():
        tools = [by_name[each.tool] for each in found if each.tool is not None]
        if len(tools) < len(found) or any(item.required for each in tools for item in each.parameters):
            continue
        if use == "awaited" or all(each.tool.effect_in_force == "read" for each in tools):
            start, end = edits.span(node)
            if isinstance(node, _CHOICES):
                edits.insert(start, "(")
            edits.insert(end, ")()" if isinstance(node, _CHOICES) else "()")
            how = "awaited" if use == "awaited" else "used"
            fixes.append(f"line {node.lineno}: called {edits.text(node)}, which was {how} without a call")
    return (edits.apply(), fixes) if edits else (code, [])


def find_missing_calls(tree: Tree, references: References, signatures: Mapping[str, Signature]) -> Iterator[Finding]:
    """Find the tools that are used without a call.

    Args:
        tree: The program.
        references: The places where it names tools.
        signatures: The tools, by name.
    """
    for node, found, _ in _Uses(tree, references).missing():
        if any(each.tool is None and each.written is not None for each in found):
            continue  # there is no such tool, which is a finding of its own
        known = [signatures[each.tool] for each in found if each.tool is not None]
        calls = " or ".join(f"await {call_to_write(each)}" for each in known[:_MOST_CALLS])
        if len(found) == 1 and known:
            write = calls
        else:
            such = f", here {calls}" if known else ""
            write = f"`()` behind it, with the arguments of that tool in it: await {_called(node)}{such}"
        yield Finding(rule="uncalled-tool", message=f"the tool is not called: write {write}", line=node.lineno)


def _called(node: ast.expr) -> str:
    text = ast.unparse(node)
    return f"({text})(...)" if isinstance(node, _CHOICES) else f"{text}(...)"


def call_to_write(signature: Signature) -> str:
    """Return a call with every required argument, and in words the others."""
    parameters = signature.parameters
    required = ", ".join(f"{item.keyword}=..." for item in parameters if item.required)
    rest = [item for item in parameters if not item.required]
    more = f" (its arguments are {parameters})" if rest else ""
    return f"tools[{signature.tool.name!r}]({required}){more}"


class _Uses:
    def __init__(self, tree: Tree, references: References) -> None:
        self._tree, self._references = tree, references
        self._answers = frozenset(self._answer_parts())

    def missing(self) -> Iterator[tuple[ast.expr, list[Reference], Literal["awaited", "value"]]]:
        """Yield the places that use a tool itself where only its result can be meant, with the tools that it may be."""
        for node in self._tree.nodes:
            if not isinstance(node, ast.Attribute | ast.Subscript | ast.Name | ast.Call | _CHOICES):
                continue
            use = self._use(node)
            # `tools.get('x')` may ask whether there is such a tool; the result of a tool called `get` is a value.
            if use is None or (self._is_looked_up(node) and (use == "value" or "get" in self._references.names)):
                continue
            found = self._references.find(node)
            # What is awaited is a call, whichever of several tools it is of.
            if use == "awaited" and (found is None or found.written is None):
                if candidates := self._references.candidates(node):
                    yield node, candidates, use
            elif found is not None:
                yield node, [found], use

    def _is_looked_up(self, node: ast.expr) -> bool:
        for _ in range(_DEPTH):
            assigned = self._references.assigned(node) if isinstance(node, ast.Name) else None
            if assigned is None:
                break
            node = assigned
        return isinstance(node, ast.Call)

    def _use(self, node: ast.expr) -> Literal["awaited", "value"] | None:
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Name) and not isinstance(node.ctx, ast.Load):
            return None
        parent = self._tree.parent(node)
        if isinstance(parent, ast.Await) or self._is_waited_for(node, parent):
            return "awaited"
        match parent:
            case ast.Subscript(value=value) | ast.FormattedValue(value=value) if value is node:
                return "value"
            case ast.For(iter=value) | ast.AsyncFor(iter=value) | ast.comprehension(iter=value) if value is node:
                return "value"
            case ast.BinOp() | ast.Expr() | ast.YieldFrom():
                return "value"
            case ast.Starred() if not self._waits(parent, self._tree.parent(parent)):
                return "value"
            case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[right]) if right is node:
                return "value"
            case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()]):
                # With another function it may be compared; with a text or a number it cannot be meant.
                sides = [parent.left, *parent.comparators]
                return (
                    "value"
                    if any(isinstance(each, ast.Constant) and each.value is not None for each in sides)
                    else None
                )
            case ast.Call(func=ast.Name(id=name), args=arguments) if any(each is node for each in arguments):
                return "value" if name in _OF_VALUES and self._tree.are_builtin(name) else None
            case ast.Call(func=function, args=[first]) if first is node and self._tree.dotted(function) == "json.dumps":
                return "value"
        return "value" if node in self._answers else None

    def _is_waited_for(self, node: ast.expr, parent: ast.AST) -> bool:
        """Return whether an expression is what `asyncio.gather` or its kin wait for: by itself, or in a list."""
        match parent:
            case ast.List() | ast.Tuple() | ast.Set():
                pass
            case ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.GeneratorExp(elt=element) if (
                element is node
            ):
                pass
            case _:
                return self._waits(node, parent)
        return self._list_is_waited_for(parent)

    def _list_is_waited_for(self, written: ast.expr) -> bool:
        around = self._tree.parent(written)
        match around:
            case ast.Starred():
                return self._waits(around, self._tree.parent(around))
            case ast.Assign(targets=[ast.Name(id=name) as target]):
                # `calls = [tools.a, tools.b]`, and nothing is done with it but to wait.
                scope = self._tree.scope(target)
                uses = self._tree.uses(name, scope)
                return len(scope.bound[name]) == 1 and bool(uses) and all(map(self._list_is_waited_for, uses))
        return self._waits(written, around)

    def _waits(self, argument: ast.expr, call: ast.AST) -> bool:
        if not isinstance(call, ast.Call) or not any(each is argument for each in call.args):
            return False
        match call.func:
            # Also of a TaskGroup or a loop; a tool may have such a name.
            case ast.Attribute(attr=name):
                return name in _WAITERS and self._references.find(call.func) is None
            case ast.Name():
                return (self._tree.dotted(call.func) or "").removeprefix("asyncio.") in _WAITERS
        return False

    def _answer_parts(self) -> Iterator[ast.expr]:
        """Yield the parts of the program's value, as far as they are written out."""
        last = self._tree.root.body[-1] if self._tree.root.body else None
        todo = [(last.value, 0)] if isinstance(last, ast.Expr) else []
        seen: set[ast.AST] = set()
        for node, depth in todo:
            if node in seen or depth > _DEPTH:
                continue
            seen.add(node)
            yield node
            parts: list[ast.expr] = []
            match node:
                case ast.Await(value=value) | ast.NamedExpr(value=value):
                    parts = [value] if isinstance(value, ast.Call) or isinstance(node, ast.NamedExpr) else []
                case ast.IfExp(body=body, orelse=orelse):
                    parts = [body, orelse]
                case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) | ast.Dict(values=items):
                    parts = items
                case ast.ListComp(elt=value) | ast.SetComp(elt=value) | ast.DictComp(value=value):
                    parts = [value]
                case ast.Call(func=name) if (function := self._tree.function(name)) is not None:
                    parts = returned(self._tree, function)
                case ast.Name() if (source := self._references.assigned(node)) is not None:
                    # The name of a tool is called where it is used; of a list or dict, what stands in it.
                    parts = [] if self._references.find(node) else [source]
            todo += [(part, depth + 1) for part in parts]
