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
#
#   find_python.sh             any that nurec_ros runs on, or $PYTHON
#   find_python.sh 3.12        that one; where there is none, nothing is printed
set -u

wanted=${1:-}
supported='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
candidates=${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}
if [ -n "$wanted" ]; then
  # pyenv and uv keep theirs off the path; a shim of pyenv on the path need not run.
  candidates="python$wanted ${PYENV_ROOT:-$HOME/.pyenv}/versions/$wanted.*/bin/python$wanted"
  candidates+=" $HOME/.local/share/uv/python/cpython-$wanted.*/bin/python$wanted"
fi
python=''
for candidate in $candidates; do
  if command -v "$candidate" >/dev/null && "$candidate" -c "$supported" 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -z "$wanted" ] || [ -n "$python" ] || exit 1

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
  if [ -z "${ROS_DISTRO:-}${PURE:-}" ]; then
    header='import os, sysconfig; print(os.path.join(sysconfig.get_path("include"), "Python.h"))'
    [ -f "$("$python" -c "$header")" ] || lack "the headers of $python" "$version-dev"
  fi
fi
if [ -z "${ROS_DISTRO:-}${PURE:-}" ]; then
  command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null || lack 'a C++ compiler' g++
fi

if [ ${#missing[@]} -gt 0 ]; then
  list=$(printf ', %s' "${missing[@]}")
  echo "This machine lacks ${list:2}. Install it with:" >&2
  echo "  sudo apt install ${packages[*]}" >&2
  exit 1
fi
echo "$python"
