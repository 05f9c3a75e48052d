"""The report of a comparison, and its summary in sentences."""

from dynaloss.analysis.report.page import write_report
from dynaloss.analysis.report.summary import summarise

__all__ = ["summarise", "write_report"]
