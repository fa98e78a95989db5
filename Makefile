# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs in .venv
# (once; later it works offline).

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
# The CPU build of torch is small; set TORCH_INDEX= to take PyPI's default (CUDA) build.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
STAMP := $(VENV)/.installed
DEMO_OUTPUT ?= demo_output

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test lint bench peers clean
help:
	@echo 'make demo   a simulated cooperative scene, start to finish, into $(DEMO_OUTPUT)/'
	@echo 'make test   all tests that can run here'
	@echo 'make lint   ruff and mypy --strict'
	@echo 'make bench  speed and bytes, as ratios'
	@echo 'make peers  our metrics beside nuscenes-devkit, in an environment of its own'

$(STAMP): setup.py Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 10) and \
	  f"Python 3.10 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}; try: make PYTHON=python3.12")'
	@echo '[1/3] creating the virtual environment $(VENV)'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo '[2/3] installing torch (about 200 MB, once)'
	@$(PY) -c 'import torch' 2>/dev/null \
	  || { test -n '$(TORCH_INDEX)' && $(PY) -m pip install --retries 1 --timeout 20 -q \
	       --progress-bar on --index-url '$(TORCH_INDEX)' '$(TORCH)' 2>$(VENV)/torch.log; } \
	  || $(PY) -m pip install --progress-bar on '$(TORCH)'
	@echo '[3/3] installing cooptrack_ros and its dependencies'
	@$(PY) -m pip install -q --progress-bar on 'setuptools>=64' wheel
	@$(PY) -m pip install -q --progress-bar on --no-build-isolation \
	  -e '.[simulator,training,test]'
	@touch $(STAMP)
	@echo 'ready: $(VENV)'

demo: $(STAMP)
	@$(PY) -m cooptrack_ros.cli demo --output $(DEMO_OUTPUT)

test: $(STAMP)
	@.ci/test $(PY)

lint: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

bench: $(STAMP)
	@$(PY) -m benchmarks
	@$(PY) -m benchmarks.forward --model tiny
	@$(PY) -m benchmarks.forward --model r50

peers: $(STAMP)
	@benchmarks/peers/run.sh $(PY)

clean:
	rm -rf $(VENV) .venv-peers $(DEMO_OUTPUT) build install log dist *.egg-info
