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
"""Places on the ellipsoid, against numbers of pyproj 3.7 (EPSG:4978 to EPSG:4979)."""

from nurec_ros.scenario.geodesy import geodetic
import pytest

# Latitude and longitude in degrees, ellipsoidal height in metres, and the ECEF position.
PLACES = [
    (59.35, 17.96, 23.5, (3100787.7174247676, 1005114.2477972183, 5463935.220180107)),
    (40.44, -80.0, 250.0, (844164.5219783412, -4787494.906262039, 4115453.4908792274)),
    (25.76, -80.19, -12.25, (979338.6377045221, -5663872.068407574, 2755134.53542324)),
    (0.0, 0.0, 20.0, (6378157.0, 0.0, 0.0)),
    (-45.0, 180.0, 1000.0, (-4518297.985630118, 5.533319165695858e-10, -4488055.515647106)),
    (35.7, 139.7, 3776.0, (-3957150.498651565, 3355907.671600569, 3703414.38751761)),
    (-16.5, -68.15, 4150.0, (2278143.8807119504, -5681382.23985696, -1801026.6728918843)),
    (78.2, 15.6, 0.0, (1260305.2018351827, 351883.53501408896, 6221540.87178922)),
    (90.0, 0.0, 5.0, (3.9186239864314697e-10, 0.0, 6356757.314245179)),
]


@pytest.mark.parametrize(('latitude', 'longitude', 'height', 'ecef'), PLACES)
def test_places(latitude, longitude, height, ecef):
    found = geodetic(*ecef)
    # 1e-9 deg are 0.1 mm.
    assert found[:2] == pytest.approx((latitude, longitude), abs=1e-9)
    assert found[2] == pytest.approx(height, abs=1e-4)
