"""Draw the imports between the engine's folders: `python -m tools.import_map` writes the picture.

A row is a layer of the import-linter contract in pyproject.toml, the top layer first. An arrow
leads from a folder to a folder that it imports, and its width grows with the number of import
statements. The picture has one arrow for each pair, so an arrow that points upwards would show a
broken layer.
"""

import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

__all__ = ["CONTRACT", "PICTURE", "ImportMap", "draw", "read_imports"]

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "imports.svg"

# The name of the contract in pyproject.toml that holds the layers.
CONTRACT = "The engine's imports point down"

# In pixels.
WIDTH = 760
BOX_WIDTH, BOX_HEIGHT = 150, 44
ROW_HEIGHT = 92
MARGIN = 16

STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2937; text-anchor: middle }
  .count { font-size: 11px; fill: #6b7280 }
  rect { fill: #f3f4f6; stroke: #9ca3af }
  path { fill: none; stroke: #2563eb; opacity: .45 }
  marker path { fill: #2563eb; stroke: none; opacity: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb } .count { fill: #9ca3af } rect { fill: #1f2937; stroke: #4b5563 }
    path { stroke: #93c5fd } marker path { fill: #93c5fd }
  }
"""


@dataclass(frozen=True, kw_only=True)
class ImportMap:
    """The folders of a package by layer, their numbers of modules, and the imports between them."""

    layers: list[list[str]]
    modules: Mapping[str, int]
    imports: Mapping[tuple[str, str], int]

    def depth(self, folder: str) -> int:
        """Return the number of the layer of a folder; the top layer is 0."""
        return next(depth for depth, layer in enumerate(self.layers) if folder in layer)

    def upward(self) -> list[tuple[str, str]]:
        """Return the pairs of folders whose imports do not lead to a lower layer."""
        return [pair for pair in self.imports if self.depth(pair[0]) >= self.depth(pair[1])]


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where the box of a folder stands: the middle of its upper edge."""

    x: float
    y: float


def read_imports(package: str = "sagas") -> ImportMap:
    """Read the layers from pyproject.toml and the imports from the sources of a package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    contract = next(contract for contract in contracts if contract["name"] == CONTRACT)
    layers = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]

    graph = grimp.build_graph(package, cache_dir=None, exclude_type_checking_imports=True)
    modules = Counter[str]()
    imports = Counter[tuple[str, str]]()
    for module in graph.modules - {package}:
        folder = _folder(module)
        modules[folder] += 1
        for imported in graph.find_modules_directly_imported_by(module):
            if imported != package and _folder(imported) != folder:
                imports[folder, _folder(imported)] += 1

    return ImportMap(layers=layers, modules=modules, imports=imports)


def draw(found: ImportMap) -> str:
    """Return the picture as SVG."""
    boxes = dict(_boxes(found))
    height = ROW_HEIGHT * (len(found.layers) - 1) + BOX_HEIGHT + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' aria-label="Imports between the folders of the engine, from the top layer down">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
        ' markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        *(_arrow(boxes[a], boxes[b], count) for (a, b), count in sorted(found.imports.items())),
        *(_box(name, box, found.modules[name]) for name, box in boxes.items()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _folder(module: str) -> str:
    return module.split(".")[1]


def _boxes(found: ImportMap) -> Iterator[tuple[str, Box]]:
    for row, layer in enumerate(found.layers):
        # Every second row is shifted, so that an arrow between distant layers passes beside a box.
        shift = 60 if row % 2 else -60
        for column, name in enumerate(layer, start=1):
            x = WIDTH * column / (len(layer) + 1) + (shift if len(layer) < 3 else 0)
            yield name, Box(x=x, y=MARGIN + ROW_HEIGHT * row)


def _box(name: str, box: Box, modules: int) -> str:
    left, middle = box.x - BOX_WIDTH / 2, box.y + BOX_HEIGHT / 2
    counted = "1 module" if modules == 1 else f"{modules} modules"
    return (
        f'<rect x="{left:.0f}" y="{box.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8"/>'
        f'<text x="{box.x:.0f}" y="{middle:.0f}">{escape(name)}</text>'
        f'<text class="count" x="{box.x:.0f}" y="{middle + 15:.0f}">{counted}</text>'
    )


def _arrow(start: Box, end: Box, count: int) -> str:
    top, bottom = start.y + BOX_HEIGHT, end.y - 2
    bend = (bottom - top) / 2
    width = min(5.0, 1 + count / 3)
    return (
        f'<path d="M{start.x:.0f} {top} C{start.x:.0f} {top + bend:.0f} {end.x:.0f} '
        f'{bottom - bend:.0f} {end.x:.0f} {bottom}" stroke-width="{width:.1f}"'
        ' marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(read_imports()))
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)} is written.\n")
