"""A study of toys: what its file would hold."""

from __future__ import annotations

RAW = {
    "name": "few",
    "detectors": {
        "fixed": {"trainable": "toy_runs:Runs", "fixed": {"epochs": 2}},
        "searched": {
            "trainable": "toy_runs:Runs",
            "space": {"learning_rate": {"loguniform": [0.001, 0.1]}},
            "search": {"trials": 3, "sampler": "tpe"},
        },
    },
    "datasets": {"one": {"name": "toy_runs:squares", "root": "a"}, "two": {"name": "toy_runs:squares", "root": "b"}},
    "seeds": [0, 5],
    "evaluation": {"attack": "fgsm", "epsilon": "1/255", "every": 1},
    "resources": {"cpu": 0.5},
    "tracking": {"wandb": False},
}
