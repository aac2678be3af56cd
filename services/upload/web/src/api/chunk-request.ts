import type { ByteRange } from "../model/chunks";
import { contentRange } from "../model/chunks";
import { refuse, sessionPath } from "./client";
import { unreachable } from "./problem";
import type { ChunkReply } from "./types";

const SILENT_FOR_MS = 60_000;

export interface ChunkRequest {
  session: string;
  name: string;
  /** Null for the first chunk, which creates the file. */
  upload: string | null;
  idempotencyKey: string;
  range: ByteRange;
  total: number;
  body: Blob;
  signal: AbortSignal;
  onSent(bytes: number): void;
}

/** Sends one chunk. XMLHttpRequest, because fetch does not tell how much of a body has left. */
export function postChunk(chunk: ChunkRequest): Promise<ChunkReply> {
  return new Promise((resolve, reject) => {
    const query =
      chunk.upload === null
        ? `name=${encodeURIComponent(chunk.name)}`
        : `_id=${encodeURIComponent(chunk.upload)}`;
    const xhr = new XMLHttpRequest();
    xhr.open("POST", `${sessionPath(chunk.session, "/files")}?${query}`);
    xhr.setRequestHeader("Content-Type", "application/octet-stream");
    xhr.setRequestHeader("Content-Range", contentRange(chunk.range, chunk.total));
    if (chunk.upload === null) xhr.setRequestHeader("Idempotency-Key", chunk.idempotencyKey);

    let silence = 0;
    const heard = (): void => {
      window.clearTimeout(silence);
      silence = window.setTimeout(() => xhr.abort(), SILENT_FOR_MS);
    };
    const cancel = (): void => xhr.abort();
    chunk.signal.addEventListener("abort", cancel);

    xhr.upload.addEventListener("progress", (event) => {
      heard();
      chunk.onSent(event.loaded);
    });
    xhr.addEventListener("load", () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve(JSON.parse(xhr.responseText) as ChunkReply);
      else reject(refuse(xhr.status, xhr.responseText));
    });
    xhr.addEventListener("error", () => reject(unreachable()));
    xhr.addEventListener("abort", () => reject(unreachable()));
    xhr.addEventListener("loadend", () => {
      window.clearTimeout(silence);
      chunk.signal.removeEventListener("abort", cancel);
    });

    heard();
    xhr.send(chunk.body);
  });
}
