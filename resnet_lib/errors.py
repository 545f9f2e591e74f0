"""The root of all errors that a user can mend."""


class LabError(Exception):
    """Something that the user can mend: the message says what happened, to what, and what to do."""
