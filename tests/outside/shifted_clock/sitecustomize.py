"""Shift the clock of a process that has this folder on its path by CLOCK_SHIFT seconds."""

import datetime
import os
import time

import sagas.definition.messages  # noqa: F401  message types must use the ordinary datetime class

SHIFT = float(os.environ["CLOCK_SHIFT"])
OFFSET = datetime.timedelta(seconds=SHIFT)

_time, _time_ns = time.time, time.time_ns
_datetime = datetime.datetime


class _Meta(type):
    """Treat every datetime as an instance of the class below."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _datetime)


class ShiftedDatetime(datetime.datetime, metaclass=_Meta):
    """A datetime class whose now() is shifted. Its instances are ordinary datetimes."""

    def __new__(cls, *args, **kwargs):
        return _datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + OFFSET

    @classmethod
    def utcnow(cls):
        return _datetime.now(datetime.UTC).replace(tzinfo=None) + OFFSET

    @classmethod
    def today(cls):
        return _datetime.now() + OFFSET


time.time = lambda: _time() + SHIFT
time.time_ns = lambda: _time_ns() + int(SHIFT * 1e9)
datetime.datetime = ShiftedDatetime  # type: ignore[misc]
