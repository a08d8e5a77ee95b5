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
What each forked process would do anew, done once: the fork server imports this last.

With its first line of log rclpy asks for the module of a caller, for which `inspect` resolves the
path of each one that is imported. And what the garbage collector never looks at stays shared.
"""

import gc
import inspect

inspect.getmodule(inspect.currentframe())
gc.freeze()
