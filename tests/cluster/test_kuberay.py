"""docs/cluster-kuberay.yaml: KubeRay and Kubernetes take every field of it, and it keeps what its comments promise."""

from __future__ import annotations

import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import kuberay
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from assay.cli import main
from assay.cloud import kuberay_file

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs" / "cluster-kuberay.yaml").read_text(encoding="utf-8")
FILLED = TEXT.replace("fill-in-Registry", "registry.example").replace("fill-in-Store", "s3://bucket/assay")
VOLUME = FILLED.replace("#volume ", "")


def objects(text: str) -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def pods(text: str) -> dict[str, Any]:
    """The templates of pods by what they are."""
    cluster, job = objects(text)["RayCluster"]["spec"], objects(text)["RayJob"]["spec"]
    workers = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], "submitter": job["submitterPodTemplate"], **workers}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [only] = pod["spec"]["containers"]
    return only


both = pytest.mark.parametrize("text", [FILLED, VOLUME], ids=["s3", "volume"])


@both
def test_kuberay_knows_every_field(text):
    assert set(objects(text)) == {"RayCluster", "RayJob"}
    for kind, one in objects(text).items():
        jsonschema.validate(one, kuberay.SCHEMAS[kind])


@pytest.mark.parametrize("wrong", ["rayversion", "minReplica"])
def test_a_misspelt_field_would_be_found(wrong):
    cluster = copy.deepcopy(objects(FILLED)["RayCluster"])
    cluster["spec"][wrong] = "1"
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate(cluster, kuberay.SCHEMAS["RayCluster"])


@both
def test_kubernetes_takes_every_pod(text):
    for name, template in pods(text).items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": template["spec"]}
        kubernetes_validate.validate(pod, "1.37", strict=True)
        mounted = {mount["name"] for mount in container(template)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod | {"spec": {**pod["spec"], "toleration": []}}, "1.37", strict=True)


def test_its_ray_is_that_of_every_other_file():
    [pinned] = re.findall(r"^ray==(.+)$", (REPO / "constraints.txt").read_text(), re.MULTILINE)
    assert objects(TEXT)["RayCluster"]["spec"]["rayVersion"] == pinned
    assert len({container(pod)["image"] for pod in pods(FILLED).values()}) == 1, "one image, so one version"


def test_trials_run_on_gpus_of_spot_nodes_that_start_on_demand():
    spec = objects(TEXT)["RayCluster"]["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
        assert container(group["template"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
        tainted = {one["key"] for one in group["template"]["spec"]["tolerations"]}
        assert {"cloud.google.com/gke-spot", "karpenter.sh/capacity-type", "nvidia.com/gpu"} <= tainted
    assert "tolerations" not in spec["headGroupSpec"]["template"]["spec"], "the driver must not be taken away"
    assert all(pod["spec"]["restartPolicy"] == "Never" for pod in pods(TEXT).values()), "as autoscaler v2 wants it"


def test_pods_are_closed_and_ask_for_the_token():
    cluster, job = objects(TEXT)["RayCluster"], objects(TEXT)["RayJob"]
    assert cluster["spec"]["authOptions"] == {"mode": "token", "secretName": "assay-ray-token"}
    given = {one["name"]: one for one in container(job["spec"]["submitterPodTemplate"])["env"]}
    assert given["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "assay-ray-token"
    for pod in pods(TEXT).values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container(pod)["securityContext"]["readOnlyRootFilesystem"] is True
        assert "/tmp" in {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert not re.search(r"(?i)auth_token: *[0-9a-f]{16}", TEXT)


def test_the_job_finds_the_cluster_and_its_command_is_one_of_assay(monkeypatch):
    cluster, job = objects(FILLED)["RayCluster"], objects(FILLED)["RayJob"]
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    assay, *words = job["spec"]["entrypoint"].split()
    assert assay == "assay"
    asked = {}
    monkeypatch.setattr(main.get_command(None, "sweep"), "callback", lambda **options: asked.update(options))
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert asked["address"] == "auto"
    assert words[words.index("--store") + 1] == "s3://bucket/assay"


def check(tmp_path, text: str):
    (tmp_path / "mine.yaml").write_text(text)
    return CliRunner().invoke(main, ["cluster", "check", str(tmp_path / "mine.yaml")])


def test_a_file_that_is_filled_in_has_no_fault(tmp_path):
    done = check(tmp_path, FILLED)
    assert done.exit_code == 0, done.output
    assert "no fault was found" in done.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT, "Registry, Store to be filled in"),
        (FILLED.replace(version("ray"), "2.9.0"), f"rayVersion is 2.9.0, and Ray {version('ray')} is installed here"),
        (FILLED.replace("ray.io/v1\n", "ray.io/v1alpha1\n", 1), "RayCluster assay: apiVersion is ray.io/v1alpha1"),
        (FILLED.replace("mode: token", "mode: disabled"), "RayCluster assay: Ray asks for no token"),
        (re.sub(r"  authOptions:.*", "", FILLED), "RayCluster assay: Ray asks for no token"),
    ],
)
def test_a_fault_is_told_before_anything_is_applied(tmp_path, text, told):
    done = check(tmp_path, text)
    assert done.exit_code == 1
    assert told in done.output
    assert "1 fault" in done.output


def test_the_cluster_of_a_job_of_its_own_is_looked_at_too():
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "one"},
        "spec": {"rayClusterSpec": objects(FILLED)["RayCluster"]["spec"] | {"rayVersion": "2.9.0"}},
    }
    text = yaml.safe_dump(job)
    assert kuberay_file.is_one(text)
    assert [one.state for one in kuberay_file.look(text)] == ["ok", "fault", "ok"]
    assert not kuberay_file.is_one((REPO / "cluster.yaml").read_text())
