"""A kitchen: recipes, what is in the pantry, and a shopping list."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Ingredient(TypedDict):
    """An ingredient of a recipe, in grams."""

    food: str
    grams: int


class Recipe(TypedDict):
    """One recipe."""

    title: str
    minutes: int
    ingredients: list[Ingredient]


_LEDGER: list[Change] = []
_RECIPES = {
    "pancakes": Recipe(
        title="pancakes",
        minutes=25,
        ingredients=[Ingredient(food="flour", grams=250), Ingredient(food="milk", grams=500)],
    ),
    "risotto": Recipe(
        title="risotto",
        minutes=40,
        ingredients=[Ingredient(food="rice", grams=300), Ingredient(food="cheese", grams=80)],
    ),
    "porridge": Recipe(
        title="porridge",
        minutes=10,
        ingredients=[Ingredient(food="oats", grams=120), Ingredient(food="milk", grams=400)],
    ),
}
_PANTRY = {"flour": 1000, "milk": 450, "rice": 200, "cheese": 100, "oats": 90}


@tool(effect="read")
async def list_recipes() -> list[str]:
    """The titles of all recipes."""
    return list(_RECIPES)


@tool(effect="read")
async def get_recipe(title: str) -> Recipe:
    """Get a recipe by its title."""
    if title not in _RECIPES:
        raise ValueError(f"there is no recipe {title!r}")
    return _RECIPES[title]


@tool(effect="read")
async def grams_left(food: str) -> int:
    """How many grams of a food are in the pantry."""
    return _PANTRY.get(food, 0)


@tool(effect="write")
async def add_to_list(food: str, grams: int) -> int:
    """Put a food on the shopping list. Returns how many things are on the list then."""
    if grams <= 0:
        raise ValueError("grams must be more than 0")
    _LEDGER.append(("add_to_list", food, grams))
    return len(_LEDGER)


TOOLS = Toolset(name="pantry", functions=(list_recipes, get_recipe, grams_left, add_to_list), ledger=_LEDGER)

TASKS = (
    Task(
        name="pantry-fast",
        toolset="pantry",
        text="Which recipes take less than 30 minutes? Return their titles.",
        expected=["pancakes", "porridge"],
    ),
    Task(
        name="pantry-foods",
        toolset="pantry",
        text="List the foods that the recipe risotto needs.",
        expected=["rice", "cheese"],
    ),
    Task(
        name="pantry-milk",
        toolset="pantry",
        text="How many grams of milk do all recipes need together?",
        expected=900,
    ),
    Task(
        name="pantry-shop",
        toolset="pantry",
        text="Put on the shopping list what is missing in the pantry for the recipe porridge: each food of which it needs more "
        "grams than are left, with the grams that are missing. Return a dict from the food to these grams.",
        expected={"oats": 30},
        changes=[("add_to_list", "oats", 30)],
    ),
)
