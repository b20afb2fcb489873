"""A package as bioimage.io packages are: the same network, its processing in their words."""

import contextlib
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from abbe.errors import ConfigError, MissingExtraError, PackageError
from abbe.exporting.comparison import predict_padded
from abbe.exporting.folder import check_new_file
from abbe.files import atomic_path
from abbe.imaging import normalise
from abbe.runtime.package import Package
from abbe.runtime.package.engine import open_engine

URL = "https://github.com/bioimage-io/spec-bioimage-io"


def write_bioimageio(
    package: Package,
    path: Path,
    *,
    authors: Sequence[str] = ("unknown",),
    licence: str | None = None,
    torchscript: Path | None = None,
) -> None:
    """Convert a segmentation package to a bioimage.io model (format 0.5), and test it.

    The model gives probabilities of the whole image. Instances are not part of it: the
    description says how Abbe makes them.

    Args:
        package: The package.
        path: The .zip file to make.
        authors: Names of the people to credit.
        licence: SPDX name of the licence under which the model may be used, such as "MIT"; None
            where that is not decided (bioimage.io itself then refuses it).
        torchscript: A TorchScript file of the same student, to be added for Java readers.

    Raises:
        MissingExtraError: bioimageio.core is not installed.
        ConfigError: The file exists, has another ending, or the licence is no SPDX name.
        PackageError: The result does not pass bioimageio.core's own test.
    """
    check_request(path, licence)
    from bioimageio.core import test_model
    from bioimageio.spec import save_bioimageio_package

    with tempfile.TemporaryDirectory() as scratch:
        model = _describe(package, Path(scratch), authors, licence, torchscript)
        with atomic_path(path) as temporary:
            zipped = Path(scratch) / "package.zip"  # its ending tells that it is a package
            save_bioimageio_package(model, output_path=zipped)
            summary = test_model(zipped)
            if summary.status != "passed":
                raise PackageError(
                    f"{path}: bioimageio.core does not accept the package: {_failures(summary)}"
                )
            temporary.write_bytes(zipped.read_bytes())


def check_request(path: Path, licence: str | None) -> None:
    """Refuse what could not be written, before any work.

    Raises:
        MissingExtraError: bioimageio.core is not installed.
        ConfigError: The file exists or has another ending, or the licence is no SPDX name.
    """
    check_new_file(path, ".zip", "--bioimageio")
    try:
        import bioimageio.core  # noqa: F401
        from bioimageio.spec.model.v0_5 import DeprecatedLicenseId, LicenseId
    except ModuleNotFoundError as error:
        raise MissingExtraError("bioimageio.core", "bioimageio", "--bioimageio") from error
    if licence is None:
        return
    for kind in (LicenseId, DeprecatedLicenseId):
        with contextlib.suppress(ValueError):
            kind(licence)
            return
    raise ConfigError(
        f"--licence {licence}: is no SPDX name; such are MIT, Apache-2.0, CC-BY-4.0, CC0-1.0 "
        "(https://spdx.org/licenses)"
    )


def _describe(
    package: Package,
    scratch: Path,
    authors: Sequence[str],
    licence: str | None,
    torchscript: Path | None,
) -> Any:
    from bioimageio.spec.model import v0_5 as spec

    description = package.description
    image, expected = _test_arrays(package, scratch)
    halo = _halo(package, np.load(image).shape[-2:])
    documentation = scratch / "documentation.md"
    documentation.write_text(_documentation(package), encoding="utf-8")
    return spec.ModelDescr(
        name=_plain(description.title),
        description=f"{description.architecture}, distilled with Abbe {description.abbe}",
        authors=[spec.Author(name=name) for name in authors],
        cite=[spec.CiteEntry(text="bioimage.io model format", url=spec.HttpUrl(URL))],
        license=licence,  # pyright: ignore[reportArgumentType]
        documentation=spec.FileDescr(source=documentation),
        tags=["segmentation", "2d", "unet", "abbe", *map(_plain, description.channels)],
        inputs=[_input(spec, package, image, halo)],
        outputs=[_output(spec, package, expected, halo)],
        weights=_weights(spec, package, torchscript),
    )


def _halo(package: Package, test_shape: tuple[int, ...]) -> int:
    """px to throw away at a tile's edges; fewer where the test image is too small for them."""
    divisor = package.description.divisor
    most = (min(test_shape) - divisor) // 2 // divisor * divisor
    return min(package.description.margin, max(most, 0))


def _input(spec: Any, package: Package, image: Path, halo: int) -> Any:
    description = package.description
    smallest = 2 * halo + description.divisor
    size = spec.ParameterizedSize(min=smallest, step=description.divisor)
    return spec.InputTensorDescr(
        id=spec.TensorId("image"),
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=[_identifier(name) for name in description.channels]),
            *(
                spec.SpaceInputAxis(id=spec.AxisId(name), size=size, **_scale(package))
                for name in "yx"
            ),
        ],
        test_tensor=spec.FileDescr(source=image),
        data=spec.IntervalOrRatioDataDescr(type="float32"),
        preprocessing=[
            *_scaling(spec, package),
            spec.ClipDescr(kwargs=spec.ClipKwargs(min=0.0, max=1.0)),
        ],
    )


def _scaling(spec: Any, package: Package) -> list[Any]:
    """What brings pixels as stored to 0 to 1; the network does the rest itself."""
    normalisation = package.description.normalisation
    if normalisation.kind == "percentile":
        percentiles = spec.ScaleRangeKwargs(
            axes=(spec.AxisId("y"), spec.AxisId("x")),
            min_percentile=normalisation.low,
            max_percentile=normalisation.high,
        )
        return [spec.ScaleRangeDescr(kwargs=percentiles)]
    [(_, most), *_] = normalisation.scaling.limits(_test_image(package)).tolist()
    if most == 1:
        return []
    # Readers hand over floats, so that only the images that it was made of tell the range.
    return [spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=1 / most, offset=0.0))]


def _test_image(package: Package) -> np.ndarray:
    """As stored, (C, H, W)."""
    return tifffile.imread(package.file("test_image")).reshape(
        len(package.description.channels), *np.load(package.file("expected"))["instances"].shape
    )


def _output(spec: Any, package: Package, expected: Path, halo: int) -> Any:
    description = package.description
    axis = (
        functools.partial(spec.SpaceOutputAxisWithHalo, halo=halo) if halo else spec.SpaceOutputAxis
    )
    image = spec.TensorId("image")
    return spec.OutputTensorDescr(
        id=spec.TensorId("probabilities"),
        axes=[
            spec.BatchAxis(),
            spec.ChannelAxis(channel_names=[_identifier(name) for name in description.outputs]),
            *(
                axis(
                    id=spec.AxisId(name),
                    size=spec.SizeReference(tensor_id=image, axis_id=spec.AxisId(name)),
                    **_scale(package),
                )
                for name in "yx"
            ),
        ],
        test_tensor=spec.FileDescr(source=expected),
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
        postprocessing=[spec.SigmoidDescr()],
    )


def _scale(package: Package) -> dict[str, Any]:
    size = package.description.pixel_size
    return {} if size is None else {"scale": size, "unit": "micrometer"}


def _weights(spec: Any, package: Package, torchscript: Path | None) -> Any:
    import onnx

    path = package.file("onnx")
    opset = onnx.load(path, load_external_data=False).opset_import[0].version
    weights = {"onnx": spec.OnnxWeightsDescr(source=path, opset_version=opset)}
    if torchscript is not None:
        import torch

        weights["torchscript"] = spec.TorchscriptWeightsDescr(
            source=torchscript,
            pytorch_version=spec.Version(torch.__version__.partition("+")[0]),
            parent="onnx",
        )
    return spec.WeightsDescr(**weights)


def _test_arrays(package: Package, scratch: Path) -> tuple[Path, Path]:
    """The package's test image as stored, (1, C, H, W), and the probabilities of it.

    Sides are cut to multiples of the divisor, which is all that other programs will give the
    network.
    """
    description = package.description
    divisor = description.divisor
    pixels = _test_image(package)
    height, width = (side - side % divisor for side in pixels.shape[1:])
    pixels = pixels[:, :height, :width]
    limits = description.normalisation.scaling.limits(pixels)
    pixels = pixels.astype(np.float32)
    engine = open_engine(package, engine="onnxruntime", precision="fp32", cache=scratch)
    maps = predict_padded(engine.probabilities, normalise(pixels, limits), divisor)
    image, expected = scratch / "test_input.npy", scratch / "test_output.npy"
    np.save(image, pixels[None])
    np.save(expected, maps[None])
    return image, expected


def _documentation(package: Package) -> str:
    description = package.description
    thresholds = description.thresholds
    lines = [
        f"# {description.title}",
        f"Gives probabilities of {', '.join(description.outputs)}. Abbe makes instances of them: "
        f"pixels of foreground >= {thresholds.foreground:g} are parted where boundary >= "
        f"{thresholds.boundary:g}, by watershed; objects below {description.instances.minimum_area}"
        " px are dropped.",
        _other_scaling(package),
        package.file("card").read_text(encoding="utf-8").split("---\n", 2)[-1],
        "## Validation",
        "Scores on test images stand above, under Scores.",
    ]
    return "\n\n".join(filter(None, lines))


def _other_scaling(package: Package) -> str:
    """Where bioimage.io's words bring an image to other values than Abbe does."""
    kind = package.description.normalisation.kind
    if kind == "percentile":
        return (
            "An image of which the low and the high percentile are one value, such as a few bright "
            "spots on black, is scaled otherwise here: Abbe takes its lowest and highest value."
        )
    if kind == "range":
        dtype = _test_image(package).dtype
        return (
            f"Images are divided by the largest value of {dtype}, the type of the test image; Abbe "
            "divides each by that of its own type. Scale images of other types beforehand."
        )
    return ""


def _plain(text: str) -> str:
    """Only what bioimage.io allows in names."""
    return "".join(c if c.isalnum() or c in "_+- ()" else " " for c in text).strip()


def _identifier(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def _failures(summary: Any) -> str:
    problems = [
        f"{detail.name}: {error.msg}" for detail in summary.details for error in detail.errors
    ]
    return "; ".join(problems)[:1500] or summary.status
