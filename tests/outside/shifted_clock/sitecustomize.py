"""The clock of a process that finds this on its path is off by CLOCK_SHIFT seconds, for whatever
Python asks it.
"""

import datetime
import os
import time

import sagas.definition.messages  # noqa: F401  the types of messages stay the ordinary ones

SHIFT = float(os.environ["CLOCK_SHIFT"])
OFFSET = datetime.timedelta(seconds=SHIFT)

_time, _time_ns = time.time, time.time_ns
_datetime = datetime.datetime


class _Meta(type):
    """What is a datetime for everybody else is one for those who got hold of the class below."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _datetime)


class ShiftedDatetime(datetime.datetime, metaclass=_Meta):
    """A datetime whose now is another; all it makes are ordinary ones."""

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
