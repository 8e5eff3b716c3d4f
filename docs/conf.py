"""The documentation site: `make site` builds it from the pages that are read on GitHub too.

The sources are docs/*.md, the notebooks, and the pages of the root that docs/README.md links to.
That page is the index: its bold lines and lists become the navigation. Notebooks are shown with the
outputs that they hold; none is run. Nothing is loaded from the net.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
INDEX = "docs/README"
PLAYGROUND = "docs/temperature.html"  # one file with its scripts inside: copied, not parsed

project = "solo-dyntemp"
author = copyright = "The solo-dyntemp maintainers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
NOTEBOOKS = "examples/notebooks/"
include_patterns = [
    "docs/*.md", f"{NOTEBOOKS}*.ipynb", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"
]  # fmt: skip
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
root_doc = INDEX
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # a prime after τ is a derivative

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "solo-dyntemp"
html_copy_source = html_show_sourcelink = html_show_sphinx = False


def navigation(index: str) -> str:
    """Return the index page's sections, a bold line and its list each, as tables of contents."""
    trees = []
    for caption, entries in re.findall(r"^\*\*(.+)\*\*\n\n((?:[- ].*\n)+)", index, re.MULTILINE):
        pages = re.findall(r"^- \[(.+)\]\((.+)\.(?:md|ipynb)\)", entries, re.MULTILINE)
        lines = "\n".join(f"{title} <{target}>" for title, target in pages)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```\n")
    return "\n" + "\n".join(trees)


def interface(page: str) -> str:
    """Return the page with the docstrings of each module that is a heading of its own."""
    directive = (
        "```{eval-rst}\n.. automodule:: \\1\n   :members:\n   :exclude-members: extra_repr\n```\n"
    )
    return re.sub(r"^### `([\w.]+)`\n", rf"\g<0>\n{directive}", page, flags=re.MULTILINE)


def notebook(text: str) -> str:
    """Return a notebook as Markdown, with its outputs."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [shown(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts)


def shown(output: dict[str, Any]) -> str:
    """Return one output of a cell as a block: HTML or a picture if there is one, else text."""
    data = output.get("data", {})
    if "text/html" in data:
        return f"```{{raw}} html\n<div>{''.join(data['text/html'])}</div>\n```"
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'```{{raw}} html\n<img alt="" src="data:image/png;base64,{picture}">\n```'
    return f"```text\n{''.join(output.get('text', data.get('text/plain', '')))}\n```"


def read(app: Sphinx, name: str, content: list[str]) -> None:
    """Add to a page what only the site has."""
    if name.startswith(NOTEBOOKS):
        content[0] = notebook(content[0])
    if name == INDEX:
        content[0] += navigation(content[0])
    if name == "docs/api":
        content[0] = interface(content[0])
    content[0] = re.sub(
        rf"\[([^\]]+)\]\(({Path(PLAYGROUND).name})\)", r'<a href="\2">\1</a>', content[0]
    )


def docstring(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Make `code` literal; keep what stands for itself from being markup: |s|, *args, tau_."""
    code = r"((?<!`)`[^`]+`(?!`)|``.*?``|^ *(?:>>>|\.\.\.) .*$)"
    parts = re.split(code, "\n".join(lines), flags=re.MULTILINE)
    parts[::2] = [re.sub(r"[|*\\]|_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"^`([^`]+)`$", r"``\1``", part) for part in parts[1::2]]
    lines[:] = "".join(parts).split("\n")


def finish(app: Sphinx, error: Exception | None) -> None:
    """Copy the page with the sliders, and lead from the folder's own page to the index."""
    if error is None and app.builder.format == "html":
        shutil.copy(ROOT / PLAYGROUND, app.outdir / PLAYGROUND)
        start = f'<meta http-equiv="refresh" content="0; url={INDEX}.html">\n'
        (app.outdir / "index.html").write_text(f"<!doctype html>\n{start}", encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Tell Sphinx what to call."""
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring, priority=100)  # before napoleon
    app.connect("build-finished", finish)
