"""A sweep and an audit in fifteen lines, on real images of solar cells: python examples/sweep_and_audit.py

Needs the extra `demo` (the images) and a minute. Everything lands in the folder `example-store`.
"""

import assay

space = {
    "name": "first",
    "trainable": "neighbours",
    "dataset": {"name": "elpv", "cells": "mono", "image_size": 32},
    "fixed": {"backbone": {"pixels": {"side": 16}}},
    "space": {"k": {"integer": [1, 9]}, "distance": {"choice": ["euclidean", "cosine"]}},
    "evaluation": {"attack": "pgd", "epsilon": "2/255", "steps": 5},
    "objectives": {"clean_auroc": "max", "robust_auroc": "max"},
    "search": {"sampler": "random", "trials": 4},
}
sweep = assay.sweep(space, store="example-store")
print(sweep.to_pandas().filter(regex="trial|parameter[.]|objective").to_string())
audit = assay.audit(sweep.best, "quick", limit=20, store="example-store")
print(audit.verdict("demo").reasons[0])
