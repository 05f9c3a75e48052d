"""The report of a comparison."""

from dynaloss.analysis.report.page import write_report

__all__ = ["write_report"]
