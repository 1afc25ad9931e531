"""The nearest valid names, for messages about unknown ones."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """A clause for the end of a message: the names most like `name`, or all of them where none is alike.

    Args:
        name: The unknown name.
        known: Valid names.
        most: Number of suggestions.
    """
    names = sorted(known)
    by_case = {candidate.lower(): candidate for candidate in names}
    close = [by_case[found] for found in difflib.get_close_matches(name.lower(), by_case, n=most, cutoff=0.5)]
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known are {', '.join(names)}." if names else "."
