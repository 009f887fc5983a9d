"""cluster.yaml on an AWS of moto's: docs/aws-account.yaml makes the account, Ray's AWS provider the nodes."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from assay.api import cluster
from assay.cli import main
from assay.cloud import account_check, account_stack, cluster_file

REPO = Path(__file__).parents[2]
ACCOUNT = REPO / "docs" / "aws-account.yaml"
MINE = "203.0.113.7/32"
# moto makes no budget and no policy of a bucket; cfn-lint alone looks at those
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS..(Budgets|S3)..Bu:UserWarning")
TAGS = {"ray-node-status": "uninitialized", "ray-launch-config": "0", "ray-node-name": "ray-assay"}
STACK = "assay-jane"
TYPES = {"WorkerTypes": "g5.xlarge,g5.12xlarge"}  # the default; moto makes no list of that


@pytest.fixture(scope="module")
def aws(tmp_path_factory) -> Iterator[Any]:
    """A function service -> boto3 client of an AWS that listens on loopback for the time of these tests."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path_factory.mktemp("home")),  # Ray writes its key pair to ~/.ssh
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        ask_once(patch)
        client = functools.cache(lambda service: boto3.client(service, region_name="us-west-2"))
        yield client
    server.stop()


def ask_once(patch: pytest.MonkeyPatch) -> None:
    """What is the same for all of these tests, and slow: all 800 types of instances, and the models of botocore."""
    from botocore import session
    from ray.autoscaler._private.aws import node_provider

    patch.setattr(node_provider, "list_ec2_instances", functools.cache(node_provider.list_ec2_instances))
    patch.setattr(session, "create_loader", functools.cache(session.create_loader))


def vpc(aws) -> str:
    """The account's default network."""
    return aws("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]


def subnets(aws, network: str) -> list[str]:
    found = aws("ec2").describe_subnets(Filters=[{"Name": "vpc-id", "Values": [network]}])["Subnets"]
    return sorted(subnet["SubnetId"] for subnet in found)


def deploy(aws, stack: str, **changes: str) -> None:
    """The stack of docs/aws-account.yaml, its image being one that this AWS knows."""
    image = aws("ec2").describe_images(Owners=["amazon"], MaxResults=5)["Images"][0]["ImageId"]
    aws("ssm").put_parameter(Name="/image", Value=image, Type="String", Overwrite=True)
    values = {"Vpc": vpc(aws), "Subnets": ",".join(subnets(aws, vpc(aws))), "Bucket": "my-assay-store", "SshFrom": MINE}
    values |= {"MonthlyDollars": "200", "Email": "me@example.com", "Image": "/image", **TYPES} | changes
    aws("cloudformation").create_stack(
        StackName=stack,
        # moto looks up the default, too, which it does not have
        TemplateBody=re.sub(r"Default: /aws/\S+", "Default: /image", ACCOUNT.read_text(encoding="utf-8")),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )


@pytest.fixture(scope="module")
def account(aws) -> dict[str, str]:
    """What the stack made, by the names of its outputs, and its roles."""
    deploy(aws, STACK)
    made, iam = account_stack.outputs(STACK, "us-west-2"), aws("iam")
    for role in ("Head", "Worker"):
        [found] = iam.get_instance_profile(InstanceProfileName=made[f"{role}Profile"])["InstanceProfile"]["Roles"]
        made[f"{role}Role"] = found["RoleName"]
    [policy] = [one["Arn"] for one in iam.list_policies(Scope="Local")["Policies"] if "StoreAccess" in one["Arn"]]
    return made | {"StoreAccess": policy}


def filled(stack: str = STACK) -> dict[str, Any]:
    """cluster.yaml as `assay cluster fill` writes it."""
    return yaml.safe_load(cluster.fill(REPO / "cluster.yaml", stack))


def bootstrapped(config: dict[str, Any]) -> dict[str, Any]:
    """A cluster file as `ray up` completes it."""
    from ray.autoscaler._private import util
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = util.prepare_config(config)
    util.validate_config(config)
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    return AWSNodeProvider.bootstrap_config(config)


@pytest.fixture(scope="module")
def config(aws, account) -> dict[str, Any]:
    return bootstrapped(filled())


@pytest.fixture(scope="module")
def nodes(aws, config) -> dict[str, dict[str, Any]]:
    """What EC2 tells of one node of each type, made as `ray up` makes the head and the head the workers."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    made = {}
    for name, kind in config["available_node_types"].items():
        role = "head" if name == config["head_node_type"] else "worker"
        tags = TAGS | {"ray-node-type": role, "ray-user-node-type": name}
        [identity] = provider.create_node(kind["node_config"], tags, 1)
        [reservation] = aws("ec2").describe_instances(InstanceIds=[identity])["Reservations"]
        [made[name]] = reservation["Instances"]
    assert len(provider.non_terminated_nodes({"ray-node-type": "worker"})) == 3
    return made


def ingress(aws, group: str) -> list[tuple[Any, ...]]:
    """Who may reach what: (protocol, port, addresses, groups)."""
    rules = aws("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    return sorted(
        (
            rule["IpProtocol"],
            rule.get("FromPort", -1),
            tuple(spread["CidrIp"] for spread in rule["IpRanges"]),
            tuple(pair["GroupId"] for pair in rule["UserIdGroupPairs"]),
        )
        for rule in rules
    )


def test_the_stacks_are_templates_that_aws_accepts():
    lint = Path(sys.executable).with_name("cfn-lint")
    if not lint.exists():
        pytest.skip("needs cfn-lint, which comes with moto[server]")
    done = subprocess.run(
        [lint, ACCOUNT, REPO / "docs" / "aws-company.yaml"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout


def test_head_and_workers_are_what_the_file_says_and_spot_are_those_that_say_so(config, nodes):
    assert {name: (node["InstanceType"], node.get("InstanceLifecycle")) for name, node in nodes.items()} == {
        "head": ("m6i.xlarge", None),
        "one_gpu_on_demand": ("g5.xlarge", None),
        "one_gpu": ("g5.xlarge", "spot"),
        "four_gpus": ("g5.12xlarge", "spot"),
    }
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"]["CPU"] == 0
    assert kinds["one_gpu"]["resources"]["GPU"] == 1
    assert kinds["four_gpus"]["resources"]["GPU"] == 4


def test_the_group_is_closed_but_for_ssh_from_one_place_and_the_nodes_themselves(aws, account, nodes):
    [group] = {group["GroupId"] for node in nodes.values() for group in node["SecurityGroups"]}
    assert group == account["SecurityGroup"]
    assert ingress(aws, group) == [("-1", -1, (), (group,)), ("tcp", 22, (MINE,), ())]


def to_the_world(aws) -> list[str]:
    """The groups of the account that let in whoever comes."""
    groups = aws("ec2").describe_security_groups()["SecurityGroups"]
    return [group["GroupId"] for group in groups if "0.0.0.0/0" in json.dumps(group["IpPermissions"])]


@pytest.mark.parametrize("turned", [False, True])
def test_a_second_network_of_the_account_opens_nothing(aws, account, monkeypatch, turned):
    """Ray takes the first subnet that AWS happens to list, of whatever network, if the file names none."""
    from boto3.resources.collection import ResourceCollection

    other = aws("ec2").create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    for zone in "abc":
        cidr = f"10.77.{ord(zone)}.0/24"
        new = aws("ec2").create_subnet(VpcId=other, CidrBlock=cidr, AvailabilityZone=f"us-west-2{zone}")["Subnet"]
        aws("ec2").modify_subnet_attribute(SubnetId=new["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    try:
        if turned:
            plain = ResourceCollection.__iter__
            monkeypatch.setattr(ResourceCollection, "__iter__", lambda found: iter(list(plain(found))[::-1]))
        before = to_the_world(aws)
        config = bootstrapped(filled())
        assert to_the_world(aws) == before == []
        for kind in config["available_node_types"].values():
            assert kind["node_config"]["SecurityGroupIds"] == [account["SecurityGroup"]]
            assert sorted(kind["node_config"]["SubnetIds"]) == subnets(aws, vpc(aws))
    finally:
        for subnet in subnets(aws, other):
            aws("ec2").delete_subnet(SubnetId=subnet)
        aws("ec2").delete_vpc(VpcId=other)


def test_a_file_that_is_not_filled_in_starts_nothing_and_makes_no_group(aws, account):
    groups = aws("ec2").describe_security_groups()["SecurityGroups"]
    for region in ("fill-in-Region", "us-west-2"):
        config = yaml.safe_load((REPO / "cluster.yaml").read_text(encoding="utf-8"))
        config["provider"]["region"] = region
        with pytest.raises(BaseException):  # noqa: B017 - Ray ends the process, or botocore raises
            bootstrapped(config)
    assert aws("ec2").describe_security_groups()["SecurityGroups"] == groups


def head_hash(config: dict[str, Any]) -> str:
    from ray.autoscaler._private.util import hash_launch_conf

    return hash_launch_conf(config["available_node_types"]["head"]["node_config"], config["auth"])


def test_a_second_engineer_with_a_stack_of_his_own_leaves_the_first_one_s_head(aws, account, config, nodes, tmp_path):
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    deploy(aws, "assay-max", MakeBucket="no")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        his = bootstrapped(filled("assay-max"))
    assert his["cluster_name"] == "assay-max"
    provider = AWSNodeProvider(his["provider"], his["cluster_name"])
    assert provider.non_terminated_nodes({"ray-node-type": "head"}) == []  # so there is none that it would end
    jane, max_ = (c["available_node_types"]["head"]["node_config"] for c in (config, his))
    for key in ("KeyName", "IamInstanceProfile", "SecurityGroupIds"):
        assert jane[key] != max_[key]
    aws("cloudformation").delete_stack(StackName="assay-max")


def test_two_engineers_with_one_key_start_the_same_head_from_two_homes(config, tmp_path):
    """Who shares a cluster is given its ~/.ssh/NAME.pem; the hash of the head decides whether Ray ends the old one."""
    from ray.autoscaler._private.commands import _should_create_new_head

    key = Path(config["auth"]["ssh_private_key"])
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / key.name).write_text(key.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        second = bootstrapped(filled())
    assert second["auth"]["ssh_private_key"] != str(key)

    class Provider:
        def node_tags(self, node: str) -> dict[str, str]:
            return {"ray-launch-config": head_hash(config), "ray-user-node-type": "head"}

    assert _should_create_new_head("i-1", head_hash(second), "head", Provider()) is False


def test_a_node_that_shuts_down_is_gone_and_disks_have_the_cluster_s_tag(aws, config, nodes):
    for name, node in nodes.items():
        assert config["available_node_types"][name]["node_config"]["InstanceInitiatedShutdownBehavior"] == "terminate"
        [volume] = aws("ec2").describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [node["InstanceId"]]}]
        )["Volumes"]
        assert {"Key": "ray-cluster-name", "Value": STACK} in volume["Tags"]


def test_in_a_company_s_network_no_node_has_a_public_address_and_disks_have_its_key(aws, account, monkeypatch):
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    private = aws("ec2").create_subnet(VpcId=vpc(aws), CidrBlock="172.31.200.0/24", AvailabilityZone="us-west-2a")
    subnet = private["Subnet"]["SubnetId"]
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    theirs = {
        "Key": key,
        "Cidr": "172.31.0.0/16",
        "Proxy": "http://p:1",
        "Index": "http://i",
        "PythonMirror": "http://m",
    }
    plain = account_stack.outputs
    monkeypatch.setattr(
        account_stack,
        "outputs",
        lambda stack, region: theirs if stack == "company" else plain(stack, region) | {"Subnets": subnet},
    )
    text = cluster.fill(REPO / "docs" / "cluster-company.yaml", STACK, "company")
    before = aws("ec2").describe_security_groups()["SecurityGroups"]
    config = bootstrapped(yaml.safe_load(text) | {"cluster_name": "assay-company"})
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    tags = TAGS | {"ray-node-type": "head", "ray-user-node-type": "head"}
    [node] = provider.create_node(config["available_node_types"]["head"]["node_config"], tags, 1)
    [made] = aws("ec2").describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
    assert not made.get("PublicIpAddress")
    assert made["SubnetId"] == subnet
    [volume] = aws("ec2").describe_volumes(Filters=[{"Name": "attachment.instance-id", "Values": [node]}])["Volumes"]
    assert (volume["Encrypted"], volume["KmsKeyId"]) == (True, key)
    assert aws("ec2").describe_security_groups()["SecurityGroups"] == before
    assert {f.state for f in account_check.network(yaml.safe_load(text), aws("ec2"))} == {"ok"}
    provider.terminate_node(node)
    aws("ec2").delete_subnet(SubnetId=subnet)


def test_the_image_is_one_id_and_not_whatever_is_the_latest_when_a_worker_starts(config):
    images = {kind["node_config"]["ImageId"] for kind in config["available_node_types"].values()}
    assert len(images) == 1
    assert all(image.startswith("ami-") for image in images)


def test_filling_in_says_what_is_missing(aws, account, tmp_path):
    with pytest.raises(cluster.InputError, match="there is no stack 'assay-nobody' in us-west-2"):
        cluster.fill(REPO / "cluster.yaml", "assay-nobody")
    odd = tmp_path / "odd.yaml"
    odd.write_text("cluster_name: fill-in-Moon")
    with pytest.raises(cluster.InputError, match="wants Moon"):
        cluster.fill(odd, STACK)
    odd.write_text("# fill-in-Region\ncluster_name: mine # fill-in-Region")
    with pytest.raises(cluster.InputError, match="nothing to fill in"):
        cluster.fill(odd, STACK)
    with pytest.raises(cluster.InputError, match=r"ClusterName, Region, Image.* are to be filled in"):
        cluster_file.read(REPO / "cluster.yaml")


def test_a_stack_that_is_there_already_is_told_by_its_state(aws, account, monkeypatch):
    cloudformation = aws("cloudformation")
    with pytest.raises(cloudformation.exceptions.AlreadyExistsException):
        deploy(aws, STACK)
    plain = account_stack.client

    class RolledBack:
        def __init__(self, real):
            self.meta, self.real = real.meta, real

        def describe_stacks(self, **asked):
            told = self.real.describe_stacks(**asked)
            told["Stacks"][0]["StackStatus"] = "ROLLBACK_COMPLETE"
            return told

    monkeypatch.setattr(account_stack, "client", lambda name, region: RolledBack(plain(name, region)))
    with pytest.raises(cluster.InputError, match=r"is ROLLBACK_COMPLETE; .* has to be deleted before it is deployed"):
        cluster.fill(REPO / "cluster.yaml", STACK)


def test_each_node_has_its_profile_a_key_pair_and_metadata_that_ask_for_a_token(aws, account, config, nodes):
    for name, node in nodes.items():
        profile = account["HeadProfile" if name == "head" else "WorkerProfile"]
        assert node["IamInstanceProfile"]["Arn"].endswith(f"/{profile}")
        assert node["KeyName"] == STACK
        sent = config["available_node_types"][name]["node_config"]
        assert sent["MetadataOptions"]["HttpTokens"] == "required"
    key = Path(config["auth"]["ssh_private_key"])
    assert key.is_relative_to(os.environ["HOME"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def statements(aws, role: str, policy: str) -> list[dict[str, Any]]:
    """Those of a policy written into a role, each action, resource and condition."""
    document = aws("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    return yaml.safe_load(document)["Statement"] if isinstance(document, str) else document["Statement"]


def test_a_worker_may_use_the_bucket_and_nothing_else_and_no_signature(aws, account):
    iam = aws("iam")
    [denied] = statements(aws, account["WorkerRole"], "approvals")
    assert denied["Effect"] == "Deny"
    assert denied["Resource"] == ["arn:aws:s3:::my-assay-store/*.sig", "arn:aws:s3:::my-assay-store/*register/*"]
    version = iam.get_policy(PolicyArn=account["StoreAccess"])["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=account["StoreAccess"], VersionId=version)["PolicyVersion"]["Document"]
    allowed = document["Statement"]
    assert all(action.startswith("s3:") for statement in allowed for action in statement["Action"])
    assert {s["Resource"] for s in allowed} == {"arn:aws:s3:::my-assay-store", "arn:aws:s3:::my-assay-store/*"}


def test_the_head_may_touch_no_instance_but_those_of_its_cluster(aws, account):
    """What an instance's own tag permits is no limit where the head may give any instance that tag."""
    own = {"ec2:ResourceTag/ray-cluster-name": STACK}
    by_action: dict[str, list[dict[str, Any]]] = {}
    for statement in statements(aws, account["HeadRole"], "workers"):
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            by_action.setdefault(action, []).append(statement)
    [ended] = by_action["ec2:TerminateInstances"]
    assert ended["Condition"] == {"StringEquals": own}
    assert ended["Resource"].startswith("arn:aws:ec2:us-west-2:")
    for tagged in by_action["ec2:CreateTags"]:
        assert tagged["Condition"]["StringEquals"] in ({"ec2:CreateAction": "RunInstances"}, own)
    for started in by_action["ec2:RunInstances"]:
        assert started["Resource"] != "*"
        on_instances = isinstance(started["Resource"], str) and ":instance/" in started["Resource"]
        assert on_instances == ("Condition" in started)
        if on_instances:
            assert started["Condition"]["StringEquals"] == {
                "ec2:InstanceType": ["g5.xlarge", "g5.12xlarge"],
                "aws:RequestTag/ray-cluster-name": STACK,
            }
    [handed] = by_action["iam:PassRole"]
    assert handed["Resource"].endswith(f"role/{account['WorkerRole']}")
    assert {action for action in by_action if "*" in action} == {"ec2:Describe*"}


def test_the_types_of_the_file_are_those_that_the_head_may_start():
    template = ACCOUNT.read_text(encoding="utf-8")
    types = {
        kind["InstanceType"]
        for name, kind in cluster_file.node_types(yaml.safe_load((REPO / "cluster.yaml").read_text(encoding="utf-8")))
        if name != "head"
    }
    assert f"Default: {','.join(sorted(types, key=len))}" in template


def test_the_budget_is_of_the_cluster_alone_and_stops_new_workers():
    template = ACCOUNT.read_text(encoding="utf-8")
    assert 'TagKeyValue: [!Sub "user:ray-cluster-name$${AWS::StackName}"]' in template
    assert "PolicyArn: !Ref NoMoreWorkers, Roles: [!Ref HeadRole]" in template


@pytest.mark.parametrize(
    ("trial", "number", "nodes_for_it"),
    [
        ({"CPU": 1, "GPU": 1, "memory": 8e9}, 4, {"one_gpu": 4}),
        ({"CPU": 1, "GPU": 0.5, "memory": 4e9}, 4, {"one_gpu": 2}),
        ({"CPU": 1, "GPU": 1, "memory": 8e9}, 7, {"one_gpu": 4}),  # max_workers: three trials wait
        ({"CPU": 8, "GPU": 1, "memory": 8e9}, 4, {"four_gpus": 1}),
        ({"CPU": 1, "GPU": 4, "memory": 8e9}, 1, {"four_gpus": 1}),
        ({"CPU": 1, "GPU": 1}, 4, {"four_gpus": 1}),  # who asks for no memory leaves all of it idle either way
        # an audit of sixteen quarters of a GPU, without and with --memory-gb 2
        ({"CPU": 1, "GPU": 0.25}, 16, {"four_gpus": 1}),
        ({"CPU": 1, "GPU": 0.25, "memory": 2 * 2**30}, 16, {"one_gpu": 4}),
    ],
)
def test_the_autoscaler_takes_the_type_that_fits(config, trial, number, nodes_for_it):
    assert launched(config, trial, number) == nodes_for_it


def launched(config: dict[str, Any], trial: dict[str, float], number: int) -> dict[str, int]:
    """How many nodes of each type Ray's scheduler asks for, for so many trials on an empty cluster."""
    from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil
    from ray.core.generated.autoscaler_pb2 import ResourceRequestByCount

    kinds = {
        name: NodeTypeConfig(
            name=name,
            min_worker_nodes=kind["min_workers"],
            max_worker_nodes=kind["max_workers"],
            resources=kind["resources"],
            priority=kind.get("priority", 0),
        )
        for name, kind in config["available_node_types"].items()
        if name != config["head_node_type"]
    }
    wanted = SchedulingRequest(
        node_type_configs=kinds,
        disable_launch_config_check=True,
        max_num_nodes=config["max_workers"],
        resource_requests=[ResourceRequestByCount(request=ResourceRequestUtil.make(trial), count=number)],
    )
    return {
        one.instance_type: one.count for one in ResourceDemandScheduler(None).schedule(wanted).to_launch if one.count
    }


def test_without_spot_the_type_on_demand_is_what_runs(aws, config, monkeypatch):
    """What Ray asks for in each round does not depend on what was refused before."""
    from botocore.exceptions import ClientError
    from ray.autoscaler._private.aws import node_provider

    trial = {"CPU": 1, "GPU": 1, "memory": 8e9}
    shared = copy.deepcopy(config)
    shared["available_node_types"]["one_gpu_on_demand"]["max_workers"] = 1
    shared["available_node_types"]["one_gpu"]["max_workers"] = 3
    assert launched(shared, trial, 3) == {"one_gpu": 3}
    wanted = launched(shared, trial, 4)
    assert wanted == {"one_gpu": 3, "one_gpu_on_demand": 1}
    assert launched(config, trial, 4) == {"one_gpu": 4}, "as the file is, nothing on demand"

    provider = node_provider.AWSNodeProvider(shared["provider"], "without-spot")
    plain = provider.ec2_fail_fast.create_instances

    def refuse(**asked: Any) -> Any:
        if "InstanceMarketOptions" in asked:
            raise ClientError({"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none"}}, "RunInstances")
        return plain(**asked)

    monkeypatch.setattr(provider.ec2_fail_fast, "create_instances", refuse)
    for name, count in wanted.items():
        tags = TAGS | {"ray-node-type": "worker", "ray-user-node-type": name}
        with pytest.raises(BaseException) if name == "one_gpu" else nullcontext():
            provider.create_node(shared["available_node_types"][name]["node_config"], tags, count)
    [running] = provider.non_terminated_nodes({"ray-node-type": "worker"})
    assert provider.node_tags(running)["ray-user-node-type"] == "one_gpu_on_demand"
    provider.terminate_node(running)


@pytest.fixture
def mine(aws, account, tmp_path, monkeypatch) -> Path:
    """A cluster file as `assay cluster fill` writes it, with a token and quotas for all that it may start."""
    path = tmp_path / "mine.yaml"
    path.write_text(cluster.fill(REPO / "cluster.yaml", STACK))
    token = tmp_path / "auth_token"
    token.write_text("secret")
    token.chmod(0o600)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.chdir(REPO)
    allow(monkeypatch, 100)
    return path


def allow(monkeypatch, vcpus: float) -> None:
    """Quotas of EC2, which moto does not have."""
    plain = account_stack.client

    class Quotas:
        def get_service_quota(self, **asked: str) -> dict[str, Any]:
            assert asked["ServiceCode"] == "ec2"
            return {"Quota": {"Value": vcpus}}

    monkeypatch.setattr(
        account_stack, "client", lambda name, region: Quotas() if name == "service-quotas" else plain(name, region)
    )


def states(path: Path, *wanted: str, store: str | None = "s3://my-assay-store/assay") -> dict[str, str]:
    """What is not as it should be: what it is about -> what is said, with its mend."""
    return {
        f.about: f"{f.said} -> {f.mend}" for f in account_check.look(path, store) if f.state in (wanted or ("fault",))
    }


def changed(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return path


def test_a_file_and_an_account_that_fit_have_no_fault(mine):
    assert states(mine, "fault", "unknown") == {}
    done = CliRunner().invoke(main, ["cluster", "check", str(mine), "--store", "s3://my-assay-store/assay"])
    assert done.exit_code == 0, done.output
    assert "no fault" in done.output


def test_a_running_head_is_told_of_before_it_is_restarted(mine, nodes):
    assert "restarts Ray on it" in states(mine, "note")["head"]


def test_the_key_of_a_colleague_is_told_of_before_his_head_is_ended(mine, nodes, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "ends the head i-" in states(mine)["head"]


def test_a_quota_of_zero_and_a_small_one(mine, monkeypatch):
    allow(monkeypatch, 0)
    assert "0 vCPUs, so none can start -> aws service-quotas request" in states(mine)["quotas"]
    allow(monkeypatch, 8)
    assert "8 vCPUs, and the file may start 64" in states(mine, "note")["quotas"]


def test_an_old_ray_in_the_file(mine):
    found = states(changed(mine, setup_commands=["pip install 'ray[default]==2.9.0'"]))
    assert "the nodes get Ray 2.9.0" in found["versions"]


def test_a_bucket_that_is_elsewhere_or_is_not(aws, mine):
    boto3 = pytest.importorskip("boto3")
    far = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="far-away", CreateBucketConfiguration=far)
    assert "far-away is in eu-west-1 and the nodes in us-west-2" in states(mine, store="s3://far-away/x")["bucket"]
    assert "there is no bucket nowhere-at-all" in states(mine, store="s3://nowhere-at-all")["bucket"]
    assert "is no s3://BUCKET/PREFIX" in states(mine, store="/a/folder")["bucket"]


def test_ids_of_another_account_and_an_open_group(aws, mine):
    content = yaml.safe_load(mine.read_text())
    content["available_node_types"]["head"]["node_config"]["SubnetIds"] = ["subnet-0123456789abcdef0"]
    assert "assay cluster fill" in states(changed(mine, **content))["network"]
    opened = aws("ec2").create_security_group(GroupName="open", Description="x", VpcId=vpc(aws))["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    aws("ec2").authorize_security_group_ingress(GroupId=opened, IpPermissions=[rule])
    for kind in content["available_node_types"].values():
        kind["node_config"] |= {"SubnetIds": subnets(aws, vpc(aws)), "SecurityGroupIds": [opened]}
    assert "lets in the whole world" in states(changed(mine, **content))["network"]
    aws("ec2").delete_security_group(GroupId=opened)
    del content["available_node_types"]["head"]["node_config"]["SubnetIds"]
    assert "head: no SubnetIds" in states(changed(mine, **content))["network"]


def test_no_token_and_no_credentials(mine, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    assert "ray get-auth-token --generate" in states(mine)["token"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert "no credentials: set AWS_PROFILE" in states(mine)["identity"]
    done = CliRunner().invoke(main, ["cluster", "check", str(mine)])
    assert done.exit_code == 1


def test_files_that_are_no_cluster_files(tmp_path):
    for text, why in (
        ("a: 1", "no cluster file|not a cluster file"),
        ("[", "not readable as YAML"),
        ("provider: {type: gcp}", "gcp"),
    ):
        path = tmp_path / "odd.yaml"
        path.write_text(text)
        with pytest.raises(cluster.InputError, match=why):
            account_check.look(path)
