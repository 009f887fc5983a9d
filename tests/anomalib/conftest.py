"""These tests need anomalib and timm beside Assay: `make test-anomalib`; where they are missing, none is collected."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("anomalib") else ["test_*.py"]
