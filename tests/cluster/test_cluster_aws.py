"""cluster.yaml on an AWS of moto's: docs/aws-account.yaml makes the account, Ray's AWS provider the nodes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parents[2]
ACCOUNT = REPO / "docs" / "aws-account.yaml"
MINE = "203.0.113.7/32"
# moto makes no budget alarm; cfn-lint alone looks at that one
pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse AWS..Budgets..Budget:UserWarning")
TAGS = {"ray-node-status": "uninitialized", "ray-launch-config": "0", "ray-node-name": "ray-assay"}


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
        yield lambda service: boto3.client(service, region_name="us-west-2")
    server.stop()


@pytest.fixture(scope="module")
def account(aws) -> dict[str, str]:
    """What the stack of docs/aws-account.yaml made: logical name -> physical id."""
    stacks = aws("cloudformation")
    values = {"Bucket": "my-assay-store", "SshFrom": MINE, "MonthlyDollars": "200", "Email": "me@example.com"}
    stacks.create_stack(
        StackName="assay",
        TemplateBody=ACCOUNT.read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    return {
        name: stacks.describe_stack_resource(StackName="assay", LogicalResourceId=name)["StackResourceDetail"][
            "PhysicalResourceId"
        ]
        for name in ("Nodes", "StoreAccess")
    }


def bootstrapped(aws, **changes: Any) -> dict[str, Any]:
    """cluster.yaml as `ray up` completes it, with an image that this AWS knows."""
    from ray.autoscaler._private import util
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = yaml.safe_load((REPO / "cluster.yaml").read_text(encoding="utf-8")) | changes
    image = aws("ec2").describe_images()["Images"][0]["ImageId"]
    for kind in config["available_node_types"].values():
        kind["node_config"]["ImageId"] = image
    config = util.prepare_config(config)
    util.validate_config(config)
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    return AWSNodeProvider.bootstrap_config(config)


@pytest.fixture(scope="module")
def config(aws, account) -> dict[str, Any]:
    return bootstrapped(aws)


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
    assert len(provider.non_terminated_nodes({"ray-node-type": "worker"})) == 2
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


def test_the_account_is_a_template_that_aws_accepts():
    lint = Path(sys.executable).with_name("cfn-lint")
    if not lint.exists():
        pytest.skip("needs cfn-lint, which comes with moto[server]")
    done = subprocess.run([lint, ACCOUNT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_head_and_workers_are_what_the_file_says_and_only_workers_are_spot(config, nodes):
    assert {name: (node["InstanceType"], node.get("InstanceLifecycle")) for name, node in nodes.items()} == {
        "head": ("m6i.xlarge", None),
        "one_gpu": ("g5.xlarge", "spot"),
        "four_gpus": ("g5.12xlarge", "spot"),
    }
    kinds = config["available_node_types"]
    assert kinds["head"]["resources"]["CPU"] == 0
    assert kinds["one_gpu"]["resources"]["GPU"] == 1
    assert kinds["four_gpus"]["resources"]["GPU"] == 4


def test_the_group_is_closed_but_for_ssh_from_one_place_and_the_nodes_themselves(aws, account, nodes):
    [group] = {group["GroupId"] for node in nodes.values() for group in node["SecurityGroups"]}
    assert group == account["Nodes"]
    assert ingress(aws, group) == [("-1", -1, (), (group,)), ("tcp", 22, (MINE,), ())]


def test_without_that_account_ray_opens_ssh_alone_to_the_world(aws, account):
    provider = yaml.safe_load((REPO / "cluster.yaml").read_text())["provider"] | {"security_group": {"GroupName": "x"}}
    config = bootstrapped(aws, provider=provider)
    [group] = config["available_node_types"]["head"]["node_config"]["SecurityGroupIds"]
    assert ingress(aws, group) == [("-1", -1, (), (group,)), ("tcp", 22, ("0.0.0.0/0",), ())]


def test_each_node_has_its_profile_a_key_pair_and_metadata_that_ask_for_a_token(aws, account, config, nodes):
    for name, node in nodes.items():
        assert node["IamInstanceProfile"]["Arn"].endswith("/assay-head" if name == "head" else "/assay-worker")
        assert node["KeyName"] == "ray-autoscaler_us-west-2"
        sent = config["available_node_types"][name]["node_config"]
        assert sent["MetadataOptions"]["HttpTokens"] == "required"
    key = Path(config["auth"]["ssh_private_key"])
    assert key.is_relative_to(os.environ["HOME"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_worker_may_use_the_bucket_and_nothing_else_and_the_head_may_hand_out_that_role_alone(aws, account):
    iam = aws("iam")
    assert iam.list_role_policies(RoleName="assay-worker")["PolicyNames"] == []
    version = iam.get_policy(PolicyArn=account["StoreAccess"])["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=account["StoreAccess"], VersionId=version)["PolicyVersion"]["Document"]
    allowed = document["Statement"]
    assert all(action.startswith("s3:") for statement in allowed for action in statement["Action"])
    assert {s["Resource"] for s in allowed} == {"arn:aws:s3:::my-assay-store", "arn:aws:s3:::my-assay-store/*"}
    head = yaml.safe_load(iam.get_role_policy(RoleName="assay-head", PolicyName="workers")["PolicyDocument"])
    [handed] = [statement["Resource"] for statement in head["Statement"] if statement["Action"] == "iam:PassRole"]
    assert handed.endswith("role/assay-worker")


@pytest.mark.parametrize(
    ("trial", "number", "nodes_for_it"),
    [
        ({"CPU": 1, "GPU": 1, "memory": 8e9}, 4, {"one_gpu": 4}),
        ({"CPU": 1, "GPU": 0.5, "memory": 4e9}, 4, {"one_gpu": 2}),
        ({"CPU": 1, "GPU": 1, "memory": 8e9}, 7, {"one_gpu": 4}),  # max_workers: three trials wait
        ({"CPU": 8, "GPU": 1, "memory": 8e9}, 4, {"four_gpus": 1}),
        ({"CPU": 1, "GPU": 4, "memory": 8e9}, 1, {"four_gpus": 1}),
        ({"CPU": 1, "GPU": 1}, 4, {"four_gpus": 1}),  # who asks for no memory leaves all of it idle either way
    ],
)
def test_the_autoscaler_takes_the_type_that_fits(config, trial, number, nodes_for_it):
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
    launched = ResourceDemandScheduler(None).schedule(wanted).to_launch
    assert {request.instance_type: request.count for request in launched} == nodes_for_it
