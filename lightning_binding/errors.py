"""The error that every part raises for input that a user can mend."""


class InputError(ValueError):
    """Wrong input: says what was given, what was expected and which option mends it.

    The command line prints it as one line and exits with status 2; from Python it is a `ValueError`.
    """
