"""What goes wrong in the user's hands, in one sentence each."""


class NakawariError(Exception):
    """The work failed; the message is one sentence: what was wrong, what is allowed, what to do. Exit status 1."""


class UsageError(NakawariError):
    """The words of the command or of a recipe were wrong. Exit status 2."""


class NakawariWarning(UserWarning):
    """The work goes on, but not as asked; the message is one sentence that the command line shows."""


class Interrupted(NakawariError):
    """The user stopped the work; the message says what is kept. Exit status 130."""
