"""Weather: nested results, and one that is not declared."""

from typing import Any

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Rain(TypedDict):
    """Rain of a day."""

    millimetres: float
    chance: float


class Day(TypedDict):
    """The forecast for one day. Temperatures are in degrees Celsius."""

    date: str
    high: float
    low: float
    rain: Rain


class Forecast(TypedDict):
    """The forecast for a city."""

    city: str
    days: list[Day]


def _days(*days: tuple[float, float, float, float]) -> list[Day]:
    return [
        Day(date=f"2026-05-0{number}", high=high, low=low, rain=Rain(millimetres=rain, chance=chance))
        for number, (high, low, rain, chance) in enumerate(days, 1)
    ]


_FORECASTS = {
    "Oslo": _days((12, 4, 0.0, 0.1), (10, 3, 6.5, 0.8), (11, 5, 1.0, 0.4)),
    "Rome": _days((24, 14, 0.0, 0.0), (25, 15, 0.0, 0.1), (22, 13, 2.0, 0.5)),
    "Cork": _days((15, 9, 3.0, 0.6), (14, 8, 4.0, 0.7), (16, 10, 8.0, 0.9)),
}
_STATIONS = {"Oslo": ("N1", 94), "Rome": ("I7", 21), "Cork": ("E3", 153)}


@tool(effect="read")
def list_cities() -> list[str]:
    """The cities that there are forecasts for."""
    return list(_FORECASTS)


@tool(effect="read")
def get_forecast(city: str) -> Forecast:
    """Get the forecast for a city for the next three days."""
    if city not in _FORECASTS:
        raise ValueError(f"no forecast for {city!r}")
    return Forecast(city=city, days=_FORECASTS[city])


@tool(effect="read")
def get_station(city: str):  # type: ignore[no-untyped-def]
    """Get the weather station of a city: its code and where it stands."""
    if city not in _STATIONS:
        raise ValueError(f"no station in {city!r}")
    code, altitude = _STATIONS[city]
    station: dict[str, Any] = {"code": code, "site": {"altitude_m": altitude, "indoors": False}}
    return station


TOOLS = Toolset(name="weather", functions=(list_cities, get_forecast, get_station), ledger=[])

TASKS = (
    Task(
        name="weather-nested",
        toolset="weather",
        text="What is the chance of rain in Oslo on 2026-05-02?",
        expected=0.8,
    ),
    Task(
        name="weather-mean",
        toolset="weather",
        text="What is the mean of the lows in Rome over the days of the forecast?",
        expected=14,
    ),
    Task(
        name="weather-fanout",
        toolset="weather",
        text="For every city, how many millimetres of rain are forecast in all? Return a dict from city to the sum.",
        expected={"Oslo": 7.5, "Rome": 2.0, "Cork": 15.0},
    ),
    Task(
        name="weather-undeclared",
        toolset="weather",
        text="At what altitude in metres does the weather station of Oslo stand? Return the number.",
        expected=94,
    ),
    Task(
        name="weather-highest",
        toolset="weather",
        text="Which city's weather station stands highest? Return the city's name.",
        expected="Cork",
    ),
)
