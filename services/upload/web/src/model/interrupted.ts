/** A file that was half sent when its page was closed, as the tus client noted it in the browser's storage. */
export interface Noted {
  storageKey: string;
  /** The upload's id. */
  upload: string;
  session: string;
  name: string;
  size: number;
}

export const NOTE_PREFIX = "tus::";

/** Reads one entry of the storage; null for whatever is not a note of ours. */
export function notedIn(storageKey: string, text: string): Noted | null {
  if (!storageKey.startsWith(NOTE_PREFIX)) return null;
  let note: unknown;
  try {
    note = JSON.parse(text);
  } catch {
    return null;
  }
  const { size, uploadUrl, metadata } = (note ?? {}) as {
    size?: unknown;
    uploadUrl?: unknown;
    metadata?: { session?: unknown; filename?: unknown };
  };
  if (typeof size !== "number" || typeof uploadUrl !== "string") return null;
  const session = metadata?.session;
  const name = metadata?.filename;
  if (typeof session !== "string" || typeof name !== "string") return null;
  return { storageKey, upload: uploadIdOf(uploadUrl), session, name, size };
}

/** The upload's id: the last part of its address. */
export const uploadIdOf = (url: string): string => url.replace(/\/+$/, "").split("/").at(-1) ?? "";
