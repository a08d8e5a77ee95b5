#!/usr/bin/env bash
# Copyright 2026 nurec_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# Prints the Python to build the virtual environment with, or says what the machine lacks, with the
# apt line that brings it, and exits with 1.
set -u

supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
python=''
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
  if command -v "$candidate" >/dev/null && "$candidate" -c "$supported"; then
    python=$candidate
    break
  fi
done

missing=()
packages=()
lack() {
  missing+=("$1")
  packages+=("$2")
}

if [ -z "$python" ]; then
  lack 'Python 3.10 to 3.13' python3
  packages+=(python3-venv python3-dev)
else
  version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  "$python" -c 'import ensurepip, venv' 2>/dev/null || lack "the venv module of $python" "$version-venv"
  if [ -z "${ROS_DISTRO:-}" ]; then
    header='import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))'
    [ -f "$("$python" -c "$header")" ] || lack "the headers of $python" "$version-dev"
  fi
fi
if [ -z "${ROS_DISTRO:-}" ]; then
  command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || lack 'a C++ compiler' g++
fi

if [ ${#missing[@]} -gt 0 ]; then
  list=$(printf ', %s' "${missing[@]}")
  echo "This machine lacks ${list:2}. Install it with:" >&2
  echo "  sudo apt install ${packages[*]}" >&2
  exit 1
fi
echo "$python"
