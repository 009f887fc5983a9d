"""What KubeRay takes in a RayCluster and a RayJob, written down as a schema.

Source: the API reference of KubeRay 1.6.2 (docs.ray.io, "KubeRay CRD API reference") and the types in
ray-operator/apis/ray/v1 of github.com/ray-project/kuberay: names, types, enumerations and what is required. Where they
hold a type of Kubernetes, such as a pod, it is left open here and checked by the schemas of Kubernetes itself. KubeRay
drops a field that it does not know without a word, so none is let through.
"""

from __future__ import annotations

from typing import Any

TEXT, NUMBER, WHOLE, YES = ({"type": name} for name in ("string", "number", "integer", "boolean"))
ANY: dict[str, Any] = {"type": "object"}
LIST = {"type": "array", "items": ANY}
TEXTS = {"type": "object", "additionalProperties": TEXT}
NAMES = {"type": "array", "items": TEXT}


def thing(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": False}


def one_of(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


CREDENTIAL = thing(value=TEXT, valueFrom=ANY)
GROUP = {"rayStartParams": TEXTS, "template": ANY, "resources": TEXTS, "labels": TEXTS}
CLUSTER_SPEC = thing(
    ("headGroupSpec",),
    upgradeStrategy=thing(type=one_of("Recreate", "None")),
    authOptions=thing(enableK8sTokenAuth=YES, secretName=TEXT, mode=one_of("disabled", "token")),
    suspend=YES,
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    autoscalerOptions=thing(
        resources=ANY,
        image=TEXT,
        imagePullPolicy=TEXT,
        securityContext=ANY,
        idleTimeoutSeconds=WHOLE,
        upscalingMode=one_of("Default", "Aggressive", "Conservative"),
        version=one_of("v1", "v2"),
        env=LIST,
        envFrom=LIST,
        volumeMounts=LIST,
    ),
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=YES,
    gcsFaultToleranceOptions=thing(
        ("redisAddress",),
        redisUsername=CREDENTIAL,
        redisPassword=CREDENTIAL,
        externalStorageNamespace=TEXT,
        redisAddress=TEXT,
    ),
    headGroupSpec=thing(("template",), headService=ANY, enableIngress=YES, serviceType=TEXT, **GROUP),
    rayVersion=TEXT,
    workerGroupSpecs={
        "type": "array",
        "items": thing(
            ("groupName", "maxReplicas", "minReplicas", "template"),
            suspend=YES,
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            idleTimeoutSeconds=WHOLE,
            numOfHosts=WHOLE,
            scaleStrategy=thing(workersToDelete=NAMES),
            **GROUP,
        ),
    },
)
JOB_SPEC = thing(
    (),
    activeDeadlineSeconds=WHOLE,
    backoffLimit=WHOLE,
    rayClusterSpec=CLUSTER_SPEC,
    submitterPodTemplate=ANY,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=thing(backoffLimit=WHOLE),
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    deletionStrategy=ANY,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus=NUMBER,
    entrypointNumGpus=NUMBER,
    ttlSecondsAfterFinished=WHOLE,
    shutdownAfterJobFinishes=YES,
    suspend=YES,
)


def _kind(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return thing(
        ("apiVersion", "kind", "metadata", "spec"), apiVersion={"const": "ray.io/v1"}, kind={"const": name},
        metadata=ANY, spec=spec,
    )  # fmt: skip


SCHEMAS = {"RayCluster": _kind("RayCluster", CLUSTER_SPEC), "RayJob": _kind("RayJob", JOB_SPEC)}
