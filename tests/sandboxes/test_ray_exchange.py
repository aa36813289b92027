"""The messages between a caller and a host of a Ray cluster, here without the cluster between them."""

import asyncio
import dataclasses
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from codemode_sandboxes import Blocked, Capabilities, Failed, Finished, Limits, Program, Returned, create_sandbox
from codemode_sandboxes.ray.actor import Fault, HostActor, Offer, package_version
from codemode_sandboxes.ray.exchange import Exchange, HostLost

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

CALL = Program(code="await tools.echo(1)", tools=("echo",))


@dataclass
class Link:
    """An exchange with an actor of this process."""

    actor: HostActor
    exchange: Exchange

    async def begin(self, key: int, program: Program = CALL) -> Any:
        return await self.exchange.ask("begin", key, program, Limits(), None)

    async def advance(self, key: int, value: Any) -> Any:
        return await self.exchange.ask("advance", key, {1: Returned(value)}, None)


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    actor = HostActor("monty", {})
    assert isinstance(await actor.open(), Offer)

    def send(number: int, messages: list[Any]) -> Any:
        return asyncio.ensure_future(actor.exchange(number, messages))

    yield Link(actor, Exchange(1, send, lambda error: HostLost(str(error))))
    assert actor._sandbox is not None
    for key in [*actor._runs]:
        await actor._end(key)
    await actor._sandbox.aclose()


@pytest.mark.parametrize("value", [threading.Lock(), [[]]], ids=["lock", "list"])
async def test_an_answer_that_cannot_be_sent_is_the_trouble_of_its_own_run_alone(link: Link, value: Any) -> None:
    for _ in range(2000 if value == [[]] else 0):
        value = [value]
    assert all(isinstance(event, Blocked) for event in await asyncio.gather(*[link.begin(key) for key in range(4)]))
    spoiled, *others = await asyncio.gather(
        link.advance(0, value), *[link.advance(key, key) for key in range(1, 4)], return_exceptions=True
    )
    # How deep a value may be to be sent differs between versions of Python; a program takes none as deep as this.
    assert isinstance(spoiled, Exception | Fault | Failed)
    assert not isinstance(spoiled, HostLost)
    assert others == [Finished(1), Finished(2), Finished(3)]


async def test_an_event_that_cannot_be_sent_is_the_trouble_of_its_own_run_alone(link: Link) -> None:
    assert all(isinstance(event, Blocked) for event in await asyncio.gather(*[link.begin(key) for key in range(2)]))

    async def advance(outcomes: object, *, elapsed: object) -> Any:
        return Finished(threading.Lock())

    link.actor._runs[0].advance = advance  # type: ignore[method-assign,assignment]
    spoiled, other = await asyncio.gather(link.advance(0, 1), link.advance(1, 1))
    assert isinstance(spoiled, Fault)
    assert "pickle" in spoiled.message
    assert other == Finished(1)


async def test_an_end_that_overtakes_its_beginning_leaves_nothing(link: Link) -> None:
    await link.exchange.ask("end", 7)
    assert await link.begin(7) is None
    assert link.actor._runs == {}


@pytest.mark.parametrize("turns", range(12))
async def test_a_run_that_is_ended_as_it_begins_leaves_nothing(link: Link, turns: int) -> None:
    beginning = asyncio.create_task(link.begin(1, Program(code="while True: pass")))
    for _ in range(turns):
        await asyncio.sleep(0)
    await link.exchange.ask("end", 1)
    assert await beginning is None
    assert (link.actor._runs, link.actor._tasks) == ({}, {})


ABLE = Capabilities(language="Python", boundary="os", modules=frozenset({"json", "re"}), enforces=frozenset({"time"}))


@pytest.mark.parametrize(
    ("version", "capabilities", "reason"),
    [
        (package_version(), ABLE, None),
        (package_version(), dataclasses.replace(ABLE, modules=frozenset({"json", "re", "math"})), None),
        ("0.0.1", ABLE, "has codemode-sandboxes 0.0.1, and this process"),
        (package_version(), dataclasses.replace(ABLE, modules=frozenset({"json"})), "less than the first host: re"),
        (package_version(), dataclasses.replace(ABLE, enforces=frozenset()), "less than the first host: time"),
        (package_version(), dataclasses.replace(ABLE, boundary="none"), "the boundary 'none'"),
    ],
)
def test_a_host_that_offers_less_or_has_another_version_is_refused(
    version: str, capabilities: Capabilities, reason: str | None
) -> None:
    sandbox: Any = create_sandbox("ray", inner="monty")
    sandbox._hosts.capabilities = ABLE
    refusal = sandbox._hosts._judge(Offer(version=version, node="other", pid=1, capabilities=capabilities))
    assert (refusal is None) if reason is None else reason in refusal.reason
