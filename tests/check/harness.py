"""Running a script on the interpreter of the tests: for programs that the tests themselves wrote."""

import ast
import inspect
from types import CodeType
from typing import Any

from codemode_sandboxes.source import parse


async def run(script: str, **names: Any) -> Any:
    """Run a script and give the value of its last expression, None where it does not end in one."""
    tree = parse(script)
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body[-1]
        target = ast.copy_location(ast.Name("__last__", ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    code = compile(tree, "<script>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    variables: dict[str, Any] = {"__name__": "__script__", **names}
    assert isinstance(code, CodeType)
    result = eval(code, variables)
    if inspect.iscoroutine(result):
        await result
    return variables.get("__last__")


def line_of(error: BaseException) -> int:
    """Return the line of the script that raised."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<script>":
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1]
