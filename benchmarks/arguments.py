"""Arguments that several benchmarks share: how many cases they make, and the seed of their random numbers."""

import argparse

__all__ = ["at_least_one", "read_count_and_seed"]


def read_count_and_seed(module: str, description: str | None, *, count: int, cases: str) -> tuple[int, int]:
    """Read the command line of a fuzzer: `[COUNT [SEED]]`. It ends with status 2 where they are no such numbers.

    Args:
        module: The fuzzer's module, such as "benchmarks.fuzz_values".
        description: Its help text.
        count: How many cases it makes where none are asked for.
        cases: The word for them in the help text.

    Returns:
        The number of cases, and the seed.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "count", nargs="?", type=at_least_one, default=count, help=f"{cases} to make (default: {count:,})"
    )
    parser.add_argument("seed", nargs="?", type=int, default=1, help="of the random numbers (default: 1)")
    options = parser.parse_args()
    return options.count, options.seed


def at_least_one(text: str) -> int:
    """Parse a number of cases or runs.

    Raises:
        ArgumentTypeError: It is less than 1.
        ValueError: It is no whole number.
    """
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
