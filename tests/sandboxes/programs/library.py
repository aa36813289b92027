"""The standard library."""

from tests.sandboxes.programs.case import case

LIBRARY = (
    case(
        "json",
        "import json\nd = json.loads('{\"a\": [1, 2.5, null, true], \"é\": \"ü\"}')\n[d, json.dumps(d, sort_keys=True), json.dumps({'a': 1}, indent=2), json.dumps('é', ensure_ascii=False), json.dumps([1, 2], separators=(',', ':'))]",
        [
            {"a": [1, 2.5, None, True], "é": "ü"},
            '{"a": [1, 2.5, null, true], "\\u00e9": "\\u00fc"}',
            '{\n  "a": 1\n}',
            '"é"',
            "[1,2]",
        ],
    ),
    case(
        "json that does not parse",
        "import json\ntry:\n    json.loads('{oops')\nexcept json.JSONDecodeError:\n    said = 'bad'\nexcept ValueError:\n    said = 'other'\nsaid",
        "bad",
    ),
    case(
        "regular expressions",
        "import re\ntext = 'Ann <ann@x.org>, Bob <bob@y.com>'\n[re.findall(r'<(\\w+)@([\\w.]+)>', text), re.sub(r'\\s+', ' ', 'a  b\\n c'), bool(re.search('bob', text, re.IGNORECASE)), re.split(r'[,;]\\s*', 'a, b;c'), re.match(r'(?P<first>\\w+)', text).group('first'), [m.start() for m in re.finditer('@', text)], re.fullmatch(r'\\d{4}-\\d{2}', '2026-03') is not None, re.escape('a.b')]",
        [[["ann", "x.org"], ["bob", "y.com"]], "a b c", True, ["a", "b", "c"], "Ann", [8, 25], True, "a\\.b"],
    ),
    case(
        "a compiled pattern with groups",
        "import re\np = re.compile(r'(\\d+)-(\\d+)')\nm = p.search('pages 12-34')\n[m.groups(), m.group(0), m.span(), p.pattern]",
        [["12", "34"], "12-34", [6, 11], "(\\d+)-(\\d+)"],
    ),
    case("re.sub with a function", "import re\nre.sub(r'\\d+', lambda m: str(int(m.group()) * 2), 'a1b22')", "a2b44"),
    case(
        "dates",
        "from datetime import date, datetime, timedelta\nd = datetime(2026, 2, 27, 15, 30)\n[d.isoformat(), (d + timedelta(days=2)).date().isoformat(), d.strftime('%Y/%m/%d %H:%M %A'), (datetime(2026, 3, 1) - d).days, d.weekday(), date(2026, 3, 1) > date(2026, 2, 28), d.replace(hour=0).hour]",
        ["2026-02-27T15:30:00", "2026-03-01", "2026/02/27 15:30 Friday", 1, 4, True, 0],
    ),
    case(
        "dates from text",
        "from datetime import datetime, timezone\na = datetime.fromisoformat('2026-03-01T10:00:00+00:00')\nb = datetime.fromisoformat('2026-03-01T12:30:00+01:00')\n[(b - a).total_seconds(), a.tzinfo == timezone.utc, b.astimezone(timezone.utc).hour, a.timestamp()]",
        [5400.0, True, 11, 1772359200.0],
    ),
    case(
        "strptime",
        "from datetime import datetime\ndatetime.strptime('01.03.2026 08:05', '%d.%m.%Y %H:%M').isoformat()",
        "2026-03-01T08:05:00",
    ),
    case(
        "timedelta",
        "from datetime import timedelta\nt = timedelta(hours=25, minutes=30)\n[str(t), t.days, t.seconds, t.total_seconds(), str(t * 2)]",
        ["1 day, 1:30:00", 1, 5400, 91800.0, "2 days, 3:00:00"],
    ),
    case(
        "dates as values",
        "from datetime import date, datetime, timedelta\n[date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5), timedelta(seconds=90)]",
        ["2026-01-02", "2026-01-02T03:04:05", 90.0],
    ),
    case(
        "time zones",
        "from datetime import datetime\nfrom zoneinfo import ZoneInfo\ndatetime(2026, 7, 1, 12, tzinfo=ZoneInfo('America/New_York')).astimezone(ZoneInfo('Asia/Tokyo')).isoformat()",
        "2026-07-02T01:00:00+09:00",
    ),
    case(
        "Counter and defaultdict",
        "from collections import Counter, defaultdict\nc = Counter('mississippi')\nd = defaultdict(list)\nfor w in ('apple', 'avocado', 'bean'):\n    d[w[0]].append(w)\n[c.most_common(2), c['s'], dict(d), sum(c.values())]",
        [[["i", 4], ["s", 4]], 4, {"a": ["apple", "avocado"], "b": ["bean"]}, 11],
    ),
    case(
        "deque",
        "from collections import deque\nq = deque([1, 2], maxlen=3)\nq.append(3)\nq.append(4)\nq.appendleft(0)\n[list(q), q.pop(), q.popleft(), len(q)]",
        [[0, 2, 3], 3, 0, 1],
    ),
    case(
        "namedtuple",
        "from collections import namedtuple\nPoint = namedtuple('Point', 'x y')\np = Point(1, y=2)\n[p.x + p.y, p[0], list(p)]",
        [3, 1, [1, 2]],
    ),
    case(
        "OrderedDict and ChainMap",
        "from collections import ChainMap, OrderedDict\nd = OrderedDict(a=1, b=2)\nd.move_to_end('a')\n[list(d), ChainMap({'x': 1}, {'x': 2, 'y': 3})['y']]",
        [["b", "a"], 3],
    ),
    case(
        "a dataclass",
        "from dataclasses import dataclass, field\n@dataclass\nclass Item:\n    name: str\n    price: float = 1.0\n    tags: list = field(default_factory=list)\n    def total(self, n):\n        return self.price * n\ni = Item('pear', tags=['x'])\n[i.total(3), i == Item('pear', 1.0, ['x']), i.name, i]",
        [3.0, True, "pear", {"name": "pear", "price": 1.0, "tags": ["x"]}],
    ),
    case(
        "dataclass helpers",
        "from dataclasses import asdict, dataclass, replace\n@dataclass(frozen=True)\nclass P:\n    x: int\n    y: int = 0\np = P(1)\n[asdict(p), asdict(replace(p, y=5)), repr(p)]",
        [{"x": 1, "y": 0}, {"x": 1, "y": 5}, "P(x=1, y=0)"],
    ),
    case(
        "an enum",
        "from enum import Enum\nclass Color(Enum):\n    RED = 'r'\n    BLUE = 'b'\n[Color.RED.value, Color('b').name, [c.name for c in Color], Color.RED]",
        ["r", "BLUE", ["RED", "BLUE"], "r"],
    ),
    case(
        "itertools",
        "import itertools\n[list(itertools.chain([1], [2, 3])), list(itertools.combinations('abc', 2)), list(itertools.accumulate([1, 2, 3])), list(itertools.islice(itertools.count(5), 2)), list(itertools.product('ab', [1])), list(itertools.zip_longest([1], 'ab', fillvalue=0))]",
        [
            [1, 2, 3],
            [["a", "b"], ["a", "c"], ["b", "c"]],
            [1, 3, 6],
            [5, 6],
            [["a", 1], ["b", 1]],
            [[1, "a"], [0, "b"]],
        ],
    ),
    case(
        "groupby",
        "from itertools import groupby\nrows = [('eng', 1), ('eng', 2), ('ops', 3)]\n{k: sum(n for _, n in g) for k, g in groupby(rows, key=lambda r: r[0])}",
        {"eng": 3, "ops": 3},
    ),
    case(
        "functools",
        "from functools import partial, reduce\n[reduce(lambda a, b: a * b, [1, 2, 3, 4]), partial(int, base=2)('101')]",
        [24, 5],
    ),
    case(
        "lru_cache",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(60)",
        1548008755920,
    ),
    case(
        "math",
        "import math\n[math.sqrt(2), math.floor(-1.5), math.ceil(1.2), math.gcd(12, 18), math.isclose(0.1 + 0.2, 0.3), math.factorial(10), round(math.pi, 5), math.hypot(3, 4), math.log10(1000), math.prod([2, 3])]",
        [2**0.5, -2, 2, 6, True, 3628800, 3.14159, 5.0, 3.0, 6],
    ),
    case(
        "statistics",
        "import statistics\n[statistics.mean([1, 2, 3, 4]), statistics.median([3, 1, 2]), round(statistics.stdev([1, 2, 3, 4]), 4), statistics.mode('aab')]",
        [2.5, 2, 1.291, "a"],
    ),
    case(
        "Decimal",
        "from decimal import ROUND_HALF_UP, Decimal\n[str(Decimal('0.1') + Decimal('0.2')), str(Decimal('2.675').quantize(Decimal('0.01'), rounding=ROUND_HALF_UP)), Decimal('1.10')]",
        ["0.3", "2.68", "1.10"],
    ),
    case("Fraction", "from fractions import Fraction\nstr(Fraction(1, 3) + Fraction('1/6'))", "1/2"),
    case(
        "csv",
        "import csv, io\nrows = list(csv.DictReader(io.StringIO('name,qty\\napple,3\\n\"pear, green\",5\\n')))\n[rows, sum(int(r['qty']) for r in rows)]",
        [[{"name": "apple", "qty": "3"}, {"name": "pear, green", "qty": "5"}], 8],
    ),
    case(
        "writing csv",
        "import csv, io\nout = io.StringIO()\nw = csv.writer(out)\nw.writerow(['a', 'b'])\nw.writerow([1, 'x,y'])\nout.getvalue()",
        'a,b\r\n1,"x,y"\r\n',
    ),
    case(
        "hashes and base64",
        "import base64, hashlib\n[hashlib.sha256(b'abc').hexdigest()[:16], hashlib.md5(b'').hexdigest(), base64.b64encode('é'.encode()).decode(), base64.b64decode('w6k=').decode()]",
        ["ba7816bf8f01cfea", "d41d8cd98f00b204e9800998ecf8427e", "w6k=", "é"],
    ),
    case(
        "bisect and heapq",
        "import bisect, heapq\nx = [1, 3, 5]\nbisect.insort(x, 4)\nh = [5, 1, 4]\nheapq.heapify(h)\n[x, bisect.bisect_left(x, 3), heapq.heappop(h), heapq.nlargest(2, [3, 9, 5])]",
        [[1, 3, 4, 5], 1, 1, [9, 5]],
    ),
    case(
        "copy",
        "import copy\na = {'x': [1]}\nb, c = copy.copy(a), copy.deepcopy(a)\na['x'].append(2)\n[b, c]",
        [{"x": [1, 2]}, {"x": [1]}],
    ),
    case(
        "text tools",
        "import textwrap, string\n[textwrap.shorten('a long line of words', 12), textwrap.dedent('  a\\n  b'), string.ascii_lowercase[:3], string.Template('$x!').substitute(x=1)]",
        ["a long [...]", "a\nb", "abc", "1!"],
    ),
    case(
        "urls",
        "from urllib.parse import parse_qs, quote, urlencode, urlparse\nu = urlparse('https://ex.org:8080/a/b?x=1&y=2#f')\n[u.netloc, u.path, parse_qs(u.query), urlencode({'q': 'a b'}), quote('ä/b')]",
        ["ex.org:8080", "/a/b", {"x": ["1"], "y": ["2"]}, "q=a+b", "%C3%A4/b"],
    ),
    case("html", "import html\n[html.escape('<a & b>'), html.unescape('&eacute;&#33;')]", ["&lt;a &amp; b&gt;", "é!"]),
    case(
        "pathlib without a disk",
        "from pathlib import PurePosixPath\np = PurePosixPath('/docs/2026/report.final.pdf')\n[p.name, p.suffix, p.stem, str(p.parent), p.parts[-1], str(p.with_suffix('.txt'))]",
        ["report.final.pdf", ".pdf", "report.final", "/docs/2026", "report.final.pdf", "/docs/2026/report.final.txt"],
    ),
    case(
        "uuid of a name",
        "import uuid\nstr(uuid.uuid5(uuid.NAMESPACE_DNS, 'example.org'))",
        "aad03681-8b63-5304-89e0-8ca8f49461b5",
    ),
    case(
        "typing",
        "from typing import Any, Optional, TypedDict\nclass User(TypedDict):\n    name: str\ndef f(u: User, x: Optional[int] = None) -> Any:\n    return u['name']\nf({'name': 'Ann'})",
        "Ann",
    ),
    case(
        "contextlib",
        "from contextlib import contextmanager, suppress\nlog = []\n@contextmanager\ndef step(name):\n    log.append(name)\n    yield name.upper()\n    log.append('end')\nwith step('a') as x, suppress(KeyError):\n    {}[x]\nlog, x",
        [["a", "end"], "A"],
    ),
    case(
        "operator",
        "from operator import attrgetter, itemgetter\n[sorted([{'n': 2}, {'n': 1}], key=itemgetter('n')), itemgetter(1, 0)('ab')]",
        [[{"n": 1}, {"n": 2}], ["b", "a"]],
    ),
    case(
        "io",
        "import io\nf = io.StringIO('one\\ntwo\\n')\n[f.readline(), f.read(), [line.strip() for line in io.StringIO('a\\nb')]]",
        ["one\n", "two\n", ["a", "b"]],
    ),
    case(
        "zlib and binascii",
        "import binascii, zlib\n[zlib.decompress(zlib.compress(b'aaa')).decode(), binascii.hexlify(b'ab').decode(), zlib.crc32(b'abc')]",
        ["aaa", "6162", 891568578],
    ),
    case(
        "unicodedata",
        "import unicodedata\n[unicodedata.normalize('NFD', 'é') == 'e\\u0301', unicodedata.name('€'), ''.join(c for c in unicodedata.normalize('NFKD', 'Ångström') if not unicodedata.combining(c))]",
        [True, "EURO SIGN", "Angstrom"],
    ),
    case(
        "xml",
        "import xml.etree.ElementTree as ET\nroot = ET.fromstring('<r><i n=\"1\">a</i><i n=\"2\">b</i></r>')\n{i.get('n'): i.text for i in root.findall('i')}",
        {"1": "a", "2": "b"},
    ),
    case(
        "logging",
        "import logging\nlogging.basicConfig(format='%(levelname)s:%(message)s')\nlogging.warning('careful')\n1",
        1,
        stdout="WARNING:careful\n",
    ),
    case("ast.literal_eval", "import ast\nast.literal_eval('{\"a\": (1, None)}')", {"a": [1, None]}),
    case("tomllib", "import tomllib\ntomllib.loads('[a]\\nb = [1, 2]\\nc = \"x\"')", {"a": {"b": [1, 2], "c": "x"}}),
    case(
        "pprint and difflib",
        "import difflib, pprint\n[pprint.pformat({'b': 1, 'a': [1, 2]}), difflib.get_close_matches('appel', ['ape', 'apple', 'peach'])]",
        ["{'a': [1, 2], 'b': 1}", ["apple", "ape"]],
    ),
)
