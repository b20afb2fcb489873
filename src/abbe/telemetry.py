"""Reports of use that libraries send by themselves, switched off before they are loaded.

OpenVINO tells an analytics service when it is imported and when it converts a network, and leaves a
number for this user in the home folder; nncf does so when it quantises; ONNX Runtime from 1.29 does
so, from its own threads, when it loads a network. Hugging Face's client names the versions of other
libraries in its requests. Nothing of this is wanted where images of patients are analysed.
"""

import os
import sys

_VARIABLES = ("ORT_DISABLE_TELEMETRY", "NNCF_CI", "HF_HUB_DISABLE_TELEMETRY")
"""Read by ONNX Runtime, nncf and huggingface_hub when they are loaded."""


def switch_off() -> None:
    """Keep libraries that this process is about to load from reporting their use.

    A variable that is set already keeps its value. OpenVINO has no variable for it: it goes
    without reports where the package ``openvino_telemetry`` cannot be imported, so that is what is
    arranged, and for all of this process, because nncf and OpenVINO's converter look for the
    package again whenever they are used. One that was imported before is left alone.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
