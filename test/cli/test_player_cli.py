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
"""What the player's command makes of its arguments."""

from nurec_ros.cli.options import split_ros_arguments as split


def test_arguments_are_parted():
    assert split(['a', '--ros-args', '-p', 'x:=1']) == (['a'], ['--ros-args', '-p', 'x:=1'])
    assert split(['--ros-args', '-p', 'x:=1', '--', 'b']) == (
        ['b'],
        ['--ros-args', '-p', 'x:=1', '--'],
    )
    assert split([]) == ([], [])
