"""A second registration of a name is an error at import; a second import of one module is none."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

from sagas.definition import handlers
from sagas.definition.names import NameTaken, by_name
from sagas.definition.plan import Saga

STEPS = """
from sagas.definition.events import Event
from sagas.definition.handlers import NoContext, action, bar, one_by_one, undo

class Done(Event, frozen=True, kw_only=True):
    type = "trust.done"

def check_one(delivery):
    return Done()

action("trust.check", accepts=NoContext)(one_by_one(check_one))
undo("trust.forget", accepts=NoContext)(one_by_one(lambda delivery: Done()))
bar("trust.bar", in_time=Done, too_late=Done)
"""

SECOND = """
from sagas.definition.handlers import ExternalStep, NoContext, action, bar, one_by_one, undo
from sagas.definition.events import Event
{registration}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module and import it. The registrations of the test end with it."""
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    origins = dict(handlers._registrations._origins)
    monkeypatch.setattr(handlers._registrations, "_origins", origins)
    monkeypatch.setattr(Saga, "declared", dict(Saga.declared))
    monkeypatch.setattr(Saga._registrations, "_origins", dict(Saga._registrations._origins))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return write


@pytest.mark.parametrize(
    ("name", "registration", "defined"),
    [
        (
            "trust.check",
            'action("trust.check", accepts=NoContext)(lambda batch: [])',
            "<lambda>",
        ),
        (
            "trust.check",
            'def other(batch): ...\naction("trust.check", accepts=NoContext)(other)',
            "second_steps.other",
        ),
        (
            "trust.check",
            '@action("trust.check", accepts=NoContext)\nclass Check(ExternalStep): ...',
            "second_steps.Check",
        ),
        (
            "trust.forget",
            'undo("trust.forget", accepts=NoContext)(one_by_one(lambda delivery: None))',
            "<lambda>",
        ),
        ("trust.bar", 'bar("trust.bar", in_time=Event, too_late=Event)', "answer"),
    ],
)
def test_a_second_handler_of_a_step_is_an_error_that_names_both(
    module, tmp_path, name, registration, defined
):
    module("trust_steps", STEPS)
    with pytest.raises(NameTaken, match=f"The step '{name}' is registered twice") as error:
        module("second_steps", SECOND.format(registration=registration))
    assert defined in str(error.value)
    if name != "trust.bar":
        assert f"{tmp_path}/trust_steps.py:" in str(error.value)
        assert f"{tmp_path}/second_steps.py:" in str(error.value)


def test_two_handlers_of_one_name_in_one_module_are_an_error(module):
    twice = """
@action("trust.check", accepts=NoContext, batch=True)
def check(batch): ...

@action("trust.check", accepts=NoContext, batch=True)
def check(batch): ...
"""
    with pytest.raises(NameTaken, match=r"steps\.py:5\) and twice_steps\.check \(.*steps\.py:8\)"):
        module("twice_steps", SECOND.format(registration=twice))


def test_handlers_that_a_function_registers_in_a_loop_are_told_apart(module):
    loop = """
def first(batch): ...
def second(batch): ...
for step in (first, second):
    action("trust.check", accepts=NoContext, batch=True)(step)
"""
    with pytest.raises(NameTaken, match=r"loop_steps\.first .* and loop_steps\.second"):
        module("loop_steps", SECOND.format(registration=loop))


def test_a_module_may_be_reloaded_and_imported_under_a_second_name(module, tmp_path):
    first = module("trust_steps", STEPS)
    importlib.reload(first)
    spec = importlib.util.spec_from_file_location("again.trust_steps", tmp_path / "trust_steps.py")
    assert spec
    assert spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert handlers.definition("trust.check")


def test_a_second_saga_of_a_name_is_an_error(module):
    saga = "from sagas.definition.plan import Saga\nSaga('tried', abort='trust.forget')\n"
    importlib.reload(module("first_saga", saga))
    with pytest.raises(NameTaken, match=r"The saga 'tried' .*first_saga\.py:2.*second_saga\.py:2"):
        module("second_saga", saga)


def test_a_second_section_of_metrics_is_an_error(module, monkeypatch):
    sections = importlib.import_module("api.monitoring.sections")
    monkeypatch.setattr(sections, "_sections", dict(sections._sections))
    monkeypatch.setattr(sections._registrations, "_origins", {})
    text = "from api.monitoring.sections import section\n@section('tried')\ndef one(): return []\n"
    importlib.reload(module("first_metrics", text))
    with pytest.raises(NameTaken, match="The section of metrics 'tried'"):
        module("second_metrics", text)


def test_two_items_of_one_name_in_a_list_are_an_error():
    assert [*by_name("The letter", "abc", str)] == ["a", "b", "c"]
    with pytest.raises(NameTaken, match="The letter 'a' is declared twice: 'a' and 'A'"):
        by_name("The letter", "abA", str.lower)


@pytest.mark.parametrize(
    ("module_name", "listed"),
    [
        ("console.bulk_actions.registry", "ACTIONS"),
        ("audit.catalogue", "INVARIANTS"),
        ("staff.policy", "ACTIONS"),
    ],
)
def test_the_lists_of_the_project_refuse_a_second_item_of_a_name(module_name, listed):
    spec = importlib.util.find_spec(module_name)
    assert spec
    assert spec.origin
    tree = ast.parse(Path(spec.origin).read_text())
    (items,) = [
        node.value.elts
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Tuple)
        and listed in ast.unparse(node).partition("=")[0]
    ]
    items.append(items[0])

    with pytest.raises(NameTaken, match="declared twice"):
        exec(compile(tree, spec.origin, "exec"), {"__name__": module_name})
