"""Hold what a program returns against the type that is asked for, before anything runs.

What is written out (a dict with its keys, a list, a comprehension) is compared part by part; of every other expression the
type checker says the type. A finding is made only where no run could give a right value: what a variable holds that is
filled later, and what is of no known type, is left to the value itself.
"""

import ast
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codemode_sandboxes.guest.json_values import to_json
from codemode_sandboxes.source import Function, Scope, Tree

from codemode_graph.check.clash import Clash, clash, kinds_of, read_type, without_parts
from codemode_graph.check.expression_types import expression_types
from codemode_graph.check.stored_keys import StoredKeys
from codemode_graph.check.tool_uses import assigned, returned
from codemode_graph.check.types import TypeChecker
from codemode_graph.check.variable_use import VariableUse
from codemode_graph.state import Finding
from codemode_graph.tools.annotations import NULL, UNKNOWN, Array, Map, Record, Shape, Tuple, Union, Unknown
from codemode_graph.tools.cards import render_type
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.text import listed, one_line, vocabulary

_DEPTH = 30
# Bounds for hostile programs: lists of one variable in the next double the steps with each line.
_MOST_LEAVES = 200
_MOST_STEPS = 5_000
_MOST_BYTES = 1_000_000
# What these return has one kind, whatever is in their arguments.
_ONE_KIND = vocabulary("len sorted list str repr dict set tuple bool any all int float")

_DISPLAYS = (
    *(ast.Dict, ast.List, ast.Tuple, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp),
    *(ast.NamedExpr, ast.IfExp, ast.Name),
)
_Step = Callable[[ast.expr, Shape, str], None]


async def find_wrong_values(
    code: str,
    tree: Tree,
    returns: ReturnType,
    *,
    signatures: Signatures,
    stubs: str,
    type_checker: TypeChecker | None,
) -> list[Finding]:
    """Return findings where a program's value can only be of another type than the one that is asked for.

    Args:
        code: The program, in script form.
        tree: Its index.
        returns: The type that is asked for.
        signatures: The tools.
        stubs: Their declarations, for the type checker.
        type_checker: Says the types of expressions; None leaves those out.

    Raises:
        SandboxError: The type checker does not answer.
    """
    walk = _Walk(tree, returns.shape, signatures)
    walk.program()
    if type_checker is not None and walk.leaves:
        nodes = [leaf.node for leaf in walk.leaves]
        walk.hold(await expression_types(code, nodes, stubs=stubs, type_checker=type_checker))
    if not walk.findings:
        walk.hold_literals(returns.problem)
    return walk.findings


class _Leaf:
    """An expression whose type the type checker has to say."""

    def __init__(self, node: ast.expr, expected: Shape, place: str) -> None:
        self.node, self.expected, self.place = node, expected, place


class _Walk:
    def __init__(self, tree: Tree, expected: Shape, signatures: Signatures) -> None:
        self.findings: list[Finding] = []
        self.leaves: list[_Leaf] = []
        self._wholes: list[ast.expr] = []
        self._tree, self._expected, self._signatures = tree, expected, signatures
        stored = StoredKeys(tree)
        self._stored, self._merges = stored.keys, stored.merges
        self._functions: set[ast.AST] = set()
        self._used: dict[tuple[str, Scope], list[VariableUse]] = {}
        self._steps = 0
        # The tools' types say nothing of what the program has stored under a key since.
        self._rereads = any(
            isinstance(each.ctx, ast.Load) and isinstance(each.slice, ast.Constant) and each.slice.value in self._stored
            for each in tree.of(ast.Subscript)
        )

    def program(self) -> None:
        """Walk the program's value: its last expression."""
        last = self._tree.root.body[-1] if self._tree.root.body else self._tree.root
        if isinstance(last, ast.Expr):
            self._walk(last.value, self._expected, "", direct=True)
        elif "any" not in kinds_of(self._expected) and "None" not in kinds_of(self._expected):
            self._find(last, f"the program ends without a value: end it with the answer, {self._words(self._expected)}")

    def hold(self, types: Mapping[ast.expr, str]) -> None:
        """Compare the types that the type checker has said."""
        for leaf in self.leaves:
            if leaf.node not in types:
                continue
            found = self._certain(leaf.node, read_type(types[leaf.node], self._signatures.records))
            if (why := clash(found, leaf.expected, self._stored)) is not None:
                self._find(leaf.node, self._tell(leaf.place, why))

    def hold_literals(self, problem: Callable[[Any], str | None]) -> None:
        """Validate each answer that is written out, as it would be when the program has run.

        Args:
            problem: Returns what is wrong with a value.
        """
        for node in self._wholes:
            try:
                value = ast.literal_eval(node)
            except (ValueError, TypeError, MemoryError, RecursionError):  # it holds names, calls or what is no value
                continue
            try:
                plain = to_json(value, max_bytes=_MOST_BYTES)
            except (ValueError, TypeError) as error:
                why: str | None = str(error)
            else:
                why = problem(plain)
            if why is not None:
                self._find(node, why if why.startswith("the answer") else f"the answer: {why}")

    def _walk(self, node: ast.expr, expected: Shape, place: str, *, direct: bool, depth: int = 0) -> None:
        """Compare an expression with the type that is asked for in its place.

        Args:
            node: The expression.
            expected: The type.
            place: Where in the answer.
            direct: Nothing can be added to the value between this expression and the answer.
            depth: How deep in the program.
        """
        self._steps += 1
        if not place and direct and self._steps <= _MOST_STEPS:
            self._wholes.append(node)
        if isinstance(expected, Unknown) or depth > _DEPTH:
            return
        if self._steps > _MOST_STEPS or len(self.leaves) >= _MOST_LEAVES:
            return

        walk = self._step(direct, depth)
        match node:
            case ast.NamedExpr(value=value):
                walk(value, expected, place)
            case ast.IfExp(body=body, orelse=orelse):
                walk(body, expected, place)
                walk(orelse, expected, place)
            case ast.Dict(keys=keys, values=values):
                self._dict(node, [*zip(keys, values, strict=True)], expected, place, direct, walk)
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if self._tree.are_builtin("dict"):
                items = [(ast.Constant(word.arg) if word.arg else None, word.value) for word in keywords]
                self._dict(node, items, expected, place, direct, walk)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                self._list(node, items, expected, place, walk)
            case ast.ListComp(elt=item) | ast.SetComp(elt=item):
                self._list(node, [item], expected, place, walk, length=False)
            case ast.DictComp(value=value):
                if (part := _only(expected, Map, Record)) is None:
                    self._kind(node, Map(UNKNOWN), expected, place)
                elif isinstance(part, Map):
                    walk(value, part.value, f"{place}[key]")
            case ast.Await(value=ast.Call(func=name)) | ast.Call(func=name) if (
                function := self._tree.function(name)
            ) is not None:
                self._function(function, expected, place, direct, depth)
            case ast.Name() if (source := self._source(node)) is not None:
                self._variable(node, source, expected, place, depth)
            case _:
                self.leaves.append(_Leaf(node, expected, place))

    def _dict(
        self,
        node: ast.expr,
        items: Sequence[tuple[ast.expr | None, ast.expr]],
        expected: Shape,
        place: str,
        direct: bool,
        walk: _Step,
    ) -> None:
        part = _only(expected, Map, Record)
        if part is None:
            self._kind(node, Map(UNKNOWN), expected, place)
        elif isinstance(part, Map):
            for key, value in items:
                if key is not None:
                    walk(value, part.value, f"{place}[{ast.unparse(key)}]")
        elif isinstance(part, Record):
            written = [key.value if isinstance(key, ast.Constant) else None for key, _ in items]
            whole = all(isinstance(key, str) for key in written)
            if whole and (direct or not self._merges):
                self._keys(node, part, {str(key) for key in written} | (set() if direct else self._stored), place)
            for name, (_, value) in zip(written, items, strict=True):
                # Of equal keys the last counts.
                if isinstance(name, str) and name in part.fields and written.count(name) == 1:
                    walk(value, part.fields[name].shape, f"{place}[{name!r}]")

    def _keys(self, node: ast.expr, record: Record, keys: set[str], place: str) -> None:
        for key, each in record.fields.items():
            if each.required and key not in keys:
                self._find(node, self._tell(place, Clash("", None, record, key), keys))

    def _list(
        self, node: ast.expr, items: list[ast.expr], expected: Shape, place: str, walk: _Step, length: bool = True
    ) -> None:
        part = _only(expected, Array, Tuple)
        if part is None:
            self._kind(node, Array(UNKNOWN), expected, place)
        elif isinstance(part, Array):
            for number, item in enumerate(items):
                if not isinstance(item, ast.Starred):
                    walk(item, part.item, f"{place}[{number if length else 'i'}]")
        elif isinstance(part, Tuple) and length and not any(isinstance(item, ast.Starred) for item in items):
            if len(items) != len(part.items):
                about = f"has {len(items)} items, but must have {len(part.items)}"
                self._find(node, f"{_answer(place)} {about}: {self._words(part)}")
            for number, (item, shape) in enumerate(zip(items, part.items, strict=False)):
                walk(item, shape, f"{place}[{number}]")

    def _kind(self, node: ast.expr, found: Shape, expected: Shape, place: str) -> None:
        if (why := clash(found, expected, ())) is not None:
            self._find(node, self._tell(place, why))

    def _function(self, function: Function, expected: Shape, place: str, direct: bool, depth: int) -> None:
        """Compare what one of the program's functions returns."""
        if function in self._functions or self._tree.is_generator(function):
            return
        self._functions.add(function)
        values = returned(self._tree, function)
        raises = any(isinstance(each, ast.Raise) for each in function.body)
        if not values and not raises and clash(NULL, expected, ()) is not None:
            self._find(function, f"{function.name}() returns nothing: end it with `return`, {self._words(expected)}")
        for value in values:
            self._walk(value, expected, place, direct=direct, depth=depth + 1)
        self._functions.discard(function)

    def _variable(self, name: ast.Name, source: ast.expr, expected: Shape, place: str, depth: int) -> None:
        """Compare what is assigned to a variable, and what is put into it where that is written out."""
        changes = [use for use in self._uses(name) if use.changes]
        if not changes and self._is_written_out(source):
            self._walk(source, expected, place, direct=False, depth=depth + 1)
            return
        items = [use.appended for use in changes]
        part = _only(expected, Array)
        if changes and _is_list(source) and all(item is not None for item in items):
            if part is None:
                self._kind(name, Array(UNKNOWN), expected, place)
            for item in items if isinstance(part, Array) else ():
                assert item is not None
                assert isinstance(part, Array)
                self._walk(item, part.item, f"{place}[i]", direct=False, depth=depth + 1)
            return
        record = _only(expected, Record)
        sets = [use.stored for use in changes]
        if (
            changes
            and isinstance(source, ast.Dict)
            and isinstance(record, Record)
            and all(each is not None for each in sets)
        ):
            known = [each for each in sets if each is not None]
            # A key that is computed may be any of them.
            if all(key is not None for key, _ in known):
                written = [*zip(source.keys, source.values, strict=True)]
                written += [(ast.Constant(key), value) for key, value in known]
                self._dict(name, written, expected, place, False, self._step(False, depth))
            return
        self.leaves.append(_Leaf(name, expected, place))

    def _is_written_out(self, node: ast.expr) -> bool:
        """Return whether an expression shows more than its type: its parts, or the function that makes it."""
        call = node.value if isinstance(node, ast.Await) else node
        if isinstance(call, ast.Call):
            return self._tree.function(call.func) is not None or (
                isinstance(call.func, ast.Name) and call.func.id == "dict"
            )
        return isinstance(node, _DISPLAYS)

    def _step(self, direct: bool, depth: int) -> _Step:
        def walk(inner: ast.expr, shape: Shape, place: str) -> None:
            self._walk(inner, shape, place, direct=direct, depth=depth + 1)

        return walk

    def _certain(self, node: ast.expr, found: Shape) -> Shape:
        """Return what is certain of an expression's type: a variable that was filled may hold more than the checker knows."""
        if self._rereads:
            found = UNKNOWN if kinds_of(found) & {"str", "number", "bool"} else without_parts(found)
        filled = any(isinstance(each, ast.Name) and self._is_filled(each) for each in ast.walk(node))
        if not filled:
            return found
        match node:
            case ast.Name() | ast.JoinedStr():
                return without_parts(found)
            case ast.Call(func=ast.Name(id=name)) if name in _ONE_KIND and self._tree.are_builtin(name):
                return without_parts(found)
        return UNKNOWN

    def _source(self, name: ast.Name) -> ast.expr | None:
        """Return the only expression that a variable is assigned, None where there are others."""
        scope = self._owner(name)
        if scope is None or len(scope.bound[name.id]) != 1:
            return None
        # Behind a test it is less than what was assigned; the type checker knows that, this walk does not.
        if any(use.tested for use in self._uses(name)):
            return None
        return assigned(self._tree, scope.bound[name.id][0])

    def _uses(self, name: ast.Name) -> list["VariableUse"]:
        scope = self._owner(name)
        if scope is None:
            return []
        if (name.id, scope) not in self._used:
            self._used[name.id, scope] = [VariableUse(self._tree, use) for use in self._tree.uses(name.id, scope)]
        return self._used[name.id, scope]

    def _is_filled(self, name: ast.Name) -> bool:
        scope = self._owner(name)
        if scope is None:
            return False
        statements = [self._tree.parent(binding) for binding in scope.bound[name.id]]
        counts = any(
            isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant) for each in statements
        )  # `total += x` of a number makes another number, which the checker follows
        merged = any(isinstance(each, ast.AugAssign) for each in statements) and not counts
        return merged or any(use.changes for use in self._uses(name))

    def _owner(self, name: ast.Name) -> Scope | None:
        scope = self._tree.owner(name)
        return None if scope is None or scope.kind == "class" else scope

    def _find(self, node: ast.AST, message: str) -> None:
        finding = Finding(rule="wrong-answer", message=message, line=getattr(node, "lineno", None))
        if finding not in self.findings:
            self.findings.append(finding)

    def _tell(self, place: str, why: Clash, keys: set[str] | None = None) -> str:
        where = _answer(place + why.place)
        if why.key:
            has = keys if keys is not None else set(why.found.fields) if isinstance(why.found, Record) else set()
            close = difflib.get_close_matches(why.key, has, 1)
            hint = f"; did you mean its {close[0]!r}?" if close else ""
            its = f"its keys are {listed(map(repr, sorted(has)))}" if has else "it has no keys"
            what = f"is {self._words(why.found)}, which has" if why.found is not None else "has"
            return f"{where} {what} no key {why.key!r}; {its}{hint}"
        assert why.found is not None
        advice = ""
        if isinstance(why.found, Record):
            fitting = [
                key
                for key, each in why.found.fields.items()
                if not isinstance(each.shape, Unknown) and clash(each.shape, why.expected, ()) is None
            ]
            advice = f": take what is asked for out of it, such as {fitting[0]!r}" if fitting else ""
        return f"{where} is {self._words(why.found)}, but must be {self._words(why.expected)}{advice}"

    def _words(self, shape: Shape) -> str:
        """Return a type as the cards write it."""
        if isinstance(shape, Record) and (name := self._signatures.names.get(shape)) is not None:
            return f"a whole {name}"
        if isinstance(shape, Array) and isinstance(shape.item, Unknown):
            return "a list"
        if isinstance(shape, Map) and isinstance(shape.value, Unknown):
            return "a dict"
        if isinstance(shape, Array) and isinstance(shape.item, Record) and shape.item in self._signatures.names:
            return f"a list of whole {self._signatures.names[shape.item]}"
        return one_line(" where ".join(render_type(shape, self._signatures)[:2]), 200)


def _only(shape: Shape, *kinds: type[Record | Map | Array | Tuple]) -> Shape | None:
    """Return the only member of these kinds; `Unknown` where there are several; None where there is none."""
    members = [each for each in (shape.members if isinstance(shape, Union) else (shape,)) if isinstance(each, kinds)]
    return UNKNOWN if len(members) > 1 else next(iter(members), None)


def _is_list(node: ast.expr) -> bool:
    return isinstance(node, ast.List) and not node.elts


def _answer(place: str) -> str:
    return f"the answer{place}"
