"""The examples of files for clusters, as far as they can be checked without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[2] / "examples" / "cluster"


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text("utf-8"))
    return content


def test_ray_accepts_the_file_of_its_autoscaler() -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    validate_config(fillout_defaults(read("autoscaler.yaml")))


def test_all_pods_of_the_ray_job_share_the_storage_folder() -> None:
    spec = read("kuberay.yaml")["spec"]
    command = spec["entrypoint"].split()
    storage = Path(command[command.index("--storage") + 1])
    cluster = spec["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert storage.is_relative_to(mount["mountPath"])
        assert mount["name"] in {volume["name"] for volume in pod["volumes"]}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
