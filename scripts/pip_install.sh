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

# pip install, with the number of packages as progress, and again where a download breaks off in its
# middle (pip itself repeats requests only). Python compiles what it imports, and nothing else is
# compiled here: that would be a third of the time.
#
#   pip_install.sh PYTHON ARGUMENT...
set -u -o pipefail

python=$1
shift

progress() {
  awk '
    function show(text) { if (terminal) printf "\r  %s\033[K", text; else print "  " text; fflush() }
    /^Collecting / { count++; if (terminal) show(count " packages found") }
    /^Installing collected packages/ { show("installing " (count ? count " " : "") "packages"); installing = 1 }
    /^(ERROR|error)/ { if (terminal) printf "\r\033[K"; print; fflush() }
    END { if (terminal && count) printf "\r\033[K" }
  ' terminal="$([ -t 2 ] && echo 1 || echo 0)" >&2
}

# An installation that is interrupted is no download that broke off.
trap 'exit 130' INT
for pause in 10 60 0; do
  "$python" -m pip install --disable-pip-version-check --no-compile --progress-bar off "$@" 2>&1 | progress && exit
  [ "$pause" = 0 ] && exit 1
  echo "Trying again in $pause s" >&2
  sleep "$pause"
done
