"""A library. All its tasks are kept aside: the work on the prompts has not seen this set."""

from typing_extensions import TypedDict

from benchmarks.small_tasks.task import Change, Task, Toolset, tool

__all__ = ["TASKS", "TOOLS"]


class Copies(TypedDict):
    """The number of copies, and how many of them are lent."""

    owned: int
    lent: int


class Book(TypedDict):
    """One book."""

    isbn: str
    title: str
    year: int
    copies: Copies


class Loan(TypedDict):
    """A book that a member has."""

    isbn: str
    days_left: int


_LEDGER: list[Change] = []
_BOOKS = {
    "111": ("Dune", "Herbert", 1965, 3, 3),
    "222": ("Dune Messiah", "Herbert", 1969, 2, 1),
    "333": ("Emma", "Austen", 1815, 1, 0),
    "444": ("Persuasion", "Austen", 1817, 2, 2),
}
_LOANS = {"m1": [Loan(isbn="111", days_left=2), Loan(isbn="333", days_left=9)], "m2": [Loan(isbn="444", days_left=1)]}


def _book(isbn: str) -> Book:
    title, _, year, owned, lent = _BOOKS[isbn]
    return Book(isbn=isbn, title=title, year=year, copies=Copies(owned=owned, lent=lent))


@tool(effect="read")
async def search_books(author: str) -> list[Book]:
    """Find the books of an author."""
    return [_book(isbn) for isbn, (_, by, *_rest) in _BOOKS.items() if by == author]


@tool(effect="read")
async def get_book(isbn: str) -> Book:
    """Get a book by ISBN."""
    if isbn not in _BOOKS:
        raise ValueError(f"no book has the ISBN {isbn!r}")
    return _book(isbn)


@tool(effect="read")
async def list_loans(member_id: str) -> list[Loan]:
    """List what a member has on loan."""
    return _LOANS.get(member_id, [])


@tool(effect="write")
async def renew(member_id: str, isbn: str) -> int:
    """Renew a loan. Returns the days that are left then."""
    _LEDGER.append(("renew", member_id, isbn))
    return 21


TOOLS = Toolset(name="library", functions=(search_books, get_book, list_loans, renew), ledger=_LEDGER)

TASKS = (
    Task(
        name="library-filter",
        toolset="library",
        text="Which books by Herbert appeared before 1968? Return their titles.",
        expected=["Dune"],
    ),
    Task(
        name="library-nested",
        toolset="library",
        text="How many copies of books by Austen are owned but not lent?",
        expected=1,
    ),
    Task(
        name="library-chain",
        toolset="library",
        text="List the titles of the books that member m1 has on loan.",
        expected=["Dune", "Emma"],
    ),
    Task(
        name="library-write",
        toolset="library",
        text="Renew every loan of member m1 that has fewer than 5 days left. Return the ISBNs.",
        expected=["111"],
        changes=[("renew", "m1", "111")],
    ),
)
