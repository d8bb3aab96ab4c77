"""Errors for users, with one-sentence messages."""


class NakawariError(Exception):
    """An operation failed; the message is one sentence: what was wrong, what is allowed, what to do. Exit status 1."""


class UsageError(NakawariError):
    """The arguments of a command or a recipe were wrong. Exit status 2."""


class NakawariWarning(UserWarning):
    """The operation continues with a restriction; the message is one sentence, shown by the command line."""


class Interrupted(NakawariError):
    """The user interrupted the operation; the message says what is kept. Exit status 130."""
