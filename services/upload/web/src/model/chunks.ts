/** Arithmetic of a chunked upload. Ranges are half-open: [start, end). */

export const CHUNK_BYTES = 4 * 1024 * 1024;

export interface ByteRange {
  start: number;
  end: number;
}

/** Sorted, joined ranges. */
export function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const result: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last !== undefined && range.start <= last.end) last.end = Math.max(last.end, range.end);
    else result.push({ ...range });
  }
  return result;
}

export const bytesIn = (ranges: readonly ByteRange[]): number =>
  joined(ranges).reduce((sum, range) => sum + range.end - range.start, 0);

/**
 * The first chunk still to be sent, or null if nothing is missing. Chunks end at multiples of `size`, so a
 * file that was resumed in the middle of a chunk is back on the grid with its next request.
 */
export function nextChunk(
  total: number,
  present: readonly ByteRange[],
  size = CHUNK_BYTES,
): ByteRange | null {
  const held = joined(present);
  const first = held[0];
  const start = first !== undefined && first.start === 0 ? first.end : 0;
  if (start >= total) return null;
  const following = held.find((range) => range.start > start)?.start ?? total;
  return { start, end: Math.min(total, following, (Math.floor(start / size) + 1) * size) };
}

/** The header's value; an empty file has no first byte to name. */
export const contentRange = (range: ByteRange, total: number): string =>
  range.end === range.start ? `bytes */${total}` : `bytes ${range.start}-${range.end - 1}/${total}`;

/** Seconds before the n-th retry in a row (n from 1). */
export const retryDelay = (failures: number): number => Math.min(15, 2 ** (failures - 1));

/** The ranges in the gateway's answer about an upload: `{"ranges": [{"start", "end"}]}`, ends inclusive. */
export function presentRanges(answer: unknown): ByteRange[] {
  const ranges = (answer as { ranges?: { start: number; end: number }[] } | null)?.ranges ?? [];
  return joined(ranges.map(({ start, end }) => ({ start, end: end + 1 })));
}
