"""Driving a scene on the real product, as a caller and a truthful person do, in one process or in several."""

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

from codemode_sandboxes import Sandbox
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from benchmarks.chaos.cases import Case, Scene
from benchmarks.chaos.judge import Outcome, judge
from benchmarks.chaos.mortal import MortalJournal, MortalSaver
from benchmarks.chaos.shapes import compiled, input_of, is_in_turn, result_of
from benchmarks.chaos.tools import Killed, Life, Tools, WorldCalls
from benchmarks.chaos.world import Worlds, unnoticed, value_of
from codemode_graph.calls import identity
from codemode_graph.calls.journal import Journal

__all__ = ["live", "play"]

_MOST_STEPS = 100
_WRONG = 2
"""Answers of a turn that fit nothing, at most."""
_PATIENCE = 20
"""Looks of a second executor for a turn that the first begins, a twentieth of a second apart. The first may be dead."""


class _GaveUp(Exception):
    """A second executor found nothing to do."""


@dataclass
class _Thread:
    """One thread, in one process."""

    scene: Scene
    number: int
    executor: int
    apps: tuple[Any, Any]
    worlds: WorldCalls
    journal: Journal
    answer: Any = None
    given_again: bool = False
    wronged: int = 0

    @property
    def name(self) -> str:
        return f"thread {self.number}"

    @property
    def config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": self.name}}

    async def live(self) -> None:
        """Go on with the thread until its last turn has ended."""
        for turn, case in enumerate(self.scene.threads[self.number]):
            await self.worlds.call(self.name, "begin", str(turn), case.fails)
            if await self._ended(str(turn)) is None:
                await self._turn(turn, case)
            # To go back is for one alone: the checkpoints of another, which goes on with the thread, cover those of the fork.
            if case.fork is not None and self.scene.executors == 1:
                await self._fork(turn, case)

    async def _ended(self, name: str) -> Any:
        world = await self.worlds.call(self.name, "snapshot")
        return world["turns"][name]["ended"]

    async def _end(self, name: str, state: Any) -> None:
        # It is the state that was seen to be at its end: another executor may write what it did before.
        runs = [run for run in await self.journal.runs(limit=1000) if run.thread == self.name]
        ended = {"runs": [[run.run, run.length] for run in reversed(runs)], **result_of(self.scene, state.values)}
        await self.worlds.call(self.name, "end", name, ended)

    async def _turn(self, turn: int, case: Case) -> None:
        self.answer, self.wronged, given, looks = None, 0, input_of(self.scene, self.number, turn), 0
        world = await self.worlds.call(self.name, "snapshot")
        ended = [
            run for each in world["turns"].values() if each["ended"] is not None for run, _ in each["ended"]["runs"]
        ]
        for _ in range(_MOST_STEPS):
            state = await self.apps[0].aget_state(self.config)
            # `next` leaves out those whose result is written, though no checkpoint has it yet.
            if state.interrupts or state.tasks:
                again = case.again and self.scene.shape != "agent" and self.scene.executors == 1
                if again and not self.given_again and not state.interrupts:
                    await self._invoke(given)
                else:
                    await self._go_on(case, state)
            elif is_in_turn(self.scene, state.values, turn, ended):
                break
            elif self.executor == 0:
                if (known := await self._ended_beside(turn, ended)) is not None:
                    state = known
                    break
                await self._invoke(given)
            else:
                looks += 1
                await asyncio.sleep(0.05)
                if await self._ended(str(turn)) is not None:
                    return
                if looks > _PATIENCE:
                    raise _GaveUp
            self.given_again = True
        else:
            raise RuntimeError("the run does not end")
        if case.answers in ("late", "stale") and self.answer is not None:
            await self._invoke(self.answer)
        await self._end(str(turn), state)

    async def _ended_beside(self, turn: int, ended: list[str]) -> Any:
        """Return the end of a turn that is not the newest checkpoint of its thread; None where there is none.

        A slow executor of the turn before writes its checkpoints after it. A caller that has its answer gives no input again.
        """
        if self.scene.executors == 1:
            return None
        async for each in self.apps[0].aget_state_history(self.config):
            if not each.tasks and is_in_turn(self.scene, each.values, turn, ended):
                return each
        return None

    async def _fork(self, turn: int, case: Case) -> None:
        """Go back to a checkpoint of the turn's run: the run goes on from there, or, from before it began, another one."""
        world = await self.worlds.call(self.name, "snapshot")
        name = next((each for each in world["turns"] if each.startswith(f"{turn}.")), None)
        if name is not None and world["turns"][name]["ended"] is not None:
            return
        newest = (await self.apps[0].aget_state(self.config)).config["configurable"]["checkpoint_id"]
        # A process may die between the note that it goes back and the first checkpoint of that.
        if name is None or world["turns"][name]["checkpoint"] == newest:
            place, name = await self._place(turn, case, world)
            if place is None:
                return
            await self.worlds.call(self.name, "begin", name, case.fails if name.endswith("anew") else {}, newest)
            await self._invoke(None, place.config)
        for _ in range(_MOST_STEPS):
            state = await self.apps[0].aget_state(self.config)
            if not state.tasks:
                await self._end(name, state)
                return
            await self._go_on(case, state)
        raise RuntimeError("the fork does not end")

    async def _place(self, turn: int, case: Case, world: Any) -> tuple[Any, str]:
        """Return the checkpoint of a turn to go back to, None where there is none, and what that is called."""
        assert case.fork is not None
        ended = world["turns"][str(turn)]["ended"]
        runs = ended["runs"]
        # A turn whose program was refused has no record of its own: the last run of the thread is of a turn before it.
        if not runs or ended["refused"]:
            return None, ""
        run, task = runs[-1][0], self.scene.task(self.number, turn)
        places = [
            each
            async for each in self.apps[0].aget_state_history(self.config)
            if each.next and run in (each.values.get("run_id"), _begins(each, task) and run)
        ]
        if not places:
            return None, ""
        place = places[int(case.fork * len(places))]
        return place, f"{turn}.back" if place.values.get("run_id") == run else f"{turn}.anew"

    async def _go_on(self, case: Case, state: Any) -> None:
        if not state.interrupts:
            await self._invoke(None)
            return
        asked = state.interrupts[0]
        if case.answers == "wrong" and self.wronged < _WRONG:
            self.wronged += 1
            await self._invoke(Command(resume={asked.id: {"decisions": [{"type": "approve", "id": "none"}]}}))
            return
        if case.answers == "stale" and self.answer is not None and self.wronged < _WRONG:
            self.wronged += 1
            await self._invoke(self.answer)
            return
        self.answer = answer = await self._answer(case, asked)
        if case.answers == "twice":
            # Both executors answer at one time: one drives the program, the other goes on from what is recorded.
            await asyncio.gather(*(self._invoke(answer, app=app) for app in self.apps))
        else:
            await self._invoke(answer)

    async def _invoke(self, given: Any, config: RunnableConfig | None = None, app: Any = None) -> None:
        await (app or self.apps[0]).ainvoke(given, config or self.config, durability=self.scene.durability)

    async def _answer(self, case: Case, asked: Any) -> Command[Any]:
        """Answer as a truthful person does, who looks what is in the world."""
        world = await self.worlds.call(self.name, "snapshot")
        *_, turn = (each for name, each in world["turns"].items() if not name.endswith(".back"))
        landed = world["state"]["landed"][len(turn["before"]["landed"]) :]
        # `done` lists the calls with an effect, as far as they have been made.
        left = unnoticed(landed, [{**each, "effect": "write"} for each in asked.value["done"]])
        decisions = []
        for action in asked.value["action_requests"]:
            name, arguments = action["name"], list(action["args"].values())
            decision: dict[str, Any] = {"type": "approve"}
            if action["reason"] == "approval" and arguments == ["change"]:
                decision = {"type": "edit", "edited_action": {"name": name, "args": {"text": "changed"}}}
            elif action["reason"] == "approval" and arguments == ["refuse"]:
                decision = {"type": "reject"}
            elif action["reason"] == "unknown":
                key = (name, json.dumps(arguments))
                if left[key] > 0:
                    left[key] -= 1
                    decision = {"type": "respond", "message": value_of(landed, name, arguments)}
            decisions.append({**decision, "id": action["id"]})
        if case.answers == "one by one":
            decisions = decisions[:1]
        return Command(resume={asked.id: {"decisions": decisions}})


def _begins(snapshot: Any, task: str) -> bool:
    """Tell whether a checkpoint is the one in which a run of this task begins."""
    values = snapshot.values
    # An input that was given again goes on with the run that is open there.
    is_open = values.get("run_id") is not None and values.get("verdict") is None
    return bool(snapshot.next == ("generate",) and values.get("task") == task and not is_open)


async def live(
    scene: Scene, life: Life, worlds: WorldCalls, journal: Journal, saver: Any, sandbox: Sandbox, *, executor: int = 0
) -> None:
    """Go on with a scene in one process, until all of its threads have ended.

    Args:
        scene: The scene.
        life: Of this process.
        worlds: Where tools take effect.
        journal: Where the runs are recorded.
        saver: Where their checkpoints are.
        sandbox: Where programs run.
        executor: Of several processes at one time, the first begins the turns, and the others only go on with them.

    Raises:
        Killed: The process died.
    """
    tools = Tools(worlds, life)
    apps = tuple(compiled(scene, tools, life, journal=journal, saver=saver, sandbox=sandbox) for _ in range(2))
    threads = [
        _Thread(scene, number, executor, (apps[0], apps[1]), worlds, journal).live()
        for number in range(len(scene.threads))
    ]
    # Every thread ends before the process does, as a kill would have it: no one goes on behind the next process's back.
    every = await asyncio.gather(*threads, return_exceptions=True)
    if life.dead:  # LangChain makes other errors of it
        raise Killed
    for ended in every:
        if isinstance(ended, BaseException) and not isinstance(ended, _GaveUp):
            raise ended


async def play(scene: Scene, *, sandbox: Sandbox, journal: Journal, saver: BaseCheckpointSaver[Any]) -> Outcome:
    """Play a scene in this process: a kill is an exception, after which nothing that it had can be written to any more.

    Args:
        scene: The scene.
        sandbox: Where programs run.
        journal: An empty one.
        saver: An empty one.
    """
    worlds, owners, kills = Worlds(), dict[str, Life](), 0
    for left in (*scene.kills, None):
        life = Life(left)
        try:
            await live(scene, life, worlds, MortalJournal(journal, life, owners), MortalSaver(saver, life), sandbox)
        except Killed:
            kills += 1
            identity._claims.clear()  # what a process knows of runs ends with it
            continue
        except Exception as error:
            return Outcome(violations=[f"error: {type(error).__name__}: {error}"], kills=kills)
        break
    snapshots = [worlds.do(f"thread {number}", "snapshot") for number in range(len(scene.threads))]
    return replace(await judge(scene, snapshots, journal), kills=kills)
