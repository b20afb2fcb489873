"""``abbe serve --api``: packages as a REST service."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from abbe.cli.shared.arguments import parse, say
from abbe.errors import ConfigError, MissingExtraError

_NEEDED = ("fastapi", "fastapi_offline", "prometheus_client", "python_multipart", "uvicorn")
TOKEN = "ABBE_TOKEN"
"""Variable of the environment."""


@dataclass(frozen=True)
class ApiArguments:
    """Arguments of ``abbe serve --api``."""

    api: tuple[str, ...]
    """The packages: folders, names of those that come with Abbe, hf:OWNER/NAME; NAME=PLACE has one
    called NAME."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own (127.0.0.1, ::1) needs a token."""
    port: int = 8000
    """Port; 0 takes any that is free."""
    token_file: Path | None = None
    """File with the token that clients must show, or the variable ABBE_TOKEN; as 'Authorization:
    Bearer TOKEN'."""
    origins: tuple[str, ...] = ()
    """Sites whose pages may ask, such as https://viewer.example; none where omitted."""
    most_mebibytes: float = 256
    """MiB of a request."""
    most_megapixels: float = 100
    """Megapixels of an image."""
    most_seconds: float = 300
    """s for a request to come, and again for its answer, waiting included."""
    parallel: int | None = None
    """Images that are computed at a time; as many as the cores where omitted, 4 at most."""
    queue: int = 16
    """Requests that wait at most; those beyond are answered 503."""
    engine: Literal["openvino", "onnxruntime"] | None = None
    """What runs the networks; the packages' choice where omitted."""
    precision: Literal["fp32", "bf16", "int8"] | None = None
    """How they compute; the packages' choice where omitted."""
    device: Literal["cpu", "cuda", "gpu"] | None = None
    """As of abbe predict."""
    threads: int | None = None
    """Processor threads for the networks; OMP_NUM_THREADS or all where omitted."""


def run(words: list[str]) -> int:
    """``abbe serve --api``; goes on until interrupted."""
    description = """Answer other programs: they send an image and get what abbe predict says of it.

The service is for this machine alone (127.0.0.1) unless --host says otherwise, which needs a token.
/docs on it is a page of all addresses. No image stays on disk, and nothing of images is logged.

examples:
  abbe serve --api nuclei
  abbe serve --api nuclei packages/tissue-types types=packages/he-types --port 8000
  abbe serve --api nuclei --host 0.0.0.0 --token-file token --most-megapixels 25
  curl --data-binary @cells.png "http://127.0.0.1:8000/v1/packages/nuclei/predict?answer=geojson"
"""
    arguments = parse(ApiArguments, "serve", words, description)
    for package in _NEEDED:
        if find_spec(package) is None:
            raise MissingExtraError(package, "service", "The REST service")
    from abbe.machine.threads import cores
    from abbe.service.app import application
    from abbe.service.guard import check_token
    from abbe.service.limits import Limits
    from abbe.service.log import only_own_lines
    from abbe.service.packages import open_packages
    from abbe.service.server import address_of, listen
    from abbe.service.server import run as run_server
    from abbe.service.working_folder import working_folder

    if not arguments.api:
        raise ConfigError("--api: name at least one package (abbe models lists those that come)")
    token = _token(arguments.token_file)
    check_token(arguments.host, token)
    parallel = min(4, cores()) if arguments.parallel is None else arguments.parallel
    limits = Limits(
        arguments.most_mebibytes, arguments.most_megapixels, arguments.most_seconds, parallel,
        arguments.queue,
    )  # fmt: skip
    listening = listen(arguments.host, arguments.port)
    predictors = open_packages(
        arguments.api, engine=arguments.engine, precision=arguments.precision,
        device=arguments.device, threads=arguments.threads, workers=parallel,
    )  # fmt: skip
    for name, predictor in predictors.items():
        say(f"{name}: {predictor.package.description.title}, {predictor}")
    only_own_lines()
    with working_folder() as folder:
        app = application(predictors, folder, limits, token=token, origins=arguments.origins)
        shown = "with a token" if token else "without a token, for this machine alone"
        say(f"{address_of(listening)} answers, {shown}; all it knows is on /docs. Ctrl+C ends it.")
        run_server(app, listening, limits.seconds)
    say("\nEnded; no image is left on disk.")
    return 0


def _token(file: Path | None) -> str | None:
    """The token of the file, or else of the environment.

    Raises:
        ConfigError: The file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {file}: cannot be read ({error})") from error
    if not token:
        raise ConfigError(f"--token-file {file}: is empty")
    return token
