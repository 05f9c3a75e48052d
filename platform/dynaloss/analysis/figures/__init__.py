"""Figures of trials, of studies and of comparisons."""

from dynaloss.analysis.figures.gallery import gallery, save_gallery
from dynaloss.analysis.figures.panels import figure_bytes, save_figure
from dynaloss.analysis.figures.training import corrector_curves, learning_curves, trial_figures

__all__ = [
    "corrector_curves",
    "figure_bytes",
    "gallery",
    "learning_curves",
    "save_figure",
    "save_gallery",
    "trial_figures",
]
