"""A program gives the same on CPython and on `auto`, or is refused before anything runs: ordinary ones, and random ones."""

import ast
import asyncio
from collections.abc import AsyncIterator

import pytest
from codemode_sandboxes import AutoSandbox, Failed, Program
from codemode_sandboxes.choice import find_lacks
from codemode_sandboxes.monty import MontySandbox

from benchmarks.fuzz_python import fuzz, run_here, run_in

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    # Python cannot even warn where it collects one in a function without built-ins, such as the `__new__` of a named tuple.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <coroutine:pytest.PytestUnraisableExceptionWarning"),
]

# One program a line; ` ;; ` is a line break. A value is compared by its repr, as the program itself makes it.
LAZINESS = r"""
g = (x for x in [1, 2, 3]) ;; [len(list(g)), len(list(g))]
rows = [{'id': 1}, {}] ;; any(r['id'] == 1 for r in rows)
rows = [{'id': 1}, {}] ;; all(r['id'] == 2 for r in rows)
any(x > 3 for x in range(10**8))
n = 10 ;; for _ in range(3): ;;     n = n * n ;; any(x > 3 for x in range(n))
any(x == y for x in range(30_000) for y in range(30_000))
next(x for x in [1, 2])
seen = [] ;; next((seen.append(x) or x for x in [1, 2]), None), seen
m = map(str, [1, 2]) ;; [list(m), list(m)]
f = filter(None, [0, 1]) ;; [list(f), list(f)]
z = zip([1], 'a') ;; [list(z), list(z)]
e = enumerate('ab') ;; [next(e), list(e)]
r = reversed([1, 2]) ;; [next(r), list(r)]
[type(map(str, [])).__name__, bool(zip()), isinstance(filter(None, []), list)]
len(x for x in [1])
map(str, [1])[0]
zip([1]) == [(1,)]
print(map(str, [1]) == ['1'])
for x in map(lambda x: print('m', x), [1, 2]): print('b')
for x in (print('g', i) for i in range(2)): print('b')
for a, b in zip([1, 2], (print(x) for x in 'ab')): print('z')
xs = [1, 2] ;; for i, x in enumerate(xs): ;;     if len(xs) < 5: ;;         xs.append(x) ;; xs
xs = [1, 2, 3] ;; for i, x in enumerate(xs): ;;     xs[i] = x * 2 ;; xs
xs = [1, 2, 3] ;; for i, x in enumerate(xs): ;;     if i < 2: ;;         xs[i + 1] = 0 ;; xs
xs = [1, 2, 3] ;; for x in reversed(xs): ;;     xs.remove(x) ;; xs
d = {'a': 1} ;; for i, (k, v) in enumerate(d.items()): ;;     d[k] = i ;; d
it = iter([1, 2, 3]) ;; for i, x in enumerate(it): ;;     break ;; list(it)
xs = [1] ;; g = (x for x in xs) ;; xs.append(2) ;; list(g)
n = 1 ;; g = (x + n for x in [1]) ;; n = 5 ;; list(g)
a, b = (x for x in [1, 2]) ;; [a, b]
a, *b = map(int, '123') ;; [a, b]
try: ;;     a, b = map(int, ['1', '2', '3', 'x']) ;; except ValueError as e: ;;     r = type(e).__name__ ;; r
out = [] ;; try: ;;     out.extend(1 // x for x in [1, 0]) ;; except ZeroDivisionError: ;;     pass ;; out
try: ;;     sum(r['n'] for r in [{'n': None}, {}]) ;; except Exception as e: ;;     r = type(e).__name__ ;; r
2 in (x for x in [1, 2, 3])
sum(x for x in [1, 2]), max(x for x in [1, 3]), sorted(x for x in [2, 1]), ','.join(str(x) for x in [1])
dict(zip('ab', [1, 2])), list(zip(*[[1, 2], [3, 4]])), [*map(str, [1])], set(map(abs, [-1, 1])) == {1}
[(i, x) for i, x in enumerate('ab', 1)], [a + b for a, b in zip([1], [2])]
def f(): ;;     return (x for x in [1]) ;; [list(f()), list(f())]
import re ;; g = re.finditer('a', 'aXa') ;; [len(list(g)), len(list(g))]
import itertools ;; g = itertools.chain([1], [2]) ;; [list(g), list(g)]
import itertools ;; g = itertools.islice([1, 2, 3], 2) ;; [next(g), list(g), list(g)]
import itertools ;; g = itertools.product([1], [2]) ;; [list(g), list(g)]
import itertools ;; g = itertools.groupby([1, 1, 2]) ;; [(k, list(v)) for k, v in g], list(g)
import itertools ;; g = itertools.accumulate([1, 2]) ;; [sum(g), sum(g)]
import itertools ;; g = itertools.combinations([1, 2], 2) ;; [list(g), bool(g)]
import itertools ;; g = itertools.zip_longest([1], [2, 3]) ;; [list(g), list(g)]
import itertools ;; c = itertools.count(3) ;; [next(c), next(c)]
import itertools ;; a, b = itertools.tee([1, 2]) ;; [list(a), list(b), list(a)]
import itertools ;; g = itertools.repeat(1, 2) ;; [list(g), list(g)]
import itertools ;; g = itertools.takewhile(lambda x: x < 2, [1, 2]) ;; [list(g), list(g)]
import itertools ;; g = itertools.permutations('ab') ;; [len(list(g)), len(list(g))]
d = {'a': 1} ;; k, v, i = d.keys(), d.values(), d.items() ;; d['b'] = 2 ;; [list(k), list(v), list(i), len(k)]
d = {'a': 1} ;; try: ;;     for k in d: ;;         d[k + 'x'] = 1 ;; except RuntimeError as e: ;;     r = type(e).__name__ ;; r
i = iter([1, 2, 3]) ;; [next(i), list(i), list(i), next(i, 'end')]
i = iter({'a': 1}.items()) ;; [next(i), list(i)]
from collections import Counter ;; g = Counter('aab').elements() ;; [list(g), list(g)]
from collections import Counter ;; sorted(Counter('aab').elements()), [x for x in Counter('ab').elements()]
import csv ;; g = csv.reader(['a,b', 'c,d']) ;; [next(g), list(g), list(g)]
import csv ;; g = csv.DictReader(['a,b', '1,2']) ;; [list(g), list(g), g.fieldnames]
x = reversed([1, 2]) ;; sorted(x), sorted(x)
from collections import deque ;; q = deque([1, 2]) ;; i = iter(q) ;; [next(i), list(i)]
r = range(3) ;; i = iter(r) ;; [next(i), list(i), list(r)]
import itertools ;; for x in itertools.chain((print(i) for i in 'ab'), [1]): print('x')
import functools ;; functools.reduce(lambda a, b: a + b, (x for x in [1, 2]))
"""

# The list that a loop goes through, changed in the loop under another name, or as the part of something.
ALIASES = r"""
rows = [1, 2, 3] ;; def f(x): ;;     rows.append(x) ;;     return x ;; for i, r in enumerate(rows): ;;     if i < 3: list(map(f, [r])) ;; [i, rows]
rows = [1, 2, 3] ;; f = lambda x: rows.append(x) ;; for i, r in enumerate(rows): ;;     if i < 3: f(r) ;; [i, rows]
rows = [1, 2, 3] ;; for i, r in enumerate(rows): ;;     if i < 3: (lambda x: rows.append(x))(r) ;; [i, rows]
rows = [1, 2] ;; class A: ;;     def __add__(self, o): ;;         rows.append(o) ;;         return self ;; a = A() ;; for i, r in enumerate(rows): ;;     a = a + 5 if i < 2 else a ;; [i, rows]
def drop(xs): ;;     xs.pop() ;; rows = [1, 2, 3, 4] ;; for i, r in enumerate(rows): ;;     drop(rows) ;; [i, rows]
rows = [1, 2, 3, 4] ;; alias = rows ;; for i, r in enumerate(rows): ;;     alias.append(5) if i < 2 else None ;; [i, rows]
class B: ;;     def __init__(self, x): ;;         self.x = x ;;     def cut(self): ;;         self.x.pop() ;; rows = [1, 2, 3] ;; b = B(rows) ;; for i, r in enumerate(rows): ;;     b.cut() ;; [i, rows]
rows = [1, 2, 3] ;; def go(xs): ;;     out = [] ;;     for i, x in enumerate(xs): ;;         if i < 2: rows.append(9) ;;         out.append(x) ;;     return out ;; go(rows)
d = {'k': [1, 2]} ;; rows = d.get('k') ;; for i, r in enumerate(rows): ;;     if i < 3: d['k'].append(r) ;; [i, d]
a = [1, 2] ;; b = [a] ;; for i, r in enumerate(a): ;;     if i < 3: b[0].append(r) ;; [i, a]
a = [1, 2] ;; for x in [a]: ;;     for i, r in enumerate(a): ;;         if i < 3: x.append(r) ;; [i, a]
a = [1, 2] ;; for i, r in zip(range(5), a): ;;     (a or []).append(r) ;; [i, a]
def get(): ;;     return a ;; a = [1, 2] ;; for i, r in enumerate(a): ;;     if i < 3: get().append(r) ;; [i, a]
xs = [1, 2, 3] ;; it = iter(xs) ;; [(a, b, next(it, None)) for a, b in zip(it, it)]
"""

# Words of the program that are names of methods and attributes, too.
OWN_WORDS = r"""
k = 'format' ;; try: ;;     r = '{:>5}'.format(None) ;; except TypeError: ;;     r = 'error' ;; r
k = 'start' ;; import re ;; m = re.match('(?P<n>a)', 'a') ;; try: ;;     x = m.start('n') ;; except Exception as e: ;;     x = type(e).__name__ ;; x
count: int = 3 ;; r = range(5) ;; try: ;;     x = r.count(2) ;; except AttributeError: ;;     x = 'none' ;; x
class A: ;;     def format(self): ;;         return 1 ;; try: ;;     r = '{:>5}'.format(None) ;; except TypeError: ;;     r = A().format() ;; r
class P: ;;     def __init__(self): ;;         self.count = self.real = 3 ;; try: ;;     x = range(5).count(2) ;; except AttributeError: ;;     x = P().count ;; [x, P().real, (5).real]
k = 'hex real' ;; [(2.5).hex(), (5).real, 'a'.find('', 2)]
"""

IN_PLACE = r"""
xs = [1] ;; ys = xs ;; xs += (2, 3) ;; [xs, ys]
xs = [1] ;; xs += {2} ;; xs += range(2) ;; xs += 'ab' ;; xs += {'k': 1} ;; xs += {'k': 1}.items() ;; xs += iter([9]) ;; xs
xs = [1] ;; xs += map(str, [1]) ;; xs
xs = [1] ;; ys = xs ;; xs *= 2 ;; ys
d = {'k': [1]} ;; k = d['k'] ;; d['k'] += (3,) ;; [d, k]
class O: ;;     def __init__(self): ;;         self.x = [1] ;; o = O() ;; x = o.x ;; o.x += {5} ;; [o.x, x]
t = ([1],) ;; try: ;;     t[0] += [2] ;; except TypeError: ;;     pass ;; t
xs = [[1]] ;; for x in xs: ;;     x += (2,) ;; xs
def f(items=[]): ;;     items += 'a' ;;     return items ;; [f(), f()]
xs = [1] ;; try: ;;     xs += None ;; except TypeError as e: ;;     r = type(e).__name__ ;; r, xs
s = {1} ;; t = s ;; s |= {2} ;; s ^= {1, 5} ;; sorted(t)
s = {1, 2} ;; t = s ;; s &= {2} ;; s -= {9} ;; [s == t, s is t]
s = {1} ;; t = s ;; s |= {'a': 1}.keys() ;; [len(s), len(t)]
s = {1} ;; try: ;;     s |= [2] ;; except TypeError as e: ;;     r = str(e) ;; r
s = {1} ;; s.update([2], (3,)) ;; s.update() ;; sorted(s)
d = {1: 2} ;; e = d ;; d |= {3: 4} ;; d |= [(5, 6)] ;; e
from collections import Counter, deque ;; c = Counter('ab') ;; b = c ;; c += Counter('a') ;; q = deque([1]) ;; p = q ;; q *= 2 ;; q += (5,) ;; [b, list(p)]
t = (1,) ;; u = t ;; t += (2,) ;; x = 'a' ;; x += 'b' ;; x *= 2 ;; n = 5 ;; n //= 2 ;; n **= 3 ;; b = b'a' ;; b += b'c' ;; [t, u, x, n, b]
xs = [1] ;; i = [0] ;; xs[i.pop()] += 5 ;; xs
xs = [3] ;; xs[0] += await tools.double(2) ;; xs
rows = [] ;; rows += await tools.rows() ;; len(rows)
"""

ORDERS = r"""
d, e = {30: 1, 6: 2, 17: 3}, {17: 1, 30: 2, 6: 4} ;; k = d.keys() ;; j = e.keys() ;; list(k & j), [x for x in k | j]
class A: ;;     tags = {30, 6, 17} ;; list(A.tags)
(a := {30, 6, 17}) ;; b = a.copy().union({1}) ;; list(a), list(b), list(b | a)
s = {30, 6, 17} if True else None ;; f = lambda: s ;; [x for x in s or ()], list(f())
x = {30, 6, 17} ;; def f(): ;;     return x ;; list(f())
x = [3] ;; x += {30, 6, 17} ;; x
def f(items): ;;     items ^= {9: 1, 30: 2}.items() ;;     return items ;; [len(f({1})), list(f({(9, 1), (17, 3), (2, 2)}))]
list({3, 1, 2}), [x for x in {10, 9}], str({2, 1}), tuple(set([9, 8]))
for x in {3, 1}: ;;     await tools.put(key='x', value=x)
s = set() ;; s.add(5) ;; s.add(3) ;; s.pop()
len({1, 2}), 1 in {1}, sorted({2, 1}), {1} | {2} == {1, 2}, min({1, 2})
{'k': sorted({3, 1})}
from collections import defaultdict ;; d = defaultdict(set) ;; d['a'].add(5) ;; d['a'].add(3) ;; {k: list(v) for k, v in d.items()}
c = tools.double(1) ;; d = tools.double(2) ;; [await d, await c]
cs = [tools.double(x) for x in [1, 2]] ;; await tools.double(9) ;; [await c for c in cs]
import asyncio ;; rows = [{'id': 1}, {}] ;; try: ;;     await asyncio.gather(*[tools.put(key='p', value=r['id']) for r in rows]) ;; except KeyError: ;;     await tools.double(3) ;; 1
import asyncio ;; cs = [] ;; try: ;;     for r in [{'id': 1}, {}]: ;;         cs.append(tools.double(r['id'])) ;;     await asyncio.gather(*cs) ;; except KeyError: ;;     await tools.double(3) ;; 1
cs = [tools.double(1)] ;; await tools.double(9) ;; 1
double = tools.double ;; c = double(1) ;; d = double(2) ;; [await d, await c]
def later(f, x): ;;     return f(x) ;; c = later(tools.double, 1) ;; d = later(tools.double, 2) ;; [await d, await c]
import asyncio ;; g = asyncio.gather(tools.double(1), tools.double(2)) ;; await tools.double(5) ;; await g
import asyncio ;; async def f(x): ;;     if x: ;;         raise ValueError('x') ;;     await tools.put(key='f', value=x) ;; try: ;;     await asyncio.gather(f(0), f(1), f(0)) ;; except ValueError: ;;     await tools.double(1) ;; 1
import asyncio ;; async def f(x): ;;     return await tools.double(x) ;; await asyncio.gather(f(1), tools.double(2), f(3))
import asyncio ;; await asyncio.gather(*[tools.double(x) for x in [1, 2]]), await asyncio.gather(*map(tools.double, [3]))
"""

DETAILS = r"""
def f(**kw): ;;     return kw ;; f(**{'a': 1}, b=2), dict(**{'a': 1}, b=2), f(b=2, **{'a': 1}), dict({'z': 1}, a=2, **{'y': 1})
log = [] ;; def n(x): ;;     log.append(x) ;;     return x ;; def f(*a, **kw): ;;     return a, kw ;; f(**{'a': n(3)}, b=n(1), **{'c': n(4)}), f(b=n(5), *[n(6)], **{'a': n(7)}), log
await tools.put(**{'value': 'x'}, key='k')
import os ;; os.environ['CODEMODE_A'] = 'b' ;; r = os.getenv('CODEMODE_A') ;; del os.environ['CODEMODE_A'] ;; r
import os ;; e = os.environ ;; type(e).__name__, isinstance(os.environ, dict), isinstance(e, dict)
from os import environ ;; environ.setdefault('CODEMODE_A', 'b') ;; environ.pop('CODEMODE_A') + environ.get('CODEMODE_A', 'c')
import os ;; os.environ.get('CODEMODE_A', 'd'), 'CODEMODE_A' in os.environ, os.getenv('CODEMODE_A')
f'{None:>5}'
try: ;;     f'{[1]:.2f}' ;; except Exception as e: ;;     r = type(e).__name__ ;; r
f'{3.14159:.2f}|{5:03d}|{"a":>3}|{1234567:,}|{0.25:.0%}|{2.5:.0f}|{-5:+}', '{:>4}|{:<3}'.format(1, 'a'), '%5.1f|%s' % (2.25, [1])
f"{f'{1}' + 'b'!r:>6}", f"{ {'a': 1}['a'] }", f'{1 + 1 = }'
round(1.0365104058116859e17, -2), round(1250.5, -2), round(-1250.0, -2), round(-3.0, -2), round(2.5, 0), round(0.5, -400)
sum([0.1] * 10), sum([0.1, 0.2, 0.3]), sum([1, 0.5]), sum([0.1, 1, 0.2, 2, 0.7], 0.5), round(2.675, 2), 0.1 + 0.2
{1: 'a', True: 'b', 1.0: 'c'}
d = {1: 'a'} ;; d[True] = 'b' ;; d[1.0] = 'c' ;; d
try: ;;     {}[1] ;; except KeyError as e: ;;     r = [e.args, str(e), repr(e)] ;; r
try: ;;     [1].index(5) ;; except ValueError as e: ;;     r = str(e) ;; r
try: ;;     1 // 0 ;; except Exception as e: ;;     r = [str(e), type(e) is ZeroDivisionError] ;; r
try: ;;     raise KeyError(5) ;; except KeyError as e: ;;     r = e.args ;; r
try: ;;     assert False, [1] ;; except AssertionError as e: ;;     r = e.args ;; r
try: ;;     await tools.fail('no') ;; except RuntimeError as e: ;;     r = [str(e), repr(e), e.args] ;; r
'abc'.encode('latin-1'), 'é'.encode('utf-8'), 'a'.translate({97: 'x'}), bytes([1, 2]), (5).real, (5).bit_length()
try: ;;     import statistics ;;     r = statistics.mean([1, 3]) ;; except ImportError: ;;     r = None ;; r
class A: ;;     def __getitem__(self, i): ;;         return [7, 8][i] ;; list(A())
class A: ;;     __slots__ = ('x',) ;; try: ;;     A().y = 1 ;; except AttributeError: ;;     r = 1 ;; r
class A: ;;     n = 0 ;;     def __iter__(self): ;;         return self ;;     def __next__(self): ;;         self.n += 1 ;;         if self.n > 2: ;;             raise StopIteration ;;         return self.n ;; a = A() ;; [next(a), list(a), list(a)]
class A: ;;     pass ;; [repr(A), f'{type(A())}', str([A])]
hasattr('a', 'upper'), getattr('a', 'upper')(), callable(len)
range(10)[::3], list(range(10))[::-3], 'abc'[::-1], (1, 2)[5:]
import re ;; re.search(r'a$', 'a\n') is None, re.sub('a', r'\n', 'a'), re.match('(a)(b)?', 'a').groups('x')
import re ;; re.findall(r'(\w)-(\d+)', 'a-1 b-22'), re.sub(r'(\w)', r'<\1>', 'ab'), re.split(r'[,;]\s*', 'a, b;c')
import math ;; pow(3, -1, 7), math.comb(5, 2), divmod(-7, 2), -7 // 2, 2 ** -1, int('ff', 16), round(1250, -2)
from datetime import datetime ;; datetime.strptime('5PM', '%I%p').hour, datetime(2026, 1, 2).strftime('%d %b %Y')
import itertools ;; {k: list(g) for k, g in itertools.groupby(sorted(['ab', 'c'], key=len), key=len)}
import json ;; json.dumps({'b': [1.0, None], 'a': 'é'}, sort_keys=True), json.loads('[1e3, true]')
'a,b,,c'.split(',', 1), ' a b '.split(), 'a\nb'.splitlines(True), 'aba'.replace('a', 'x', 1), 'abc'.partition('b'), 'x'.center(5, '*')
d = {'b': 1} ;; d.update([('c', 2)], e=3) ;; [d.pop('b'), d.pop('z', 0), d.setdefault('q', []), d, {**d, 'x': 1}, d | {'y': 2}]
xs = [3, 1, 2] ;; xs[1:2] = [7, 8] ;; xs[::2] = 'ab' ;; [xs, sorted([(1, 'b'), (1, 'a')]), xs[-1:], [*xs, *(1,)]]
'a'.find('', 2), 'é'.count('', 5), 'abc'.startswith('', 9), 'abc'.find('c', 1), 'abc'.index('b', -3, -1), 'a\nb'.splitlines(False)
hash(2.5), hash(2**70), hash(7), hash((1, 2)) == hash((1, 2.0))
(a, *b), c = [1, 2, 3], 4 ;; x, y = y0, x0 = 5, 6 ;; [a, b, c, x, y, y0, x0]
fs = [lambda: i for i in range(3)] ;; gs = [lambda i=i: i for i in range(3)] ;; [[f() for f in fs], [g() for g in gs]]
def f(a, /, b=2, *c, d=4, **e): ;;     return [a, b, c, d, e] ;; [f(1), f(1, 2, 3, d=5, z=6), f(*[1, 2], **{'q': 1})]
def f(): ;;     for i in range(2): ;;         try: ;;             continue ;;         finally: ;;             print(i) ;;     return [y := 1, y] ;; f()
match {'k': [1, 2, 3]}: ;;     case {'k': [x, *rest]} if x: ;;         r = rest ;;     case _: ;;         r = None ;; r
"""

# Keys that are equal, of several types: the first one stays.
KEYS = r"""
d = {1: 'a', 2: 'b'} ;; d |= [(1.0, 'c'), (3, 'd')] ;; d
d = {} ;; d.update(zip(['a', 'b'], [1, 1.0])) ;; d.update({'a': True}) ;; d
def f(xs): ;;     return {k: {k: i for i, k in enumerate(xs)} for k in xs} ;; f([1, True])
[{k: i for i, k in enumerate(xs)} for xs in [[1, True], [1.0, 1]]]
f = lambda xs: {k: 1 for k in xs} ;; [f([1, True]), f([True, 1])]
[x for x in {k: 1 for k in [1, 2]}]
[list(x) for x in [{k: 1 for k in [1]}, {k: 1 for k in [2]}]]
def f(n): ;;     return {k: f(n - 1) if n else 0 for k in [n, True, 1.0]} ;; f(2)
import asyncio ;; async def f(x): ;;     return {k: await tools.double(k) for k in [x, 1, True]} ;; await asyncio.gather(f(1.0), f(True), f(2))
class A: ;;     def __init__(self, xs): ;;         self.d = {x: 1 for x in xs} ;; A([1, True]).d
{x: x for x in [1, 2] for x in [x, True]}
x = [1, True] ;; {x: 1 for x in x}
{(a, b): c for a, b, c in [(1, 2, 3), (True, 2, 4)]}
{k: v for k, v in {1: 2}.items()} | {True: 5}
a = {1: 2} ;; b = {True: 3, 2: 4} ;; c = {1.0: 5} ;; [a | b, {**a, **b}, {**b, **a}, a | {**b, **c}]
a = {1: 2} ;; k = 1.0 ;; a.update({k: 3}) ;; a.update([(True, 5)]) ;; a.update(zip([True, 2], 'ab')) ;; a
from collections import Counter ;; a = Counter([1, True]) ;; b = Counter([1.0]) ;; a += b ;; a.update([True, 2]) ;; a.subtract({1.0: 1}) ;; [a, a + b, b + a, a - b, b & a, a | b]
from collections import Counter, defaultdict ;; d = defaultdict(list) ;; for k in [1, True, 1.0, 'a']: ;;     d[k].append(k) ;; d[True] += [5] ;; dict(d)
from collections import defaultdict ;; d = defaultdict(lambda: defaultdict(int)) ;; for k in [(1, 1.0), (True, 1), (2, 'x')]: ;;     d[k[0]][k[1]] += 1 ;; {k: dict(v) for k, v in d.items()}
d = {} ;; d[1], d[True] = 'ab' ;; for d[1.0] in [7, 8]: pass ;; d
class O: ;;     def __init__(self): ;;         self.d = {} ;;     def put(self, k, v): ;;         self.d[k] = v ;; o = O() ;; o.put(1, 'a') ;; o.put(True, 'b') ;; o.d[1.0] = 'c' ;; o.d
dict.fromkeys([1.0, 1, True], 0), dict([(1, 2), (True, 3)]), dict(zip([0, False, -0.0], 'abc')), dict({1: 2}, a=1), dict((k, 1) for k in [True, 1])
d = {0.0: 'a'} ;; d[-0.0] = 'b' ;; d[0] = 'c' ;; d
d = {} ;; d[1, 2] = 'a' ;; d[(1.0, 2)] = 'b' ;; d[(True, 2.0)] = 'c' ;; d
s = {1, 2} ;; [sorted(s & {True}), sorted({True, 3} & s), sorted(s.intersection([1.0, 2])), sorted({1.0}.intersection([1, 2])), sorted({1, 2}.intersection((True, 2.0, 1))), sorted(s | {1.0}), sorted(s ^ {1.0})]
from datetime import date ;; d = {} ;; d[date(2026, 1, 1)] = 1 ;; d[date(2026, 1, 1)] = 2 ;; d
from decimal import Decimal ;; d = {} ;; d[1] = 1 ;; d[Decimal('1.0')] = 2 ;; d[Decimal('1.00')] = 3 ;; d
xs = [[0] * 3 for _ in range(3)] ;; xs[1][2] = 5 ;; xs[0][True] = 7 ;; xs[-1] = 9 ;; xs
d = {} ;; try: ;;     d[[1]] = 2 ;; except TypeError as e: ;;     r = type(e).__name__ ;; r
d = {} ;; try: ;;     {k: 1 for k in [1, [2]]} ;; except TypeError as e: ;;     r = type(e).__name__ ;; r
try: ;;     dict([1, 2]) ;; except TypeError as e: ;;     r = type(e).__name__ ;; r
try: ;;     dict(5) ;; except TypeError as e: ;;     r = type(e).__name__ ;; r
d = {'a': {}} ;; d['a'][1] = 2 ;; d['a'][True] = 3 ;; d['b'] = d['a'] | {1.0: 4} ;; d
i = [0] ;; d = {} ;; def n(): ;;     i[0] += 1 ;;     return i[0] ;; d[n()] = n() ;; d[n()] = n() ;; d
d = {} ;; d[k := 1] = 2 ;; d[True] = k ;; d
x = 5 | 2 ;; flags = 1 ;; flags |= 4 ;; y: int | None = 3 ;; [x, flags, isinstance(y, int | str)]
def f(x: 'int | None' = None, **kw): ;;     kw[x] = 1 ;;     kw[True] = 2 ;;     return kw ;; f(1, a=3)
d = {1: 'a', **{True: 'b'}, 1.0: 'c'} ;; d
k = True ;; d = {1: 'a', k: 'b'} ;; d
groups = {} ;; for r in await tools.rows(): ;;     groups.setdefault(r['n'] > 0, []).append(r['id']) ;; groups[1] = 'x' ;; groups
d = {} ;; d.setdefault(1, 'a') ;; d.setdefault(True, 'b') ;; d[True] = 'c' ;; d
def g(): ;;     return {1: 2} ;; x = g() | {True: 4} ;; g()[True] = 5 ;; x
import copy, json ;; d = {1: 2} ;; e = copy.deepcopy(d) ;; e[True] = 3 ;; f = d.copy() ;; f[1.0] = 4 ;; h = json.loads(json.dumps(d)) ;; h[1] = 2 ;; [d, e, f, h]
d = {} ;; for r in [1, 1.0, True, '1', None]: ;;     d[r] = d.get(r, 0) + 1 ;; d
d = {True: 'yes', False: 'no'} ;; d[1] = 'one' ;; d[0] = 'zero' ;; d
(lambda d: d.update({True: 1}) or d)({1: 0})
d = {} ;; (d)[(1)] = 2 ;; (d)[  (True)  ] = 3 ;; d
d = {} ;; d[ ;;     1 ;; ] = 2 ;; d[True  # why ;; ] = 3 ;; d
d = {1: [0]} ;; d[True] += [5] ;; d[1.0] *= 2 ;; d
float('nan') in [float('nan')], [float('nan')].count(float('nan'))
import math ;; len({math.nan, float('nan')}), math.isnan(math.nan)
nan = float('nan') ;; d = {} ;; for k in [nan, float('nan'), nan]: ;;     d[k] = 1 ;; len(d)
"""

# Digits of other scripts, and white space beyond ASCII.
SCRIPTS = r"""
[int('٣'), int(' ١٢ '), int('-１２'), float('١.٥'), float(' ٣e٢ '), int('ｆ１'[1:], 16), int('१०', 2), int('𝟗𝟘'), int(b'12'), float(b'1.5')]
[int(x) for x in ['٣', '4', 5, 6.7, True]], list(map(int, ['٣', '4'])), sorted(['٣', '1'], key=int), max(['٣', '1'], key=float)
def f(x): ;;     try: ;;         return int(x) ;;     except ValueError: ;;         return None ;; [f(c) for c in '²٣½五a1１']
def f(x): ;;     try: ;;         return float(x) ;;     except ValueError: ;;         return None ;; [f(c) for c in ['²', '٣', '½', '١٫٥', '١_٠', ' ٣\u2003', '３.１４']]
'٣'.isdigit(), '²'.isdigit(), '½'.isnumeric(), '²'.isdecimal(), '五'.isnumeric(), '\u2003'.isspace(), '\x1c'.isspace(), ' \u2003x\x1c'.strip(), 'a\u2003b\x85c'.split(), 'a\x1cb\x85c'.splitlines()
isinstance('٣', (int, float)), isinstance(3, int), type(3) is int, type(3) in (int, float), {int: 1}[int]
from collections import defaultdict ;; d = defaultdict(int) ;; d['a'] += int('٣') ;; dict(d)
casts = {'n': int, 'x': float} ;; [casts[k](v) for k, v in {'n': '٣', 'x': '1'}.items()]
for cast in (int, float): ;;     x = cast('٣') ;; x
def f(x: int, y: float = 2.0) -> int: ;;     z: int = int(x) ;;     return z ;; f('٣')
import re ;; re.findall(r'\w+', 'été 五 ٣'), re.split(r'\s+', 'a\u2003b\u00a0c'), re.sub(r'\s', '', ' a b '), re.findall(r'\d+', '٣ 12')
import re ;; p = re.compile(r'(\w+)@(\w+)') ;; [m.group(1) for m in p.finditer('é@b c@d')], p.sub('x', 'a@b'), p.search(string='q@r').groups()
import re ;; re.sub(r'[aeiou]', lambda m: m.group().upper(), 'abc'), re.split(',', 'a,b'), 'a b'.split(' ')
import re ;; x = int(re.search(r'(\d+)', 'n: ٤٢').group(1)) ;; x
int('12', base=10), int('٣', base=10), round(float('2.567'), 2)
x = int ;; x('٣')
for cast in (int, float): ;;     try: ;;         x = cast('x1') ;;     except ValueError: ;;         x = None ;; x
import functools ;; f = functools.partial(int, base=2) ;; [f('101'), f('١٠')]
x = '5' ;; f'{int(x):03d} {float(x) > 3}', int(x) == 5, int(x) in (5, 6)
def conv(v, kind=int): ;;     return kind(v) ;; [conv('5'), conv('٥', float)]
[type(x) == int for x in [1, 1.0]], isinstance(1.0, float), {'a': int('3')}
x = [int(v) if v.isdigit() else float(v) for v in '1 2.5 ٣'.split()] ;; x
x = '٥' ;; d = {} ;; d[f'{int(x)}'] = f"{'a' + f'{int(x)}'} {float(x):.1f}" ;; d
x = '5' ;; f'int(5) {int(x)}'
x = '5' ;; y = (f'{int(x)}' ;;   f' {float(x):.2f}') ;; y
"""

# NaN that is computed, read from a text, or comes from a tool: looked for, sorted, a key.
NANS = r"""
inf = float('inf') ;; x = inf - inf ;; [x in [x], [x].index(x), [x].count(x), {x: 1}.get(x), [x] == [x], (x,) == (x,), x == x]
import math ;; x = math.inf - math.inf ;; y = math.inf * 0 ;; [x in [y], [x].count(y), len({x, y}), [x] == [y], {'a': x} == {'a': y}]
x = 1e308 * 10 ;; y = x - x ;; z = x - x ;; [y in [z], len({y, z}), y in {z}]
x = 10.0 ;; for _ in range(12): ;;     x = x * x ;; y = x - x ;; z = x - x ;; [y in [z]]
x = 1e60 ;; while x < 1e300 * 1e300: ;;     x *= x ;; y = x % 2 ;; z = x - x ;; xs = [y] ;; xs.remove(y), z in [y]
xs = await tools.odd() ;; [sorted(xs), xs.index(xs[1]), xs.count(xs[1]), xs == list(xs), xs < [*xs, 1]]
xs = await tools.odd() ;; x = xs[3] - xs[3] ;; y = xs[3] - xs[3] ;; [x in [y], x in [x], [x].count(x)]
xs = await tools.odd() ;; xs.sort(reverse=True) ;; await tools.put('a', 1) ;; xs
xs = await tools.odd() ;; sorted([{'v': v} for v in xs], key=lambda r: r['v']), max([(v, 1) for v in xs]), min(xs), max(xs)
xs = await tools.odd() ;; [x for x in xs if x == x], len({x for x in xs}), len(dict.fromkeys(xs)), [x + 1 for x in xs]
a, b = await tools.odd(), await tools.odd() ;; [a == b, a[1] in b, a is b]
xs = await tools.odd() ;; m = sum(xs) ;; [m in xs, max(xs), min(xs)]
xs = [float(t) for t in ['1', 'nan', 'NaN']] ;; [len(set(xs)), xs[1] in [xs[2]], xs.count(xs[1])]
xs = list(map(float, ['1', 'nan', '-inf'])) ;; [len(set(xs)), xs[1] in [xs[2]], sorted(xs)]
f = lambda t: float(t) ;; a, b = f('1e999'), f('NAN') ;; [a - a in [a - a], f"{f('1.5') in [1.5]}", {b, b} == {b}]
xs = ['n/a', '2', 'none', 'e', '1e3'] ;; r = [] ;; for x in xs: ;;     try: ;;         r.append(float(x)) ;;     except ValueError: ;;         r.append(None) ;; [r, None in r, sorted(xs)]
import json ;; xs = json.loads('[NaN, 1, NaN]') ;; [len(set(xs)), xs.count(xs[0]), sorted(xs)]
import json ;; xs = json.loads('[1e999, 1]') ;; a = xs[0] - xs[0] ;; b = xs[0] - xs[0] ;; [a in [b]]
best = float('inf') ;; for r in await tools.rows(): ;;     if r['n'] < best: ;;         best = r['n'] ;; [best, best in [1]]
xs = ['b', 'nan', 'a'] ;; try: ;;     xs.sort(key=lambda t: float('0' if t in 'ab' else t)) ;; except Exception: ;;     pass ;; xs
"""
# Dates, patterns, and what Monty lacks on the way.
LIBRARY = r"""
from datetime import datetime, date ;; r = [] ;; for t in ['2024-13-01', '2024-02-30', 'x', '', '2024-1-1', '20240101', '2024-01-01T25:00', '2024-01-01 10:00', '2024-01-01T10:00Z', '2024-W01-1', '2024-01-01T10:00:00.123456+05:30', '2024-01-05+02:00', '2024-01-05T10:00z']: ;;     try: ;;         r.append(datetime.fromisoformat(t).isoformat()) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime, date ;; r = [] ;; for t in ['2024-13-01', '2024-02-30', 'x', '', '2024-1-1', '2024-01-01 10:00', '2024-01-01T10:00Z', '2024-01-01T10:00:00.123456+05:30']: ;;     try: ;;         r.append(datetime.fromisoformat(t).isoformat()) ;;     except ValueError: ;;         r.append('V') ;; r
import datetime as D ;; r = [] ;; for t in ['2024-01-05', '2024-1-5', ' 2024-01-05', '2024-01-05 ', '24-01-05', '2024-02-30', 'n/a', '', '2024-01-05x']: ;;     try: ;;         r.append(D.datetime.strptime(t, '%Y-%m-%d').isoformat()) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime ;; r = [] ;; for t, in [('5 Jan 2024',), ('05 JAN 2024',), ('5 January 2024',), ('5  Jan  2024',), ('31 Feb 2024',), ('0 Jan 2024',), (' 5 Jan 2024',)]: ;;     try: ;;         r.append(str(datetime.strptime(t, '%d %b %Y').date())) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime ;; r = [] ;; for t in ['January 5, 2024', 'Jan 5, 2024', 'may 5, 2024', 'May 05, 2024', 'Sept 5, 2024']: ;;     try: ;;         r.append(str(datetime.strptime(t, '%B %d, %Y'))) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime ;; r = [] ;; for t in ['01/02/24', '1/2/2024', '1/2/24 ', '13/13/24', '31/12/68', '31/12/69']: ;;     try: ;;         r.append(str(datetime.strptime(t, '%d/%m/%y'))) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime ;; r = [] ;; for t in ['2024-01-05 10:05:06', '2024-01-05T10:05:06', '2024-01-05 1:5:6', '2024-01-05 24:00:00', '2024-01-05 10:60:00', '2024-01-05 10:05:60', '2024-01-05  10:05:06']: ;;     try: ;;         r.append(str(datetime.strptime(t, '%Y-%m-%d %H:%M:%S'))) ;;     except ValueError: ;;         r.append('V') ;; r
from datetime import datetime ;; str(datetime.strptime('10:05', '%H:%M').time()), datetime.strptime('2024', '%Y').year
from datetime import timedelta, date ;; x = 1.5 ;; y = 2.0 ;; [str(timedelta(hours=y)), str(timedelta(days=3)), str(timedelta(days=-3)), str(date(2024, 1, 1) + timedelta(days=y))]
from datetime import timedelta, date ;; x = 1.5 ;; [str(timedelta(hours=x)), str(timedelta(seconds=0.25))]
from datetime import timedelta ;; n = await tools.double(0.25) ;; await tools.put('a', 1) ;; str(timedelta(days=n) * 2)
from datetime import timedelta ;; await tools.put('a', 1) ;; str(timedelta(days=3) * 0.5), str(timedelta(days=3) / 2), timedelta(days=3) % timedelta(days=2)
from datetime import timedelta, datetime ;; rows = [{'t': '2024-01-05T10:00:00'}, {'t': '2024-01-06'}] ;; ds = [datetime.fromisoformat(r['t']) for r in rows] ;; str(max(ds) - min(ds)), [str(d + timedelta(days=i)) for i, d in enumerate(ds)], str(sum([b - a for a, b in zip(ds, ds[1:])], timedelta()))
import re ;; m = re.search(r'(?P<a>x)(?P<b>y)?', 'x') ;; [m.groupdict(), m.group('a'), m['b'], m.span('a'), m.end(), m.string]
import re ;; [m['n'] for m in re.finditer(r'(?P<n>\d)', 'a1b2')]
import re ;; m = re.search(r'(?P<a>x)', 'x') ;; [m.start('a'), m.end('a'), m.span('a'), m[1], m['a'] if False else 0]
import re ;; await tools.put('a', 1) ;; re.sub(r'(?P<n>\d)', lambda m: m['n'] * 2, 'a1')
import re ;; re.findall(r'\w+', 'हिन्दी भाषा'), re.findall(r'\w', 'e\u0301x')
import re ;; re.findall('a*', 'baac'), re.sub('b*', 'X', 'abc'), re.split(r'\s*', 'a b')
import re ;; p = re.compile(r'x*') ;; p.findall('axb')
await tools.put('a', 1) ;; range(5).index(3)
xs = range(0, 10, 2) ;; await tools.put('a', 1) ;; [xs.index(4), xs.count(3)]
from collections import Counter ;; c = Counter('a') ;; print(type(c)) ;; 1
from datetime import date ;; y = await tools.double(450) ;; await tools.put('a', 1) ;; date(y + 49, 1, 5).strftime('%Y-%m-%d'), date(2024, 1, 5).strftime('%F')
from datetime import date ;; y = await tools.double(450) ;; d = date(y, 1, 5) ;; f'{d:%B %d, %Y}'
from datetime import timedelta ;; n = await tools.double(0.25) ;; try: ;;     x = timedelta(2) * n ;; except Exception as e: ;;     x = type(e).__name__ ;; x
from datetime import date, timedelta ;; try: ;;     x = date(1, 1, 1) - timedelta(days=1) ;; except OverflowError: ;;     x = 'early' ;; x
from collections import Counter ;; def top(c): ;;     return c[:2] ;; try: ;;     x = top(Counter('aab')) ;; except TypeError: ;;     x = 'no' ;; x
def put(d, v): ;;     d[1:2] = v ;;     return d ;; try: ;;     x = put({}, 1) ;; except TypeError: ;;     x = 'no' ;; [x, put([1, 2, 3], [9])]
def find(xs): ;;     return xs.index(4) ;; try: ;;     x = find(range(9)) ;; except Exception: ;;     x = 'no' ;; x
import math ;; [math.cbrt(16), math.erf(0.21089538875839242), math.lgamma(30), math.atanh(0.13259634289148536)]
r = None ;; try: ;;     r = range(5).count(9) ;; except Exception: ;;     r = 'no' ;; r
x = await tools.double(1) ;; x.foo
x = await tools.double(1) ;; x['a']
x = await tools.double(1) ;; [1][x + 5]
import re ;; m = re.search(r'(?P<a>x)(?P<b>y)?', 'x') ;; await tools.put('a', 1) ;; [m.start('a'), m.span('b'), m.groups('d')]
"""
# What Monty lacks, as the last line of a program, the error of which a `try` hides.
HIDDEN = r"""
d = {'a': 1} ;; d.items() >= {'a': 1}.items()
ks = {'a': 1, 'b': 2}.keys() ;; {'a': 1}.keys() < ks
float.fromhex('0x1p-2')
(2.5).hex()
def f(x): ;;     return x.hex() ;; f(0.5)
'a'.__len__()
[1].__contains__(1)
(1).__class__.__name__
ValueError.__name__
def f(x): ;;     return x.__dict__ ;; class C: ;;     def __init__(self): ;;         self.x = 1 ;; f(C())
class C: ;;     pass ;; [C().__class__.__name__, type(C()).__name__]
{'a': 1}.keys().mapping['a']
"""
# `StopIteration` that leaves a coroutine, and digits that are no integers.
STOPS = r"""
async def first(d): ;;     return next(iter(d)) ;; try: ;;     r = await first({}) ;; except StopIteration: ;;     r = 'stop' ;; except RuntimeError: ;;     r = 'runtime' ;; r
def first(d): ;;     return next(iter(d)) ;; async def outer(d): ;;     return first(d) ;; try: ;;     r = await outer({}) ;; except Exception as e: ;;     r = type(e).__name__ ;; r
async def f(): ;;     raise StopIteration ;; import asyncio ;; [type(e).__name__ for e in await asyncio.gather(f(), return_exceptions=True)]
async def f(d): ;;     try: ;;         return next(iter(d)) ;;     except StopIteration: ;;         return None ;; await f({})
await tools.put('a', 1) ;; next(iter({}))
raise StopIteration('end')
r = [] ;; for n in (None, 1.0, 'a', True, -1, 400): ;;     try: ;;         r += [round(2.675, n), round(7, n)] ;;     except Exception as e: ;;         r.append(type(e).__name__) ;; r
"""
# Syntax of which a rewrite does not find its place, so that Monty cannot read the program.
UNREAD = r"""
counts = {'a': 1} ;; try: ;;     del counts[[1]] ;; except TypeError as e: ;;     x = 5 ;; x
"""
# Texts of floats that lie between their two shortest ones: Monty takes the larger, which the host sees where one leaves.
FLOATS = r"""
str(1718267546354267.25)
x = 1718267546354267.25 ;; await tools.put('k', f'{x}')
x = await tools.double(859133773177133.625) ;; await tools.put('k', [{f'{x:,}': 1}])
print('a', *[x / 4 for x in [6873070185417069, 1]], sep=';')
import json ;; json.dumps({'mean': 9502186904187.5625, 'n': -1718267546354267.25}, separators=(',', ':'))
'%s of %r' % (1 + 2 ** -17, [1718267546354267.25])
'1,' + str(1718267546354267.25) + ',2' + 'é'
raise ValueError(f'{1718267546354267.25} is too much')
try: ;;     raise ValueError(f'{1718267546354267.25:_}') ;; except ValueError as e: ;;     r = str(e) ;; r
[str(x) for x in (0.1 + 0.2, 2 ** -24, 3 / 2 ** 24, 1e22, 1718267546354267.5, 123456789012345.67, 5e-324)]
"""
PROGRAMS = [
    line.replace(" ;; ", "\n")
    for text in (
        LAZINESS,
        ALIASES,
        OWN_WORDS,
        IN_PLACE,
        ORDERS,
        DETAILS,
        KEYS,
        LIBRARY,
        NANS,
        SCRIPTS,
        STOPS,
        UNREAD,
        FLOATS,
    )
    for line in text.strip("\n").split("\n")
]
for line in HIDDEN.strip("\n").split("\n"):
    *setup, last = line.split(" ;; ")
    PROGRAMS.append("\n".join([*setup, "try:", f"    r = {last}", "except Exception:", "    r = 'hidden'", "r"]))


def shown(code: str) -> str:
    """Make the repr of a program's last expression its value, where it ends in one."""
    last = ast.parse(code).body[-1]
    if not isinstance(last, ast.Expr):
        return f"{code}\n0"
    lines = code.split("\n")
    return "\n".join([*lines[: last.lineno - 1], f"repr(({lines[-1]}))"])


@pytest.fixture(scope="module")
async def monty() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=2)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
async def auto(monty: MontySandbox) -> AsyncIterator[AutoSandbox]:
    sandbox = AutoSandbox([monty, "restricted"])
    yield sandbox
    await sandbox.aclose()


@pytest.mark.parametrize("code", PROGRAMS)
async def test_a_program_does_on_auto_what_it_does_in_cpython(auto: AutoSandbox, code: str) -> None:
    assert await run_in(auto, shown(code)) == await asyncio.to_thread(run_here, shown(code))


# Ways in which a program makes keys of the items of `xs`, and the dict that comes of it.
STORES = """
d = {} ;; for k in xs: ;;     d[k] = 1
d = {xs[0]: 0} ;; for k in xs: ;;     d[k] = d.get(k, 0) + 1
d = {} ;; for k in xs: ;;     d.setdefault(k, []).append(k)
d = {} ;; for k in xs: ;;     d |= {k: 1}
d = {} ;; for k in xs: ;;     d = {**d, k: 1}
d = {} ;; for k in xs: ;;     d.update([(k, 1)])
d = {k: i for i, k in enumerate(xs)}
d = {(k, 'a'): 1 for k in xs}
d = dict.fromkeys(xs)
d = dict(zip(xs, 'abcdefghi'))
import collections ;; d = dict(collections.Counter(xs))
from collections import defaultdict ;; d = defaultdict(int) ;; for k in xs: ;;     d[k] += 1 ;; d = dict(d)
"""
EQUAL = [
    [1, 1.0, True],
    [True, 1],
    [1.0, 1],
    [0, False, 0.0, -0.0],
    [-0.0, 0.0, 0],
    [2**60, float(2**60)],
    [float(2**100), 2**100],
]


@pytest.mark.parametrize("store", STORES.strip("\n").split("\n"))
async def test_the_first_of_equal_keys_stays(monty: MontySandbox, auto: AutoSandbox, store: str) -> None:
    for xs in EQUAL:
        code = f"xs = [x for x in {xs}]\n{store}\nrepr(d)".replace(" ;; ", "\n")
        assert find_lacks(code, monty.capabilities) == ()
        assert (await run_in(monty, code)).error == "ValueError"
        assert await run_in(auto, code) == await asyncio.to_thread(run_here, code)


async def test_keys_that_monty_cannot_tell_apart_end_the_run_and_no_handler_sees_it(monty: MontySandbox) -> None:
    code = "d = {}\ntry:\n    d[(await tools.odd())[1]] = await tools.double(1)\nexcept Exception:\n    pass\nlen(d)"
    assert (await run_in(monty, code)).error == "ValueError"
    # Also where no function of the host can be called.
    code = "xs = ['1', 'nan']\ntry:\n    xs.sort(key=lambda t: float(t))\nexcept Exception:\n    pass\nxs"
    assert (await run_in(monty, code)).error == "ValueError"


async def test_a_run_is_refused_for_one_reason(monty: MontySandbox) -> None:
    execution = await monty.start(Program(code="d = {}\nfor k in [1, True, 0, False] * 50:\n    d[k] = 1\nlen(d)"))
    event = await execution.advance()
    assert isinstance(event, Failed)
    assert event.lacks == "the key True equals 1; make all keys texts or all of them integers"


@pytest.mark.parametrize(
    "search",
    [r"r'\w+', '5 m²'", r"r'\b.', '½ cup'", r"r'\s', 'a\x1cb'", "'I', 'ı', re.I", "r'(?:i)', string='İ', flags=re.I"],
)
async def test_a_text_that_a_pattern_would_read_otherwise_ends_the_run(monty: MontySandbox, search: str) -> None:
    code = f"import re\ntry:\n    r = re.findall({search})\nexcept Exception:\n    r = None\nr"
    lacks, run = find_lacks(code, monty.capabilities), await run_in(monty, code)
    assert lacks or run.error == "ValueError"


async def test_stores_of_keys_are_guarded_where_other_rewrites_fail(monty: MontySandbox) -> None:
    code = "a = b = 1\ndel (  # a, b\n    a, b)\nd = {}\nfor k in [1, True]:\n    d[k] = 2\nrepr(d)"
    there = await run_in(monty, code)
    assert there.error or there.value == repr("{1: 2}")


# What an ordinary program is made of: none of it may send it elsewhere.
STAYING = r"""
rows = await tools.rows() ;; by_id = {r['id']: r for r in rows} ;; by_id[1]['n'] += 1 ;; {i: r['n'] / 2 for i, r in by_id.items()}
rows = await tools.rows() ;; totals = {} ;; for r in rows: ;;     totals[r['n'] / 2] = totals.get(r['n'] / 2, 0) + r['n'] ;; totals
import re ;; rows = await tools.rows() ;; [f"{int(x):03d} {float(x):.1f}" for x in re.findall(r'\d+', '1 22')], list(map(int, '12')), re.sub(r'\s+', ' ', 'é  b')
from collections import Counter, defaultdict ;; groups = defaultdict(list) ;; for r in await tools.rows(): ;;     groups[r['n']].append(r['name']) ;; dict(groups), Counter(r['n'] for r in await tools.rows()).most_common(1)
rows = await tools.rows() ;; sum(r['n'] for r in rows), max(r['n'] for r in rows), sorted(r['name'] for r in rows)
rows = await tools.rows() ;; {r['name']: r['n'] for r in rows if r['n'] > 1}
rows = await tools.rows() ;; total = 0 ;; for i, r in enumerate(rows): ;;     total += r['n'] * i ;; total
rows = await tools.rows() ;; ', '.join(f"{r['name']}: {r['n']:.1f}" for r in rows)
import asyncio ;; results = await asyncio.gather(*[tools.double(x) for x in range(3)]) ;; dict(zip('abc', results))
names = list(filter(lambda r: r['n'], await tools.rows())) ;; len(names)
rows = [] ;; for _ in range(2): ;;     rows += await tools.rows() ;; seen = set() ;; [r['id'] for r in rows if r['id'] not in seen and not seen.add(r['id'])]
counts = {} ;; for r in await tools.rows(): ;;     counts[r['name']] = counts.get(r['name'], 0) + 1 ;; sorted(counts.items(), key=lambda kv: (-kv[1], kv[0]))
try: ;;     await tools.fail('no') ;; except Exception as e: ;;     r = f'failed: {e}' ;; r
import asyncio ;; ids = [1, 2] ;; try: ;;     r = await asyncio.gather(*[tools.double(i) for i in ids], tools.rows()) ;; except Exception as e: ;;     r = str(e) ;; r
async def retry(f, *args): ;;     for _ in range(2): ;;         try: ;;             return await f(*args) ;;         except RuntimeError: ;;             pass ;; await retry(tools.double, 2)
import asyncio ;; async def one(x): ;;     try: ;;         return await tools.double(x) ;;     except Exception as e: ;;         return str(e) ;; await asyncio.gather(*(one(x) for x in [1, 2]))
"""


@pytest.mark.parametrize("code", [line.replace(" ;; ", "\n") for line in STAYING.strip("\n").split("\n")])
async def test_an_ordinary_program_stays_on_monty(monty: MontySandbox, code: str) -> None:
    assert find_lacks(shown(code), monty.capabilities) == ()
    assert await run_in(monty, shown(code)) == await asyncio.to_thread(run_here, shown(code))


async def test_random_programs_have_no_silent_difference() -> None:
    found = await fuzz(300, seed=7, elsewhere=False)
    assert found.different == []
    assert found.on_monty > 60
    assert found.refused
