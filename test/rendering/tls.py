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
"""A certificate for localhost that signs itself; its key protects nothing but these tests."""

from pathlib import Path

import grpc

# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
#   -subj /CN=localhost -addext subjectAltName=DNS:localhost
CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUJ6DRkeQnlniWOlHmca+G0zJF5o8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTAxMjg1OVoYDzIxMjYxMTAx
MDEyODU5WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS3mdWCvXtMYu2Zlynk4fanUBvxDS9YkLs+WT2PVdd57ChAAM0fBPiP
ZtFFMoSlee9VoYBUb82sUv5ZQkCRH6gvo2kwZzAdBgNVHQ4EFgQUs5pS3xH7++xJ
7B8HGemLfNDiEIwwHwYDVR0jBBgwFoAUs5pS3xH7++xJ7B8HGemLfNDiEIwwFAYD
VR0RBA0wC4IJbG9jYWxob3N0MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwID
RwAwRAIgYnLgHMS2JOR/SYtKcpHC1j72VXaIl2KrfA0w+xWOAuACIEygSnIepnDX
sWNaMIPAzaGznkTDeC/Xizdi+heU+v3x
-----END CERTIFICATE-----
"""
KEY = b"""\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4JkN7i2lJqZM5yk8
xGiiJ8VpSEXETPQK6gtSLRWtGeKhRANCAAS3mdWCvXtMYu2Zlynk4fanUBvxDS9Y
kLs+WT2PVdd57ChAAM0fBPiPZtFFMoSlee9VoYBUb82sUv5ZQkCRH6gv
-----END PRIVATE KEY-----
"""


def server_credentials(folder: Path) -> tuple[grpc.ServerCredentials, Path]:
    """Return what a server presents, and the file that its clients trust."""
    path = folder / 'root.pem'
    path.write_bytes(CERTIFICATE)
    return grpc.ssl_server_credentials([(KEY, CERTIFICATE)]), path
