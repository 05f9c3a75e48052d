"""MLflow: the store, the batching writer, lineage and the records of trials."""

from dynaloss.tracking.client import StoreError
from dynaloss.tracking.location import (
    resolve_artifact_root,
    resolve_storage,
    resolve_tracking_uri,
)
from dynaloss.tracking.records import list_studies, read_plan, read_records, read_tags
from dynaloss.tracking.store import Store, open_store
from dynaloss.tracking.study import StudyRun, TrialState
from dynaloss.tracking.ui import serve_ui

__all__ = [
    "Store",
    "StoreError",
    "StudyRun",
    "TrialState",
    "list_studies",
    "open_store",
    "read_plan",
    "read_records",
    "read_tags",
    "resolve_artifact_root",
    "resolve_storage",
    "resolve_tracking_uri",
    "serve_ui",
]
