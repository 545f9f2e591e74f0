"""The root of all errors that a user can mend, and what pydantic finds wrong, in words for one."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError


class LabError(Exception):
    """Something that the user can mend: the message says what happened, to what, and what to do."""


def in_words(found: ValidationError, fields: Sequence[str]) -> str:
    """Each field, its value and what is valid; what several types would have allowed is one error.

    `fields` are those that there are.
    """
    told: list[str] = []
    allowed: dict[str, list[str]] = {}
    for error in found.errors():
        # Of its place, what is the model's: the field, and where in a list; not the type that was tried.
        field = ".".join(str(part) for n, part in enumerate(error["loc"]) if n == 0 or isinstance(part, int))
        if error["type"] == "value_error":
            told.append(str(error["ctx"]["error"]))
        elif error["type"] == "extra_forbidden":
            told.append(f"unknown field '{field}': the fields are {', '.join(fields)}")
        else:
            message = f"{error['msg'][0].lower()}{error['msg'][1:]}"
            allowed.setdefault(f"{field} = {error['input']!r}", []).append(message)
    return "; ".join([*told, *(f"{value} is not valid: {' or '.join(words)}" for value, words in allowed.items())])
