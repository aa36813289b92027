"""The small tasks: a right program solves each of the report half, and the judgement tells right from wrong."""

import asyncio
from functools import partial
from textwrap import indent
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.arms.arm import call, read_words
from benchmarks.arms.verdict import interval, judge
from benchmarks.small_tasks import REPORT, TASKS, TOOLSETS, TUNING

PROGRAMS = {
    "hotel-cheapest": """
        hotels = [each for each in await t.search_hotels("Lyon") if each["rooms_left"]]
        return min(hotels, key=lambda each: each["price"])["name"]""",
    "hotel-cities": """
        return {city: max(each["price"] for each in await t.search_hotels(city)) for city in ("Lyon", "Nice")}""",
    "hotel-book": """
        [best] = [each for each in await t.search_hotels("Nice") if each["stars"] == 5]
        return await t.book_hotel(best["hotel_id"], "Ravi", 3)""",
    "hotel-cancel": """
        found = [each for each in await t.get_bookings("Marie") if each["nights"] > 3]
        return sum([await t.cancel_booking(each["code"]) for each in found])""",
    "support-subjects": """
        return [each["subject"] for each in await t.list_tickets("open") if each["priority"] == "high"]""",
    "support-owner": """
        [found] = [each for each in await t.list_tickets("open") if each["subject"] == "Data lost"]
        return (await t.get_agent(found["owner_id"]))["name"]""",
    "support-hours": """
        found = await t.list_tickets("open") + await t.list_tickets("closed")
        return sum(each["hours"] for each in found if each["owner_id"] == "u1")""",
    "support-assign": """
        found = [each["ticket_id"] for each in await t.list_tickets("open") if each["owner_id"] is None]
        for each in found:
            await t.assign_ticket(each, "u3")
        return found""",
    "warehouse-weight": """
        return sum(each["weight"] * each["level"]["pieces"] for each in await t.list_stock("north"))""",
    "warehouse-low": """
        items = [each for place in await t.list_places() for each in await t.list_stock(place)]
        return [each["label"] for each in items if each["level"]["pieces"] < each["level"]["minimum"]]""",
    "warehouse-days": """
        return (await t.get_supplier("H30"))["delivery_days"]""",
    "warehouse-order": """
        items = [each for place in ("north", "south") for each in await t.list_stock(place)]
        less = {each["code"]: each["level"]["minimum"] - each["level"]["pieces"] for each in items}
        less = {code: pieces for code, pieces in less.items() if pieces > 0}
        for code, pieces in less.items():
            await t.order_item(code, pieces)
        return less""",
    "school-count": """
        return len(await t.list_pupils("3a")) + len(await t.list_pupils("3b"))""",
    "school-marks": """
        marks = {each["name"]: await t.get_marks(each["pupil_id"]) for each in await t.list_pupils("3a")}
        return {name: each["mark"] for name, found in marks.items() for each in found if each["subject"] == "maths"}""",
    "school-mean": """
        pupils = await t.list_pupils("3a") + await t.list_pupils("3b")
        marks = [each for pupil in pupils for each in await t.get_marks(pupil["pupil_id"])]
        music = [each["mark"] for each in marks if each["subject"] == "music"]
        return round(sum(music) / len(music), 2)""",
    "school-letters": """
        pupils = await t.list_pupils("3a") + await t.list_pupils("3b")
        found = []
        for pupil in pupils:
            if any(each["subject"] == "maths" and each["mark"] < 4 for each in await t.get_marks(pupil["pupil_id"])):
                await t.send_letter(pupil["pupil_id"], "Please call us")
                found.append(pupil["name"])
        return found""",
    "garage-plates": """
        return [each["plate"] for each in await t.list_vehicles() if each["kilometres"] > 80000]""",
    "garage-inspection": """
        return (await t.get_papers("KA-13"))["inspection"]["valid_until"]""",
    "garage-insurance": """
        papers = [await t.get_papers(each["plate"]) for each in await t.list_vehicles() if each["owner"] == "Lena"]
        return sum(each["insurance"]["yearly_cost"] for each in papers)""",
    "garage-appointment": """
        [plate] = [each["plate"] for each in await t.list_vehicles() if each["owner"] == "Timo"]
        return await t.make_appointment(plate, "tuesday", (await t.free_hours("tuesday"))[0])""",
    "pantry-fast": """
        recipes = [await t.get_recipe(title) for title in await t.list_recipes()]
        return [each["title"] for each in recipes if each["minutes"] < 30]""",
    "pantry-foods": """
        return [each["food"] for each in (await t.get_recipe("risotto"))["ingredients"]]""",
    "pantry-milk": """
        recipes = [await t.get_recipe(title) for title in await t.list_recipes()]
        return sum(each["grams"] for recipe in recipes for each in recipe["ingredients"] if each["food"] == "milk")""",
    "pantry-shop": """
        less = {}
        for each in (await t.get_recipe("porridge"))["ingredients"]:
            left = await t.grams_left(each["food"])
            if left < each["grams"]:
                less[each["food"]] = each["grams"] - left
                await t.add_to_list(each["food"], less[each["food"]])
        return less""",
}


def _run(name: str, program: str) -> dict[str, Any]:
    [task] = [each for each in TASKS if each.name == name]
    toolset = TOOLSETS[task.toolset]
    toolset.ledger.clear()
    names: dict[str, Any] = {"t": SimpleNamespace(**{each.__name__: partial(call, each) for each in toolset.functions})}
    body = indent("\n".join(line[8:] for line in program.strip("\n").splitlines()), "    ")
    exec(f"async def main():\n{body}", names)
    value = asyncio.run(names["main"]())
    return judge(task, {"value": value, "failed": "", "errors": 0, "changes": [list(each) for each in toolset.ledger]})


@pytest.mark.parametrize("name", [task.name for task in REPORT])
def test_a_right_program_solves_the_task(name: str) -> None:
    assert _run(name, PROGRAMS[name]) == {
        "outcome": "solved first",
        "reason": "",
        "missing": 0,
        "repeated": 0,
        "unexpected": 0,
    }


def test_the_halves_share_no_tools_and_no_names() -> None:
    assert not {task.toolset for task in TUNING} & {task.toolset for task in REPORT}
    assert len({task.name for task in TASKS}) == len(TASKS) >= 40


@pytest.mark.parametrize(
    ("changes", "value", "outcome", "effects"),
    [
        ([["order_item", "P10", 2], ["order_item", "H30", 5]], {"P10": 2, "H30": 5}, "solved first", (0, 0, 0)),
        ([["order_item", "P10", 2]], {"P10": 2, "H30": 5}, "silently wrong", (1, 0, 0)),
        (
            [["order_item", "P10", 2], ["order_item", "P10", 2], ["order_item", "H30", 5]],
            {"P10": 2, "H30": 5},
            "silently wrong",
            (0, 1, 0),
        ),
        ([["order_item", 2, "P10"], ["order_item", "H30", 5]], {"P10": 2, "H30": 5}, "silently wrong", (1, 0, 1)),
        ([["order_item", "P10", 2], ["order_item", "H30", 5]], ["P10", "H30"], "silently wrong", (0, 0, 0)),
    ],
)
def test_effects_count_as_the_answer_does(
    changes: list[Any], value: Any, outcome: str, effects: tuple[int, ...]
) -> None:
    [task] = [each for each in TASKS if each.name == "warehouse-order"]
    found = judge(task, {"value": value, "failed": "", "errors": 0, "changes": changes})
    assert found["outcome"] == outcome
    assert (found["missing"], found["repeated"], found["unexpected"]) == effects


@pytest.mark.parametrize(
    ("words", "value", "failed"),
    [
        ("155", 155, False),
        ('```json\n["a", "b"]\n```', ["a", "b"], False),
        ("The answer is {'a': 1}", "The answer is {'a': 1}", False),
        ("Oslo", "Oslo", False),
        ("I'm sorry, I cannot do that.", None, True),
        ("FAILED", None, True),
        ("  ", None, True),
    ],
)
def test_last_words_are_read_as_an_answer(words: str, value: Any, failed: bool) -> None:
    reply = read_words(words)
    assert reply.value == value
    assert bool(reply.failed) is failed


def test_the_interval_is_wilsons() -> None:
    assert interval(18, 24) == pytest.approx((0.551, 0.880), abs=0.001)
    assert interval(0, 24)[0] == 0
    assert interval(24, 24)[1] == pytest.approx(1)
