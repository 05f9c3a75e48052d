"""What came out of studies: comparisons, tables, figures, reports.

Figures and the report are imported from their packages, so that a table needs no matplotlib.
"""

from dynaloss.analysis.query import Query, run_query
from dynaloss.analysis.result import Result, StudyReader
from dynaloss.analysis.statistics.comparison import Cell, Comparison, compare
from dynaloss.analysis.tables import FORMATS, render
from dynaloss.analysis.tables.comparison_table import comparison_table

__all__ = [
    "FORMATS",
    "Cell",
    "Comparison",
    "Query",
    "Result",
    "StudyReader",
    "compare",
    "comparison_table",
    "render",
    "run_query",
]
