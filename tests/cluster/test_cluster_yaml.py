"""cluster.yaml and its twins pass Ray's own validation and keep what their comments promise, all without a network."""

from __future__ import annotations

import copy
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from assay.runtime import versions

REPO = Path(__file__).parents[2]
FILES = {"aws": "cluster.yaml", "gcp": "docs/cluster-gcp.yaml", "local": "docs/cluster-local.yaml"}
TEXTS = {cloud: (REPO / name).read_text(encoding="utf-8") for cloud, name in FILES.items()}
CONFIGS = {cloud: yaml.safe_load(text) for cloud, text in TEXTS.items()}
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (REPO / "constraints.txt").read_text(encoding="utf-8")
KEYS = ("setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
COMMANDS = {
    f"{cloud}-{key}-{place}": command
    for cloud, config in CONFIGS.items()
    for key in KEYS
    for place, command in enumerate(config[key])
}

everywhere = pytest.mark.parametrize("cloud", FILES)
clouds = pytest.mark.parametrize("cloud", ["aws", "gcp"])


@pytest.fixture(scope="module")
def util():
    return pytest.importorskip("ray.autoscaler._private.util")


def starts(config, role: str) -> str:
    """The one command that starts Ray there."""
    [start] = [command for command in config[f"{role}_start_ray_commands"] if "ray start" in command]
    return start


def workers(config):
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


@everywhere
def test_ray_accepts_it(util, cloud):
    util.validate_config(util.prepare_config(copy.deepcopy(CONFIGS[cloud])))


def test_ray_would_refuse_a_misspelt_key(util):
    wrong = copy.deepcopy(CONFIGS["aws"]) | {"idle_timeout": 5}
    with pytest.raises(Exception, match="idle_timeout"):
        util.validate_config(util.prepare_config(wrong))


@clouds
def test_the_head_is_on_demand_and_runs_no_trial_and_workers_of_two_sizes_are_spot_with_a_limit(util, cloud):
    config = util.prepare_config(copy.deepcopy(CONFIGS[cloud]))
    head = config["available_node_types"][config["head_node_type"]]
    assert head["resources"]["CPU"] == 0  # a trial on the head would compete with the driver
    market, spot = {
        "aws": ("InstanceMarketOptions", {"MarketType": "spot"}),
        "gcp": ("scheduling", [{"preemptible": True}, {"onHostMaintenance": "TERMINATE"}]),
    }[cloud]
    size = {"aws": "InstanceType", "gcp": "machineType"}[cloud]
    assert market not in head["node_config"]
    kinds = workers(config)
    assert len({kind["node_config"][size] for kind in kinds.values()}) == 2
    for kind in kinds.values():
        assert kind["node_config"][market] == spot
        assert kind["min_workers"] == 0 < kind["max_workers"] <= config["max_workers"]
    assert config["idle_timeout_minutes"] > 0
    assert config["provider"]["cache_stopped_nodes"] is False


def test_google_s_workers_say_what_they_have_or_no_trial_that_asks_for_memory_would_bring_one():
    for kind in workers(CONFIGS["gcp"]).values():
        assert {"CPU", "GPU", "memory"} <= {name for name, amount in kind["resources"].items() if amount > 0}


def test_on_machines_of_one_s_own_the_head_runs_no_trial_either():
    assert "--num-cpus=0 --num-gpus=0" in starts(CONFIGS["local"], "head")


@everywhere
def test_every_node_gets_the_versions_that_are_tested(cloud):
    [install] = [command for command in CONFIGS[cloud]["setup_commands"] if "uv pip install" in command]
    assert '--constraints ~/assay/constraints.txt "$HOME/assay[cluster,demo]"' in install
    assert CONFIGS[cloud]["file_mounts"]["~/assay/constraints.txt"] == "constraints.txt"
    assert "==" not in TEXTS[cloud]  # a version has one place
    pinned = {pin.name: str(pin.specifier) for pin in map(Requirement, re.findall(r"^\w.*", CONSTRAINTS, re.MULTILINE))}
    # no ranges: a node that comes later must not get newer ones
    assert all(re.fullmatch(r"==[\d.]+", pinned[name]) for name in versions.PARTS if name != "python")
    assert re.search(r"astral\.sh/uv/\d+\.\d+\.\d+/install\.sh", CONFIGS[cloud]["setup_commands"][0])
    [python] = re.findall(r"uv venv --python ([\d.]+)", " ".join(CONFIGS[cloud]["setup_commands"]))
    assert f"tested with Python {python}." in CONSTRAINTS
    assert python in SpecifierSet(PROJECT["project"]["requires-python"])


def test_the_three_files_install_and_mount_the_same():
    for key in ("file_mounts", "rsync_exclude", "setup_commands"):
        given = {cloud: copy.deepcopy(config[key]) for cloud, config in CONFIGS.items()}
        if key == "setup_commands":
            given["gcp"] = [command.replace(" 'google-api-python-client>=2'", "") for command in given["gcp"]]
        assert given["aws"] == given["gcp"] == given["local"]


@everywhere
@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_starts_with_token_authentication_and_a_bounded_object_store(cloud, role):
    start = starts(CONFIGS[cloud], role)
    assert start.index("export RAY_AUTH_MODE=token") < start.index("ray start")
    assert "--object-store-memory=" in start
    assert "--object-spilling-directory=" in start


@everywhere
def test_the_dashboard_is_bound_to_the_head_itself(cloud):
    assert "--dashboard-host=127.0.0.1" in starts(CONFIGS[cloud], "head")
    assert "0.0.0.0" not in TEXTS[cloud]


@everywhere
def test_the_token_is_mounted_and_no_secret_is_written_down(cloud):
    assert CONFIGS[cloud]["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "RAY_AUTH_TOKEN" not in TEXTS[cloud]
    secret = r"AKIA[0-9A-Z]{16}|aws_secret|WANDB_API_KEY\s*[:=]|\b[0-9a-f]{32,}\b|BEGIN [A-Z ]*PRIVATE"
    assert not re.search(secret, TEXTS[cloud], re.IGNORECASE)


def test_what_is_mounted_exists_and_is_enough_to_install_from():
    local = {path for path in CONFIGS["aws"]["file_mounts"].values() if not path.startswith("~")}
    assert all((REPO / path).exists() for path in local)
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    named = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"], *(Path(p).parts[0] for p in packages)}
    assert {"pyproject.toml", *named} <= local


@clouds
def test_workers_watch_for_the_cloud_taking_them_away_once_they_have_joined(cloud):
    commands = CONFIGS[cloud]["worker_start_ray_commands"]
    watch = next(place for place, command in enumerate(commands) if "-m assay.cluster.preemption" in command)
    assert watch > next(place for place, command in enumerate(commands) if "ray start" in command)
    assert f"python -m assay.cluster.preemption {cloud} $RAY_HEAD_IP:6379 < /dev/null" in commands[watch]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_sound_bash(command):
    subprocess.run(["bash", "-n", "-c", command], check=True, capture_output=True, timeout=30)
