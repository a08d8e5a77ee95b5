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
"""Play NVIDIA NuRec scenarios as a live ROS 2 system."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from nurec_ros.environment import Environment

__all__ = ['Environment']
__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: most programs of this package need neither scipy nor gRPC.
    if name == 'Environment':
        from nurec_ros.environment import Environment

        return Environment
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
