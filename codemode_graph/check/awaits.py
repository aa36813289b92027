"""Forgotten awaits, put in where the program certainly means them."""

import ast
import builtins
import re
from collections.abc import Sequence

from codemode_sandboxes.source import AsyncEdits, Edits, Function, can_await, convertible, is_waiting, tree_of

from codemode_graph.check.coroutines import Flow
from codemode_graph.check.tool_uses import References
from codemode_graph.state import Finding

# A function that becomes async is awaited by its callers in the next pass, and so on outwards.
_PASSES = 12
_ASYNC_FOR = re.compile(r"\b(async[ \t]+)for[ \t]+\(*$")


def add_awaits(code: str, tools: Sequence[str]) -> tuple[str, list[str], list[Finding]]:
    """Await the calls of tools, and of the program's own `async def` functions, that nothing awaits.

    A call is awaited where it stands if its coroutine, on every path that it can take, is used as a value and never
    awaited. Plain functions around such calls become `async def`, and their calls are awaited, where all of them can be.
    A call whose coroutine cannot be followed to the end is left alone.

    Args:
        code: A program in script form.
        tools: The names of the tools.

    Returns:
        The program, its lines unmoved; the changes, a line each; and findings of calls that are certainly not awaited
        and stand where `await` cannot.
    """
    fixes: list[str] = []
    for _ in range(_PASSES):
        step = _Pass(code, tools)
        fixes += step.fix()
        if not step.edits:
            return code, _in_order(fixes), step.findings
        code = step.edits.apply()
    return code, _in_order(fixes), []


def _in_order(fixes: list[str]) -> list[str]:
    return sorted(fixes, key=lambda fix: int(fix.split(":")[0].removeprefix("line ")))


class _Pass:
    def __init__(self, code: str, tools: Sequence[str]) -> None:
        self.edits = Edits(code)
        self.findings: list[Finding] = []
        self._tree = tree_of(code)
        references = References(self._tree, tools)
        self._tools = {call: self.edits.text(call.func) for call, _ in references.calls()}
        self._flow = Flow(self._tree, self._tools.__contains__)

    def fix(self) -> list[str]:
        """Make one round of edits; return a line for each."""
        able = convertible(self._tree)
        changes = AsyncEdits(self.edits, self._tree)
        fixes = self._without_async_for()
        if fixes:
            return fixes
        # A `def` with an `await` in it does not compile, so it must have been meant to be async.
        to_convert = self._with_await() & able
        for call in self._async_calls():
            if isinstance(self._tree.parent(call), ast.Await) or self._flow.fate(call) != "value":
                continue
            name = self._tools.get(call) or self.edits.text(call.func)
            if not can_await(self._tree, call, able):
                self.findings.append(self._finding(call, name))
                continue
            outer = self._misplaced(call)
            # A tool returns plain data; a function of the program may return something else to be awaited.
            if outer is not None and call not in self._tools:
                continue
            changes.add_await(call)
            if outer is None:
                fixes.append(f"line {call.lineno}: added the missing await on {name}")
            else:
                start = self.edits.span(outer)[0]
                # Blanks go, line breaks stay: no line may move.
                behind = self.edits.code[start + len("await") :]
                self.edits.replace(start, start + len("await") + len(behind) - len(behind.lstrip(" \t")), "")
                fixes.append(f"line {call.lineno}: moved the await to {name}, whose value it waits for")
            around = self._tree.function_around(call)
            if isinstance(around, ast.FunctionDef):
                to_convert.add(around)
        converted = changes.convert(to_convert, self._is_awaited)
        fixes += [f"line {f.lineno}: made {f.name} async, and awaited its calls" for f in converted]
        # Awaits first: they may still make what is gathered a list of values.
        if not self.edits:
            fixes += self._unpack_gathered()
        return fixes

    def _without_async_for(self) -> list[str]:
        """Make a plain loop of `async for x in tools.x()`: a tool returns all that it returns at once."""
        fixes = []
        for node in self._tree.of(ast.AsyncFor, ast.comprehension):
            if node.iter in self._tools and (isinstance(node, ast.AsyncFor) or node.is_async):
                start = self.edits.span(node.target)[0]
                if (found := _ASYNC_FOR.search(self.edits.code, 0, start)) is not None:
                    self.edits.replace(found.start(1), found.end(1), "")
                    fixes.append(f"line {node.target.lineno}: made a plain for of async for: a tool returns a list")
        return fixes

    def _with_await(self) -> set[Function]:
        """Return the plain functions that hold an `await`."""
        around = {self._tree.function_around(node) for node in self._tree.nodes if is_waiting(node)}
        return {function for function in around if isinstance(function, ast.FunctionDef)}

    def _async_calls(self) -> list[ast.Call]:
        calls = list(self._tools)
        for call in self._tree.of(ast.Call):
            if call not in self._tools:
                function = self._tree.function(call.func)
                if isinstance(function, ast.AsyncFunctionDef) and not self._tree.is_generator(function):
                    calls.append(call)
        return sorted(calls, key=lambda call: (call.lineno, call.col_offset))

    def _is_awaited(self, call: ast.Call) -> bool:
        return isinstance(self._tree.parent(call), ast.Await) or self._flow.fate(call) == "awaited"

    def _misplaced(self, call: ast.Call) -> ast.Await | None:
        """Return the `await` of `await tools.x()['a']`, which waits for the item instead of the call."""
        node: ast.AST = call
        while True:
            parent = self._tree.parent(node)
            match parent:
                case ast.Attribute(value=value) | ast.Subscript(value=value) if value is node:
                    node = parent
                case ast.Call(func=function) if function is node:
                    node = parent
                # `await len(tools.x())` waits for a number.
                case ast.Call(func=ast.Name() as function, args=args) if node in args and self._is_plain(function):
                    node = parent
                case ast.Await():
                    return parent if node is not call else None
                case _:
                    return None

    def _is_plain(self, function: ast.Name) -> bool:
        """Return whether a function is Python's own and returns no awaitable."""
        return hasattr(builtins, function.id) and function.id != "anext" and self._tree.are_builtin(function.id)

    def _finding(self, call: ast.Call, name: str) -> Finding:
        scope = self._tree.scope(call)
        while scope.kind == "comprehension" and scope.parent is not None:
            if isinstance(scope.node, ast.GeneratorExp):
                break
            scope = scope.parent
        match scope.node:
            case ast.Lambda():
                where = "in a lambda; await it before, and use what it returned in the lambda"
            case ast.GeneratorExp():
                where = "in this generator expression; write a list: [await ... for ...]"
            case ast.FunctionDef(name=function):
                where = f"in the function {function}; write `async def {function}` and await its calls"
            case _:
                where = "here; await it in an `async def` function"
        message = f"{name}(...) is not awaited, and await cannot stand {where}"
        return Finding(rule="unawaited-call", message=message, line=call.lineno)

    def _unpack_gathered(self) -> list[str]:
        """Put `*` before a list that is passed to `asyncio.gather`, which takes coroutines."""
        fixes = []
        for node in self._tree.of(ast.Call):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="gather"), args=[argument]):
                    if self._is_list(argument):
                        self.edits.insert(self.edits.span(argument)[0], "*")
                        fixes.append(f"line {node.lineno}: unpacked the list that asyncio.gather was given")
        return fixes

    def _is_list(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Name):
            return isinstance(node, ast.List | ast.ListComp)
        scope = self._tree.owner(node)
        values = [self._tree.parent(binding) for binding in scope.bound[node.id]] if scope else []
        return bool(values) and all(
            isinstance(value, ast.Assign) and isinstance(value.value, ast.List | ast.ListComp) for value in values
        )
