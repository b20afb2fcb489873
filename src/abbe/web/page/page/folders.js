/** Folders that are dropped or chosen: the files of an OME-Zarr. */

/**
 * The folder of a drop, where it is one; asked at once, because the drop is gone thereafter.
 *
 * @param {DataTransfer | null} dropped
 * @returns {Promise<{name: string, files: Map<string, File>}> | null}
 */
export function droppedFolder(dropped) {
  const entry = dropped?.items[0]?.webkitGetAsEntry?.();
  if (!entry?.isDirectory) return null;
  return filesBelow(/** @type {FileSystemDirectoryEntry} */ (entry)).then((files) => ({ name: entry.name, files }));
}

/** @param {FileSystemDirectoryEntry} folder @param {string} [below] @param {Map<string, File>} [found] */
async function filesBelow(folder, below = "", found = new Map()) {
  const reader = folder.createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // some at a time
    if (!entries.length) return found;
    for (const entry of entries) {
      if (entry.isDirectory) await filesBelow(/** @type {FileSystemDirectoryEntry} */ (entry), `${below}${entry.name}/`, found);
      else found.set(`${below}${entry.name}`, await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)));
    }
  }
}

/** The folder that was chosen in a field. @param {FileList} list */
export function chosenFolder(list) {
  const files = new Map([...list].map((file) => [file.webkitRelativePath.split("/").slice(1).join("/"), file]));
  return { name: list[0].webkitRelativePath.split("/")[0], files };
}
