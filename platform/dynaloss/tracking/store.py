"""The tracking store: where studies are started and found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynaloss.errors import InputError
from dynaloss.tracking.addresses import redacted
from dynaloss.tracking.client import StoreError, connect
from dynaloss.tracking.schema import EXPERIMENT_TAGS, MAX_NAME, MAX_PAGE, Tag
from dynaloss.tracking.study_run import StudyRun

if TYPE_CHECKING:
    from mlflow.entities import Experiment


class Store:
    """A tracking store, open.

    Args:
        tracking_uri: Address of the store.
        artifact_root: Folder of the artifacts of new studies, as a URI; None leaves it to the
            server.
        must_exist: Refuse a SQLite file that is not there instead of making it.

    Raises:
        InputError: If the store is absent, cannot be reached or is damaged.

    Attributes:
        client: The connection; its methods are those of `mlflow.MlflowClient`.
        tracking_uri: Address of the store.
        artifact_root: As given.
    """

    def __init__(
        self, tracking_uri: str, artifact_root: str | None = None, *, must_exist: bool = False
    ) -> None:
        self.client = connect(tracking_uri, must_exist=must_exist)
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root

    def start_study(
        self,
        name: str,
        *,
        tags: Mapping[str, Any] | None = None,
        description: str = "",
        interval: float = 2.0,
    ) -> StudyRun:
        """Start or resume a study: its experiment and its parent run, each made once.

        Args:
            name: Name of the study, which is that of the experiment.
            tags: Tags of the parent run, such as the hash of the plan.
            description: Markdown for the page of the experiment and of the parent run.
            interval: Seconds between two writes of queued metrics.

        Raises:
            InputError: If the name is empty or too long, or the experiment was deleted.
        """
        experiment_id = self._experiment(name)
        study = StudyRun(self.client, name, experiment_id, tags=tags or {}, interval=interval)
        if description:
            study.set_description(description)
        return study

    def studies(self) -> dict[str, str]:
        """The identifiers of the studies' experiments by name, the latest used first."""
        reader = self.client.reader
        if reader is None:
            pages = self.client.pages(
                "search_experiments", max_results=MAX_PAGE, order_by=["last_update_time DESC"]
            )
            return {it.name: it.experiment_id for it in pages if Tag.STUDY in it.tags}
        rows = self.client.attempt("read studies", lambda: list(reader.experiments(Tag.STUDY)))
        return {name: str(experiment_id) for name, experiment_id in rows}

    def _experiment(self, name: str) -> str:
        if not name.strip() or len(name) > MAX_NAME:
            raise InputError(
                f"The name of a study must have 1 to {MAX_NAME} characters, but got {name!r}."
            )
        found = self.client.get_experiment_by_name(name) or self._create_experiment(name)
        if found.lifecycle_stage != "active":
            raise InputError(self._deleted(name, found.experiment_id))
        if Tag.STUDY not in found.tags:
            self.client.set_experiment_tag(found.experiment_id, Tag.STUDY, name)
        return str(found.experiment_id)

    def _create_experiment(self, name: str) -> Experiment:
        try:
            location = self._artifact_location(name)
            tags = {Tag.STUDY: name} | EXPERIMENT_TAGS
            self.client.create_experiment(name, artifact_location=location, tags=tags)
        except StoreError as error:  # another launch made it at the same moment
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self.client.get_experiment_by_name(name)

    def _artifact_location(self, name: str) -> str | None:
        if self.artifact_root is None:
            return None
        folder = re.sub(r"[^\w\-]+", "-", name, flags=re.ASCII).strip("-") or "study"
        return f"{self.artifact_root}/{folder}"

    def _deleted(self, name: str, experiment_id: str) -> str:
        return (
            f"The experiment {name!r} was deleted in MLflow. Restore it with "
            f"`MLFLOW_TRACKING_URI={redacted(self.tracking_uri)} mlflow experiments restore "
            f"--experiment-id {experiment_id}`, or give the study another name."
        )
