"""docs/cluster-company.yaml is cluster.yaml but for what a company's network asks for, and does what it says."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from assay.cloud import cluster_file

REPO = Path(__file__).parents[2]
OPEN = yaml.safe_load((REPO / "cluster.yaml").read_text(encoding="utf-8"))
TEXT = (REPO / "docs" / "cluster-company.yaml").read_text(encoding="utf-8")
MADE = {
    "ClusterName": "assay-jane",
    "Region": "us-west-2",
    "Image": "ami-1",
    "Subnets": "subnet-1, subnet-2",
    "SecurityGroup": "sg-1",
    "HeadProfile": "head",
    "WorkerProfile": "worker",
    "Key": "arn:aws:kms:us-west-2:123456789012:key/1",
    "Cidr": "10.0.0.0/16",
    "Proxy": "http://proxy.example.com:3128",
    "Index": "https://pypi.example.com/simple",
    "PythonMirror": "https://mirror.example.com/python-build-standalone",
}


@pytest.fixture
def company() -> dict[str, Any]:
    """The file, filled in."""
    return yaml.safe_load(cluster_file.filled(TEXT, MADE))


def test_ray_accepts_it_and_nothing_is_left_to_fill_in(company):
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(copy.deepcopy(company)))
    assert set(cluster_file.blanks(TEXT)) == set(MADE)
    half = copy.deepcopy(company)
    del half["auth"]["ssh_proxy_command"]
    with pytest.raises(Exception, match="ssh_proxy_command"):
        util.validate_config(util.prepare_config(half))


def test_what_differs_from_the_open_file_is_what_says_so():
    company = yaml.safe_load(TEXT)
    assert {key for key in company if company[key] != OPEN[key]} == {
        "provider",
        "auth",
        "available_node_types",
        "setup_commands",
    }
    assert company["provider"] == OPEN["provider"] | {"use_internal_ips": True}
    for name, kind in company["available_node_types"].items():
        theirs = OPEN["available_node_types"][name]
        [disk] = kind["node_config"].pop("BlockDeviceMappings")
        [plain] = theirs["node_config"]["BlockDeviceMappings"]
        assert disk["Ebs"] == plain["Ebs"] | {"KmsKeyId": "fill-in-Key"}
        rest = {key: value for key, value in theirs["node_config"].items() if key != "BlockDeviceMappings"}
        assert kind == theirs | {"node_config": rest}
    ours, theirs = company["setup_commands"], OPEN["setup_commands"]
    assert [command for command in ours if command not in theirs] == [ours[1], ours[2]]
    assert [command for command in theirs if command not in ours] == [theirs[1]]
    assert TEXT.count("Company:") == 4


def test_a_node_s_shells_know_the_proxy_and_the_index_and_say_it_once(company, tmp_path):
    (tmp_path / ".bashrc").write_text('case $- in *i*) ;; *) return;; esac\nexport HERE="$UV_DEFAULT_INDEX"\n')
    told = "env | grep -E '^(HTTPS?_PROXY|NO_PROXY|UV_|HERE)' | sort; grep -c assay-network ~/.bashrc"
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-i", "-c", f"({company['setup_commands'][1]}); . ~/.bashrc; {told}"],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            start_new_session=True,
        )
        assert done.stdout.splitlines() == [
            f"HERE={MADE['Index']}",
            f"HTTPS_PROXY={MADE['Proxy']}",
            f"HTTP_PROXY={MADE['Proxy']}",
            "NO_PROXY=localhost,127.0.0.1,169.254.169.254,.amazonaws.com,10.0.0.0/16",
            f"UV_DEFAULT_INDEX={MADE['Index']}",
            f"UV_PYTHON_INSTALL_MIRROR={MADE['PythonMirror']}",
            "1",
        ]


def test_ssh_asks_for_the_node_by_its_id_and_the_head_is_not_told_to(company):
    runner = pytest.importorskip("ray.autoscaler._private.command_runner")
    made = runner.SSHCommandRunner("", "i-0123", None, company["auth"], "assay-jane", subprocess, use_internal_ip=True)
    assert made._get_ssh_target() == "i-0123"
    options = made.ssh_options.to_ssh_options_list(timeout=5)
    assert "ProxyCommand=" + company["auth"]["ssh_proxy_command"] in options
    assert "--target %h" in company["auth"]["ssh_proxy_command"]


def test_the_second_stack_has_an_output_for_all_that_the_first_has_not():
    outputs = {
        name
        for file in ("aws-account.yaml", "aws-company.yaml")
        for name in (REPO / "docs" / file).read_text(encoding="utf-8").partition("\nOutputs:")[2].split(": {Value")[:-1]
        for name in [name.split()[-1]]
    }
    assert set(MADE) <= outputs
