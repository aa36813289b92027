"""The world as a program sees it: a clock, randomness, an environment, and nothing else."""

from tests.sandboxes.programs.case import case

WORLD = (
    case("the clock is the host's", "import time\ntime.time()", 1767225600.0),
    case(
        "the date is the host's",
        "from datetime import date, datetime, timezone\n[datetime.now().isoformat(), datetime.now(timezone.utc).isoformat(), date.today().isoformat()]",
        ["2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00", "2026-01-01"],
    ),
    case(
        "the clock stands while it computes",
        "import time\na = time.time()\nfor n in range(10000):\n    pass\ntime.time() - a",
        0.0,
    ),
    case(
        "the clock moves with sleep",
        "import asyncio\nfrom datetime import datetime\nawait asyncio.sleep(90)\ndatetime.now().isoformat()",
        "2026-01-01T00:01:30",
    ),
    case(
        "randomness with a seed",
        "import random\nrandom.seed(3)\n[random.random(), random.randint(1, 100), random.choice('abc')]",
        [0.23796462709189137, 70, "a"],
    ),
    case(
        "a generator of its own",
        "import random\nr = random.Random(7)\n[r.randint(1, 6) for _ in range(4)], r.sample(range(10), 3)",
        [[3, 2, 4, 6], [0, 1, 8]],
    ),
    case(
        "randomness without a seed",
        "import random\nx = [random.random() for _ in range(100)]\n[0 <= min(x), max(x) < 1, len(set(x)) > 90]",
        [True, True, True],
    ),
    case("uuid4", "import uuid\na, b = uuid.uuid4(), uuid.uuid4()\n[len(str(a)), a != b, a.version]", [36, True, 4]),
    case(
        "the environment is empty",
        "import os\n[os.environ.get('HOME'), os.environ.get('PATH', 'none'), len(os.environ)]",
        [None, "none", 0],
    ),
    case(
        "os.path",
        "import os\n[os.path.join('/a', 'b.txt'), os.path.basename('/a/b.txt'), os.path.splitext('b.tar.gz')]",
        ["/a/b.txt", "b.txt", ["b.tar", ".gz"]],
    ),
    case("the name of the module", "__name__", "__main__"),
    case(
        "no file of the host",
        "try:\n    open('/root/.ssh/id_rsa').read()\n    said = 'read'\nexcept OSError:\n    said = 'refused'\nsaid",
        "refused",
    ),
    case(
        "no process",
        "import os\ntry:\n    said = os.system('true')\nexcept (OSError, AttributeError):\n    said = 'refused'\nsaid not in (0,)",
        True,
    ),
    case(
        "no network",
        "import asyncio\ntry:\n    await asyncio.open_connection('127.0.0.1', 9)\n    said = 'connected'\nexcept (OSError, NotImplementedError):\n    said = 'refused'\nsaid",
        "refused",
    ),
    case("sys", "import sys\n[sys.version_info >= (3, 11), sys.maxsize > 2**30]", [True, True]),
)
