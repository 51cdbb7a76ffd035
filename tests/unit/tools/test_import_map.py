"""The drawing of the engine's imports matches the code, and no arrow points upwards."""

from tools.import_map import PICTURE, draw, read_imports


def test_the_picture_shows_the_imports_of_today():
    assert PICTURE.read_text() == draw(read_imports()), "run: python -m tools.import_map"


def test_no_arrow_points_upwards():
    assert read_imports().upward() == []


def test_every_folder_of_the_engine_is_in_the_picture():
    found = read_imports()
    assert set(found.modules) == {name for layer in found.layers for name in layer}
