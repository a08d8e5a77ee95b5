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
"""
Run a launch file with arguments as `ros2 launch` does, also where ros2cli is not installed.

    python launch_driver.py FILE [NAME:=VALUE ...]
"""

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def main():
    """Run until the launch ends; gives its exit code."""
    path, *words = sys.argv[1:]
    arguments = [tuple(word.split(':=', 1)) for word in words]
    service = LaunchService(argv=words)
    source = PythonLaunchDescriptionSource(path)
    service.include_launch_description(
        LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
    )
    return service.run()


if __name__ == '__main__':
    sys.exit(main())
