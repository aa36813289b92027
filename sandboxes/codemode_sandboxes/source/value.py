"""The last expression of a program that ends in another statement: the value that it must mean."""

import ast

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Function, Tree, tree_of

__all__ = ["append_value", "is_print"]

# Names that models give to the value of a program, as seen in their programs.
_RESULTS = ("result", "results", "output", "answer")
_FILLERS = {"add", "append", "extend", "insert", "reverse", "sort", "update"}
_Block = ast.If | ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Try | ast.TryStar | ast.Match


def append_value(code: str) -> tuple[str, list[str]]:
    """Append the last expression that a program lacks.

    * After an assignment, and after a call such as `rows.append(...)`: the variable.
    * After `print(x)`, or `print(json.dumps(x))`, where x is no text: x. After `print(... await x ...)`: what was awaited.
    * After a block: the one variable called `result`, `results`, `output` or `answer`; else the one that it sets or
      fills; else what it awaits last.
    * Else, what the top level's only awaited call of one of the program's functions returned.

    A program to which none of this applies is left as it is.

    Returns:
        The program, and notes.
    """
    tree = tree_of(code)
    if not tree.root.body or isinstance(tree.root.body[-1], ast.Return):
        return code, []
    edits = Edits(code)
    last = tree.root.body[-1]
    printed = last.value if isinstance(last, ast.Expr) and is_print(last.value) else None
    if isinstance(last, ast.Expr) and printed is None and _filled(last) is None:
        return code, []
    value = _Value(edits, tree)
    if printed is not None:
        name = value.printed(printed)
    elif isinstance(last, _Block):
        name = value.of_block(last)
    else:
        name = _assigned(tree, last)
    name = name or value.of_entry()
    if name is None:
        return code, []
    # Behind a block the value needs a line of its own; it comes after all others, so none moves.
    if isinstance(last, _Block | Function | ast.ClassDef):
        return f"{edits.apply().rstrip()}\n{name}\n", [f"the value is {name}"]
    edits.insert(edits.span(last)[1], f"; {name}")
    return edits.apply(), []


class _Value:
    """The variable that holds a program's value; each method binds one by edits where there is none."""

    def __init__(self, edits: Edits, tree: Tree) -> None:
        self._edits = edits
        self._tree = tree
        self._fresh = "_value"
        while self._fresh in tree.module.bound:
            self._fresh += "_"

    def printed(self, call: ast.expr) -> str | None:
        """Return the variable of what a `print` shows."""
        waits = [n for n in ast.walk(call) if isinstance(n, ast.Await) and self._tree.scope(n) is self._tree.module]
        # One awaited call in a print is what the program was about; of several, none can be preferred.
        value: ast.expr | None = waits[0] if len(waits) == 1 else None
        match call:
            case ast.Call(args=[argument]) if not waits:
                value = _plain_value(argument)
        if value is None:
            return None
        if isinstance(value, ast.NamedExpr):
            value = value.target
        if isinstance(value, ast.Name):
            return value.id if self._is_data(value.id) else None
        start, end = self._edits.span(value)
        self._edits.insert(start, f"({self._fresh} := ")
        self._edits.insert(end, ")")
        return self._fresh

    def of_block(self, block: _Block) -> str | None:
        """Return the variable that a block fills, or that gets what it awaits last."""
        named = [name for name in _RESULTS if self._is_data(name)]
        if len(named) != 1:
            named = sorted(_set_or_filled(self._tree, block))
        if len(named) == 1:
            return named[0] if self._ensure(named[0], block) else None
        # A loop awaits many values, so the ends of loops are no candidates.
        waits = [s for s in _tails(block) if isinstance(s, ast.Expr) and isinstance(s.value, ast.Await)]
        if named or not waits or not self._ensure(self._fresh, block):
            return None
        for statement in waits:
            self._edits.insert(self._edits.span(statement)[0], f"{self._fresh} = ")
        return self._fresh

    def of_entry(self) -> str | None:
        """Return the variable of the only awaited call of one of the program's functions."""
        entries = [s for s in self._tree.root.body if self._is_entry(s)]
        match entries:
            case [ast.Assign(targets=[ast.Name(id=name)])]:
                return name
            case [ast.Expr() as statement]:
                self._edits.insert(self._edits.span(statement)[0], f"{self._fresh} = ")
                return self._fresh
        return None

    def _is_entry(self, statement: ast.stmt) -> bool:
        match statement:
            case (
                ast.Assign(value=ast.Await(value=ast.Call(func=name)))
                | ast.Expr(value=ast.Await(value=ast.Call(func=name)))
            ):
                return self._tree.function(name) is not None
        return False

    def _is_data(self, name: str) -> bool:
        bindings = self._tree.module.bound.get(name, [])
        return bool(bindings) and all(isinstance(b, ast.Name) for b in bindings)

    def _ensure(self, name: str, block: ast.stmt) -> bool:
        """Bind a variable to None before a block, the last statement, where the block may not bind it; False if impossible."""
        body = self._tree.root.body
        if any(_binds([s], name) for s in body):
            return True
        bindings = set(self._tree.module.bound.get(name, ()))
        # Before the first statement that binds it, so that no value of its own is lost.
        first = next((i for i, s in enumerate(body) if bindings.intersection(ast.walk(s))), len(body) - 1)
        for index in range(first, -1, -1):
            # No line may move, so the assignment takes a free line before the statement, or the end of the one before.
            number = self._edits.code.count("\n", 0, self._edits.span(body[index])[0])
            if number > ((body[index - 1].end_lineno or 0) if index else 0):
                at, text = self._edits.line_start(number), self._edits.line(number)
                self._edits.replace(at, at + len(text), f"{name} = None  {text.strip()}".rstrip())
                return True
            if index and not isinstance(body[index - 1], _Block | Function | ast.ClassDef):
                self._edits.insert(self._edits.span(body[index - 1])[1], f"; {name} = None")
                return True
        if isinstance(block, ast.If) and _binds_if_any(block, name):
            self._edits.insert(len(self._edits.code.rstrip()), f"\nelse:\n    {name} = None")
            return True
        return False


def _plain_value(node: ast.expr) -> ast.expr | None:
    """Return what a printed expression shows, where that is more than a text: for `json.dumps(x)`, x."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="dumps"), args=[inner, *_]):
            return _plain_value(inner)
        case ast.Call(func=ast.Name(id="str" | "repr")) | ast.Call(func=ast.Attribute(attr="format" | "join")):
            return None
        case ast.BinOp(left=left, right=right) if _plain_value(left) is None or _plain_value(right) is None:
            return None
        case ast.Constant() | ast.JoinedStr() | ast.Starred() | ast.GeneratorExp():
            return None
    return node


def _assigned(tree: Tree, statement: ast.stmt) -> str | None:
    """Return the variable, or the tuple of variables, that an assignment sets or a call fills."""
    match statement:
        case ast.Assign(targets=[ast.Tuple(elts=elements)]) if all(isinstance(e, ast.Name) for e in elements):
            return f"({', '.join(e.id for e in elements if isinstance(e, ast.Name))},)"
        case ast.Assign(targets=targets):
            names = [_base(target) for target in targets]
        case ast.AnnAssign(target=target, value=ast.expr()) | ast.AugAssign(target=target):
            names = [_base(target)]
        case ast.Expr():
            names = [_filled(statement)]
        case _:
            return None
    return next((n for n in names if n is not None and tree.module.bound.get(n)), None)


def _filled(statement: ast.Expr) -> str | None:
    match statement.value:
        case ast.Call(func=ast.Attribute(value=value, attr=attribute)) if attribute in _FILLERS:
            return _base(value)
    return None


def _base(node: ast.expr) -> str | None:
    """Return the variable that holds what is set or filled: `rows` of `rows[0]['n']` and of `rows.setdefault(k, [])`."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Call(func=ast.Attribute() as value):
                node = value
            case _:
                return None


def _set_or_filled(tree: Tree, block: ast.stmt) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(block):
        if not isinstance(node, ast.stmt) or tree.scope(node) is not tree.module:
            continue
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names |= {n for n in map(_base, node.targets[0].elts) if n}
        elif name := _assigned(tree, node):
            names.add(name)
    return names


def _tails(block: ast.stmt) -> list[ast.stmt]:
    """Return the statements with which a block may end, loops aside."""
    match block:
        case ast.If(body=body, orelse=orelse):
            ends = [body, orelse]
        case ast.With(body=body) | ast.AsyncWith(body=body):
            ends = [body]
        case (
            ast.Try(body=body, orelse=orelse, handlers=handlers)
            | ast.TryStar(body=body, orelse=orelse, handlers=handlers)
        ):
            ends = [orelse or body, *(handler.body for handler in handlers)]
        case ast.Match(cases=cases):
            ends = [case.body for case in cases]
        case ast.For() | ast.AsyncFor() | ast.While():
            return []
        case _:
            return [block]
    return [tail for end in ends if end for tail in _tails(end[-1])]


def _binds(statements: list[ast.stmt], name: str) -> bool:
    """Return whether a variable is bound after statements that ran without a jump out of them."""
    for statement in statements:
        match statement:
            case ast.Assign(targets=targets):
                found = any(isinstance(n, ast.Name) and n.id == name for t in targets for n in ast.walk(t))
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr()):
                found = target == name
            case ast.With(body=body) | ast.AsyncWith(body=body):
                found = _binds(body, name)
            case ast.If(body=body, orelse=orelse):
                found = _binds(body, name) and _binds(orelse, name)
            # A branch that raises never gets to the place where the variable is read.
            case ast.Try(body=body, orelse=orelse, handlers=handlers, finalbody=final):
                ends = [body + orelse, *(handler.body for handler in handlers)]
                found = _binds(final, name) or all(_binds(end, name) or _raises(end) for end in ends)
            case _:
                found = False
        if found:
            return True
    return False


def _binds_if_any(block: ast.If, name: str) -> bool:
    """Return whether each branch of an `if` binds a variable, and only the last `else` is missing."""
    while _binds(block.body, name):
        match block.orelse:
            case []:
                return True
            case [ast.If() as block]:
                continue
            case _:
                return False
    return False


def _raises(statements: list[ast.stmt]) -> bool:
    return isinstance(statements[-1], ast.Raise)


def is_print(node: ast.AST) -> bool:
    """Return whether a node is a call of `print` or `pprint`."""
    match node:
        case ast.Call(func=ast.Name(id="print" | "pprint")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="pprint"), attr="pprint")):
            return True
    return False
