"""Calls of built-in functions and methods, with as many arguments, and of such names, as were tried in both Pythons."""

import ast
import builtins
import collections
import contextlib
import datetime
import decimal
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, NamedTuple

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import EXCEPTIONS, method_calls
from codemode_sandboxes.source.tree import Tree

__all__ = ["Shapes", "shape_gap", "tried_shapes", "values_here"]

# Each calls what it is about last, that is, outermost. A value of the same text in both Pythons is the same.
EXAMPLES = r"""
'aXb'.capitalize(), 'aB'.casefold(), 'a'.center(5), 'a'.center(5, '*'), 'aba'.count('a'), 'aba'.count('a', 1),
'aba'.count('a', 1, 2),
'é'.encode(), 'é'.encode('utf-8'), 'ab'.endswith('b'), 'ab'.endswith('b', 1), 'ab'.endswith(('a', 'b')),
'a\tb'.expandtabs(), 'a\tb'.expandtabs(4),
'aba'.find('a'), 'aba'.find('a', 1), 'aba'.find('a', 1, 2), 'aba'.rfind('a'), 'aba'.rfind('a', 1),
'aba'.rfind('a', 0, 1),
'aba'.index('b'), 'aba'.index('a', 1), 'aba'.index('a', 1, 3), 'aba'.rindex('a'), 'aba'.rindex('a', 1),
'a'.isalnum(), 'a'.isalpha(), 'a'.isascii(), '1'.isdecimal(), '1'.isdigit(), 'a'.isidentifier(), 'a'.islower(),
'1'.isnumeric(),
' '.isspace(), 'A'.istitle(), 'A'.isupper(), ','.join(['a','b']), 'a'.ljust(5), 'a'.ljust(5,'*'), 'a'.rjust(5),
'a'.rjust(5,'*'),
'A'.lower(), 'a'.upper(), 'aB'.swapcase(), 'ab_cd'.title(), ' a '.strip(), 'xax'.strip('x'), ' a '.lstrip(),
'xax'.lstrip('x'), ' a '.rstrip(), 'xax'.rstrip('x'),
'a-b'.partition('-'), 'a-b'.rpartition('-'), 'ab'.removeprefix('a'), 'ab'.removesuffix('b'), 'aaa'.replace('a','b'),
'aaa'.replace('a','b',2),
'a b'.split(), 'a-b-c'.split('-'), 'a-b-c'.split('-',1), 'a b c'.split(maxsplit=1), 'a-b-c'.split('-',maxsplit=1),
'a-b'.split(sep='-'),
'a b'.rsplit(), 'a-b-c'.rsplit('-'), 'a-b-c'.rsplit('-',1), 'a-b-c'.rsplit('-',maxsplit=1), 'a\nb'.splitlines(),
'a\nb'.splitlines(True), 'a\nb'.splitlines(keepends=True),
'ab'.startswith('a'), 'ab'.startswith('b',1), 'ab'.startswith(('a','b')), '4'.zfill(3),
[1].append(2), [1].clear(), [1].copy(), [1,1].count(1), [1].extend((2,)), [1,2].index(2), [1,2,1].index(1,1),
[1].insert(0,2), [1,2].pop(), [1,2].pop(0), [1].remove(1), [1].reverse(),
[2,1].sort(), [2,1].sort(reverse=True), ['b','A'].sort(key=lambda x:x), ['b','A'].sort(key=lambda x:x,reverse=True),
{1:2}.clear(), {1:2}.copy(), {1:2}.get(1), {1:2}.get(2,3), {1:2}.items(), {1:2}.keys(), {1:2}.values(), {1:2}.pop(1),
{1:2}.pop(2,3), {1:2}.popitem(), {1:2}.setdefault(3), {1:2}.setdefault(3,4),
{1:2}.update({3:4}), {1:2}.update(), {1:2}.update([(3,4)]), dict.fromkeys('ab'), dict.fromkeys('ab',1),
{1}.add(2), {1}.clear(), {1}.copy(), {1,2}.difference([1]), {1}.discard(1), {1,2}.intersection([1]),
{1}.isdisjoint([2]), {1}.issubset([1]), {1}.issuperset([1]),
{1}.pop(), {1}.remove(1), {1}.symmetric_difference([2]), {1}.union([2]), {1}.update([2]), {1}.update(),
(1,).count(1), (1,2).index(2), (5).bit_length(), (5).to_bytes(2,'big'), (1.5).is_integer(), (1.5).as_integer_ratio(),
b'a'.decode(), b'a'.decode('utf-8'), b'a'.hex(), b'a,b'.split(b','), b'ab'.startswith(b'a'), b'ab'.find(b'b'),
b'a'.upper(),
abs(-1), all([1]), any([1]), ascii('é'), bin(5), bool(1), bool(), bytes(), bytes(3), bytes([1,2]), bytes('a','utf-8'),
chr(97), dict(), dict([(1,2)]), dict({1:2}), dict(a=1), dict({},a=1),
divmod(7,2), list(enumerate([1])), list(enumerate([1],1)), list(enumerate([1],start=1)), list(filter(None,[1])),
float(), float('1'),
frozenset(), frozenset([1]), getattr('a','b',1), hash(1), hex(5), id(1)==1,
int(), int('1'), int('f',16), int('f',base=16), isinstance(1,int), iter([1])!=1, len([1]), list(), list('a'),
list(map(str,[1])), list(map(pow,[1],[2])), max([1]), max(1,2), max(1,2,3), max([1],key=lambda x:x), max([],default=0),
max([1],key=lambda x:x,default=0), max(1,2,key=lambda x:x),
min([1]), min(1,2), min(1,2,3), min([1],key=lambda x:x), min([],default=0), min([1],key=lambda x:x,default=0),
min(1,2,key=lambda x:x),
next(iter([1])), next(iter([]),1), oct(8), ord('a'), pow(2,3), pow(3,-1,7), pow(2,3,5), range(3), range(1,3),
range(1,9,2), repr(1), list(reversed([1])), round(1.5), round(1.25,1), round(1.25,ndigits=1),
set(), set([1]), slice(1), sorted([1]), sorted([1],key=None), sorted([1],reverse=True),
sorted([2,1],key=lambda x:x,reverse=True), str(), str(1), str(b'a','utf-8'), sum([1]), sum([1],2), sum([1],start=2),
tuple(), tuple([1]), type(1), list(zip()), list(zip([1])), list(zip([1],[2])), list(zip([1],[2],[3])),
list(zip([1],[2],strict=True)),
re.match('(a)(b)?','a').group(), re.match('(a)','a').group(1), re.match('(a)(b)?','a').group(1,2),
re.match('(a)(b)?','a').groups(), re.match('(a)(b)?','a').groups('x'), re.match('(?P<n>a)','a').groupdict(),
re.match('(?P<n>a)(?P<m>b)?','a').groupdict('x'),
re.match('a','a').start(), re.match('(a)','a').start(1), re.match('a','a').end(), re.match('(a)','a').end(1),
re.match('a','a').span(), re.match('(a)','a').span(1),
re.compile('a').findall('aa'), re.compile('a').findall('aa',1), re.compile('a').search('ba').start(),
re.compile('a').match('a'), re.compile('a').match('ba',1), re.compile('a').search('ba'),
re.compile('a').search('baa',2), re.compile('a').fullmatch('a'), re.compile('a').sub('b','aa'),
re.compile('a').sub('b','aa',1), re.compile('a').sub('b','aa',count=1), re.compile('a').sub(repl='b',string='aa'),
re.sub(pattern='a',repl='b',string='aa'), re.sub('a',repl='b',string='aa'), re.compile('-').split('a-b'),
re.compile('-').split('a-b-c',1), re.compile('-').split('a-b-c',maxsplit=1),
datetime.date(2026,1,2).isoformat(), datetime.datetime(2026,1,2).isoformat(),
datetime.datetime(2026,1,2).isoformat(' '), datetime.datetime(2026,1,2).isoformat(sep=' '),
datetime.datetime(2026,1,2).isoformat(timespec='minutes'),
datetime.date(2026,1,2).weekday(), datetime.date(2026,1,2).isoweekday(), datetime.datetime(2026,1,2).date(),
datetime.datetime(2026,1,2).time(), datetime.date(2026,1,2).strftime('%Y'), datetime.timedelta(1).total_seconds(),
datetime.date(2026,1,2).replace(year=2027), datetime.date(2026,1,2).replace(month=3,day=4),
datetime.date(2026,1,2).replace(day=4), datetime.date(2026,1,2).replace(month=4),
datetime.datetime(2026,1,2).replace(hour=0,minute=0), datetime.datetime(2026,1,2).replace(hour=0,minute=0,second=0),
datetime.datetime(2026,1,2).replace(hour=0,minute=0,second=0,microsecond=0),
datetime.datetime(2026,1,2).replace(tzinfo=datetime.timezone.utc), datetime.datetime(2026,1,2).replace(tzinfo=None),
datetime.datetime(2026,1,2).replace(microsecond=0),
datetime.datetime(2026,1,2,tzinfo=datetime.timezone.utc).timestamp(),
datetime.datetime(2026,1,2,tzinfo=datetime.timezone.utc).astimezone(datetime.timezone.utc),
datetime.datetime(2026,1,2,tzinfo=datetime.timezone.utc).utcoffset(), datetime.date(2026,1,2).toordinal(),
datetime.date(2026,1,2).isocalendar(), datetime.date(2026,1,2).ctime(), datetime.date(2026,1,2).timetuple(),
collections.Counter('aab').most_common(), collections.Counter('aab').most_common(1),
list(collections.Counter('aab').elements()), collections.Counter('aab').total(),
collections.Counter('aab').subtract('a'),
collections.Counter('a').update('a'), collections.deque([1]).appendleft(2), collections.deque([1,2]).popleft(),
collections.deque([1,2]).rotate(1), collections.deque([1,2]).rotate(), collections.deque([1]).extendleft([2]),
decimal.Decimal('1.25').quantize(decimal.Decimal('0.1')), collections.namedtuple('P','x y')(1,2)._replace(x=3),
collections.namedtuple('P','x y')(1,2)._asdict(),
math.sqrt(4), math.floor(1.5), math.ceil(1.5), math.pow(2,3), math.log(8), math.log(8,2), math.log10(100),
math.log2(8), math.exp(1), math.hypot(3,4), math.gcd(4,6), math.lcm(4,6), math.factorial(5), math.comb(5,2),
math.perm(5,2), math.isclose(1,2), math.isclose(1,1.1,rel_tol=0.2), math.isclose(1,1.1,abs_tol=0.2), math.isnan(1),
math.isinf(1), math.isfinite(1), math.trunc(1.5), math.fabs(-1), math.fmod(5,3), math.prod([2,3]),
math.prod([2],start=3), math.fsum([0.1]*10), math.dist([0],[3]), math.sin(1), math.cos(1), math.tan(1),
math.atan2(1,2), math.radians(1), math.degrees(1), math.copysign(1,-1), math.isqrt(17), math.modf(1.5),
json.dumps([1]), json.dumps([1],indent=2), json.dumps({'b':1},sort_keys=True),
json.dumps({'b':1},sort_keys=True,indent=2), json.dumps(['é'],ensure_ascii=False),
json.dumps(['é'],ensure_ascii=False,indent=2), json.dumps([1],separators=(',',':')),
json.dumps({'b':1},sort_keys=True,separators=(',',':')), json.loads('[1]'), json.loads('[1.5]',parse_float=str),
json.loads('[1]',parse_int=str), bytes.fromhex('61'),
re.findall('a','aa'), re.findall('A','aa',re.I), re.search('a','ba'), re.search('A','ba',re.I), re.match('a','a'),
re.match('A','a',re.I), re.fullmatch('a','a'), re.fullmatch('A','a',re.I), re.split(',','a,b'),
re.split(',','a,b,c',maxsplit=1), re.sub('a','b','aa'), re.sub('a','b','aa',count=1), re.sub('A','b','aa',flags=re.I),
re.escape('a.b'), re.compile('a'), re.compile('a',re.I), re.finditer('a','aa')!=1, re.finditer('A','aa',re.I)!=1,
re.findall('A','aa',flags=re.I), re.search('A','aa',flags=re.I), re.match('A','aa',flags=re.I),
list(itertools.chain([1],[2])), list(itertools.chain.from_iterable([[1]])), list(itertools.islice([1,2],1)),
list(itertools.islice([1,2],0,1)), list(itertools.islice([1,2,3],0,3,2)), list(itertools.product([1],[2])),
list(itertools.product([1,2],repeat=2)), list(itertools.permutations([1,2])), list(itertools.permutations([1,2],1)),
list(itertools.combinations([1,2],1)), list(itertools.accumulate([1,2])),
list(itertools.accumulate([1,2],lambda a,b:a*b)), list(itertools.accumulate([1,2],initial=0)),
list(itertools.zip_longest([1],[2,3])), list(itertools.zip_longest([1],[2,3],fillvalue=0)),
list(itertools.takewhile(bool,[1,0])), list(itertools.dropwhile(bool,[1,0])), list(itertools.starmap(pow,[(1,2)])),
list(itertools.repeat(1,2)), list(itertools.compress([1],[1])), list(itertools.filterfalse(bool,[0])),
list(itertools.pairwise([1,2])),
next(itertools.count()), next(itertools.count(5)), next(itertools.count(5,2)), next(itertools.cycle([1])),
next(itertools.groupby('a'))[0], next(itertools.groupby('a',str))[0], next(itertools.groupby('a',key=str))[0],
decimal.Decimal('1.25').quantize(decimal.Decimal('0.1'),rounding=decimal.ROUND_HALF_UP),
"""

_MODULES = (collections, datetime, decimal, itertools, json, math, re)
_TRIED_MODULES = frozenset({"itertools", "json", "math", "re"})
_TYPES = (str, bytes, int, float, list, tuple, dict, set, range, datetime.datetime, datetime.timedelta, decimal.Decimal)
_METHODS = frozenset(
    name
    for kind in (*_TYPES, collections.Counter, collections.deque, re.Pattern, re.Match)
    for name in dir(kind)
    if not name.startswith("__") and name != "format"
)
_SPREADING = frozenset({"dict", "max", "min", "zip", ".append"})
_ANY_NAMES = frozenset({"dict"})
# Built-in functions that have gaps of their own, or take anything.
_OTHERS = frozenset({"delattr", "format", "getattr", "hasattr", "object", "open", "print", "setattr"})
_FUNCTIONS = frozenset(dir(builtins)) - _OTHERS - EXCEPTIONS


class Shapes(NamedTuple):
    """Ways to call functions and methods.

    Attributes:
        counts: Pairs of a name and a number of positional arguments.
        keywords: Pairs of a name and an argument's name.
    """

    counts: frozenset[tuple[str, int]]
    keywords: frozenset[tuple[str, str]]

    def has(self, name: str, call: ast.Call) -> bool:
        """Return whether a call has one of these shapes."""
        spread = any(isinstance(argument, ast.Starred) for argument in call.args)
        if spread or any(keyword.arg is None for keyword in call.keywords):
            return name in _SPREADING
        # The methods of a dict and of a set have one name; which of them is called cannot be seen but by this.
        if name == ".update" and call.keywords:
            return len(call.args) < 2  # a dict: a set takes no names
        named = name in _ANY_NAMES or all((name, each.arg) in self.keywords for each in call.keywords)
        return (name, len(call.args)) in self.counts and named


@cache
def _calls() -> dict[str, ast.expr]:
    """Return the calls to try, by their texts."""
    source = f"[{EXAMPLES}]"
    lines = source.encode().splitlines()  # the parser counts places in bytes
    items = ast.parse(source, mode="eval").body.elts  # type: ignore[attr-defined]
    return {lines[item.lineno - 1][item.col_offset : item.end_col_offset].decode(): item for item in items}


def values_here() -> dict[str, str]:
    """Return what this Python gives for each example that it can compute, as text."""
    names: dict[str, Any] = {module.__name__: module for module in _MODULES}
    found: dict[str, str] = {}
    for example in _calls():
        with contextlib.suppress(Exception):  # such as a function that a later version has
            found[example] = repr(eval(example, dict(names)))
    return found


def tried_shapes(same: Collection[str], different: Collection[str]) -> Shapes:
    """Return the shapes of calls that gave the same in all examples.

    Args:
        same: Examples that gave the same in both Pythons.
        different: The others.
    """
    good, bad = Shapes(*_shapes(same)), Shapes(*_shapes(different))
    return Shapes(
        good.counts - bad.counts, good.keywords - (bad.keywords if bad.keywords - good.keywords else frozenset())
    )


def _shapes(calls: Collection[str]) -> tuple[frozenset[tuple[str, int]], frozenset[tuple[str, str]]]:
    counts: set[tuple[str, int]] = set()
    keywords: set[tuple[str, str]] = set()
    for example in calls:
        node = _calls()[example]
        call = node.left if isinstance(node, ast.Compare) else node.value if isinstance(node, ast.Subscript) else node
        assert isinstance(call, ast.Call)
        # What makes an iterator is tried by a list of it, or by its first item.
        if isinstance(call.func, ast.Name) and call.func.id in ("list", "next") and call.args:
            inner = call.args[0]
            if isinstance(inner, ast.Call) and not (isinstance(inner.func, ast.Name) and inner.func.id == "iter"):
                call = inner
        name = _name(call.func)
        counts.add((name, len(call.args)))
        keywords.update((name, str(keyword.arg)) for keyword in call.keywords)
    return frozenset(counts), frozenset(keywords)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    assert isinstance(function, ast.Attribute)
    attributes = [function.attr]
    owner = function.value
    while isinstance(owner, ast.Attribute):
        attributes.append(owner.attr)
        owner = owner.value
    if isinstance(owner, ast.Name) and owner.id in _TRIED_MODULES:
        return ".".join([owner.id, *reversed(attributes)])
    return f".{function.attr}"


def shape_gap(shapes: Shapes) -> Gap:
    """Return the gap of calls that have none of the shapes."""

    def find(tree: Tree) -> Iterator[ast.AST]:
        for call in tree.of(ast.Call):
            dotted = tree.dotted(call.func)
            if dotted is not None:
                is_tried = dotted.partition(".")[0] in _TRIED_MODULES and dotted.count(".") < 3
                if is_tried and not shapes.has(dotted, call):
                    yield call
            elif isinstance(call.func, ast.Name) and call.func.id in _FUNCTIONS and tree.owner(call.func) is None:
                yield from () if shapes.has(call.func.id, call) else (call,)
        yield from (call for call, method in method_calls(tree, *_METHODS) if not shapes.has(f".{method.attr}", call))

    return Gap("rare arguments of built-in functions and methods", "write it out in plain Python", find, rare=True)
