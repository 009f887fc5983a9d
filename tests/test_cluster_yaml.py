"""cluster.yaml passes Ray's own validation and keeps the promises of its head comment, all without a network."""

from __future__ import annotations

import copy
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

REPO = Path(__file__).parent.parent
FILE = REPO / "cluster.yaml"
TEXT = FILE.read_text(encoding="utf-8")
CONFIG = yaml.safe_load(TEXT)
COMMANDS = [command for key, commands in CONFIG.items() if key.endswith("_commands") for command in commands]


@pytest.fixture(scope="module")
def util():
    return pytest.importorskip("ray.autoscaler._private.util")


@pytest.fixture(scope="module")
def prepared(util):
    """The configuration as `ray up` would use it, Ray's defaults filled in."""
    return util.prepare_config(copy.deepcopy(CONFIG))


def workers(config):
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


def test_ray_accepts_it(util, prepared):
    util.validate_config(prepared)


def test_ray_would_refuse_a_misspelt_key(util):
    wrong = copy.deepcopy(CONFIG) | {"idle_timeout": 5}
    with pytest.raises(Exception, match="idle_timeout"):
        util.validate_config(util.prepare_config(wrong))


def test_the_head_is_on_demand_and_every_worker_is_spot_with_a_limit(prepared):
    head = prepared["available_node_types"][prepared["head_node_type"]]
    assert "InstanceMarketOptions" not in head["node_config"]
    assert head["resources"]["CPU"] == 0  # a trial on the head would compete with the driver
    for kind in workers(prepared).values():
        assert kind["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert 0 < kind["max_workers"] <= prepared["max_workers"]
    assert prepared["idle_timeout_minutes"] > 0
    assert prepared["auth"]["ssh_user"]
    assert prepared["provider"]["cache_stopped_nodes"] is False


def test_ray_is_pinned_to_one_minor_version_on_all_nodes_and_it_is_the_project_s():
    [pinned] = re.findall(r"ray\[default,tune\]==(\d+\.\d+)\.\*", " ".join(CONFIG["setup_commands"]))
    assert not re.findall(r"\bray\[", " ".join(CONFIG["head_setup_commands"] + CONFIG["worker_setup_commands"]))
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["cluster"]]
    found = [Requirement(text) for text in declared if Requirement(text).name == "ray"]
    assert {extra for requirement in found for extra in requirement.extras} == {"tune", "default"}
    for requirement in found:
        assert requirement.specifier.contains(Version(f"{pinned}.0"))
        assert requirement.specifier.contains(Version(f"{pinned}.99"))
        major, minor = pinned.split(".")
        assert not requirement.specifier.contains(Version(f"{major}.{int(minor) + 1}.0"))


@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_starts_with_token_authentication(prepared, role):
    [start] = [command for command in prepared[f"{role}_start_ray_commands"] if "ray start" in command]
    assert start.index("export RAY_AUTH_MODE=token") < start.index("ray start")


def test_the_dashboard_is_bound_to_the_node_itself(prepared):
    assert "--dashboard-host=127.0.0.1" in " ".join(prepared["head_start_ray_commands"])
    assert "host=0.0.0.0" not in " ".join(COMMANDS)


def test_the_token_is_mounted_and_no_secret_is_written_down():
    assert CONFIG["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_TOKEN" not in TEXT
    assert not re.search(r"AKIA[0-9A-Z]{16}|aws_secret|WANDB_API_KEY\s*[:=]|\b[0-9a-f]{32,}\b", TEXT, re.IGNORECASE)


def test_what_is_mounted_exists_and_is_enough_to_install_from():
    local = {path for path in CONFIG["file_mounts"].values() if not path.startswith("~")}
    assert all((REPO / path).exists() for path in local)
    hatch = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
    packages = hatch["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {hatch["project"]["readme"], *hatch["project"]["license-files"], *(Path(p).parts[0] for p in packages)}
    assert {"pyproject.toml", *needed} <= local


def test_workers_mount_the_store_before_they_join(prepared):
    commands = prepared["worker_start_ray_commands"]
    mount = next(place for place, command in enumerate(commands) if "mount -t nfs4 $RAY_HEAD_IP:" in command)
    join = next(place for place, command in enumerate(commands) if "ray start" in command)
    assert mount < join
    [exported] = [command for command in prepared["head_setup_commands"] if "exportfs" in command]
    folder = re.search(r"\$RAY_HEAD_IP:(\S+)", commands[mount])[1]
    assert folder in exported
    assert f"--store {folder}" in TEXT


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_every_command_is_sound_bash(command):
    subprocess.run(["bash", "-n", "-c", command], check=True, capture_output=True, timeout=30)
