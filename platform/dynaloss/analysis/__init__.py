"""What came out of a study: comparison, tables, figures, report.

Figures and the report are imported from their modules, so that a table needs no matplotlib.
"""

from dynaloss.analysis.cells import Cell, Comparison, Coverage, compare
from dynaloss.analysis.render import FORMATS, render

__all__ = ["FORMATS", "Cell", "Comparison", "Coverage", "compare", "render"]
