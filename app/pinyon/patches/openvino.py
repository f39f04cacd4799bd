"""OpenVINO without its reports to an analytics service. Importing this module takes seconds.

OpenVINO reports its own import and every conversion, unless the package openvino_telemetry is missing. Serving never
touches the network, so this module hides that package before it imports OpenVINO. Import OpenVINO from here only.
"""

import sys

from pinyon.patches.supported import check_shape, check_version

SUPPORTED = ">=2026.4,<2027"

check_version("openvino", SUPPORTED)
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402
from openvino.tools.ovc import telemetry_utils  # noqa: E402

check_shape("openvino", telemetry_utils.tm.__name__.endswith("telemetry_stub"), "openvino.tools.ovc.telemetry_utils.tm")

__all__ = ["openvino"]
