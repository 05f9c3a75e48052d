"""The result of a query: tables, frames and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dynaloss.analysis.statistics.comparison import Comparison
from dynaloss.analysis.tables.comparison_table import comparison_table
from dynaloss.analysis.tables.content import Table
from dynaloss.analysis.tables.extras import extra_tables
from dynaloss.analysis.tables.formats import as_json, render, table_values
from dynaloss.analysis.wording import Content
from dynaloss.errors import InputError
from dynaloss.studies.stored_plan import StoredPlan
from dynaloss.studies.trial_record import TrialRecord

if TYPE_CHECKING:
    import pandas

_SUFFIXES = {
    ".txt": "table",
    ".md": "markdown",
    ".tex": "latex",
    ".csv": "csv",
    ".json": "json",
}


class StudyReader(Protocol):
    """The studies of a tracking store."""

    def studies(self) -> Sequence[str]:
        """Names of the studies."""

    def plan(self, study: str) -> StoredPlan:
        """Plan of the study's last launch."""

    def tags(self, study: str) -> Mapping[str, str]:
        """Tags of the study's own run."""

    def records(
        self,
        study: str,
        *,
        metrics: Collection[str] | None = None,
        history: Collection[str] | bool = False,
        diagnostics: Collection[str] | bool = False,
    ) -> list[TrialRecord]:
        """The study's trials, with the metrics, curves and JSON artifacts named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of a query.

    Attributes:
        records: The trials compared; arm and condition are those of the table.
        comparisons: One per metric.
        plans: Stored plan of each study.
        study_tags: Tags of each study's own run; empty unless everything was read.
        extras: Names of the tables beside each comparison, of `EXTRAS`.
        reader: Where the trials are from; None where nothing more can be read.
        with_everything: Reads all that a report and the figures can show; None where that is done.

    Examples:
        >>> result = dynaloss.compare(study, metric=["test/accuracy", "train/loss"])
        >>> [comparison.metric for comparison in result.comparisons]
        ['test/accuracy', 'train/loss']
        >>> result.comparisons[0].arms
        ('none', 'full')
    """

    records: Sequence[TrialRecord]
    comparisons: Sequence[Comparison]
    plans: Mapping[str, StoredPlan] = field(default_factory=dict)
    study_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    reader: StudyReader | None = field(default=None, repr=False, compare=False)
    with_everything: Callable[[], Result] | None = field(default=None, repr=False, compare=False)

    @property
    def components(self) -> list[str]:
        """Components that the designs of the studies switch.

        Examples:
            >>> result.components
            ['margin']
        """
        return list(dict.fromkeys(c for plan in self.plans.values() for c in plan.components))

    def tables(
        self,
        extras: Sequence[str] | None = None,
        *,
        content: Content = "differences",
        caption: str = "",
        label: str = "",
    ) -> list[list[Table]]:
        """Per metric the table of its comparison, then those of the extras.

        Args:
            extras: Names of `EXTRAS`; by default those of the result.
            content: What cells show beside the mean: the paired `differences`, `marks` of their
                verdicts, or `means` alone.
            caption: Caption of the first table.
            label: Name by which LaTeX and Markdown refer to that table, such as `tab:main`, of
                letters, digits and `:._-`.

        Raises:
            InputError: If the label has other characters.

        Examples:
            >>> result.tables()[0][0].header
            ('arm', 'symmetric 0.4 · IR 10')
        """
        if not re.fullmatch(r"[\w:.-]*", label, re.ASCII):
            raise InputError(f"`label` must be of letters, digits and `:._-`, but got `{label}`.")
        names = self.extras if extras is None else extras
        found = [
            [
                comparison_table(one, content),
                *extra_tables(names, self.records, one, self.components),
            ]
            for one in self.comparisons
        ]
        found[0][0] = replace(found[0][0], title=caption, label=label)
        return found

    def to_frame(self) -> pandas.DataFrame:
        """One row a trial: study, key, condition, arm, seed, outcome, settings, last metrics.

        Settings and metrics are columns by their names, such as `optimizer.lr` and
        `test/accuracy`. Condition and arm are column and row of the table.

        Examples:
            >>> result.to_frame()[["arm", "seed", "outcome", "optimizer.lr"]]
                arm  seed    outcome  optimizer.lr
            0  none     0  completed           0.1
            1  full     0  completed           0.1
        """
        from dynaloss.analysis.frames import trials_frame

        return trials_frame(self._with_metrics())

    def curves(self, *metrics: str) -> pandas.DataFrame:
        """One row a trial and epoch, with a column per metric; all metrics unless named.

        Examples:
            >>> curves = result.curves("train/loss")
            >>> curves.groupby("arm")["epoch"].max().to_dict()
            {'full': 2, 'none': 2}
        """
        from dynaloss.analysis.frames import curves_frame

        return curves_frame(self._with_metrics(history=metrics or True), metrics)

    def as_text(
        self,
        format: str = "table",  # noqa: A002 - as of `render`
        *,
        details: bool | None = None,
        caption: str = "",
        label: str = "",
    ) -> str:
        """All tables in one of `FORMATS`, as `dynaloss compare --format` prints them.

        Args:
            format: One of `FORMATS`.
            details: Whether cells show the differences to the baseline; by default in every
                format but `table`. Without, that one marks the verdicts, and others show means.
            caption: See `tables`.
            label: See `tables`.

        Raises:
            InputError: If the format is unknown, or the label has characters that it must not.

        Examples:
            >>> print(result.as_text("csv").splitlines()[0][:28])
            study,metric,baseline,condit
        """
        content = content_of(format, details=details)
        found = self.tables(content=content, caption=caption, label=label)
        if format == "json":
            return _as_json(found)
        mains = [render(tables[0], format) for tables in found]
        if format == "csv":  # one table: the heading once
            mains = ["".join([mains[0], *(text.partition("\n")[2] for text in mains[1:])])]
        others = [render(table, format) for tables in found for table in tables[1:]]
        return "\n".join([*mains, *others])

    def save(self, path: str | Path) -> Path:
        """Writes the tables as the command line prints them; the name's end gives the format.

        Args:
            path: A file `.txt`, `.md`, `.tex`, `.csv` or `.json`, or `.html` for the report.

        Raises:
            InputError: If the name ends otherwise.

        Examples:
            >>> result.save("table.md").name, result.save("report.html").name
            ('table.md', 'report.html')
        """
        path = Path(path)
        if path.suffix == ".html":
            return self.save_report(path)
        if path.suffix not in _SUFFIXES:
            known = ", ".join([*_SUFFIXES, ".html"])
            raise InputError(f"The name must end in one of {known}, but got `{path.name}`.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_text(_SUFFIXES[path.suffix]), encoding="utf-8", newline="\n")
        return path

    def save_report(self, path: str | Path, *, command: str | None = None) -> Path:
        """Writes the report with all figures, one self-contained HTML file.

        Args:
            path: The file.
            command: What the page names as the command that rebuilds it.

        Examples:
            >>> result.save_report("report.html", command="python study.py").name
            'report.html'
        """
        from dynaloss.analysis.report import write_report

        return write_report(self._complete, path, command=command)

    def save_figures(
        self, folder: str | Path, formats: Sequence[str] = ("png", "pdf")
    ) -> list[Path]:
        """Writes every figure in every format, as `dynaloss compare --figures` does.

        Examples:
            >>> paths = result.save_figures("figures", ["png"])
            >>> {path.suffix for path in paths}
            {'.png'}
        """
        from dynaloss.analysis.figures import gallery, save_gallery

        full = self._complete
        sections = gallery(full.records, full.comparisons[0], full.components)
        return save_gallery(sections, Path(folder), formats)

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        from dynaloss.analysis.tables.markup import html

        return "".join(html(table) for tables in self.tables() for table in tables)

    @property
    def _complete(self) -> Result:
        return self.with_everything() if self.with_everything else self

    def _with_metrics(self, *, history: Collection[str] | bool = False) -> list[TrialRecord]:
        """The trials with all of their metrics, some or all of them with their history."""
        if self.reader is None:
            return [*self.records]
        studies = dict.fromkeys(record.study for record in self.records)
        read = partial(self.reader.records, history=history)
        full = {record.run_id: record for study in studies for record in read(study)}
        return [
            replace(one, metrics=full[one.run_id].metrics, history=full[one.run_id].history)
            for one in self.records
        ]


def content_of(format: str, *, details: bool | None) -> Content:  # noqa: A002 - as of `render`
    """What cells show in a format, see `Result.as_text`."""
    in_terminal = format == "table"
    if not in_terminal if details is None else details:
        return "differences"
    return "marks" if in_terminal else "means"


def _as_json(found: Sequence[Sequence[Table]]) -> str:
    """The first metric's table at the top level, those of further metrics below it."""
    first, *others = (
        {**table_values(main)} | ({"extras": [*map(table_values, extras)]} if extras else {})
        for main, *extras in found
    )
    return as_json(first | ({"further": others} if others else {}))
