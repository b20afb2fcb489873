"""The form that finds objects: a package, an image layer, and layers with what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from magicgui.types import FileDialogMode
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    Label,
    LineEdit,
    ProgressBar,
    PushButton,
    SpinBox,
)
from napari.layers import Image as ImageLayer
from napari.layers import Labels, Layer, Points, Shapes
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info

from abbe.errors import AbbeError, ConfigError, InputError
from abbe.napari.channels import Channel, assign, channel_axes, channels_of, choices, likely_axis
from abbe.napari.finding import (
    Found,
    Search,
    check_channels,
    check_pixel_size,
    check_prompts,
    check_size,
    check_task,
    find,
    layers_of,
)
from abbe.napari.percents import percents
from abbe.napari.prompting import prompts_in
from abbe.napari.reader import PACKAGE
from abbe.napari.saving import fingerprint, save
from abbe.napari.slices import Position, all_positions, pixel_size_of, shown_position
from abbe.runtime.package import Package, read_package
from abbe.runtime.package.places import shipped
from abbe.runtime.predictors.prompt_files import ObjectPrompt

if TYPE_CHECKING:
    from napari.viewer import Viewer

SHOWN, ALL = "the slice shown", "all slices, each by itself"
AS_PACKED = "as the package says"


FIRST = "nuclei"
"""The package that is chosen when nothing says otherwise; it comes with Abbe."""
PLACES = (
    "package", "image", "channels", "pixel size", "prompts", "slices", "search", "save"
)  # fmt: skip
"""Where the form says what is wrong: below what it is about."""
CHECKS = {
    "prompts": check_prompts,
    "channels": check_channels,
    "pixel size": check_pixel_size,
    "slices": check_size,
}
"""By place, what is looked at before a search."""


@dataclass(frozen=True)
class _Latest:
    """The newest objects: how they were found, their layer, and whether it was edited since."""

    search: Search
    found: Found
    layer: Labels
    fingerprint: str


class FindObjects(Container):
    """A form in napari: choose a package and an image, and find objects in the background.

    Args:
        napari_viewer: Where images come from and results go to.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        self._viewer = napari_viewer
        self._opened: Package | None = None
        self._stop = Event()
        self.package = FileEdit(
            label="package", mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True
        )
        self.about = _words()
        self.image = ComboBox(label="image", choices=self._image_layers)
        self.axis = ComboBox(label="channels along", choices=self._axes)
        self.channels: Container[ComboBox] = Container(label="", layout="vertical")
        self.channels.margins = (0, 0, 0, 0)
        self.pixel_size = LineEdit(label="pixel size, µm")
        self.prompts = ComboBox(label="prompts", choices=self._prompt_layers, nullable=True)
        self.slices = ComboBox(label="search", choices=[SHOWN, ALL])
        self.precision = ComboBox(label="precision", choices=[AS_PACKED, "fp32", "bf16", "int8"])
        self.threads = SpinBox(label="threads (0: all)", min=0, max=1024, value=0)
        self.maps = CheckBox(text="probability maps too", value=False)
        self.start = PushButton(text="Find objects")
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(label="", min=0, max=100, value=0)
        self.message = _words()
        self.folder = FileEdit(
            label="save to folder", mode=FileDialogMode.EXISTING_DIRECTORY, nullable=True
        )
        self.save = PushButton(text="Save outlines and table", enabled=False)
        self.notes = {name: _note() for name in PLACES}
        self._place = PLACES[0]
        self._latest: _Latest | None = None
        self._written: set[Path] = set()
        buttons = Container(widgets=[self.start, self.cancel], layout="horizontal", label="")
        super().__init__()
        self.extend(  # after the beginning: only then are labels made equally wide
            [
                self.package, self.about, self.notes["package"], self.image, self.notes["image"],
                self.axis, self.channels, self.notes["channels"],
                self.pixel_size, self.notes["pixel size"], self.prompts, self.notes["prompts"],
                self.slices, self.notes["slices"], self.precision, self.threads, self.maps,
                buttons, self.progress, self.message, self.notes["search"],
                self.folder, self.save, self.notes["save"],
            ]
        )  # fmt: skip
        self.package.changed.connect(self._package_chosen)
        self.image.changed.connect(self._image_chosen)
        self.axis.changed.connect(self._guess_channels)
        self.start.changed.connect(self._run)
        self.cancel.changed.connect(self._cancel)
        self.save.changed.connect(self._save)
        layers = napari_viewer.layers
        layers.events.inserted.connect(self._layer_added)
        layers.events.removed.connect(self._layer_removed)
        for layer in layers:
            self._remember(layer)
        if self.package.value is None and (first := shipped().get(FIRST)) is not None:
            self.package.value = first  # so that the first click finds something
        self._image_chosen()
        self._fit_to_task()

    def search(self) -> Search:
        """What the form asks for.

        Raises:
            AbbeError: Something is missing or does not fit; the message says what.
        """
        self._place = "package"
        if self._opened is None:
            raise ConfigError("Choose a package: the folder that 'abbe export' wrote")
        check_task(self._opened)
        self._place = "image"
        if self.image.value is None:
            raise InputError("Choose an image layer; open an image first if there is none")
        self._place = "channels"
        channels = self._channels()
        self._place = "slices"
        shown = self._asks or self.slices.value == SHOWN
        positions = (
            [shown_position(channels[0], self._viewer.dims)]
            if shown
            else all_positions(channels[0])
        )
        self._place = "pixel size"
        size = self._pixel_size()
        self._place = "prompts"
        prompts = self._prompts(channels[0], positions[0])
        precision = self.precision.value
        search = Search(
            self._opened,
            channels,
            tuple(positions),
            size,
            None if precision == AS_PACKED else precision,
            self.threads.value or None,
            self.maps.value and not self._asks,
            prompts,
        )
        for self._place, looked_at in CHECKS.items():
            looked_at(search)
        self._place = "search"
        return search

    @property
    def told(self) -> str:
        """All that the form says now of what was done or went wrong, a line each."""
        notes = [note.value for note in self.notes.values() if note.value]
        return "\n".join([*([self.message.value] if self.message.value else []), *notes])

    def _package_chosen(self, folder: Path | None) -> None:
        self._opened, self._place = None, "package"
        self.about.value = ""
        self._clear()
        if folder is not None:
            try:
                self._opened = read_package(folder)
            except AbbeError as error:
                self._refuse(error)
            else:
                self.about.value = _about(self._opened)
        self._fit_to_task()
        self._guess_axis()

    @property
    def _asks(self) -> bool:
        """Whether the package must be shown each object."""
        return self._opened is not None and self._opened.description.traits.prompted

    def _fit_to_task(self) -> None:
        """Show only what the package can be asked for."""
        self.prompts.visible = self._asks
        self.slices.visible = self.maps.visible = not self._asks

    def _prompts(self, channel: Channel, position: Position) -> tuple[ObjectPrompt, ...]:
        layer = self.prompts.value
        return prompts_in(layer, channel, position) if self._asks and layer is not None else ()

    def _image_chosen(self) -> None:
        layer, self._place = self.image.value, "pixel size"
        self.pixel_size.value = ""
        if layer is not None:
            axis = likely_axis(layer, len(self._wanted()))
            try:
                size = pixel_size_of(channels_of(layer, axis)[0])
            except InputError as error:
                self._refuse(error)
            else:
                self.pixel_size.value = "" if size is None else f"{size:.6g}"
        self._guess_axis()

    def _guess_axis(self) -> None:
        layer = self.image.value
        self.axis.reset_choices()
        self.axis.enabled = len(self.axis.choices) > 1
        if layer is not None:
            self.axis.value = likely_axis(layer, len(self._wanted()))
        self._guess_channels()

    def _guess_channels(self) -> None:
        """A choice for each channel that the package sees; the user may change the guess."""
        found, wanted = self._found_channels(), self._wanted()
        guessed = assign(wanted, found) if found else [None for _ in wanted]
        self.channels.clear()
        for name, guess in zip(wanted, guessed, strict=True):
            choice = ComboBox(label=name, choices=self._channel_choices, nullable=True)
            self.channels.append(choice)
            choice.reset_choices()
            choice.value = guess
        self.slices.enabled = bool(found) and len(found[0].shape) > 2

    def _channels(self) -> tuple[Channel, ...]:
        chosen = [(each.label, each.value) for each in self.channels]
        if missing := [name for name, channel in chosen if channel is None]:
            count = len(channels_of(self.image.value, self.axis.value))
            raise InputError(
                f"{self.image.value.name}: the package sees {len(chosen)} channels "
                f"({', '.join(self._wanted())}), and this layer has {count}. Choose which is "
                f"{' and which is '.join(missing)}; it may be another layer of the same size"
            )
        return tuple(channel for _, channel in chosen)

    def _pixel_size(self) -> float | None:
        text = self.pixel_size.value.strip()
        try:
            return float(text) if text else None
        except ValueError as error:
            raise InputError(f"pixel size: '{text}' is no number. Give it in µm") from error

    def _run(self) -> None:
        try:
            search = self.search()
        except AbbeError as error:
            self._refuse(error)
            return
        self._stop = Event()
        self._clear()
        self.message.value = "searching …"
        self._working(True)

        def call(advance: Any) -> Found:
            return find(search, advance)

        worker = create_worker(
            percents,
            call,
            self._stop,
            _progress={"total": 100, "desc": search.package.description.title},
            _ignore_errors=True,  # they are shown below, and not raised again
        )
        worker.yielded.connect(self._advanced)
        worker.returned.connect(lambda found: self._found(search, found))
        worker.errored.connect(self._failed)
        worker.aborted.connect(self._cancel)  # napari is being closed
        worker.finished.connect(self._ended)
        worker.start()

    def _cancel(self, _: Any = None) -> None:
        self._stop.set()
        self.message.value = "stopping …"

    def _ended(self, _: Any = None) -> None:
        self._working(False)

    def _advanced(self, percent: int) -> None:
        self.progress.value = percent

    def _found(self, search: Search, found: Found | None) -> None:
        if found is None:
            self.message.value = "stopped; nothing was added"
            return
        added = [Layer.create(*each) for each in layers_of(search, found)]
        for layer in added:
            self._viewer.add_layer(layer)
        labels = cast(Labels, added[0])
        self._latest = _Latest(search, found, labels, fingerprint(found.labels))
        self.save.enabled = True
        count = len(found.table["label"])
        objects = "object" if count == 1 else "objects"
        self.message.value = f"{count:,} {objects}" if count else "no objects found"
        show_info(f"{search.package.description.title}: {self.message.value}")

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, AbbeError):
            raise error  # a mistake of ours: napari shows where it happened
        self._refuse(error)

    def _refuse(self, error: AbbeError) -> None:
        """Say what is wrong beside what it is about."""
        self._clear()
        note = self.notes[self._place]
        note.value, note.visible = str(error), True
        show_error(str(error))

    def _clear(self) -> None:
        self.message.value = ""
        for note in self.notes.values():
            note.value, note.visible = "", False

    def _save(self) -> None:
        """Write the newest objects, as they are now, to the chosen folder."""
        latest, self._place = self._latest, "save"
        if latest is None:
            return
        chosen: Any = self.folder.value  # one, as its mode says
        try:
            if chosen is None:
                raise InputError("Choose a folder to save to")
            labels = np.asarray(latest.layer.data)
            files = save(
                Path(chosen),
                latest.layer.name,
                latest.search,
                latest.found,
                labels,
                edited=fingerprint(labels) != latest.fingerprint,
                own=self._written,
            )
        except AbbeError as error:
            self._refuse(error)
            return
        self._written |= set(files)
        self._clear()
        self.message.value = f"saved: {', '.join(path.name for path in files)}"

    def _working(self, working: bool) -> None:
        self.start.enabled = not working
        self.cancel.enabled = working
        self.progress.value = 0

    def _wanted(self) -> tuple[str, ...]:
        return () if self._opened is None else self._opened.description.channels

    def _images(self) -> list[ImageLayer]:
        return [layer for layer in self._viewer.layers if isinstance(layer, ImageLayer)]

    def _image_layers(self, _: Any) -> list[tuple[str, ImageLayer]]:
        return [(layer.name, layer) for layer in self._images()]

    def _prompt_layers(self, _: Any) -> list[tuple[str, Points | Shapes]]:
        layers = self._viewer.layers
        return [(layer.name, layer) for layer in layers if isinstance(layer, Points | Shapes)]

    def _axes(self, _: Any) -> list[tuple[str, int | None]]:
        layer = self.image.value
        if layer is None:
            return [("none", None)]
        return [(_axis_name(layer, axis), axis) for axis in channel_axes(layer)]

    def _found_channels(self) -> list[Channel]:
        layer = self.image.value
        return [] if layer is None else choices(layer, self.axis.value, self._images())

    def _channel_choices(self, _: Any) -> list[tuple[str, Channel]]:
        return [(channel.title, channel) for channel in self._found_channels()]

    def _layer_added(self, event: Any) -> None:
        self.reset_choices()
        self._remember(event.value)

    def _layer_removed(self, _: Any) -> None:
        self.reset_choices()

    def _remember(self, layer: Layer) -> None:
        """Choose the package that a layer was opened with."""
        folder = layer.metadata.get(PACKAGE)
        if folder and Path(folder) != self.package.value:
            self.package.value = Path(folder)


def _words() -> Label:
    """Text that takes as many lines as it needs, and does not widen the form."""
    label = Label(label="")
    label.native.setWordWrap(True)
    return label


def _note() -> Label:
    """What is wrong with what stands above; it takes no room while it says nothing."""
    label = _words()
    label.native.setStyleSheet("color: #e5484d")
    label.visible = False
    return label


def _about(package: Package) -> str:
    """A line on what a package sees."""
    description = package.description
    size = description.pixel_size
    return f"{description.title}: sees {', '.join(description.channels)}" + (
        "" if size is None else f", trained at {size:g} µm"
    )


def _axis_name(layer: ImageLayer, axis: int | None) -> str:
    if layer.rgb:
        return "colours"
    if axis is None:
        return "none: one channel"
    return f"axis {axis} ({layer.axis_labels[axis]}), {Channel(layer, '').shape[axis]} entries"
