"""Follow the types of tools' results through a program: its variables, functions, lambdas and containers.

A shape is what a value may be at any time, whatever the order in which the program does things. It is unknown where that is
not certain, so what no shape allows cannot work.
"""

import ast
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from codemode_sandboxes.source import Function, Scope, Tree

from codemode_graph.check.call_shapes import FUNCTIONS, METHODS, MODULE_FUNCTIONS, applied_to
from codemode_graph.check.puts import Puts
from codemode_graph.check.tool_uses import References, returned
from codemode_graph.check.value_shapes import (
    NOTHING,
    NUMBER,
    TEXT,
    TRUTH,
    Later,
    each_of,
    is_large,
    is_number,
    is_text,
    items,
    join,
    literal,
    lookup,
    members,
    merge,
    own_record,
    values,
    without_none,
)
from codemode_graph.tools.annotations import (
    NULL,
    UNKNOWN,
    Array,
    Literals,
    Map,
    Record,
    Shape,
    Tuple,
    Union,
    Unknown,
)
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.text import vocabulary

Called = ast.Lambda | Function
# Bounds for hostile programs: what is deeper, or takes more steps, is unknown.
_DEEPEST = 60
_MOST_STEPS = 20_000
_ROUNDS = 4
_MOST_KEYS = 50
_NEVER = sys.maxsize
# What these do to variables stands nowhere in the text.
_OPAQUE = vocabulary("exec eval globals locals vars setattr delattr __import__ compile")
_NUMBERS = (ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)


class Flow:
    """The shapes of the expressions of one program.

    Args:
        tree: The program.
        references: The places where it names tools.
        signatures: The tools.
    """

    def __init__(self, tree: Tree, references: References, signatures: Signatures) -> None:
        self.tree, self.references, self._signatures = tree, references, signatures
        self._known: dict[Hashable, Shape] = {}
        # What is computed now, each with its place and what is taken for it; and what was computed from such a guess, with the
        # place of the oldest.
        self._open: dict[Hashable, tuple[int, Shape]] = {}
        self._guessed: dict[Hashable, int] = {}
        self._oldest = _NEVER
        opaque = tree.module.star or any(map(tree.names, _OPAQUE))
        self._steps, self._depth = _MOST_STEPS if opaque else 0, 0
        self.puts = Puts(self, references)

    def of(self, node: ast.expr | None) -> Shape:
        """Return the shape of an expression's value; unknown where it is not certain."""
        known = self._known.get(node)
        if known is not None:
            return known
        evaluate = _EVALUATE.get(type(node))
        self._steps += 1
        if evaluate is None or self._depth > _DEEPEST or self._steps > _MOST_STEPS:
            return UNKNOWN
        before, self._oldest = self._oldest, _NEVER
        self._depth += 1
        shape = evaluate(self, node)
        self._depth -= 1
        if self._oldest == _NEVER:
            self._known[node] = shape
        self._oldest = min(before, self._oldest)
        return shape

    def solve(self, key: Hashable, compute: Callable[[], Shape]) -> Shape:
        """Return the shape of something that may depend on itself, such as a variable in a loop.

        It is computed from what is known of it until that no longer changes.
        """
        if key in self._known:
            shape, self._oldest = self._known[key], min(self._oldest, self._guessed.get(key, _NEVER))
            return shape
        if key in self._open:
            place, shape = self._open[key]
            self._oldest = min(self._oldest, place)
            return shape
        place, before, shape = len(self._open), self._oldest, NOTHING
        start = len(self._guessed)
        for _ in range(_ROUNDS):
            self._open[key], self._oldest = (place, shape), _NEVER
            found = compute()
            found = UNKNOWN if is_large(found) else found
            if self._oldest > place or found == shape:
                shape = found
                break
            shape = found
            # What was computed from an earlier guess does not count.
            while len(self._guessed) > start:
                del self._known[self._guessed.popitem()[0]]
        else:
            shape = UNKNOWN
        del self._open[key]
        self._known[key] = shape
        if self._oldest < place:
            self._guessed[key] = self._oldest
        else:
            self._oldest = _NEVER
            while len(self._guessed) > start:
                self._guessed.popitem()
        self._oldest = min(self._oldest, before)
        return shape

    # Parts of values

    def items(self, shape: Shape) -> Shape:
        """Return the shape of what a loop over a value goes over."""
        found = items(shape)
        if self.puts.anywhere:
            found = join([found, *(self.puts.into_any(each, "keys") for each in members(shape))])
        return found

    def values(self, shape: Shape) -> Shape:
        """Return the shape of the values of a dict."""
        found = values(shape)
        if self.puts.anywhere:
            found = join([found, *(self.puts.into_any(each, "values") for each in members(shape))])
        return found

    def lookup(self, shape: Shape, key: Shape, default: Shape | None = None) -> Shape:
        """Return the shape of what is found under a key."""
        found = lookup(shape, key, default)
        if self.puts.anywhere:
            known = key.values if isinstance(key, Literals) else ()
            texts = [each for each in known if isinstance(each, str)]
            several = texts if 0 < len(texts) < _MOST_KEYS else [None]
            more = (self.puts.into_any(each, "values", text) for each in members(shape) for text in several)
            found = join([found, *more])
        return found

    def without_empty(self, shape: Shape) -> Shape:
        """Return a shape without what stands for a missing value: None, and an empty dict that stays so."""
        if not isinstance(shape, Union):
            return shape
        empty = Map(NOTHING, NOTHING)
        stays = self.puts.into_any(empty, "values") == NOTHING
        return join(each for each in members(shape) if each != NULL and not (each == empty and stays))

    # Variables

    def _name(self, node: ast.Name) -> Shape:
        scope = self.tree.owner(node)
        return UNKNOWN if scope is None or scope.kind == "class" else self.variable(node.id, scope)

    def variable(self, name: str, scope: Scope) -> Shape:
        """Return the shape of a variable."""

        def compute() -> Shape:
            shape = join([self.bound(each) for each in scope.bound[name]])
            return self.puts.into(name, scope, shape)

        return self.solve((name, scope), compute)

    def bound(self, binding: ast.AST) -> Shape:
        """Return the shape of what a binding gives to a name, or stores in a place."""
        parent = self.tree.parent(binding)
        match parent:
            case ast.Assign(value=value) | ast.NamedExpr(value=value):
                return self.of(value)
            case ast.AnnAssign(value=value):
                return NOTHING if value is None else self.of(value)
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source, is_async=0) if (
                target is binding
            ):
                return self.items(self.of(source))
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                return self._part(self.bound(parent), [each is binding for each in targets].index(True), targets)
            case ast.Starred():
                return Array(self._bound_items(parent))
            case ast.Delete():
                return NOTHING
            case ast.AugAssign(op=op, value=value):
                return self._added(op, self.of(value), isinstance(binding, ast.Name))
            case ast.arguments() if isinstance(binding, ast.arg):
                return self._parameter(binding)
        return UNKNOWN

    def _bound_items(self, star: ast.Starred) -> Shape:
        parent = self.tree.parent(star)
        return self.items(self.bound(parent)) if isinstance(parent, ast.Tuple | ast.List) else UNKNOWN

    def _part(self, whole: Shape, place: int, targets: Sequence[ast.expr]) -> Shape:
        starred = any(isinstance(each, ast.Starred) for each in targets)

        def of(member: Shape) -> Shape:
            if isinstance(member, Tuple) and not starred:
                return member.items[place] if len(member.items) == len(targets) else NOTHING
            return self.items(member)

        return each_of(whole, of)

    def _added(self, op: ast.operator, value: Shape, whole: bool) -> Shape:
        if isinstance(op, _NUMBERS) or all(is_number(each) for each in members(value)):
            return NUMBER
        if isinstance(op, ast.Add) and all(isinstance(each, Array) for each in members(value)):
            return Array(self.items(value))
        if isinstance(op, ast.Add) and all(map(is_text, members(value))):
            return TEXT
        # The names of dicts and sets have theirs by what is put into them.
        return NOTHING if isinstance(op, ast.BitOr) and whole else UNKNOWN

    # Functions

    def _parameter(self, parameter: ast.arg) -> Shape:
        """Return the shape of what the calls of a function pass for a parameter."""
        arguments = self.tree.parent(parameter)
        function = self.tree.parent(arguments)
        assert isinstance(arguments, ast.arguments)
        if not isinstance(function, Called) or parameter is arguments.kwarg:
            return UNKNOWN
        calls = self.calls(function)
        if calls is None:
            return UNKNOWN
        positional = [*arguments.posonlyargs, *arguments.args]
        place = positional.index(parameter) if parameter in positional else None
        optional = arguments.defaults[::-1]
        found = []
        if place is not None and place >= len(positional) - len(optional):
            found.append(self.of(arguments.defaults[place - len(positional) + len(optional)]))
        if parameter in arguments.kwonlyargs:
            default = arguments.kw_defaults[arguments.kwonlyargs.index(parameter)]
            found += [] if default is None else [self.of(default)]
        for passed, named in calls:
            if parameter is arguments.vararg:
                found.append(Array(join(passed[len(positional) :])))
            elif parameter.arg in named:
                found.append(named[parameter.arg])
            elif place is not None and place < len(passed):
                found.append(passed[place])
        return join(found)

    def calls(self, function: ast.expr | Function) -> list[tuple[list[Shape], dict[str, Shape]]] | None:
        """Return what each call of a function passes, by position and by name; None where that is not known.

        Args:
            function: A definition, a lambda, or another expression whose value is called.
        """
        if isinstance(function, Function):
            if function.decorator_list or self.tree.scope(function).kind == "class":
                return None
            scope = self.tree.scope(function)
            uses: Sequence[ast.expr] | None = self._uses(function.name, scope)
        else:
            uses = self._named_uses(function)
        if uses is None:
            return None
        found = []
        for use in uses if self._steps < _MOST_STEPS else ():
            call = self.tree.parent(use)
            if isinstance(call, ast.keyword):
                call = self.tree.parent(call)
            if not isinstance(call, ast.Call):
                return None
            self._steps += len(call.args) + len(call.keywords)
            if call.func is use:
                if any(isinstance(each, ast.Starred) for each in call.args) or any(
                    not each.arg for each in call.keywords
                ):
                    return None
                named = {each.arg: self.of(each.value) for each in call.keywords if each.arg}
                found.append(([self.of(each) for each in call.args], named))
            else:
                passed = applied_to(self, call, use)
                if passed is None:
                    return None
                found.append((passed, {}))
        return found if self._steps < _MOST_STEPS else None

    def _uses(self, name: str, scope: Scope) -> Sequence[ast.expr] | None:
        return self.tree.uses(name, scope) if len(scope.bound[name]) == 1 and scope.kind != "class" else None

    def _named_uses(self, function: ast.expr) -> Sequence[ast.expr] | None:
        """Return where a function that is written out is called, or passed on: there, or by its name."""
        match self.tree.parent(function):
            case ast.Assign(targets=[ast.Name(id=name) as target], value=value) if value is function:
                scope = self.tree.owner(target)
                return None if scope is None else self._uses(name, scope)
        return [function]

    def result(self, function: ast.expr, passed: Sequence[Shape] = ()) -> Shape:
        """Return the shape of what a call of an expression returns.

        Args:
            function: The expression.
            passed: The shapes of the arguments, where they are known.
        """
        if (reference := self.references.find(function)) is not None:
            tool = self._signatures.by_name.get(reference.tool or "")
            return Later(value=UNKNOWN if tool is None or tool.result is None else tool.result)
        if (own := self.tree.function(function)) is not None:
            return self._returned(own)
        if isinstance(function, ast.Name) and (assigned := self.references.assigned(function)) is not None:
            function = assigned
        if isinstance(function, ast.Lambda):
            return self.of(function.body)
        if isinstance(function, ast.Call) and self.tree.dotted(function.func) == "operator.itemgetter" and passed:
            found = [self.lookup(passed[0], self.key(each)) for each in function.args]
            return found[0] if len(found) == 1 else Tuple(tuple(found))
        if isinstance(function, ast.Name) and self.tree.are_builtin(function.id) and function.id in FUNCTIONS:
            return FUNCTIONS[function.id](self, ast.Call(function, [], []), passed)
        return UNKNOWN

    def _returned(self, function: Function) -> Shape:
        yields = self.tree.is_generator(function)
        waits = isinstance(function, ast.AsyncFunctionDef)
        if yields and waits:
            return UNKNOWN

        def compute() -> Shape:
            if not yields:
                # One that may end without a return gives None, which no lookup takes for a mistake.
                return join(self.of(each) for each in returned(self.tree, function))
            inner = self.tree.opened(function)
            ones = [self.of(each.value) for each in self.tree.of(ast.Yield) if self.tree.scope(each) is inner]
            several = [self.of(each.value) for each in self.tree.of(ast.YieldFrom) if self.tree.scope(each) is inner]
            return Array(join([*ones, *map(self.items, several)]))

        shape = self.solve(function, compute)
        return Later(value=shape) if waits else shape

    # Expressions

    def _call(self, node: ast.Call) -> Shape:
        function = node.func
        if isinstance(function, ast.Name) and self.tree.owner(function) is None:
            known = None if any(isinstance(each, ast.Starred) for each in node.args) else FUNCTIONS.get(function.id)
            return UNKNOWN if known is None else known(self, node, [self.of(each) for each in node.args])
        dotted = self.tree.dotted(function)
        if dotted is not None:
            known = MODULE_FUNCTIONS.get(dotted)
            return UNKNOWN if known is None else known(self, node, [self.of(each) for each in node.args])
        if isinstance(function, ast.Attribute) and self.references.find(function) is None:
            method = None if function.attr in self.tree.own_attributes else METHODS.get(function.attr)
            if method is None:
                return UNKNOWN
            receiver = self.of(function.value)
            return method(self, receiver, [self.of(each) for each in node.args], node)
        return self.result(function, [self.of(each) for each in node.args])

    def _constant(self, node: ast.Constant) -> Shape:
        # Of what a program writes out itself only the kind counts: it may well ask for what it has never written.
        match node.value:
            case str():
                return TEXT
            case bool():
                return TRUTH
            case int() | float():
                return NUMBER
        return NULL if node.value is None else UNKNOWN

    def key(self, node: ast.expr) -> Shape:
        """Return the shape of a key: one that is written out, or that of its expression."""
        return literal(node) or self.of(node)

    def _await(self, node: ast.Await) -> Shape:
        shape = self.of(node.value)
        return shape.value if isinstance(shape, Later) else UNKNOWN

    def _subscript(self, node: ast.Subscript) -> Shape:
        receiver = self.of(node.value)
        if isinstance(node.slice, ast.Slice):

            def of(member: Shape) -> Shape:
                return TEXT if is_text(member) else Array(self.items(member))

            return each_of(receiver, of)
        return self.lookup(receiver, self.key(node.slice))

    def _elements(self, nodes: Sequence[ast.expr]) -> Iterator[Shape]:
        for each in nodes:
            yield self.items(self.of(each.value)) if isinstance(each, ast.Starred) else self.of(each)

    def _list(self, node: ast.List | ast.Set) -> Shape:
        return Array(join(self._elements(node.elts)))

    def _tuple(self, node: ast.Tuple) -> Shape:
        if any(isinstance(each, ast.Starred) for each in node.elts):
            return Array(join(self._elements(node.elts)))
        return Tuple(tuple(self._elements(node.elts)))

    def _dict(self, node: ast.Dict) -> Shape:
        shape: Shape = Map(NOTHING, NOTHING)
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                shape = merge(shape, self.of(value))
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                shape = merge(shape, own_record({key.value: self.of(value)}))
            else:
                shape = merge(shape, Map(self.of(value), self.of(key)))
        return shape

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Shape:
        return Array(self.of(node.elt))

    def _dict_comprehension(self, node: ast.DictComp) -> Shape:
        return Map(self.of(node.value), self.of(node.key))

    def _choice(self, node: ast.IfExp) -> Shape:
        return join([self.of(node.body), self.of(node.orelse)])

    def _bool(self, node: ast.BoolOp) -> Shape:
        found = [self.of(each) for each in node.values]
        if isinstance(node.op, ast.Or):
            found = [*map(without_none, found[:-1]), found[-1]]
        return join(found)

    def _binary(self, node: ast.BinOp) -> Shape:
        left, right = self.of(node.left), self.of(node.right)
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        both = [*members(left), *members(right)]
        if isinstance(node.op, ast.BitOr) and all(isinstance(each, Record | Map) for each in both):
            return merge(left, right)
        if isinstance(node.op, (ast.Add, *_NUMBERS)) and all(is_number(each) for each in both):
            return NUMBER
        if isinstance(node.op, ast.Add) and all(isinstance(each, Array) for each in both):
            return Array(join([self.items(left), self.items(right)]))
        if isinstance(node.op, ast.Add) and all(is_text(each) for each in both):
            return TEXT
        return UNKNOWN

    def _unary(self, node: ast.UnaryOp) -> Shape:
        if isinstance(node.op, ast.Not):
            return TRUTH
        return NUMBER if all(map(is_number, members(self.of(node.operand)))) else UNKNOWN


_EVALUATE: dict[type, Callable[[Flow, Any], Shape]] = {
    ast.Name: Flow._name,
    ast.NamedExpr: lambda flow, node: flow.of(node.target),
    ast.Constant: Flow._constant,
    ast.JoinedStr: lambda flow, node: TEXT,
    ast.Await: Flow._await,
    ast.Subscript: Flow._subscript,
    ast.Call: Flow._call,
    **dict.fromkeys((ast.List, ast.Set), Flow._list),
    ast.Tuple: Flow._tuple,
    ast.Dict: Flow._dict,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.GeneratorExp), Flow._comprehension),
    ast.DictComp: Flow._dict_comprehension,
    ast.IfExp: Flow._choice,
    ast.BoolOp: Flow._bool,
    ast.BinOp: Flow._binary,
    ast.UnaryOp: Flow._unary,
    ast.Compare: lambda flow, node: TRUTH,
}
