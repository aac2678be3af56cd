import { isLitter } from "../model/pictures";
import type { Found } from "./slides";

/** All files of a drop, folders read to the bottom, in the order of their names. */
export async function droppedFiles(transfer: DataTransfer): Promise<Found[]> {
  // The list empties itself once the event handler has returned, so entries are taken before any await.
  const entries = Array.from(transfer.items, (item) =>
    item.kind === "file" ? item.webkitGetAsEntry() : null,
  );
  if (entries.every((entry) => entry === null)) return chosenFiles(Array.from(transfer.files));
  const nested = await Promise.all(
    entries.filter((entry) => entry !== null).map((entry) => filesUnder(entry, entry.isFile)),
  );
  return nested.flat();
}

/** Files that were chosen one by one. */
export const chosenFiles = (files: readonly File[]): Found[] =>
  files.map((file) => ({ path: file.name, file, chosen: true }));

/** The files of a chosen folder, without litter, in the order of their names: the browser gives them in the disk's. */
export const filesOfFolder = (files: readonly File[]): Found[] =>
  files
    .map((file) => ({ path: file.webkitRelativePath, file, chosen: false }))
    .filter(({ path }) => !path.split("/").some(isLitter))
    .sort((a, b) => a.path.localeCompare(b.path, "en", { numeric: true }));

async function filesUnder(entry: FileSystemEntry, chosen: boolean): Promise<Found[]> {
  if (entry.isFile) {
    const file = await fileOf(entry as FileSystemFileEntry);
    return [{ path: entry.fullPath.replace(/^\//, ""), file, chosen }];
  }
  const children = (await childrenOf(entry as FileSystemDirectoryEntry)).filter(
    (child) => !isLitter(child.name),
  );
  children.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return (await Promise.all(children.map((child) => filesUnder(child, false)))).flat();
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
