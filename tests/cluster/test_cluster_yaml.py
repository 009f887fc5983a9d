"""cluster.yaml and its twins pass Ray's own validation and keep what their comments promise, all without a network."""

from __future__ import annotations

import copy
import importlib.metadata
import pprint
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from assay.runtime import versions

REPO = Path(__file__).parents[2]
FILES = {"aws": "cluster.yaml", "gcp": "docs/cluster-gcp.yaml", "local": "docs/cluster-local.yaml"}
TEXTS = {cloud: (REPO / name).read_text(encoding="utf-8") for cloud, name in FILES.items()}
CONFIGS = {cloud: yaml.safe_load(text) for cloud, text in TEXTS.items()}
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = (REPO / "constraints.txt").read_text(encoding="utf-8")
KEYS = (
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
COMMANDS = {
    f"{cloud}-{key}-{place}": command
    for cloud, config in CONFIGS.items()
    for key in KEYS
    for place, command in enumerate(config.get(key, []))
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
        "gcp": (
            "scheduling",
            {
                "provisioningModel": "SPOT",
                # what is only stopped, Ray does not see: its disk would be billed for ever
                "instanceTerminationAction": "DELETE",
                "maxRunDuration": {"seconds": 172800},
                "onHostMaintenance": "TERMINATE",
                "automaticRestart": False,
            },
        ),
    }[cloud]
    size = {"aws": "InstanceType", "gcp": "machineType"}[cloud]
    assert market not in head["node_config"]
    kinds = {name: kind for name, kind in workers(config).items() if kind["max_workers"]}
    assert set(workers(config)) - set(kinds) == ({"one_gpu_on_demand"} if cloud == "aws" else set())
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


def test_all_that_a_node_installs_is_pinned():
    """Of the requirements' own requirements, too: a worker of next week must not decode with another library."""
    pinned = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", CONSTRAINTS, re.MULTILINE)}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [Requirement(line) for line in [*PROJECT["project"]["dependencies"], *extras["cluster"], *extras["demo"]]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        one = wanted.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            further = importlib.metadata.requires(one.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # not of this platform, or of CUDA, whose versions those of torch decide
        for requirement in map(Requirement, further):
            contexts = [{"extra": extra} for extra in one.extras] or [{"extra": ""}]
            if requirement.marker is None or any(requirement.marker.evaluate(context) for context in contexts):
                wanted.append(requirement)
    assert {name for name, _ in seen} - pinned == set()


@everywhere
def test_every_node_gets_the_versions_that_are_tested(cloud):
    [install] = [command for command in CONFIGS[cloud]["setup_commands"] if "uv pip install" in command]
    assert '--constraints ~/assay/constraints.txt "$HOME/assay[cluster,demo]"' in install
    assert CONFIGS[cloud]["file_mounts"]["~/assay/constraints.txt"] == "constraints.txt"
    assert "==" not in TEXTS[cloud]  # a version has one place
    pinned = {pin.name: str(pin.specifier) for pin in map(Requirement, re.findall(r"^\w.*", CONSTRAINTS, re.MULTILINE))}
    # no ranges: a node that comes later must not get newer ones
    assert all(re.fullmatch(r"==[\d.]+", pinned[name]) for name in versions.PARTS if name != "python")
    assert re.search(r"astral\.sh/uv/\d+\.\d+\.\d+/install\.sh", " ".join(CONFIGS[cloud]["setup_commands"]))
    [python] = re.findall(r"uv venv --python ([\d.]+)", " ".join(CONFIGS[cloud]["setup_commands"]))
    assert f"tested with Python {python}." in CONSTRAINTS
    assert python in SpecifierSet(PROJECT["project"]["requires-python"])


def test_the_three_files_install_and_mount_the_same():
    for key in ("file_mounts", "rsync_exclude", "setup_commands"):
        given = {cloud: copy.deepcopy(config[key]) for cloud, config in CONFIGS.items()}
        if key == "setup_commands":
            given["gcp"] = [command.replace(" 'google-api-python-client>=2'", "") for command in given["gcp"]]
            own = ("shutdown", "/opt/dlami")  # of clouds; of AWS
            given = {c: [line for line in lines if not any(word in line for word in own)] for c, lines in given.items()}
        assert given["aws"] == given["gcp"] == given["local"]


@everywhere
@pytest.mark.parametrize("role", ["head", "worker"])
def test_every_node_starts_with_token_authentication_and_a_place_for_what_memory_does_not_hold(cloud, role):
    start = starts(CONFIGS[cloud], role)
    assert start.index("export RAY_AUTH_MODE=token") < start.index("ray start")
    # of a machine that runs nothing else Ray takes 30 %, of one's own a part that is said
    assert ("--object-store-memory=" in start) == (cloud == "local")
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
def test_workers_watch_for_their_end_before_ray_is_started_and_but_once(cloud):
    commands = CONFIGS[cloud]["worker_start_ray_commands"]
    [watch] = [place for place, command in enumerate(commands) if "-m assay.cluster.preemption" in command]
    assert watch < next(place for place, command in enumerate(commands) if "ray start" in command)
    assert f"python -m assay.cluster.preemption {cloud} $RAY_HEAD_IP:6379 < /dev/null" in commands[watch]
    assert "pkill" in commands[watch - 1]


@everywhere
@pytest.mark.parametrize("status", ["RUNNING", "PENDING", "SUCCEEDED", "STOPPED", None])
def test_a_second_ray_up_is_refused_while_a_job_runs(cloud, status, tmp_path):
    """Ray asks the head for its jobs; None: Ray does not run there, as on a new head."""
    details = pytest.importorskip("ray.dashboard.modules.job.pydantic_models").JobDetails
    guard, stop = CONFIGS[cloud]["head_start_ray_commands"][:2]
    assert stop == "ray stop"
    told = pprint.pformat([details(type="SUBMISSION", status=status, entrypoint="x")]) if status else ""
    (tmp_path / "answer").write_text(told)
    answer = f"cat {tmp_path / 'answer'}" if status else "echo refused >&2; exit 1"
    (tmp_path / "ray").write_text(f'#!/bin/sh\ntest "$1 $2 $RAY_AUTH_MODE" = "job list token" && {{ {answer}; }}\n')
    (tmp_path / "ray").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["bash", "-c", guard], env={"PATH": path}, capture_output=True, text=True, check=False)
    runs = status in ("RUNNING", "PENDING")
    assert (done.returncode != 0, "ray up --no-restart" in done.stdout) == (runs, runs)


@clouds
def test_a_head_without_workers_ends_itself(cloud):
    commands = CONFIGS[cloud]["head_start_ray_commands"]
    assert f"python -m assay.cluster.idle_head {cloud} --hours 2" in commands[-1]
    assert "pkill" in commands[-2]


@clouds
def test_a_node_whose_setup_never_ends_shuts_down(cloud):
    """The first thing that is done is to set the hour, the last to take it back, on head and workers."""
    config = CONFIGS[cloud]
    assert config["setup_commands"][0] == "sudo shutdown -P +60"
    assert config["head_setup_commands"][-1] == config["worker_setup_commands"][-1] == "sudo shutdown -c"


def test_google_s_disks_are_of_a_type_that_g2_takes_and_the_image_has_a_driver_for_cuda_13():
    config = CONFIGS["gcp"]
    zone = config["provider"]["availability_zone"]
    for kind in config["available_node_types"].values():
        for disk in kind["node_config"]["disks"]:
            made_from = disk["initializeParams"]
            assert made_from["diskType"] in {f"zones/{zone}/diskTypes/pd-{name}" for name in ("balanced", "ssd")}
            driver = re.search(r"/family/common-cu\d+-ubuntu-2204-nvidia-(\d+)$", made_from["sourceImage"])
            assert int(driver[1]) >= 580
    for kind in workers(config).values():
        assert {"key": "install-nvidia-driver", "value": "True"} in kind["node_config"]["metadata"]["items"]


def test_ray_deletes_no_node_that_was_only_stopped():
    """Why the file asks for DELETE: what Ray lists as living does not hold a node that Google stopped."""
    node = pytest.importorskip("ray.autoscaler._private.gcp.node")
    assert "TERMINATED" not in node.GCPComputeNode.NON_TERMINATED_STATUSES


@clouds
@pytest.mark.parametrize(("broken", "code"), [(True, 1), (False, 0)])
def test_a_worker_whose_gpu_does_not_work_fails_its_setup(cloud, broken, code, tmp_path):
    [check] = [command for command in CONFIGS[cloud]["worker_setup_commands"] if "torch" in command]
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "torch.py").write_text(
        f"class cuda:\n    def init():\n        if {broken}: raise RuntimeError('the NVIDIA driver is too old')\n"
    )
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    assert subprocess.run(["bash", "-c", check], env=env, capture_output=True, timeout=60).returncode == code


@clouds
def test_what_is_installed_already_from_the_same_files_is_left_alone(cloud, tmp_path):
    [install] = [command for command in CONFIGS[cloud]["setup_commands"] if "uv pip install" in command]
    (tmp_path / "assay").mkdir()
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    uv = tmp_path / ".local" / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho called >> ~/calls\n")
    uv.chmod(0o755)
    calls = []
    for content in ("one", "one", "two"):
        (tmp_path / "assay" / "file").write_text(content)
        subprocess.run(["bash", "-c", install], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)
        calls.append((tmp_path / "calls").read_text().count("called"))
    assert calls == [1, 1, 2]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_is_sound_bash(command):
    subprocess.run(["bash", "-n", "-c", command], check=True, capture_output=True, timeout=30)
