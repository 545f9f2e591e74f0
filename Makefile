# `make report`, `make test` and `make lab` need nothing before them but Python 3.11 or newer.

PROFILE ?= quick
HOST     = localhost
MINUTES ?= 4
PYTHON  ?= python3 python3.13 python3.12 python3.11 python3.14 python3.15

# An active environment in which somebody installed the lab from this checkout, else the project's own.
READY := bin/python" -I -c 'from importlib.util import find_spec; from os.path import samefile; \
           assert find_spec("papermill") and find_spec("nbval"); \
           assert samefile(find_spec("resnet_lib").origin, "resnet_lib/__init__.py")' 2>/dev/null
ENV := $(shell for env in "$$VIRTUAL_ENV" "$$CONDA_PREFIX"; do \
           [ -n "$$env" ] && "$$env/$(READY) && break; env="$(CURDIR)/.venv"; \
         done; echo "$$env")
IN_ENV := PATH="$(ENV)/bin:$$PATH"
PIP    := "$(ENV)/bin/python" -m pip --disable-pip-version-check

.PHONY: help report full test soak lint lab lock clean env python

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1	/p' Makefile

report: env  ## run what is missing and write the report: make report [PROFILE=smoke|quick|full]
	@$(IN_ENV) resnet-lab report --profile $(PROFILE)

full: env  ## the published results, weeks on a CPU: says how long first, and can be interrupted
	@$(IN_ENV) resnet-lab full; failed=$$?; [ $$failed -le 1 ] || exit $$failed; \
	$(IN_ENV) resnet-lab figures && $(IN_ENV) resnet-lab report --profile full --no-train && exit $$failed

test: env  ## run the tests, then the notebooks on synthetic images
	@$(IN_ENV) pytest -n auto --maxprocesses 8 --dist loadfile
	@reports=$$(mktemp -d) && trap 'rm -rf "$$reports"' EXIT && trap 'exit 130' INT TERM && $(IN_ENV) \
	RESNET_LAB_PROFILE=smoke RESNET_LAB_REPORTS="$$reports" RESNET_LAB_OFFLINE=1 \
	pytest --nbval-lax --nbval-sanitize-with tests/nbval.cfg notebooks/

soak: env  ## inject faults for MINUTES, then write how many were survived into CONTRIBUTING.md
	@$(IN_ENV) python tests/soak.py --minutes $(MINUTES)

lint: env  ## check style and formatting
	@$(IN_ENV) ruff check
	@$(IN_ENV) ruff format --check

lab: env  ## open the notebooks in JupyterLab, on this machine only: make lab [LAB_FLAGS=--no-browser]
	@[ "$(HOST)" = localhost ] || echo "warning: JupyterLab will listen on $(HOST): who has its token can run anything" >&2
	@$(IN_ENV) jupyter lab --ip="$(HOST)" $$([ "$$(id -u)" != 0 ] || echo --allow-root) \
	    --LabApp.default_url=/lab/tree/notebooks $(LAB_FLAGS)

lock: python  ## renew requirements.lock after a change of pyproject.toml
	@$(IN_ENV) command -v uv >/dev/null || $(PIP) install --quiet uv
	@$(IN_ENV) uv pip compile pyproject.toml --extra lab --extra dev --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet \
	    --output-file requirements.lock

clean:  ## remove caches and build litter; records, reports and the environment stay
	@find . \( -path ./.venv -o -path ./.git -o -path ./reports \) -prune -o -type d \( -name __pycache__ \
	    -o -name .pytest_cache -o -name .ruff_cache -o -name .hypothesis -o -name .ipynb_checkpoints \) \
	    -prune -exec rm -rf {} +
	@rm -rf build *.egg-info

# Scripts of an environment name its folder: one that came along when the checkout was moved or copied is made anew.
python:
	@stamp="$(ENV)/.resnet-lab"; [ "$(ENV)" != "$(CURDIR)/.venv" ] || [ ! -s "$$stamp" ] || \
	    [ "$$(head -n 1 "$$stamp")" = "$$(pwd -P)" ] || rm -f "$(ENV)/bin/python"
	@[ -x "$(ENV)/bin/python" ] || for python in $(PYTHON); do \
	    "$$python" -c 'import ensurepip, sys; assert sys.version_info >= (3, 11)' 2>/dev/null && \
	    exec "$$python" -m venv --clear "$(ENV)"; \
	done; \
	[ -x "$(ENV)/bin/python" ] || { exec >&2; \
	    echo "Python 3.11 or newer, with venv, is needed, and none is here (tried: $(PYTHON))."; \
	    echo "Install one (on Debian 12, Ubuntu 24.04 and newer: apt install python3-venv), or name one:"; \
	    echo "make PYTHON=/path/to/python3.12"; \
	    exit 1; }

# The stamp says which checkout the environment is of, and, once all is installed, for which Python and from which
# lists: an interrupted install is taken up again.
env: python  ## install, or bring up to date, what all others need
	@stamp="$(ENV)/.resnet-lab"; \
	wanted=$$(pwd -P; "$(ENV)/bin/python" -c 'import sys; print(*sys.version_info[:2])'; \
	    cksum pyproject.toml requirements.lock); \
	if [ -e "$$stamp" ]; then [ "$$(cat "$$stamp")" = "$$wanted" ]; else "$(ENV)/$(READY); fi && exit; \
	"$(ENV)/bin/python" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("%s has Python %d.%d, but 3.11 or newer \
	is needed: remove that folder and call make again." % (sys.prefix, *sys.version_info[:2]))' || exit; \
	echo "Installing into $(ENV): about 6 GB on Linux, where torch brings the CUDA libraries along."; \
	{ $(PIP) --version >/dev/null 2>&1 || "$(ENV)/bin/python" -m ensurepip --default-pip; } && \
	pwd -P >"$$stamp" && $(PIP) install --require-hashes -r requirements.lock && \
	$(PIP) install --quiet --no-deps --no-build-isolation --editable . && \
	echo "$$wanted" >"$$stamp" || { exec >&2; \
	    echo "The install is not complete; pip says why above. \"from versions: none\" means that the package index"; \
	    echo "did not answer (look at the network and at pip's proxy settings), or that it has nothing for this Python"; \
	    echo "and system (remove $(ENV), and name another one: make PYTHON=python3.12). \"No space left\": pip needs room"; \
	    echo "in TMPDIR and in its cache, too. Then call make again."; \
	    exit 1; }
