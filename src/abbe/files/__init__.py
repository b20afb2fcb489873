"""What is read and written that has nothing to do with images: whole, locked, or a stranger's."""

from abbe.files.whole import (
    atomic_folder,
    atomic_path,
    full_disk_named,
    is_being_written,
    parse_json,
    part_beside,
    part_of,
    remove_part,
    remove_stale_parts,
    remove_stale_parts_below,
    sha256_of_file,
    stale_parts,
    write_json,
    write_text,
)

__all__ = [
    "atomic_folder",
    "atomic_path",
    "full_disk_named",
    "is_being_written",
    "parse_json",
    "part_beside",
    "part_of",
    "remove_part",
    "remove_stale_parts",
    "remove_stale_parts_below",
    "sha256_of_file",
    "stale_parts",
    "write_json",
    "write_text",
]
