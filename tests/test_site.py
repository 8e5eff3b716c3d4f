"""The documentation site: built without a warning, every page in its navigation, nothing from afar.

A page must also be readable without the net, so nothing in it may be loaded from there.
"""

from __future__ import annotations

import io
import re
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest

import solo_dyntemp.losses

ROOT = Path(__file__).parents[1]
CONF = runpy.run_path(str(ROOT / "docs" / "conf.py"))
INDEX = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
LOADED = (
    r'<(?:link|script|img|iframe|source)[^>]*(?:href|src)="((?:\w+:)?//[^"]*)"|url\("?(http[^)]*)'
)


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"<(.*)>", CONF["navigation"](INDEX))
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"}
    books = (ROOT / CONF["NOTEBOOKS"]).glob("*.ipynb")
    pages |= {f"../{CONF['NOTEBOOKS']}{path.stem}" for path in books}
    assert sorted(named) == sorted(pages | {"../CONTRIBUTING", "../ARCHITECTURE", "../CHANGELOG"})


def test_the_navigation_has_the_sections_of_the_index() -> None:
    sections = re.findall(r":caption: (.*)", CONF["navigation"](INDEX))
    assert sections == re.findall(r"^\*\*(.*)\*\*$", INDEX, re.MULTILINE)
    assert sections == ["Tutorial", "How-to", "Explanation", "Reference", "Results"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, warnings as errors."""
    pytest.importorskip("myst_parser", reason="needs pip install '.[docs]'")
    pytest.importorskip("furo", reason="needs pip install '.[docs]'")
    from sphinx.application import Sphinx

    out, found = tmp_path_factory.mktemp("site"), io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, of Sphinx's own code
        app = Sphinx(
            ROOT, ROOT / "docs", out, out / ".doctrees", "html", status=None, warning=found
        )
        app.build()
    assert re.sub(r"\x1b\[\d*m", "", found.getvalue()) == ""
    return out


@pytest.mark.slow
def test_the_site_is_built_and_loads_nothing_from_the_net(site: Path) -> None:
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    texts: dict[Path, Any] = {page: page.read_text(encoding="utf-8") for page in pages}
    assert {page.name: found for page in pages if (found := re.findall(LOADED, texts[page]))} == {}
    assert "docs/README.html" in texts[site / "index.html"]
    interface = texts[site / "docs" / "api.html"]
    assert all(
        f'id="solo_dyntemp.losses.{name}"' in interface for name in solo_dyntemp.losses.__all__
    )
    book = texts[site / CONF["NOTEBOOKS"] / "own_images.html"]
    assert "trained backbone" in book and 'src="data:image/png;base64,' in book
    assert 'href="temperature.html">' in texts[site / "docs" / "README.html"]
    assert (site / "docs" / "temperature.html").is_file()


def test_a_page_that_loads_something_is_found() -> None:
    assert re.search(LOADED, '<script async src="https://cdn.example/x.js"></script>')
    assert re.search(LOADED, "@font-face { src: url(https://fonts.example/x.woff) }")
    assert not re.search(LOADED, '<a href="https://arxiv.org/abs/2308.01140">')
