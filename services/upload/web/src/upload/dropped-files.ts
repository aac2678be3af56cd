import type { Found } from "./slides";

/** As in `shared/slides/litter.py`: `tests/unit/test_slides_litter.py` holds them to it. */
export const LITTER = [
  "__macosx",
  "thumbs.db",
  "desktop.ini",
  "$recycle.bin",
  "system volume information",
  "lost+found",
  "@eadir",
  "#recycle",
];

/** True for what operating systems and file servers leave in folders and nobody means to upload. */
export const isLitter = (name: string): boolean =>
  name.startsWith(".") || LITTER.includes(name.toLowerCase());

/** All files of a drop, folders read to the bottom, in the order of their names. */
export async function droppedFiles(transfer: DataTransfer): Promise<Found[]> {
  // The list empties itself once the event handler has returned, so entries are taken before any await.
  const entries = Array.from(transfer.items, (item) =>
    item.kind === "file" ? item.webkitGetAsEntry() : null,
  );
  if (entries.every((entry) => entry === null)) return chosenFiles(Array.from(transfer.files));
  const nested = await Promise.all(
    entries.filter((entry) => entry !== null).map((entry) => filesUnder(entry)),
  );
  return nested.flat();
}

/** Files that were chosen one by one. */
export const chosenFiles = (files: readonly File[]): Found[] =>
  files.map((file) => ({ path: file.name, file }));

/** The files of a chosen folder, without litter, in the order of their names: the browser gives them in the disk's. */
export const filesOfFolder = (files: readonly File[]): Found[] =>
  files
    .map((file) => ({ path: file.webkitRelativePath, file }))
    .filter(({ path }) => !path.split("/").some(isLitter))
    .sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));

async function filesUnder(entry: FileSystemEntry): Promise<Found[]> {
  if (entry.isFile) {
    const file = await fileOf(entry as FileSystemFileEntry);
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const children = (await childrenOf(entry as FileSystemDirectoryEntry)).filter(
    (child) => !isLitter(child.name),
  );
  children.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return (await Promise.all(children.map(filesUnder))).flat();
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));

async function childrenOf(directory: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = directory.createReader();
  const children: FileSystemEntry[] = [];
  for (;;) {
    // Chromium answers at most 100 entries a call, then an empty list.
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (batch.length === 0) return children;
    children.push(...batch);
  }
}
