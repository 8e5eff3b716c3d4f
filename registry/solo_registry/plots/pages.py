"""Pages made of Jinja templates; what a template inserts is text, never Markdown or HTML.

`page` is the one place where text becomes Markdown or HTML, so a name in a result file can hold
any characters.
"""

from __future__ import annotations

import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

SPECIAL = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{mark: f"\\{mark}" for mark in "\\`|[]"}}
)


def page(package: str, template: str, **content: Any) -> str:
    """Return a page: `template` of a package, filled with `content`.

    Args:
        package: name of the package that holds the template.
        template: file name; a template of Markdown ends in `.md.jinja`, any other is HTML.
        **content: what the template inserts, escaped for its language.
    """
    is_markdown = template.endswith(".md.jinja")
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=not is_markdown,
        finalize=markdown if is_markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "code_block": code_block}
    return environment.get_template(template).render(**content)


def markdown(text: object) -> str:
    r"""Return one line of Markdown that shows `text` as it is: no HTML, link or table cell in it.

    >>> markdown("a<b> | [x](y)\n`c`")
    'a&lt;b&gt; \\| \\[x\\](y) \\`c\\`'
    """
    return text if isinstance(text, Markup) else " ".join(str(text).split()).translate(SPECIAL)


def code(text: str) -> Markup:
    """Return Markdown for code within a line.

    >>> str(code("a `b`"))
    '`` a `b` ``'
    """
    line = " ".join(text.split())
    marks = _longer(line, 1)
    room = " " if "`" in line else ""
    return Markup(f"{marks}{room}{line}{room}{marks}")


def code_block(text: str, language: str = "bash") -> Markup:
    """Return Markdown for lines of code.

    >>> print(code_block("ls"))
    ```bash
    ls
    ```
    """
    marks = _longer(text, 3)
    return Markup(f"{marks}{language}\n{text}\n{marks}")


def _longer(text: str, least: int) -> str:
    """Return more backticks than stand together anywhere in `text`."""
    return "`" * max(least, *(len(found) + 1 for found in re.findall("`+", text)), 0)
