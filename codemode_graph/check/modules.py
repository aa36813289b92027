"""Imports: what to use instead of modules that the sandbox lacks, and imports that are idle or forgotten."""

import ast
import sys
from collections.abc import Collection, Iterator

from codemode_sandboxes.choice import needed_modules
from codemode_sandboxes.source import Edits, Tree, tree_of

from codemode_graph.state import Finding

_TOOLS = "there is no network; call the tools"
_FILES = "there are no files, processes or environment; use the values that the task gives and that tools return"
_PLAIN = "write it in plain Python, with lists and dicts"
# A model told only that a module is missing tries the next one like it; these words end that.
_INSTEAD = {
    **dict.fromkeys(
        ("aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "urllib", "urllib3"), _TOOLS
    ),
    **dict.fromkeys(("glob", "io", "os", "pathlib", "shutil", "subprocess", "sys", "tempfile"), _FILES),
    **dict.fromkeys(("numpy", "pandas", "polars", "scipy"), _PLAIN),
    **dict.fromkeys(("concurrent", "multiprocessing", "threading"), "await the calls together with asyncio.gather"),
    **dict.fromkeys(("anyio", "curio", "trio", "uvloop"), "use asyncio"),
    **dict.fromkeys(("dateutil", "pytz", "zoneinfo", "arrow", "pendulum"), "use datetime, with timezone and timedelta"),
    **dict.fromkeys(("calendar",), "use datetime"),
    **dict.fromkeys(("bisect", "heapq"), "use sorted(...)"),
    **dict.fromkeys(("pprint",), "return the value, or print it"),
    **dict.fromkeys(("logging", "traceback", "warnings"), "use print"),
    **dict.fromkeys(("bs4", "lxml", "html", "xml"), "use re and the methods of str"),
    **dict.fromkeys(("csv",), "use line.split(',')"),
    **dict.fromkeys(("yaml", "orjson", "simplejson", "ujson"), "use json"),
    **dict.fromkeys(("regex",), "use re"),
    "statistics": "use sum(xs) / len(xs), sorted(xs), min and max",
    "operator": "use a lambda, such as key=lambda x: x['name']",
    "string": "write the characters out",
    "textwrap": "use the methods of str",
    "contextlib": "use try and except",
    "enum": "use plain strings or ints",
    "uuid": "let a tool make the id",
    "pydantic": "use plain dicts",
    "langchain": _TOOLS,
    "openai": _TOOLS,
}
# Names so common that models use them without an import, and that hardly mean anything else.
_NAMES = {
    **dict.fromkeys(("Counter", "OrderedDict", "defaultdict", "deque", "namedtuple"), "collections"),
    **dict.fromkeys(("date", "datetime", "timedelta", "timezone"), "datetime"),
    **dict.fromkeys(("Any", "Dict", "List", "Optional", "Tuple", "Union"), "typing"),
    **dict.fromkeys(("cache", "lru_cache", "partial", "reduce"), "functools"),
    "Decimal": "decimal",
    "dataclass": "dataclasses",
}
_DATETIME_MEMBERS = {"MAXYEAR", "MINYEAR", "UTC", "date", "datetime", "time", "timedelta", "timezone", "tzinfo"}
_Import = ast.Import | ast.ImportFrom


def instead_of(module: str) -> str:
    """Return what to use instead of a module."""
    return _INSTEAD.get(module, "do without it, or write what you need of it in plain Python")


def imported_modules(tree: Tree) -> frozenset[str]:
    """Return the top-level modules that a program imports."""
    return frozenset(module for node in tree.of(ast.Import, ast.ImportFrom) for module in _modules(node))


def find_missing_modules(tree: Tree, modules: Collection[str]) -> Iterator[Finding]:
    """Find imports of modules that the sandbox lacks, unless the program catches their failure."""
    for module, node in needed_modules(tree):
        if module not in modules:
            message = f"the module {module[:80]} does not exist here: {instead_of(module)}"
            yield Finding(rule="missing-module", message=message, line=node.lineno)


def drop_idle_imports(code: str, modules: Collection[str]) -> tuple[str, list[str]]:
    """Remove imports of modules that the sandbox lacks where nothing uses them."""
    tree = tree_of(code)
    edits = Edits(code)
    fixes = []
    for node in tree.of(ast.Import, ast.ImportFrom):
        if node.names[0].name == "*":
            continue
        scope = tree.scope(node)
        lacking = [alias for alias in node.names if _top(node, alias) not in modules]
        idle = [a for a in lacking if not tree.uses(a.asname or a.name.partition(".")[0], scope)]
        # `from x import a, b` fails as a whole where x is missing, so it is dropped only when all of it is idle.
        if not idle or (isinstance(node, ast.ImportFrom) and len(idle) < len(node.names)):
            continue
        rest = [ast.unparse(alias) for alias in node.names if alias not in idle]
        edits.drop(node, f"import {', '.join(rest)}" if rest else "")
        names = sorted({_top(node, alias) for alias in idle})
        fixes.append(f"line {node.lineno}: dropped the import of {', '.join(names)}, which nothing uses")
    return edits.apply(), fixes


def add_missing_imports(code: str, modules: Collection[str]) -> tuple[str, list[str]]:
    """Import modules, and a few of their well-known names, that the program uses but forgot to import."""
    tree = tree_of(code)
    forgotten = {name.id: name for name in tree.unresolved()}
    found = (_import_for(tree, name, modules) for name in forgotten.values())
    needed = dict.fromkeys(statement for statement in found if statement is not None)
    if not needed:
        return code, []
    edits = Edits(code)
    text = "; ".join(needed)
    line = _insert_first(edits, tree, text)
    if line is None:
        return code, []
    return edits.apply(), [f"line {line}: added the missing `{statement}`" for statement in needed]


def _import_for(tree: Tree, name: ast.Name, modules: Collection[str]) -> str | None:
    attributes = {node.attr for use in tree.names(name.id) if isinstance(node := tree.parent(use), ast.Attribute)}
    is_module = isinstance(tree.parent(name), ast.Attribute) and name.id in modules
    if name.id == "datetime":  # the module or its class, whichever has the attributes that are used
        is_module = is_module and bool(attributes & _DATETIME_MEMBERS)
    if is_module and name.id in sys.stdlib_module_names:
        return f"import {name.id}"
    module = _NAMES.get(name.id)
    return f"from {module} import {name.id}" if module in modules else None


def _insert_first(edits: Edits, tree: Tree, text: str) -> int | None:
    """Insert statements where they run first; return their line, or None where every place would move lines."""
    # A definition runs nothing yet, so an import may stand after it; no line may move, so it needs a free line or a
    # simple statement.
    end = 0
    for statement in tree.root.body:
        first = edits.code.count("\n", 0, edits.span(statement)[0]) + 1
        for number in range(end + 1, first):
            shown = edits.line(number).strip()
            if not shown or shown.startswith("#"):
                start = edits.line_start(number)
                edits.replace(start, start + len(edits.line(number)), f"{text}  {shown}".rstrip())
                return number
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and not statement.decorator_list:
            end = statement.end_lineno or first
            continue
        if isinstance(statement, _SIMPLE):
            edits.insert(edits.span(statement)[0], f"{text}; ")
            return first
        return None
    return None


_SIMPLE = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Import | ast.ImportFrom | ast.Pass | ast.Assert


def _modules(node: _Import) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [(node.module or ".").partition(".")[0] if not node.level else "."]
    return [alias.name.partition(".")[0] for alias in node.names]


def _top(node: _Import, alias: ast.alias) -> str:
    return alias.name.partition(".")[0] if isinstance(node, ast.Import) else _modules(node)[0]
