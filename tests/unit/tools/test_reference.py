"""The reference of the engine is generated from its docstrings, and is up to date."""

from tools import reference


def test_the_reference_is_what_the_docstrings_say():
    assert reference.render() == reference.DOCUMENT.read_text(), "Run `make reference`."


def test_it_has_each_public_name_with_its_parameters():
    page = reference.render()
    assert "### `start(declaration, row, event, *, headers=None)`" in page
    assert "| `STEP_ATTEMPTS` | `5` | `SAGA_STEP_ATTEMPTS` |" in page
    assert "### `ExternalStep`" in page
