# The two commands: `make demo` shows the main job, `make test` passes the tests.
# Everything is installed into $(VENV); nothing outside this folder is touched.

SHELL := /bin/bash
VENV ?= .venv
USDZ ?=
# As it was typed, dollar signs too.
override USDZ := $(value USDZ)
export USDZ
# Many tests wait for other processes: a few workers keep two cores busy. A file's tests stay together.
PYTEST_ARGS ?= --numprocesses 3 --dist loadfile
bin := $(VENV)/bin
# pip makes a request again, but not for a download that breaks off in its middle.
pip_install = for pause in 10 60 0; do \
	  $(bin)/python -m pip install --quiet --disable-pip-version-check $(1) && break; \
	  [ $$pause != 0 ] || exit 1; echo "Trying again in $$pause s"; sleep $$pause; \
	done

# The ROS wheels' start-up hook leaves these to its children; another environment's Python must not
# inherit them.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport LD_LIBRARY_PATH
endif
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport PYTHONHOME

# A sourced ROS distribution brings rclpy and every message package: its own are used then.
ifdef ROS_DISTRO
extras := fast,demo,test,lint
venv_options := --system-site-packages
interfaces :=
else
extras := wheels,wheels-lint,fast,demo,test,lint
venv_options :=
interfaces := tf2_msgs rosbag2_interfaces vision_msgs
unexport PYTHONPATH
endif
interface_stamps := $(interfaces:%=$(VENV)/.interface-%)

.PHONY: help setup demo test lint bench clean
# Two pips at once in one environment do not get on.
.NOTPARALLEL:

help:
	@echo 'make demo            set up, play the example scenario to its end, leave pictures in demo/'
	@echo 'make demo USDZ=FILE  the same for a scenario of your own'
	@echo 'make test            set up and run the tests'
	@echo 'make lint            ruff, mypy'
	@echo 'make setup           only create $(VENV) and install everything into it'
	@echo 'make bench           the side-by-side benchmarks'
	@echo 'make clean           remove what the other targets made'

setup: $(VENV)/.installed $(interface_stamps)
	@echo 'Ready: $(bin)/ holds nurec_player, nurec_preview, nurec_probe, nurec_example, nurec_demo.'

$(VENV)/.python: scripts/find_python.sh
	@python=$$(bash scripts/find_python.sh) && \
	  echo "Creating $(VENV) with $$($$python --version)" && \
	  $$python -m venv $(venv_options) $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python setup.py setup.cfg pyproject.toml $(wildcard nurec_ros/rendering/protos/*.proto)
	@echo 'Installing nurec_ros and what it needs (a few minutes the first time)'
	@$(call pip_install,--editable '.[$(extras)]')
	@touch $@

$(VENV)/.interface-tools: $(VENV)/.installed interfaces/build-requirements.txt
	@echo 'Installing the tools that build ROS interfaces'
	@$(call pip_install,-r interfaces/build-requirements.txt)
	@touch $@

$(VENV)/.interface-%: $(VENV)/.interface-tools interfaces/cmake/from_wheels.cmake $(wildcard interfaces/*/*/*.*) $(wildcard interfaces/*/*.*)
	@echo 'Building the ROS interfaces $*'
	@PATH="$(abspath $(bin)):$$PATH" $(bin)/python -m pip install --quiet --disable-pip-version-check \
	  --no-build-isolation --no-deps --force-reinstall ./interfaces/$*
	@touch $@

demo: setup
	@$(bin)/nurec_demo $(if $(USDZ),--usdz "$$USDZ")

test: setup
	@$(bin)/python -m pytest $(PYTEST_ARGS)

lint: setup
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy

bench: setup
	@for bench in bench/bench_*.py; do echo "== $$bench"; $(bin)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) build install log demo *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f nurec_ros/rendering/protos/*_pb2.py
