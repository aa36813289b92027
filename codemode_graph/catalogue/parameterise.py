"""Make a function of a program that ran: what it was given once becomes its parameters."""

import ast
import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from codemode_sandboxes.source import Edits, Scope, Tree, parse, tree_of
from pydantic import PydanticUserError, TypeAdapter

from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.schema import Parameters

_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_HINTS = {"string": "str", "boolean": "bool", "integer": "int", "number": "float", "array": "list", "object": "dict"}
_SCHEMA = frozenset({"type", "enum", "anyOf", "oneOf", "const", "$ref"})
Declarations = Mapping[str, Any] | Sequence[str]


def to_function(code: str, name: str, parameters: Declarations) -> tuple[str, dict[str, Any]]:
    """Return the function for a program, and the JSON Schema of its arguments.

    Args:
        code: The program, in script form.
        name: The function's name.
        parameters: Names of variables that the program sets to a constant; or by name, a type or a JSON Schema for such a
            variable, or the value in the program that the argument takes the place of.

    Raises:
        ConfigurationError: The program has no such variable, or no such value, or cannot be a function.
    """
    if isinstance(parameters, str):
        raise ConfigurationError(f"parameters are a list of names, or a dict, not {parameters!r}")
    declared = dict(parameters) if isinstance(parameters, Mapping) else dict.fromkeys(parameters, None)
    tree, edits = tree_of(code), Edits(code)
    if any(True for _ in tree.of(ast.Global)):
        raise ConfigurationError("the program uses global variables, so it cannot be a function")
    properties = {key: _take(tree, edits, key, default) for key, default in declared.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    schema["required"] = [key for key, each in properties.items() if "default" not in each]
    last = tree.root.body[-1]
    if isinstance(last, ast.Expr):
        edits.insert(edits.span(last)[0], "return ")
    arguments = [(item.keyword, item.schema, item.required) for item in Parameters(schema)]
    header = ", ".join(_argument(key, each, required=required) for key, each, required in arguments)
    # A list that is a default would be one for all calls, with what the program puts into it.
    fresh = [
        f"    {key} = {_default(each)!r} if {key} is None else {key}\n"
        for key, each, required in arguments
        if not required and isinstance(_default(each), list | dict)
    ]
    try:
        text = f"async def {name}({header}):\n{''.join(fresh)}{_indented(edits.apply().strip(chr(10)))}\n"
        compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ConfigurationError(f"the program cannot be a function: {error.msg}") from None
    return text, schema


def _take(tree: Tree, edits: Edits, name: str, default: Any) -> dict[str, Any]:
    """Take a variable or a value out of the program, and return the schema of the argument in its place."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ConfigurationError(f"a parameter is named as a variable is, not {name!r}")
    schema = _schema_of(name, default)
    scopes = [scope for scope in tree.scopes() if name in scope.bound]
    if any(scope.kind == "class" for scope in scopes):
        raise ConfigurationError(f"the program has {name!r} in a class: rename the parameter")
    if scopes:
        match [statement for scope in scopes for statement in _constant(tree, scope, name)]:
            case [ast.Assign(value=value) as statement]:
                literal = _literal(value)
            case _:
                raise ConfigurationError(f"the program sets {name!r} to more than one constant: rename the parameter")
        if isinstance(literal, list | dict) and _is_repeated(tree, statement):
            raise ConfigurationError(
                f"the program makes {name!r} anew each time it comes there: it cannot be a parameter"
            )
        if literal is _NONE or (schema is None and default is not None and literal != default):
            raise ConfigurationError(
                f"the program sets {name!r} to something else than that constant: rename the parameter"
            )
        edits.replace(*edits.span(statement), "pass")
        return schema or _schema_of_value(literal)
    if any(use.id == name for use in tree.unresolved()) or default is None or schema is not None:
        raise ConfigurationError(
            f"the program has no variable {name!r} that it sets to a constant: give the value that the parameter takes the "
            f"place of, such as parameters={{{name!r}: 'Oslo'}}"
        )
    found = [
        node
        for node in tree.of(ast.Constant)
        if node.value == default
        and type(node.value) is type(default)
        and not isinstance(tree.parent(node), ast.JoinedStr)
    ]
    if not found:
        raise ConfigurationError(f"the program does not have the value {default!r} of the parameter {name!r}")
    if any(isinstance(each, ast.JoinedStr) for node in found for each in tree.ancestors(node)):
        raise ConfigurationError(f"the value {default!r} stands within a text of the program: it cannot be a parameter")
    # There a name would take any value, and not be compared with one.
    if any(isinstance(each, ast.pattern) for node in found for each in tree.ancestors(node)):
        raise ConfigurationError(f"the value {default!r} stands in a `case` of the program: it cannot be a parameter")
    for node in found:
        edits.replace(*edits.span(node), name)
    return _schema_of_value(default)


def _constant(tree: Tree, scope: Scope, name: str) -> list[ast.Assign]:
    """Return the one statement by which a scope sets a name, where without it the name would be the parameter.

    A scope within, such as a function with an argument of the name, has a variable of its own.
    """
    around = scope.parent
    while around is not None:
        if name in around.bound:
            return []
        around = around.parent
    match [tree.parent(binding) for binding in scope.bound[name]]:
        case [ast.Assign(targets=[ast.Name()]) as statement] if scope.kind in ("module", "function"):
            return [statement]
    return []


def _is_repeated(tree: Tree, statement: ast.stmt) -> bool:
    """Return whether a statement may run more than once: in a loop, or in a function that is not `main`."""
    around = list(tree.ancestors(statement))
    functions = [each.name for each in around if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return functions not in ([], ["main"]) or any(
        isinstance(each, ast.For | ast.AsyncFor | ast.While) for each in around
    )


_NONE = object()


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return _NONE


def _schema_of(name: str, default: Any) -> dict[str, Any] | None:
    """Return the JSON Schema that a declaration is, or None where it is a value, or nothing."""
    if isinstance(default, Mapping):
        return dict(default) if default.keys() & _SCHEMA else None
    if default is None or isinstance(default, str | int | float | list):
        return None
    try:
        # A reference counts from the schema of all arguments, in which this one stands.
        return TypeAdapter(default).json_schema(ref_template=f"#/properties/{name}/$defs/{{model}}")
    except (PydanticUserError, TypeError) as error:
        raise ConfigurationError(f"{default!r} is no type of a parameter: {error}") from None


def _schema_of_value(value: Any) -> dict[str, Any]:
    kind = _TYPES.get(type(value))
    if kind is None and value is not None:
        raise ConfigurationError(f"{value!r} is no JSON value: declare the type of the parameter, such as list")
    return {"type": kind} if kind else {}


def _argument(name: str, schema: Any, *, required: bool) -> str:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    hint = _HINTS.get(kind) if isinstance(kind, str) else None
    typed = f"{name}: {hint}" if hint else name
    if required:
        return typed
    default = _default(schema)
    if isinstance(default, list | dict):
        return f"{typed} | None = None" if hint else f"{name} = None"
    return f"{typed} = {default!r}"


def _default(schema: Any) -> Any:
    return json.loads(json.dumps(schema["default"]))


def _indented(code: str) -> str:
    """Indent the lines of a program, but for those within a text."""
    within: set[int] = set()
    for node in ast.walk(parse(code)):
        if isinstance(node, ast.Constant | ast.JoinedStr) and (end := node.end_lineno) and end > node.lineno:
            within.update(range(node.lineno + 1, end + 1))
    lines = code.rstrip("\n").split("\n")
    return "\n".join(
        line if number in within or not line.strip() else f"    {line}" for number, line in enumerate(lines, 1)
    )
