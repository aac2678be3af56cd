import { describe, expect, it } from "vitest";
import { batchLine, batchOf, type Part } from "../src/model/batch";

const part = (state: Part["state"], sent = 0, rate: number | null = null): Part => ({
  state,
  size: 1_000_000,
  sent,
  rate,
});
/** Without the spaces that keep a figure and its unit together. */
const line = (parts: Part[]): string => batchLine(batchOf(parts)).replaceAll("\u00a0", " ");

describe("files that are sent together", () => {
  it("are summed up, each by what of it has arrived", () => {
    const parts = [part("stored"), part("sending", 500_000, 250_000), part("waiting")];

    expect(line(parts)).toBe("1 of 3 files · 1.50 MB of 3.00 MB · 250 kB/s · 6 s left");
  });

  it("leave out the bytes of what failed, which never arrive", () => {
    expect(line([part("failed", 300_000), part("waiting")])).toBe("0 of 2 files · 0 B of 1.00 MB");
  });

  it("are paused when all that is left is", () => {
    expect(line([part("stored"), part("paused", 400_000)])).toBe(
      "1 of 2 files · 1.40 MB of 2.00 MB · paused",
    );
    expect(line([part("paused"), part("waiting")])).not.toContain("paused");
  });
});
