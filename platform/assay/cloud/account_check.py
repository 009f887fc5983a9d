"""What would fail if `ray up` were given a cluster file now: a read-only look at the file and its AWS account.

Nothing is made, changed or started. What may not be looked at is said, and is no fault.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay.cloud import account_stack, cluster_file
from assay.errors import InputError

QUOTAS = {
    ("G", "spot"): "L-3819A6DF", ("G", "on demand"): "L-DB2E81BA",
    ("P", "spot"): "L-7212CCBC", ("P", "on demand"): "L-417A185B",
    ("standard", "spot"): "L-34B43A08", ("standard", "on demand"): "L-1216C47A",
}  # fmt: skip
"""(family of instance types, market) -> the quota of vCPUs (Service Quotas, ec2)."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at. mend: what to do, of a fault or of a note."""

    about: str
    state: Literal["ok", "note", "fault", "unknown"]
    said: str
    mend: str = ""


def look(path: str | Path, store: str | None = None) -> list[Finding]:
    """Every finding about a cluster file of AWS. store: that of the sweeps, s3://BUCKET/PREFIX.

    Raises InputError for a file that isn't one, isn't filled in or is of another cloud.
    """
    content = cluster_file.read(path)
    if (cloud := content["provider"]["type"]) != "aws":
        raise InputError(
            f"{path} is of `{cloud}`, and only files of `aws` can be checked; see docs/run-on-a-cluster.md"
        )
    region = str(content["provider"].get("region") or "")
    clients = {name: account_stack.client(name, region) for name in ("sts", "ec2", "iam", "service-quotas", "s3")}
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("versions", lambda: versions(content)),
        ("token", token),
        ("identity", lambda: identity(clients["sts"])),
        ("network", lambda: network(content, clients["ec2"])),
        ("image", lambda: image(content, clients["ec2"])),
        ("quotas", lambda: quotas(content, clients["ec2"], clients["service-quotas"])),
        ("roles", lambda: roles(content, clients["iam"])),
        ("head", lambda: head(content, clients["ec2"])),
        ("bucket", lambda: bucket(store, region, clients["s3"])),
    )
    found: list[Finding] = []
    for about, work in looks:
        found += _safely(about, work)
        if about == "identity" and found[-1].state != "ok":
            break  # nothing else can be asked
    return found


def _safely(about: str, work: Callable[[], Iterator[Finding]]) -> list[Finding]:
    from botocore.exceptions import BotoCoreError, ClientError

    done: list[Finding] = []
    try:
        for finding in work():
            done.append(finding)  # noqa: PERF402 - one by one, as those before an error are kept
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        refused = any(word in code for word in ("AccessDenied", "UnauthorizedOperation", "403"))
        if refused and about != "identity":
            who = "whoever runs `ray up` needs it, too"
            done.append(Finding(about, "unknown", f"not allowed to look ({error.operation_name})", who))
        else:
            done.append(Finding(about, "fault", str(error), _mend(code)))
    except BotoCoreError as error:
        done.append(Finding(about, "fault", str(error), _mend(type(error).__name__)))
    return done


def _mend(code: str) -> str:
    if code in ("NoCredentialsError", "PartialCredentialsError"):
        return "no credentials: set AWS_PROFILE, or say `aws configure` or `aws configure sso`"
    if "Expired" in code or "SSO" in code or "UnauthorizedSSO" in code:
        return "say `aws sso login`, or renew the AWS_* variables"
    if code in ("InvalidClientTokenId", "AuthFailure", "SignatureDoesNotMatch"):
        return "AWS does not know this key; look at AWS_PROFILE and ~/.aws/credentials"
    if "NotFound" in code or "Malformed" in code:
        return "it is of another account, region or stack: `assay cluster fill` again, then ray up --no-config-cache"
    return "look at the region of the file, at AWS_PROFILE and at the network"


def versions(content: Mapping[str, Any]) -> Iterator[Finding]:
    """Ray here against Ray on the nodes: `ray up` writes what the head's Ray has to read."""
    here = importlib.metadata.version("ray")
    texts = [str(line) for line in content.get("setup_commands") or []]
    mounted = (content.get("file_mounts") or {}).get("~/assay/constraints.txt")
    if mounted:
        place = Path(str(mounted)).expanduser()
        if not place.is_file():
            mend = "give the command from the root of the checkout"
            yield Finding("versions", "fault", f"{mounted}, which the file mounts, is not here", mend)
            return
        texts.append(place.read_text(encoding="utf-8"))
    pinned = {found[1] for text in texts for found in re.finditer(r"\bray(?:\[[^]]*\])?==([\d.]+)", text)}
    if not pinned:
        yield Finding("versions", "note", f"the file pins no Ray; here it is {here}", "pin the same one")
    for version in sorted(pinned - {here}):
        mend = f"pip install 'ray[default]=={version}' here, or the cluster file and constraints.txt of this checkout"
        yield Finding("versions", "fault", f"the nodes get Ray {version}, and here it is {here}", mend)
    if pinned == {here}:
        yield Finding("versions", "ok", f"Ray {here} here and on the nodes")


def token() -> Iterator[Finding]:
    """The key to the cluster, which is copied to the nodes."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not path.is_file():
        yield Finding("token", "fault", f"{path} is not there", "ray get-auth-token --generate > /dev/null")
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("token", "fault", f"others of this machine can read {path}", f"chmod 600 {path}")
    else:
        yield Finding("token", "ok", str(path))
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        yield Finding("token", "fault", "RAY_AUTH_MODE is not `token` here", "export RAY_AUTH_MODE=token")


def identity(sts: Any) -> Iterator[Finding]:
    """Who asks."""
    told = sts.get_caller_identity()
    yield Finding("identity", "ok", f"{told['Arn']} in account {told['Account']}")


def network(content: Mapping[str, Any], ec2: Any) -> Iterator[Finding]:
    """Subnets and groups: there, in one network, with a way in for ssh, and not for the world."""
    kinds = list(cluster_file.node_types(content))
    for key, what in (("SubnetIds", "subnets"), ("SecurityGroupIds", "security group")):
        if without := [name for name, node in kinds if not node.get(key)]:
            said = f"{', '.join(without)}: no {key}, so Ray picks or makes a {what} that may let the whole world in"
            yield Finding("network", "fault", said, "name them, as cluster.yaml does")
            return
    subnets = sorted({one for _, node in kinds for one in node["SubnetIds"]})
    groups = sorted({one for _, node in kinds for one in node["SecurityGroupIds"]})
    there = ec2.describe_subnets(SubnetIds=subnets)["Subnets"]
    made = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    networks = sorted({one["VpcId"] for one in [*there, *made]})
    if len(networks) > 1:
        said = f"subnets and groups lie in several networks: {', '.join(networks)}"
        yield Finding("network", "fault", said, "name those of one; deploy the stack with Vpc and its Subnets")
    else:
        zones = ", ".join(sorted(one["AvailabilityZone"] for one in there))
        yield Finding("network", "ok", f"{networks[0]}, zones {zones}")
    private = [one["SubnetId"] for one in there if not one.get("MapPublicIpOnLaunch")]
    if private and not content["provider"].get("use_internal_ips"):
        said = f"{', '.join(private)}: no public addresses, and the file does not say use_internal_ips"
        yield Finding("network", "fault", said, "use public subnets, or the example of a company's network in docs/")
    for group in made:
        for rule in group["IpPermissions"]:
            if any(spread.get("CidrIp") == "0.0.0.0/0" for spread in rule.get("IpRanges", [])):
                mend = f"aws ec2 revoke-security-group-ingress --group-id {group['GroupId']} ...; deploy with SshFrom"
                yield Finding("network", "fault", f"{group['GroupId']} lets in the whole world", mend)


def image(content: Mapping[str, Any], ec2: Any) -> Iterator[Finding]:
    """The images of the nodes."""
    wanted = sorted({str(node.get("ImageId")) for _, node in cluster_file.node_types(content)})
    for one in wanted:
        if one.startswith("resolve:ssm:"):
            mend = "write its id, so that a worker of next month is started from the same"
            yield Finding("image", "note", f"{one} is whatever is newest when a node starts", mend)
        elif ec2.describe_images(ImageIds=[one])["Images"]:
            yield Finding("image", "ok", one)
        else:
            yield Finding(
                "image", "fault", f"{one} is not there", "deploy the stack again, then fill in the file again"
            )


def quotas(content: Mapping[str, Any], ec2: Any, service_quotas: Any) -> Iterator[Finding]:
    """vCPUs that the file may start, against what the account may."""
    kinds = {name: node for name, node in cluster_file.node_types(content) if cluster_file.most(content, name)}
    types = sorted({node["InstanceType"] for node in kinds.values()})
    told = ec2.describe_instance_types(InstanceTypes=types)["InstanceTypes"]
    vcpus = {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in told}
    most: dict[tuple[str, str], int] = {}
    least: dict[tuple[str, str], int] = {}
    for name, node in kinds.items():
        letters = (re.match(r"[a-z]+", node["InstanceType"]) or [""])[0]
        family = {"g": "G", "gr": "G", "vt": "G", "p": "P"}.get(letters, "standard")
        key = (family, "spot" if "InstanceMarketOptions" in node else "on demand")
        most[key] = most.get(key, 0) + vcpus[node["InstanceType"]] * cluster_file.most(content, name)
        least[key] = min(least.get(key, 10**6), vcpus[node["InstanceType"]])
    for key, wanted in most.items():
        code, what = QUOTAS[key], f"{key[0]} instances, {key[1]}"
        has = service_quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]
        ask = (
            f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {code} "
            f"--desired-value {wanted} --region {ec2.meta.region_name}; it takes hours to days"
        )
        if has < least[key]:
            yield Finding("quotas", "fault", f"{what}: {has:g} vCPUs, so none can start", ask)
        elif has < wanted:
            yield Finding("quotas", "note", f"{what}: {has:g} vCPUs, and the file may start {wanted}", ask)
        else:
            yield Finding("quotas", "ok", f"{what}: {has:g} vCPUs, and the file may start {wanted}")


def roles(content: Mapping[str, Any], iam: Any) -> Iterator[Finding]:
    """The profiles of the nodes, which must be there and hold a role."""
    for name, node in cluster_file.node_types(content):
        profile = (node.get("IamInstanceProfile") or {}).get("Name")
        if not profile:
            said, mend = f"{name} has no profile, and so no way to the store", "name one, as cluster.yaml does"
            yield Finding("roles", "fault", said, mend)
            continue
        held = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        state: Literal["ok", "fault"] = "ok" if held else "fault"
        yield Finding("roles", state, f"{name}: {profile}", "" if held else "it holds no role: deploy the stack again")


def head(content: Mapping[str, Any], ec2: Any) -> Iterator[Finding]:
    """What `ray up` does to a cluster of this name that runs already."""
    name = str(content.get("cluster_name"))
    filters = [
        {"Name": "tag:ray-cluster-name", "Values": [name]},
        {"Name": "tag:ray-node-type", "Values": ["head"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    running = [i for r in ec2.describe_instances(Filters=filters)["Reservations"] for i in r["Instances"]]
    own = (content["provider"].get("key_pair") or {}).get("key_name")
    pem = Path(f"~/.ssh/{own}.pem").expanduser()
    known = own and ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [own]}])["KeyPairs"]
    if known and not pem.exists():
        said = f"the key {own} is somebody's, and {pem} is not here: `ray up` makes another key"
        said += f" and ends the head {running[0]['InstanceId']}" if running else ""
        yield Finding("head", "fault", said, f"bring {pem} from who made the cluster, or deploy a stack of your own")
    elif running:
        said = f"{running[0]['InstanceId']} runs: `ray up` restarts Ray on it, and is refused while a job runs"
        yield Finding(
            "head", "note", said, "ray up --no-restart for new code alone; assay sweep --resume NAME after it"
        )
    else:
        yield Finding("head", "ok", f"no cluster {name} runs; `ray up` starts one")


def bucket(store: str | None, region: str, s3: Any) -> Iterator[Finding]:
    """The store's bucket: there, in the nodes' region, and to be listed."""
    if store is None:
        yield Finding("bucket", "note", "not looked at", "give --store s3://BUCKET/PREFIX")
        return
    found = re.fullmatch(r"s3://([\w.-]+)(/.*)?", store)
    if not found:
        yield Finding("bucket", "fault", f"{store} is no s3://BUCKET/PREFIX", "write it so")
        return
    from botocore.exceptions import ClientError

    try:
        where = s3.get_bucket_location(Bucket=found[1])["LocationConstraint"] or "us-east-1"
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
        mend = "deploy the stack with Bucket, or aws s3 mb"
        yield Finding("bucket", "fault", f"there is no bucket {found[1]}", mend)
        return
    s3.list_objects_v2(Bucket=found[1], MaxKeys=1)
    if where != region:
        said = f"{found[1]} is in {where} and the nodes in {region}: slow, and every GB that moves is billed"
        yield Finding("bucket", "fault", said, f"use a bucket in {region}, or a cluster in {where}")
    else:
        yield Finding("bucket", "ok", f"{found[1]} in {where}")
