"""Tables as HTML, in a page or in a notebook."""

from __future__ import annotations

import jinja2

from dynaloss.analysis.tables.content import Table


def html_templates(*packages: str) -> jinja2.Environment:
    """The templates of packages, and the macros for a table: `grid.html.j2`."""
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name) for name in (*packages, "dynaloss.analysis.tables")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(table: Table) -> str:
    """The table with its notes, as a part of a page."""
    return html_templates().get_template("notebook.html.j2").render(table=table)
