import type { SlideImage } from "../api/types";
import { folderOf } from "../model/companions";
import { storeSource } from "../model/stores";
import type { Interrupted } from "./notes";
import type { Upload } from "./upload";

/**
 * One line of a session: an image, a file of this browser, or an image that this browser is or was sending. `folder` is
 * where its file lies or lay if another has the same name, else empty.
 */
export type Row = { key: string; folder: string } & (
  | { image: SlideImage; upload: Upload | null; interrupted: Interrupted | null }
  | { image: null; upload: Upload; interrupted: null }
);

/**
 * Newest first, in the order in which files were dropped: a file that waits keeps its place when it becomes
 * an image. A file that is stored stays until its image appears; `seen` are images that have appeared before, and if
 * one of them is missing now, it was deleted.
 */
export function rowsOf(
  images: readonly SlideImage[],
  uploads: readonly Upload[],
  interrupted: readonly Interrupted[],
  seen: ReadonlySet<string>,
): Row[] {
  const known = new Set(images.map((image) => image.id));
  const halfSent = new Map(interrupted.map((one) => [one.image, one]));
  const sending = new Map<string, Upload>();
  const alone: Row[] = [];
  for (const upload of uploads) {
    const id = upload.image.value;
    if (id !== null && known.has(id)) sending.set(id, upload);
    else if (upload.phase.value.kind !== "stored" || id === null || !seen.has(id))
      alone.push({ key: `upload-${upload.key}`, folder: "", image: null, upload, interrupted: null });
  }
  const rows = images.map((image): Row => {
    const upload = sending.get(image.id) ?? null;
    return {
      key: upload === null ? image.id : `upload-${upload.key}`,
      folder: "",
      image,
      upload,
      interrupted: image.state === "uploading" ? (halfSent.get(image.id) ?? null) : null,
    };
  });
  return withFolders([...rows, ...alone].reverse());
}

export const nameOf = (row: Row): string => row.image?.name ?? row.upload?.file.name ?? "";

function withFolders(rows: readonly Row[]): Row[] {
  const times = new Map<string, number>();
  for (const row of rows) times.set(nameOf(row), (times.get(nameOf(row)) ?? 0) + 1);
  return rows.map((row) => ((times.get(nameOf(row)) ?? 0) > 1 ? { ...row, folder: folderOfRow(row) } : row));
}

function folderOfRow({ image, upload }: Row): string {
  const inStore = storeSource(image?.source ?? null);
  if (inStore !== null) return folderOf(inStore.path);
  return image?.folder ?? upload?.origin.folder ?? "";
}

export type Kind = "working" | "ready" | "failed";

export function kindOf(row: Row): Kind {
  if (row.upload?.phase.value.kind === "failed") return "failed";
  if (row.image === null) return "working";
  if (row.image.state === "ready" || row.image.state === "failed") return row.image.state;
  return "working";
}
