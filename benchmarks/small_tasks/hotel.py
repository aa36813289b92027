"""Hotels: prices by night, and bookings that can be cancelled."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Hotel(TypedDict):
    """One hotel. The price is for one night."""

    hotel_id: str
    name: str
    stars: int
    price: float
    rooms_left: int


class Booking(TypedDict):
    """One booking of a guest."""

    code: str
    hotel_id: str
    nights: int
    total: float


_LEDGER: list[Change] = []
_HOTELS = {
    "Lyon": [
        Hotel(hotel_id="ly1", name="Bellevue", stars=4, price=140.0, rooms_left=2),
        Hotel(hotel_id="ly2", name="Central", stars=3, price=85.0, rooms_left=5),
        Hotel(hotel_id="ly3", name="Gare", stars=2, price=60.0, rooms_left=0),
    ],
    "Nice": [
        Hotel(hotel_id="ni1", name="Azur", stars=5, price=220.0, rooms_left=1),
        Hotel(hotel_id="ni2", name="Plage", stars=3, price=95.0, rooms_left=3),
    ],
}
_BOOKINGS = {
    "Marie": [
        Booking(code="B7", hotel_id="ly2", nights=2, total=170.0),
        Booking(code="B9", hotel_id="ni2", nights=5, total=475.0),
    ],
    "Paul": [Booking(code="B8", hotel_id="ly1", nights=1, total=140.0)],
}


@tool(effect="read")
def search_hotels(city: str) -> list[Hotel]:
    """List the hotels of a city."""
    return _HOTELS.get(city, [])


@tool(effect="read")
def get_bookings(guest: str) -> list[Booking]:
    """List the bookings of a guest, by the guest's name."""
    cancelled = {change[1] for change in _LEDGER if change[0] == "cancel_booking"}
    return [booking for booking in _BOOKINGS.get(guest, []) if booking["code"] not in cancelled]


@tool(effect="write")
def book_hotel(hotel_id: str, guest: str, nights: int) -> str:
    """Book a room for a guest. Returns the code of the booking."""
    if not any(hotel["hotel_id"] == hotel_id for hotels in _HOTELS.values() for hotel in hotels):
        raise ValueError(f"there is no hotel with the id {hotel_id!r}")
    _LEDGER.append(("book_hotel", hotel_id, guest, nights))
    return f"N{len(_LEDGER)}"


@tool(effect="destructive")
def cancel_booking(code: str) -> float:
    """Cancel a booking by its code. Returns the amount that is paid back."""
    for bookings in _BOOKINGS.values():
        for booking in bookings:
            if booking["code"] == code:
                _LEDGER.append(("cancel_booking", code))
                return booking["total"]
    raise ValueError(f"there is no booking with the code {code!r}")


TOOLS = Toolset(name="hotel", functions=(search_hotels, get_bookings, book_hotel, cancel_booking), ledger=_LEDGER)

TASKS = (
    Task(
        name="hotel-cheapest",
        toolset="hotel",
        text="What is the name of the cheapest hotel in Lyon that has a room left?",
        expected="Central",
    ),
    Task(
        name="hotel-cities",
        toolset="hotel",
        text="For Lyon and Nice, give the highest price of a night in a hotel there. Return a dict from city to price.",
        expected={"Lyon": 140.0, "Nice": 220.0},
    ),
    Task(
        name="hotel-book",
        toolset="hotel",
        text="Book 3 nights for Ravi in the hotel of Nice that has 5 stars. Return the code of the booking.",
        expected="N1",
        changes=[("book_hotel", "ni1", "Ravi", 3)],
    ),
    Task(
        name="hotel-cancel",
        toolset="hotel",
        text="Cancel all bookings of Marie that are for more than 3 nights. Return the sum that is paid back.",
        expected=475.0,
        changes=[("cancel_booking", "B9")],
    ),
)
