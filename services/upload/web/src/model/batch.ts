import { formatBytes, formatCount, formatRate, formatRemaining } from "./format";

/** One file of those that are sent together. */
export interface Part {
  state: "reading" | "waiting" | "sending" | "paused" | "retrying" | "stored" | "failed";
  size: number;
  sent: number;
  rate: number | null;
}

export interface Batch {
  files: number;
  stored: number;
  /** Files that are still to arrive. */
  open: number;
  paused: number;
  sent: number;
  total: number;
  rate: number;
}

/** What has become of files that are sent together. A failed one counts as a file, but its bytes do not. */
export function batchOf(parts: readonly Part[]): Batch {
  const batch: Batch = { files: parts.length, stored: 0, open: 0, paused: 0, sent: 0, total: 0, rate: 0 };
  for (const part of parts) {
    if (part.state === "failed") continue;
    batch.total += part.size;
    batch.sent += part.state === "stored" ? part.size : part.sent;
    batch.rate += part.rate ?? 0;
    if (part.state === "stored") batch.stored += 1;
    else batch.open += 1;
    if (part.state === "paused") batch.paused += 1;
  }
  return batch;
}

export function batchLine(batch: Batch): string {
  const parts = [
    `${formatCount(batch.stored)} of ${formatCount(batch.files)} files`,
    `${formatBytes(batch.sent)} of ${formatBytes(batch.total)}`,
  ];
  if (batch.paused === batch.open) parts.push("paused");
  else if (batch.rate > 0)
    parts.push(formatRate(batch.rate), formatRemaining((batch.total - batch.sent) / batch.rate));
  return parts.join(" · ");
}
