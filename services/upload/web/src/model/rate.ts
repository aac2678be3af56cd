const WINDOW_MS = 6000;

/** Bytes per second over the last few seconds, so that one slow chunk does not make the figure jump. */
export class RateMeter {
  private samples: { at: number; bytes: number }[] = [];

  /** Records the total sent so far; answers the rate, or null while too little is known. */
  record(bytes: number, at: number): number | null {
    const last = this.samples.at(-1);
    // A resumed upload may start again from an earlier byte: what was measured before no longer counts.
    if (last !== undefined && bytes < last.bytes) this.samples = [];
    this.samples.push({ at, bytes });
    while (this.samples.length > 2 && (this.samples[0]?.at ?? at) < at - WINDOW_MS) this.samples.shift();
    const first = this.samples[0];
    if (first === undefined || at - first.at < 400) return null;
    return ((bytes - first.bytes) * 1000) / (at - first.at);
  }
}
