"""The manifest of the page about clusters: its pods by the schema of Kubernetes, the rest by the fields of KubeRay's v1."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.33"


class Strict(BaseModel):
    """A part of a manifest: it has these fields, of these types, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Group(Strict):
    """Machines that are alike. KubeRay passes the parameters to `ray start` as text."""

    rayStartParams: dict[str, str]
    template: dict[str, Any]

    @model_validator(mode="after")
    def _pod(self) -> Self:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray"}, **self.template}
        try:
            kubernetes_validate.validate(pod, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise ValueError(error.message) from error
        return self


class Workers(Group):
    """Machines that come and go."""

    groupName: str
    replicas: int = Field(ge=0)
    minReplicas: int = Field(ge=0)
    maxReplicas: int = Field(ge=0)

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        assert self.minReplicas <= self.replicas <= self.maxReplicas
        return self


class Cluster(Strict):
    """`spec` of a RayCluster."""

    rayVersion: str
    enableInTreeAutoscaling: bool
    headGroupSpec: Group
    workerGroupSpecs: list[Workers]


class Spec(Strict):
    """`spec` of a RayJob."""

    entrypoint: str
    shutdownAfterJobFinishes: bool
    ttlSecondsAfterFinished: int = Field(ge=0)
    rayClusterSpec: Cluster


class Named(Strict):
    """`metadata` of a RayJob."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,45}[a-z0-9])?$")


class RayJob(Strict):
    """A job and the cluster that it runs on."""

    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Named
    spec: Spec


@pytest.fixture(scope="module")
def manifest() -> Any:
    return yaml.safe_load((ROOT / "docs" / "kuberay.yaml").read_text())


def test_the_manifest_is_valid_and_names_what_is_there(manifest: Any) -> None:
    job = RayJob.model_validate(manifest)
    assert (ROOT / job.spec.entrypoint.split()[1]).is_file()
    cluster = job.spec.rayClusterSpec
    images = {
        container["image"]
        for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs)
        for container in group.template["spec"]["containers"]
    }
    assert len(images) == 1  # Ray and this package have to be the same on all machines
    assert f"rayproject/ray:{cluster.rayVersion}-py3" in (ROOT / "docs" / "cluster.md").read_text()


def _spec(manifest: Any) -> Any:
    return manifest["spec"]["rayClusterSpec"]


def _container(manifest: Any) -> Any:
    return _spec(manifest)["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda job: job["spec"].update(entryPoint="python x.py"),
        lambda job: job["spec"].update(ttlSecondsAfterFinished="60"),
        lambda job: job["metadata"].update(name="Codemode_Tasks"),
        lambda job: _spec(job).update(rayVersion=2.6),
        lambda job: _spec(job)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
        lambda job: _spec(job)["workerGroupSpecs"][0].update(minReplicas=9),
        lambda job: _spec(job)["workerGroupSpecs"][0].pop("groupName"),
        lambda job: _container(job).update(imagePolicy="Always"),
        lambda job: _container(job).pop("name"),
        lambda job: _container(job)["resources"].update(limit={"cpu": "2"}),
        lambda job: _spec(job)["workerGroupSpecs"][0]["template"]["spec"].update(restartPolicy=3),
    ],
)
def test_a_mistake_in_it_would_be_found(manifest: Any, spoil: Callable[[Any], object]) -> None:
    spoiled = copy.deepcopy(manifest)
    spoil(spoiled)
    with pytest.raises(ValidationError):
        RayJob.model_validate(spoiled)
