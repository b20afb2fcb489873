"""What makes a folder a target store: its group metadata, and ``index.jsonl``, a line a target."""

from pathlib import Path

from abbe import __version__
from abbe.errors import StoreError
from abbe.files import parse_json, write_json
from abbe.near import meant_beside
from abbe.targets.arrays import read_node
from abbe.targets.entries import Entry
from abbe.targets.provenance import Provenance

FORMAT = "abbe-targets"
FORMAT_VERSION = 1
INDEX = "index.jsonl"


def create(root: Path, provenance: Provenance) -> None:
    """Make an empty store; the group's metadata comes last, so that a store has all or nothing."""
    (root / INDEX).touch()
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_by": f"abbe {__version__}",
        "provenance": provenance.to_json(),
    }
    write_json(
        root / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    )


def read_provenance(root: Path) -> Provenance:
    """Where the store's targets come from.

    Raises:
        StoreError: this is no target store, or one of a version that this Abbe does not know.
    """
    if not (root / "zarr.json").exists():
        raise StoreError(f"{root}: no target store here (it has no zarr.json).{meant_beside(root)}")
    attributes = read_node(root, "group").get("attributes", {})
    if attributes.get("format") != FORMAT:
        raise StoreError(f"{root}: a zarr group, but not a target store (format is not '{FORMAT}')")
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{root}: target store of format version {version!r}; this Abbe ({__version__}) knows "
            f"version {FORMAT_VERSION}: use the Abbe that wrote it"
        )
    try:
        return Provenance.from_json(attributes.get("provenance"))
    except StoreError as error:
        raise StoreError(f"{root / 'zarr.json'}: {error}") from None


def read_index(root: Path) -> tuple[list[Entry], int]:
    """All recorded targets in the order they came, and the bytes of ``index.jsonl`` they fill.

    What stands behind the last line end is the torn record of a killed writer and is left out.

    Raises:
        StoreError: the file is missing, or a whole line is not a record; names the line.
    """
    path = root / INDEX
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: missing; without it nobody knows which map belongs to which image: "
            "copy the store again, or teach into a new one"
        ) from None
    whole = data.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entries.append(Entry.from_json(parse_json(line)))
        except (StoreError, ValueError) as error:
            raise StoreError(f"{path}: line {number}: {error}") from None
    _refuse_repeated(path, entries)
    return entries, whole


def _refuse_repeated(path: Path, entries: list[Entry]) -> None:
    seen = set()
    checksums: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        if (entry.id, entry.view) in seen:
            raise StoreError(f"{path}: line {number}: '{entry.id}' stands there twice")
        seen.add((entry.id, entry.view))
        if checksums.setdefault(entry.id, entry.image_sha256) != entry.image_sha256:
            raise StoreError(f"{path}: line {number}: '{entry.id}' has two different images")
