"""MLflow: the store, the batching writer, lineage and the records of trials."""

from dynaloss.tracking.client import StoreError
from dynaloss.tracking.outbox import Outbox
from dynaloss.tracking.store import Store
from dynaloss.tracking.study_run import StudyRun, TrialState
from dynaloss.tracking.ui_server import serve_ui
from dynaloss.tracking.workspace import Workspace

__all__ = ["Outbox", "Store", "StoreError", "StudyRun", "TrialState", "Workspace", "serve_ui"]
