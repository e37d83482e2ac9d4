"""The shipped manifests are what they say they are, and start a command that exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[2] / "deploy"


def load(name: str) -> Any:
    return YAML(typ="safe").load((DEPLOY / name).read_text())


def test_the_ray_job_mounts_one_workspace_everywhere() -> None:
    spec = load("rayjob.yaml")["spec"]
    cluster = spec["rayClusterSpec"]
    pods = [cluster["headGroupSpec"]["template"]["spec"]] + [
        group["template"]["spec"] for group in cluster["workerGroupSpecs"]
    ]
    claim = load("workspace.yaml")["metadata"]["name"]
    for pod in pods:
        assert {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}} in pod["volumes"]
        (container,) = pod["containers"]
        assert {"name": "workspace", "mountPath": "/workspace"} in container["volumeMounts"]
    assert len({container["image"] for pod in pods for container in pod["containers"]}) == 1


@pytest.mark.parametrize("name", ["rayjob.yaml", "ray-up.yaml"])
def test_ray_has_the_version_that_the_image_installs(name: str) -> None:
    (version,) = re.findall(r"ARG RAY=(\S+)", (DEPLOY / "Dockerfile").read_text())
    found = re.findall(r'rayVersion: "(\S+)"', (DEPLOY / name).read_text())
    assert set(found) <= {version}


def test_the_entry_point_is_a_command_of_ours() -> None:
    import farlab

    command = re.search(r"farlab (\w+) (\S+) (--\w+)", load("rayjob.yaml")["spec"]["entrypoint"])
    assert command is not None
    commands = farlab.build_app()
    options = {name for parameter in commands.commands[command[1]].params for name in parameter.opts}
    assert command[3] in options
    assert (DEPLOY.parent / command[2]).is_file()
