"""The language itself."""

from tests.sandboxes.programs.case import case

LANGUAGE = (
    case(
        "comprehensions",
        "[n * n for n in range(5) if n % 2], {n: str(n) for n in (1, 2)}, sorted({c for c in 'hello'})",
        [[1, 9], {"1": "1", "2": "2"}, ["e", "h", "l", "o"]],
    ),
    case(
        "nested comprehensions",
        "[[x * y for x in (1, 2)] for y in (3, 4)], [x for row in ((1,), (2,)) for x in row]",
        [[[3, 6], [4, 8]], [1, 2]],
    ),
    case(
        "a generator expression",
        "sum(n for n in range(10)), any(n > 8 for n in range(10)), max((len(w), w) for w in ('a', 'bcd'))",
        [45, True, [3, "bcd"]],
    ),
    case(
        "a generator function",
        """
        def squares(n):
            for i in range(n):
                yield i * i
        list(squares(4)), sum(squares(3))
        """,
        [[0, 1, 4, 9], 5],
    ),
    case(
        "yield from and send",
        """
        def inner():
            received = yield 1
            yield received * 2
        def outer():
            yield from inner()
            yield 9
        g = outer()
        [next(g), g.send(5), next(g)]
        """,
        [1, 10, 9],
    ),
    case(
        "slices",
        "x = list(range(10))\nx[2:5], x[::-3], x[-2:], 'abcdef'[1::2]",
        [[2, 3, 4], [9, 6, 3, 0], [8, 9], "bdf"],
    ),
    case(
        "unpacking",
        "a, *b, c = range(5)\n(d, e), f = (1, 2), 3\n[a, b, c, d, e, f, [*b, *'xy'], {**{'k': 1}, 'l': 2}]",
        [0, [1, 2, 3], 4, 1, 2, 3, [1, 2, 3, "x", "y"], {"k": 1, "l": 2}],
    ),
    case("swap and chained comparison", "a, b = 1, 2\na, b = b, a\n[a, b, 1 < a <= 2, 1 < b < 3]", [2, 1, True, False]),
    case("a walrus", "[y for x in (1, 5, 9) if (y := x * 2) > 5]", [10, 18]),
    case(
        "a conditional and a ternary chain",
        "[('fizz' if n % 3 == 0 else 'buzz' if n % 5 == 0 else n) for n in range(1, 7)]",
        [1, 2, "fizz", 4, "buzz", "fizz"],
    ),
    case(
        "loops with else, break and continue",
        """
        primes = []
        for n in range(2, 20):
            for p in primes:
                if n % p == 0:
                    break
            else:
                primes.append(n)
        n = 0
        while True:
            n += 1
            if n % 2:
                continue
            if n > 6:
                break
        primes, n
        """,
        [[2, 3, 5, 7, 11, 13, 17, 19], 8],
    ),
    case(
        "match",
        """
        def kind(x):
            match x:
                case []:
                    return "empty"
                case [first, *rest]:
                    return f"list of {first} and {len(rest)}"
                case {"type": "user", "name": str(name)}:
                    return f"user {name}"
                case int() | float() if x > 100:
                    return "large"
                case 0 | 1:
                    return "bit"
                case None:
                    return "none"
                case _:
                    return "other"
        [kind(x) for x in ([], [1, 2], {"type": "user", "name": "Ann", "x": 1}, 500, 1, None, "s")]
        """,
        ["empty", "list of 1 and 1", "user Ann", "large", "bit", "none", "other"],
    ),
    case(
        "functions with every kind of parameter",
        """
        def f(a, b=2, /, c=3, *args, d, e=5, **kwargs):
            return [a, b, c, args, d, e, kwargs]
        [f(1, d=4), f(1, 9, 8, 7, d=0, z=1)]
        """,
        [[1, 2, 3, [], 4, 5, {}], [1, 9, 8, [7], 0, 5, {"z": 1}]],
    ),
    case(
        "closures and nonlocal",
        """
        def counter():
            n = 0
            def step(by=1):
                nonlocal n
                n += by
                return n
            return step
        c = counter()
        [c(), c(5), c()]
        """,
        [1, 6, 7],
    ),
    case("global", "total = 0\ndef add(n):\n    global total\n    total += n\nadd(2)\nadd(3)\ntotal", 5),
    case(
        "lambdas and higher functions",
        "compose = lambda f, g: lambda x: f(g(x))\ncompose(lambda x: x + 1, lambda x: x * 2)(5), list(map(lambda x: -x, [1, 2])), list(filter(None, [0, 1, '', 'a']))",
        [11, [-1, -2], [1, "a"]],
    ),
    case(
        "a decorator",
        """
        def twice(function):
            def inner(*args):
                return [function(*args), function(*args)]
            return inner
        @twice
        def say(word):
            return word + "!"
        say("hi")
        """,
        ["hi!", "hi!"],
    ),
    case(
        "a class",
        """
        class Basket:
            def __init__(self, owner):
                self.owner = owner
                self.items = []
            def add(self, name, price=1):
                self.items.append((name, price))
                return self
            def total(self):
                return sum(price for _, price in self.items)
        basket = Basket("Ann").add("pear", 3).add("plum")
        [basket.owner, basket.total(), len(basket.items)]
        """,
        ["Ann", 4, 2],
    ),
    case(
        "a class with special methods",
        """
        class Money:
            def __init__(self, cents):
                self.cents = cents
            def __repr__(self):
                return f"Money({self.cents})"
            def __eq__(self, other):
                return self.cents == other.cents
            def __add__(self, other):
                return Money(self.cents + other.cents)
        [repr(Money(1) + Money(2)), Money(3) == Money(3), f"{Money(5)}"]
        """,
        ["Money(3)", True, "Money(5)"],
    ),
    case(
        "inheritance and super",
        """
        class Animal:
            def __init__(self, name):
                self.name = name
            def speak(self):
                return f"{self.name} says {self.sound()}"
        class Dog(Animal):
            def __init__(self, name):
                super().__init__(name.title())
            def sound(self):
                return "woof"
        [Dog("rex").speak(), isinstance(Dog("a"), Animal), issubclass(Dog, Animal)]
        """,
        ["Rex says woof", True, True],
    ),
    case(
        "properties, class and static methods",
        """
        class Circle:
            count = 0
            def __init__(self, r):
                self.r = r
                Circle.count += 1
            @property
            def area(self):
                return 3 * self.r ** 2
            @classmethod
            def unit(cls):
                return cls(1)
            @staticmethod
            def name():
                return "circle"
        [Circle(2).area, Circle.unit().r, Circle.name(), Circle.count]
        """,
        [12, 1, "circle", 2],
    ),
    case(
        "an exception of one's own",
        """
        class TooFew(Exception):
            pass
        try:
            raise TooFew("only 2")
        except TooFew as error:
            said = str(error)
        said
        """,
        "only 2",
    ),
    case(
        "try, else and finally in order",
        """
        steps = []
        def run(fail):
            try:
                steps.append("try")
                if fail:
                    raise ValueError("no")
            except ValueError:
                steps.append("except")
            else:
                steps.append("else")
            finally:
                steps.append("finally")
        run(False)
        run(True)
        steps
        """,
        ["try", "else", "finally", "try", "except", "finally"],
    ),
    case(
        "raise from",
        """
        def load():
            try:
                return {}["key"]
            except KeyError as error:
                raise ValueError("no configuration") from error
        try:
            load()
        except ValueError as error:
            said = str(error)
        said
        """,
        "no configuration",
    ),
    case(
        "assert",
        "try:\n    assert 1 > 2, 'too small'\nexcept AssertionError as error:\n    said = str(error)\nsaid",
        "too small",
    ),
    case("del", "d = {'a': 1, 'b': 2}\ndel d['a']\nx = [1, 2, 3]\ndel x[0]\nd, x", [{"b": 2}, [2, 3]]),
    case(
        "a context manager",
        """
        class Step:
            def __init__(self, log):
                self.log = log
            def __enter__(self):
                self.log.append("in")
                return self
            def __exit__(self, *error):
                self.log.append("out")
                return True
        log = []
        with Step(log):
            log.append("body")
            raise ValueError("swallowed")
        log
        """,
        ["in", "body", "out"],
    ),
    case(
        "f-strings",
        "n, name = 1234.5678, 'Ann'\nf'{n:,.2f}|{n:>12.1f}|{name!r:<8}|{name:^9}|{42:#x}|{0.256:.1%}|{n:e}|{{}}|{name=}'",
        "1,234.57|      1234.6|'Ann'   |   Ann   |0x2a|25.6%|1.234568e+03|{}|name='Ann'",
    ),
    case(
        "format and percent",
        "'{:>5}|{name}|{}'.format('ab', 'c', name='x'), '%s has %d and %.2f' % ('Ann', 3, 1.5)",
        ["   ab|x|c", "Ann has 3 and 1.50"],
    ),
    case(
        "text methods",
        "s = '  Hello, World  '\n[s.strip().lower(), s.split(','), 'a-b-c'.rsplit('-', 1), ','.join('abc'), 'abc'.replace('b', 'x'), 'title case'.title(), 'x'.zfill(3), 'abc'.find('c'), 'a\\nb'.splitlines(), 'abcabc'.count('b'), 'Hi'.swapcase(), 'prefix-x'.removeprefix('prefix-')]",
        [
            "hello, world",
            ["  Hello", " World  "],
            ["a-b", "c"],
            "a,b,c",
            "axc",
            "Title Case",
            "00x",
            2,
            ["a", "b"],
            2,
            "hI",
            "x",
        ],
    ),
    case(
        "unicode",
        "s = 'naïve café 😀 日本'\n[len(s), s.upper(), s[::-1], s.encode().decode(), ord('é'), chr(8364), 'ß'.casefold(), '日本' in s]",
        [15, "NAÏVE CAFÉ 😀 日本", "本日 😀 éfac evïan", "naïve café 😀 日本", 233, "€", "ss", True],
    ),
    case(
        "bytes",
        "b = 'é'.encode()\n[list(b), b.hex(), b.decode(), len(b), b'a' + b'b' == b'ab']",
        [[195, 169], "c3a9", "é", 2, True],
    ),
    case(
        "numbers",
        "[7 // 2, -7 // 2, 7 % -3, 2 ** 10, 7 / 2, round(2.675, 2), round(2.5), abs(-3), divmod(17, 5), int('42'), float('1e3'), int('ff', 16), bin(5), 0.1 + 0.2, 1_000]",
        [3, -4, -2, 1024, 3.5, 2.67, 2, 3, [3, 2], 42, 1000.0, 255, "0b101", 0.30000000000000004, 1000],
    ),
    case("large integers", "[2 ** 100, 2 ** 63, -(2 ** 63), len(str(3 ** 200))]", [2**100, 2**63, -(2**63), 96]),
    case("bits", "[5 & 3, 5 | 3, 5 ^ 3, ~5, 1 << 10, 1024 >> 3]", [1, 7, 6, -6, 1024, 128]),
    case(
        "truth",
        "[bool(x) for x in (0, 1, '', 'a', [], [0], None, {}, 0.0)], not 1, 1 and 'x', 0 or 'y', None is None",
        [[False, True, False, True, False, True, False, False, False], False, "x", "y", True],
    ),
    case(
        "sorting",
        "people = [('Bob', 3), ('Ann', 3), ('Cat', 1)]\n[sorted(people, key=lambda p: (-p[1], p[0])), sorted([3, 1, 2], reverse=True), sorted('bA', key=lambda c: c.lower()), min(people, key=lambda p: p[1])]",
        [[["Ann", 3], ["Bob", 3], ["Cat", 1]], [3, 2, 1], ["A", "b"], ["Cat", 1]],
    ),
    case(
        "lists",
        "x = [3, 1]\nx.append(2)\nx.extend([5, 4])\nx.insert(0, 9)\nx.sort()\ny = x.copy()\ny.reverse()\n[x, y, x.pop(), x.index(3), x.count(1), x + [0], [0] * 3, 3 in x]",
        [[1, 2, 3, 4, 5], [9, 5, 4, 3, 2, 1], 9, 2, 1, [1, 2, 3, 4, 5, 0], [0, 0, 0], True],
    ),
    case(
        "dicts",
        "d = {'b': 1, 'a': 2}\nd.update(c=3)\nd |= {'d': 4}\n[list(d), sorted(d.items()), d.get('x', 0), d.pop('b'), d.setdefault('e', []), dict(zip('xy', (1, 2))), {v: k for k, v in d.items() if k != 'e'}, 'a' in d, len(d)]",
        [
            ["b", "a", "c", "d"],
            [["a", 2], ["b", 1], ["c", 3], ["d", 4]],
            0,
            1,
            [],
            {"x": 1, "y": 2},
            {"2": "a", "3": "c", "4": "d"},
            True,
            4,
        ],
    ),
    case(
        "sets",
        "a, b = {1, 2, 3}, {3, 4}\n[sorted(a | b), sorted(a & b), sorted(a - b), sorted(a ^ b), {3} <= a, a.isdisjoint({9}), len(set('hello'))]",
        [[1, 2, 3, 4], [3], [1, 2], [1, 2, 4], True, True, 4],
    ),
    case(
        "zip, enumerate, reversed, any, all",
        "[list(zip([1, 2], 'ab')), list(enumerate('ab', 1)), list(reversed([1, 2])), any([0, 1]), all([]), sum([[1], [2]], [])]",
        [[[1, "a"], [2, "b"]], [[1, "a"], [2, "b"]], [2, 1], True, True, [1, 2]],
    ),
    case(
        "printing",
        "print('a', 1, None, [1, 'x'], sep='-', end='!\\n')\nprint()\nprint({'k': (1,)}, 1.0, True)",
        None,
        stdout="a-1-None-[1, 'x']!\n\n{'k': (1,)} 1.0 True\n",
    ),
    case(
        "printing before and after a call",
        "print('before')\nx = await tools.double(1)\nprint('after', x)\nx",
        2,
        stdout="before\nafter 2\n",
        calls=["double(1)"],
    ),
    case(
        "types and isinstance",
        "[type(1).__name__, isinstance('a', (int, str)), isinstance(True, int), callable(len), type([]) is list]",
        ["int", True, True, True, True],
    ),
    case(
        "getattr, hasattr and setattr",
        "class A:\n    pass\na = A()\nsetattr(a, 'x', 1)\n[getattr(a, 'x'), getattr(a, 'y', 2), hasattr(a, 'y')]",
        [1, 2, False],
    ),
    case(
        "annotations",
        "def f(xs: list[int], *, name: str | None = None) -> dict[str, int]:\n    total: int = sum(xs)\n    return {name or 'sum': total}\nf([1, 2], name='n')",
        {"n": 3},
    ),
    case(
        "a value of every kind",
        "{'t': (1, 2), 's': {3}, 'n': None, 'f': 1.5, 'b': False, 'd': {'x': [{}]}, 1: 'one', None: 0}",
        {"t": [1, 2], "s": [3], "n": None, "f": 1.5, "b": False, "d": {"x": [{}]}, "1": "one", "None": 0},
    ),
    case(
        "a large value",
        "{'rows': [{'id': n, 'name': f'row {n}'} for n in range(5000)]}",
        {"rows": [{"id": n, "name": f"row {n}"} for n in range(5000)]},
    ),
    case("a deep value", "x = []\nfor _ in range(30):\n    x = [x]\nx", eval("[" * 31 + "]" * 31)),
    case("the same object twice", "row = {'n': 1}\n[row, row, [row]]", [{"n": 1}, {"n": 1}, [{"n": 1}]]),
    case("lone surrogates", "['a\\ud800b', {'\\udfff': 1}]", ["a\ud800b", {"\udfff": 1}]),
    case("NUL", "['c\\x00d', {'\\x00': 1}]", ["c\x00d", {"\x00": 1}]),
)
