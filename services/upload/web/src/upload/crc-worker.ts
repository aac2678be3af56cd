import { crc32 } from "../model/crc32";

/** Reads files to their ends, one after the other, beside the page, which stays as quick as it is. */

const PIECE_BYTES = 4 * 1024 * 1024;

/** What it tells: bytes read so far, the CRC-32 of each file at the end, or the name of one that can't be read. */
export type Told =
  | { kind: "read"; bytes: number }
  | { kind: "done"; crcs: number[] }
  | { kind: "unreadable"; name: string };

const tell = (told: Told): void => self.postMessage(told);

self.addEventListener("message", ({ data }: MessageEvent<File[]>) => void readAll(data));

async function readAll(files: readonly File[]): Promise<void> {
  const crcs: number[] = [];
  let bytes = 0;
  for (const file of files) {
    const read = (at: number): Promise<ArrayBuffer> => file.slice(at, at + PIECE_BYTES).arrayBuffer();
    let crc = 0;
    let next = read(0);
    for (let at = 0; at < file.size; at += PIECE_BYTES) {
      try {
        const piece = new Uint8Array(await next);
        // The disk is read on while this piece is summed up.
        if (at + PIECE_BYTES < file.size) next = read(at + PIECE_BYTES);
        crc = crc32(piece, crc);
        bytes += piece.length;
      } catch {
        tell({ kind: "unreadable", name: file.name });
        return;
      }
      tell({ kind: "read", bytes });
    }
    crcs.push(crc);
  }
  tell({ kind: "done", crcs });
}
