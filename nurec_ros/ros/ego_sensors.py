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
"""~/imu and ~/fix: the ego's motion as sensors in it would see it; derived, not recorded."""

from __future__ import annotations

import math

from nurec_ros.driving import DrivenEgo
from nurec_ros.driving.ego import BY_POSE
from nurec_ros.playback.schedule import moved_inward
from nurec_ros.ros.conversions import set_quaternion, set_time, set_vector
from nurec_ros.ros.outlet import Outlet, Publication, reliable
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.localization import geodetic, Inertial, InertialMotion, measured
from nurec_ros.settings import Settings
from sensor_msgs.msg import Imu, NavSatFix, NavSatStatus

# One step of the clock may hold many.
DEPTH = 100
MICROSECOND = 1000


class EgoSensors:
    """
    The topics, as far as their rates are above 0, of the scenario that was given last.

    Used by one thread alone.
    """

    def __init__(self, outlet: Outlet, settings: Settings) -> None:
        self._outlet = outlet
        self._settings = settings
        self._scenario: Scenario | None = None
        self._driver: DrivenEgo | None = None
        self._first_us = 0
        self._motion: InertialMotion | None = None
        self._imu: Publication | None = None
        self._fix: Publication | None = None
        self._imu_message = Imu()
        self._fix_message = NavSatFix()
        self._fix_message.status.status = NavSatStatus.STATUS_FIX
        self._fix_message.status.service = NavSatStatus.SERVICE_GPS
        self._fix_message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN

    def change(
        self,
        scenario: Scenario,
        motion: InertialMotion | None,
        frame: str,
        driver: DrivenEgo | None,
    ) -> None:
        """
        Show another scenario.

        motion: along its recorded poses, for an IMU; `driver` is who may drive in their place.
        """
        settings = self._settings
        begin_ns, _ = moved_inward(scenario, settings.start_offset_s, settings.end_offset_s)
        on_earth = scenario.T_earth_map is not None
        if settings.imu_rate and self._imu is None:
            self._imu = self._outlet.advertise(Imu, '~/imu', reliable(DEPTH))
        if settings.fix_rate and on_earth and self._fix is None:
            self._fix = self._outlet.advertise(NavSatFix, '~/fix', reliable(DEPTH))
        elif self._fix is not None and not on_earth:
            self._fix.destroy()
            self._fix = None
        self._first_us = -(-begin_ns // MICROSECOND)
        self._scenario, self._driver, self._motion = scenario, driver, motion
        self._imu_message.header.frame_id = self._fix_message.header.frame_id = frame

    def publish(self, after_ns: int, until_ns: int) -> None:
        """Publish what is due in (after, until], for those who subscribe."""
        imu_rate, fix_rate = self._settings.imu_rate, self._settings.fix_rate
        if self._imu is not None and self._imu.subscribers:
            for t_ns in due_times(self._first_us, imu_rate, after_ns, until_ns):
                self._publish_imu(self._imu, t_ns)
        if self._fix is not None and self._fix.subscribers:
            for t_ns in due_times(self._first_us, fix_rate, after_ns, until_ns):
                self._publish_fix(self._fix, t_ns)

    def _publish_imu(self, publication: Publication, t_ns: int) -> None:
        found = self._inertial(t_ns)
        if found is None:
            return
        message = self._imu_message
        set_time(message.header.stamp, t_ns)
        set_quaternion(message.orientation, found.quaternion)
        set_vector(message.angular_velocity, found.angular_velocity)
        set_vector(message.linear_acceleration, found.acceleration)
        publication.publish(message)

    def _inertial(self, t_ns: int) -> Inertial | None:
        """Return what is measured; None for an ego that is put from pose to pose."""
        driver = self._driver
        if driver is not None and driver.source in BY_POSE:
            return None
        if driver is None or driver.is_recorded:
            return self._motion.at(t_ns) if self._motion is not None else None
        acceleration = driver.acceleration(t_ns)
        if acceleration is None:
            return None
        angular = driver.velocity(t_ns).angular
        return measured(driver.pose(t_ns).quaternion, angular, acceleration)

    def _publish_fix(self, publication: Publication, t_ns: int) -> None:
        scenario, driver = self._scenario, self._driver
        # The topic is there while this is.
        assert scenario is not None
        T_earth_map = scenario.T_earth_map
        assert T_earth_map is not None
        ego = scenario.ego if driver is None or driver.is_recorded else driver
        place = T_earth_map[:3, :3] @ ego.pose(t_ns).position + T_earth_map[:3, 3]
        message = self._fix_message
        set_time(message.header.stamp, t_ns)
        message.latitude, message.longitude, message.altitude = geodetic(*place.tolist())
        publication.publish(message)


def due_times(first_us: int, rate_hz: float, after_ns: int, until_ns: int) -> list[int]:
    """Return begin + k / rate in (after, until], as whole microseconds in ns."""
    first_k = max(math.floor((after_ns / MICROSECOND - first_us) * 1e-6 * rate_hz) - 1, 0)
    last_k = math.ceil((until_ns / MICROSECOND - first_us) * 1e-6 * rate_hz) + 1
    times = (
        (first_us + round(k * 1e6 / rate_hz)) * MICROSECOND for k in range(first_k, last_k + 1)
    )
    return [t_ns for t_ns in times if after_ns < t_ns <= until_ns]
