"""Sections of `/metrics`: each app registers its own in a module named `metrics`."""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from sagas.definition.names import Registrations

__all__ = ["Section", "gauge", "registered_sections", "section"]

Section = Callable[[], Iterable[Metric]]

_sections: dict[str, Section] = {}
_registrations = Registrations("The section of metrics", __file__)


def section(name: str) -> Callable[[Section], Section]:
    """Register a function that collects one section. It runs in a thread, and may raise.

    Raises NameTaken if another function has the name.
    """

    def register(collect: Section) -> Section:
        _registrations.claim(name, collect)
        _sections[name] = collect
        return collect

    return register


def registered_sections() -> dict[str, Section]:
    """Return the sections that the apps have registered, by name."""
    return dict(_sections)


def gauge(name: str, documentation: str, **labels: str) -> Callable[[float], Metric]:
    """Return a function that makes a gauge with these labels from a value."""

    def make(value: float) -> Metric:
        family = GaugeMetricFamily(name, documentation, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family

    return make
