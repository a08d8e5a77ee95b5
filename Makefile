# The two commands: `make demo` shows the main job, `make test` passes the tests.
# Everything is installed into $(VENV); nothing outside this folder is touched.

SHELL := /bin/bash
VENV ?= .venv
USDZ ?=
# As it was typed, dollar signs too.
override USDZ := $(value USDZ)
export USDZ
PYTHONS ?= 3.10 3.11 3.12 3.13
# Many tests wait for other processes: a few workers keep two cores busy. A file's tests stay together,
# and files begin in the order of test/conftest.py.
PYTEST_ARGS ?= --numprocesses 5 --dist loadfile --no-loadscope-reorder
bin := $(VENV)/bin
# The ROS wheels' start-up hook leaves these to its children; another environment's Python must not
# inherit them.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport LD_LIBRARY_PATH
endif
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport PYTHONHOME
# Packages come uncompiled and some hundred processes import them: what each compiles is kept.
unexport PYTHONDONTWRITEBYTECODE

# A sourced ROS distribution brings rclpy and every message package: its own are used then.
ifdef ROS_DISTRO
demo_extras := fast,demo
test_extras := test,test-ros,cluster
lint_extras := lint,test
venv_options := --system-site-packages
interfaces :=
else ifdef PURE
# All that needs no ROS, for the tests of it, at once.
demo_extras := fast,test
test_extras :=
lint_extras := lint
venv_options :=
interfaces :=
unexport PYTHONPATH
else
demo_extras := wheels,fast,demo
test_extras := test,test-ros,cluster
lint_extras := lint,test,wheels-lint
venv_options :=
interfaces := $(VENV)/.interfaces
unexport PYTHONPATH
endif
# For find_python.sh: nothing is compiled then.
export PURE
# What the build of our own package needs, in the environment itself: pip's own would be made anew
# for each install.
build_tools := setuptools wheel grpcio-tools
package := setup.py setup.cfg pyproject.toml nurec_ros/__init__.py $(wildcard nurec_ros/rendering/protos/*.proto)
install = bash scripts/pip_install.sh $(bin)/python --no-build-isolation

.PHONY: help setup demo test ready test-all ready-all lint bench clean
# Two pips at once in one environment do not get on.
.NOTPARALLEL:

help:
	@echo 'make demo            set up, play the example scenario to its end, leave pictures in demo/'
	@echo 'make demo USDZ=FILE  the same for a scenario of your own'
	@echo 'make demo DRIVE=1    the same, driven half a lane beside the recording and back'
	@echo 'make test            set up and run the tests'
	@echo 'make test-all        the same with every Python from 3.10 to 3.13 that is here'
	@echo '  PURE=-pure         without ROS'
	@echo 'make ready           only install what the tests need'
	@echo 'make lint            ruff, mypy, the linters of ROS'
	@echo 'make setup           only create $(VENV) and install everything into it'
	@echo 'make bench           the side-by-side benchmarks'
	@echo 'make clean           remove what the other targets made'

setup: $(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(interfaces)
	@echo 'Ready: $(bin)/ holds nurec_player, nurec_preview, nurec_probe, nurec_example, nurec_info, nurec_export, nurec_control, nurec_follow, nurec_autoware, nurec_demo.'

$(VENV)/.python: scripts/find_python.sh
	@python=$$(bash scripts/find_python.sh) && \
	  echo "Creating $(VENV) with $$($$python --version)" && \
	  $$python -m venv $(venv_options) $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python $(package)
	@echo 'Installing nurec_ros and what its $(if $(PURE),tests need,demo needs)'
	@$(install) $(build_tools)
	@$(install) --editable '.[$(demo_extras)]'
	@touch $@

$(VENV)/.interfaces: $(VENV)/.demo $(wildcard interfaces/*.py interfaces/*/*/*.*)
	@echo 'Building the ROS interfaces that PyPI lacks'
	@$(bin)/python interfaces/build.py
	@touch $@

$(VENV)/.test: $(VENV)/.demo
ifneq ($(test_extras),)
	@echo 'Installing what the tests need'
	@$(install) --editable '.[$(demo_extras),$(test_extras)]'
endif
	@touch $@

$(VENV)/.lint: $(VENV)/.demo
	@echo 'Installing ruff, mypy and the linters of ROS'
	@$(install) --editable '.[$(demo_extras),$(lint_extras)]'
	@touch $@

demo: $(VENV)/.demo $(interfaces)
	@$(bin)/nurec_demo $(if $(USDZ),--usdz "$$USDZ") $(if $(filter-out 0,$(DRIVE)),--drive)

ready: $(VENV)/.test $(interfaces)

test: ready
	@$(bin)/python -m pytest -m 'not linter' $(PYTEST_ARGS)

# `test` or what it needs, with every Python that is here.
test-all ready-all:
	@lacking=; for version in $(PYTHONS); do \
	  python=$$(bash scripts/find_python.sh $$version) || { lacking+=" $$version"; continue; }; \
	  echo "== Python $$version"; \
	  $(MAKE) --no-print-directory $(@:-all=) VENV=.venvs/$$version$(PURE) PYTHON=$$python || exit 1; \
	done; \
	[ -z "$$lacking" ] || echo "Not tested, not found here: Python$$lacking"

# mypy has one core to itself, and the linters of ROS the others.
lint: $(VENV)/.lint
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy & \
	  $(bin)/python -m pytest -q -m linter test/test_sources.py; linted=$$?; \
	  wait $$! && exit $$linted

bench: $(VENV)/.test $(interfaces)
	@for bench in bench/bench_*.py; do echo "== $$bench"; $(bin)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) .venvs build install log demo *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f nurec_ros/rendering/protos/*_pb2.py
