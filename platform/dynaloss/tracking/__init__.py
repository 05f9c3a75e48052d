"""MLflow: the store, the batching writer, lineage and the records of trials."""

from dynaloss.tracking.client import StoreError
from dynaloss.tracking.interface import serve_ui
from dynaloss.tracking.retrieval import (
    StoreReader,
    list_studies,
    read_plan,
    read_records,
    read_tags,
)
from dynaloss.tracking.store import Store
from dynaloss.tracking.study_run import StudyRun, TrialState
from dynaloss.tracking.workspace import Workspace

__all__ = [
    "Store",
    "StoreError",
    "StoreReader",
    "StudyRun",
    "TrialState",
    "Workspace",
    "list_studies",
    "read_plan",
    "read_records",
    "read_tags",
    "serve_ui",
]
