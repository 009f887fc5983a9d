# make demo | make test | make test-anomalib | make lint | make types | make docs | make dependencies | make constraints
#
# Each makes $(VENV) where it is missing and installs what it needs with pip, in the versions of constraints.txt, once
# for every change of that file or of pyproject.toml.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin

# One thread a process: sweeps and audits run one process a core.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS

.PHONY: demo test test-anomalib lint types docs dependencies constraints

# From nothing to a verdict, in a store of its own that is made anew each time. FAIL (3) and INCONCLUSIVE (5) are
# results; an audit that cannot be trusted (4) and an error (1, 2) are not.
demo: export ASSAY_STORE = demo-store
demo: $(VENV)/.installed-demo
	rm -rf demo-store
	$(BIN)/assay sweep search_spaces/demo.yaml
	$(BIN)/assay audit demo:best --suite quick
	$(BIN)/assay trials demo --pareto
	@echo $(BIN)/assay approve latest --policy demo
	@$(BIN)/assay approve latest --policy demo || { code=$$?; [ $$code -eq 3 ] || [ $$code -eq 5 ] || exit $$code; }

# Three files at a time whatever the cores: those that start clusters mostly wait for them.
test: $(VENV)/.installed-test
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 30

# Models of anomalib and backbones of timm, in an environment of their own: torchvision is built for one version of
# PyTorch. By hand, as it takes an hour or more on two cores; CONTRIBUTING.md says when it was last run.
test-anomalib:
	$(MAKE) VENV=.venv-anomalib CONSTRAINTS=constraints-anomalib.txt .venv-anomalib/.installed-test-anomalib
	.venv-anomalib/bin/python -m pytest -n 2 tests/anomalib

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-test
	$(BIN)/mypy

# The documentation as a site, in the folder site; a link to a page or heading that is not there is an error. To read it:
# .venv/bin/zensical serve
docs: $(VENV)/.installed-test
	$(BIN)/zensical build --strict --clean

# Known vulnerabilities of the libraries that are installed; says so where nothing can be asked.
dependencies: $(VENV)/.installed-test
	$(BIN)/python .ci/audit_dependencies.py

# Writes what is installed as what to install everywhere: without Assay itself, and without labels of builds (+cpu),
# which other machines do not have.
constraints: $(VENV)/.installed-test
	$(BIN)/python -m pip freeze --all --exclude-editable --exclude assay --exclude pip > $(VENV)/freeze.txt
	{ echo "# What make and clusters install, tested with $$($(BIN)/python --version | cut -d. -f1,2)."; \
	  echo "# Written by: make constraints"; \
	  sed -n 's/^\([^ ]*==[^ +]*\).*/\1/p' $(VENV)/freeze.txt | LC_ALL=C sort -f; } > $(CONSTRAINTS)
	touch $(VENV)/.installed-test

# Of 23,000 modules a tenth is ever imported, and is compiled then; pip would take a minute or two for all of them.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile -c $(CONSTRAINTS) -e '.[$*]'
	touch $@
