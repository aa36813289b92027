"""Calls that overlap, tasks and timers."""

from tests.sandboxes.programs.case import case

CONCURRENCY = (
    case(
        "gather",
        "import asyncio\na, b = await asyncio.gather(tools.double(1), tools['double'](2))\n[a, b]",
        [2, 4],
        calls=["double(1)", "double(2)"],
    ),
    case(
        "gather of a list",
        """
        import asyncio
        users = await tools.users()
        ages = await asyncio.gather(*[tools.double(user["age"]) for user in users])
        dict(zip([user["name"] for user in users], ages))
        """,
        {"Ann": 62, "Bob": 90, "Cat": 100},
        calls=["users()", "double(31)", "double(45)", "double(50)"],
    ),
    case(
        "gather of functions that call in turn",
        """
        import asyncio
        async def twice(n):
            first = await tools.double(n)
            return await tools.double(first)
        await asyncio.gather(twice(1), twice(10))
        """,
        [4, 40],
        calls=["double(1)", "double(10)", "double(2)", "double(20)"],
    ),
    case(
        "gather in a gather",
        """
        import asyncio
        async def some(n):
            return sum(await asyncio.gather(*[tools.double(n + i) for i in range(2)]))
        await asyncio.gather(some(0), some(10))
        """,
        [2, 42],
        calls=["double(0)", "double(1)", "double(10)", "double(11)"],
    ),
    case("gather of nothing", "import asyncio\nawait asyncio.gather()", []),
    case(
        "gather with a failure",
        """
        import asyncio
        try:
            await asyncio.gather(tools.double(1), tools.broken("ValueError", "no"))
        except ValueError as error:
            said = str(error)
        said
        """,
        "no",
        calls=["double(1)", "broken('ValueError', 'no')"],
    ),
    case(
        "gather that keeps failures",
        """
        import asyncio
        results = await asyncio.gather(
            tools.double(1), tools.broken("ValueError", "no"), return_exceptions=True
        )
        [str(result) for result in results]
        """,
        ["2", "no"],
        calls=["double(1)", "broken('ValueError', 'no')"],
    ),
    case(
        "three hundred calls at one time",
        "import asyncio\nsum(await asyncio.gather(*[tools.double(n) for n in range(300)]))",
        300 * 299,
        calls=[f"double({n})" for n in range(300)],
    ),
    case(
        "a task group",
        """
        import asyncio
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(tools.double(n)) for n in range(3)]
        [task.result() for task in tasks]
        """,
        [0, 2, 4],
        calls=["double(0)", "double(1)", "double(2)"],
    ),
    case(
        "a task group with a failure",
        """
        import asyncio
        said = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(tools.broken("ValueError", "no"))
                group.create_task(tools.double(1))
        except* ValueError as errors:
            said = [str(error) for error in errors.exceptions]
        said
        """,
        ["no"],
        calls=["broken('ValueError', 'no')", "double(1)"],
    ),
    case(
        "wait_for in time",
        "import asyncio\nawait asyncio.wait_for(tools.double(3), timeout=5)",
        6,
        calls=["double(3)"],
    ),
    case(
        "wait_for too late",
        """
        import asyncio
        try:
            await asyncio.wait_for(tools.slow(), timeout=2)
        except asyncio.TimeoutError:
            said = "too late"
        await tools.double(1)
        said
        """,
        "too late",
        calls=["slow()", "double(1)", "given up: 1"],
    ),
    case(
        "a timeout around several calls",
        """
        import asyncio
        done = []
        try:
            async with asyncio.timeout(3):
                done.append(await tools.double(1))
                done.append(await tools.slow())
        except TimeoutError:
            done.append("too late")
        await asyncio.sleep(1)
        done
        """,
        [2, "too late"],
        calls=["double(1)", "slow()", "given up: 2"],
    ),
    case(
        "a task that is cancelled",
        """
        import asyncio
        task = asyncio.create_task(tools.slow())
        await asyncio.sleep(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            said = "cancelled"
        await tools.double(1)
        said
        """,
        "cancelled",
        calls=["slow()", "double(1)", "given up: 1"],
    ),
    case(
        "create_task",
        """
        import asyncio
        first, second = asyncio.create_task(tools.double(1)), asyncio.create_task(tools.double(2))
        await first + await second
        """,
        6,
        calls=["double(1)", "double(2)"],
    ),
    case(
        "as_completed",
        """
        import asyncio
        done = [await each for each in asyncio.as_completed([tools.double(n) for n in (1, 2, 3)])]
        sorted(done)
        """,
        [2, 4, 6],
        calls=["double(1)", "double(2)", "double(3)"],
    ),
    case(
        "wait for the first",
        """
        import asyncio
        tasks = [asyncio.create_task(tools.double(4)), asyncio.create_task(tools.slow())]
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        [task.result() for task in done], len(rest)
        """,
        [[8], 1],
        calls=["double(4)", "slow()"],
    ),
    case(
        "a semaphore",
        """
        import asyncio
        gate = asyncio.Semaphore(2)
        async def guarded(n):
            async with gate:
                return await tools.double(n)
        await asyncio.gather(*[guarded(n) for n in range(4)])
        """,
        [0, 2, 4, 6],
        calls=["double(0)", "double(1)", "double(2)", "double(3)"],
    ),
    case(
        "a queue of work",
        """
        import asyncio
        queue, results = asyncio.Queue(), []
        for n in range(4):
            queue.put_nowait(n)
        async def worker():
            while not queue.empty():
                results.append(await tools.double(queue.get_nowait()))
        await asyncio.gather(worker(), worker())
        sorted(results)
        """,
        [0, 2, 4, 6],
        calls=["double(0)", "double(1)", "double(2)", "double(3)"],
    ),
    case(
        "sleeps take no real time",
        """
        import asyncio, time
        start = time.monotonic()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
        time.monotonic() - start
        """,
        3600.0,
    ),
    case(
        "sleeps in order",
        """
        import asyncio
        said = []
        async def say(word, seconds):
            await asyncio.sleep(seconds)
            said.append(word)
        await asyncio.gather(say("third", 3), say("first", 1), say("second", 2))
        said
        """,
        ["first", "second", "third"],
    ),
    case("time.sleep", "import time\nstart = time.time()\ntime.sleep(2.5)\ntime.time() - start", 2.5),
    case("sleep gives its result", "import asyncio\nawait asyncio.sleep(0, 'rested')", "rested"),
    case(
        "an async generator",
        """
        async def doubled(numbers):
            for n in numbers:
                yield await tools.double(n)
        [n async for n in doubled([1, 2])]
        """,
        [2, 4],
        calls=["double(1)", "double(2)"],
    ),
    case(
        "async for over pages",
        """
        async def pages():
            cursor = None
            while True:
                page = await tools.page(cursor=cursor)
                for item in page["items"]:
                    yield item
                cursor = page["next"]
                if cursor is None:
                    return
        found = []
        async for item in pages():
            found.append(item)
        "".join(found)
        """,
        "abcde",
        calls=["page(cursor=None)", "page(cursor=2)", "page(cursor=4)"],
    ),
    case(
        "an async context manager",
        """
        class Session:
            async def __aenter__(self):
                self.n = await tools.double(1)
                return self
            async def __aexit__(self, *error):
                await tools.double(self.n)
        async with Session() as session:
            n = session.n
        n
        """,
        2,
        calls=["double(1)", "double(2)"],
    ),
    case(
        "an event between tasks",
        """
        import asyncio
        ready, said = asyncio.Event(), []
        async def wait():
            await ready.wait()
            said.append("went")
        async def go():
            said.append(await tools.double(1))
            ready.set()
        await asyncio.gather(wait(), go())
        said
        """,
        [2, "went"],
        calls=["double(1)"],
    ),
    case(
        "a thread for a slow function",
        "import asyncio\nawait asyncio.to_thread(sorted, [3, 1, 2])",
        [1, 2, 3],
    ),
)
