"""Which values of a program come from tools, so that a type checker knows what they are."""

import ast

from codemode_sandboxes.source import Scopes

from codemode_graph.check.tool_uses import References

__all__ = ["is_from_tools"]


def is_from_tools(node: ast.AST, scopes: Scopes, references: References, depth: int = 0) -> bool:
    """Tell whether an expression can only be, or be a part of, what a tool returned.

    The types of other values are guesses: of a list or dict that the program fills, a type checker knows what it held
    at first.
    """
    if depth > 20:
        return False
    inner: ast.AST | None = None
    match node:
        case ast.Await(value=ast.Call() as call):
            if references.find(call.func) is not None:
                return True
            return _is_gather(call) and all(_gathers_tools(argument, references) for argument in call.args)
        case ast.Subscript(value=inner) | ast.Attribute(value=inner) | ast.NamedExpr(value=inner):
            pass
        case ast.Name(id=name):
            scope = scopes.resolve(name, scopes.scope(node))
            bindings = scope.bound[name] if scope is not None and scope.kind != "class" else []
            sources = [_source(scopes, binding) for binding in bindings]
            return bool(sources) and all(
                source is not None and is_from_tools(source, scopes, references, depth + 1) for source in sources
            )
    return inner is not None and is_from_tools(inner, scopes, references, depth + 1)


def _source(scopes: Scopes, binding: ast.AST) -> ast.expr | None:
    """What a name is given, or a part of which it is given."""
    parent = scopes.parent(binding)
    if isinstance(parent, ast.Tuple):
        binding, parent = parent, scopes.parent(parent)
    match parent:
        case ast.Assign(value=source) | ast.NamedExpr(value=source):
            return source
        case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source) if target is binding:
            return source
    return None


def _is_gather(call: ast.Call) -> bool:
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="gather"), keywords=[]):
            return bool(call.args)
    return False


def _gathers_tools(argument: ast.expr, references: References) -> bool:
    match argument:
        case ast.Starred(value=ast.ListComp(elt=element) | ast.GeneratorExp(elt=element)):
            argument = element
    return isinstance(argument, ast.Call) and references.find(argument.func) is not None
