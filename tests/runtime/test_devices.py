"""A GPU that is asked for and not there is told in one line, before anything is done; a head may have none."""

from __future__ import annotations

import pytest
import torch
from click.testing import CliRunner

from assay.cli import main
from assay.errors import InputError
from assay.runtime import devices


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(("built_for", "advice"), [(None, "install one with CUDA"), ("13.0", "look at `nvidia-smi`")])
def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(monkeypatch, built_for, advice):
    monkeypatch.setattr(torch.version, "cuda", built_for)
    with pytest.raises(InputError, match=f"device 'cuda' needs a GPU and this machine has 0.*{advice}.*--device cpu"):
        devices.here("cuda")


def test_the_head_of_a_cluster_needs_none_and_a_gpu_that_is_there_is_taken(monkeypatch):
    assert devices.here("cuda", "auto") == "cpu"
    assert devices.here("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.here("cuda", "auto") == devices.here("cuda") == "cuda"


@pytest.mark.parametrize(
    "verb", [("audit", "--suite", "quick"), ("audit", "--suite", "quick", "--dry-run"), ("score",)]
)
def test_verbs_refuse_it_before_they_work(store, tmp_path, verb):
    [name] = store.names("models")
    before = sorted(store.path("audits").rglob("*"))
    files = [str(next(iter(store.path("models").rglob("*.safetensors"))))] if verb == ("score",) else []
    words = [verb[0], name, *files, *verb[1:], "--device", "cuda", "--store", str(store.root)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert "this machine has 0" in done.output
    assert sorted(store.path("audits").rglob("*")) == before
