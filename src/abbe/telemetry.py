"""Reports of use that libraries send by themselves, switched off before they are loaded.

OpenVINO tells an analytics service when it is imported and when it converts a network, and leaves a
number for this user in the home folder; nncf does so when it quantises; ONNX Runtime from 1.29 does
so, from its own threads, when it loads a network. Hugging Face's client names the versions of other
libraries in its requests. Nothing of this is wanted where images of patients are analysed.
"""

import os
import sys

_VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "NNCF_CI": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}
"""Read by ONNX Runtime, nncf, huggingface_hub and, where they are installed, W&B and MLflow
when they are loaded; the last by whoever follows that custom."""


def switch_off() -> None:
    """Keep libraries that this process is about to load from reporting their use.

    A variable that is set already keeps its value. OpenVINO has no variable for it: it goes
    without reports where the package ``openvino_telemetry`` cannot be imported, so that is what is
    arranged, and for all of this process, because nncf and OpenVINO's converter look for the
    package again whenever they are used. One that was imported before is left alone.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
