import { asProblem, Problem } from "../api/problem";
import type { ChunkReply } from "../api/types";
import { type ByteRange, bytesIn, joined, nextChunk, retryDelay } from "../model/chunks";

/** What sending a file needs from outside, so that a test can play the gateway and the clock. */
export interface UploadPort {
  post(upload: string | null, range: ByteRange, onSent: (bytes: number) => void): Promise<ChunkReply>;
  present(upload: string): Promise<ByteRange[]>;
  /** Resolves after the delay, or earlier when there is reason to try again at once. */
  pause(seconds: number): Promise<void>;
  /** Rejects when the file on the user's disk can no longer be read. */
  readable(range: ByteRange): Promise<void>;
  signal: AbortSignal;
}

export interface UploadProgress {
  /** The first answer: the upload's id, and the image as which it appears. */
  created(upload: string, image: string): void;
  sent(bytes: number): void;
  /** The connection or the gateway failed; the same chunk follows after a pause. */
  retrying(problem: Problem): void;
  sending(): void;
}

const MOST_CONFLICTS = 8;

/**
 * Sends `total` bytes in order. Failures that may pass are retried without end (the person can cancel);
 * after each the gateway is asked what it holds, so that nothing is sent twice. Throws a Problem when the
 * gateway refuses the file; returns early when the signal is aborted.
 */
export async function sendFile(total: number, port: UploadPort, progress: UploadProgress): Promise<void> {
  let upload: string | null = null;
  let present: ByteRange[] = [];
  let next: ByteRange | null = nextChunk(total, []) ?? { start: 0, end: 0 };
  let failures = 0;
  let conflicts = 0;
  let uncertain = false;

  while (!port.signal.aborted) {
    try {
      if (uncertain && upload !== null) {
        present = await port.present(upload);
        progress.sent(bytesIn(present));
        next = nextChunk(total, present);
        uncertain = false;
      }
      if (next === null) return;
      const range = next;
      progress.sending();
      const reply = await port.post(upload, range, (bytes) =>
        progress.sent(bytesIn(present) + Math.min(bytes, range.end - range.start)),
      );
      if (upload === null) progress.created(reply._id, reply.image);
      upload = reply._id;
      present = joined([...present, range]);
      next = nextChunk(total, present);
      progress.sent(bytesIn(present));
      failures = 0;
    } catch (error) {
      if (port.signal.aborted) return;
      const problem = asProblem(error);
      const conflict = problem.status === 409 && upload !== null && conflicts < MOST_CONFLICTS;
      if (!problem.passing && !conflict) throw problem;
      if (conflict) conflicts += 1;
      if (problem.status === 0 && next !== null) await port.readable(next);
      failures += 1;
      uncertain = true;
      progress.retrying(problem);
      await port.pause(retryDelay(failures));
    }
  }
}

/** Raised when the browser may no longer read the file it was given. */
export const unreadable = (name: string): Problem =>
  new Problem(-1, `${name} can no longer be read from disk.`, "It was moved or changed: drop it again.");
