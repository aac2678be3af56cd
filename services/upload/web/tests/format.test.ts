import { describe, expect, it } from "vitest";
import {
  formatBytes,
  formatMagnification,
  formatMpp,
  formatPercent,
  formatRemaining,
  formatSize,
  formatWhen,
  partsOf,
  plural,
  sessionTitle,
} from "../src/model/format";
import { RateMeter } from "../src/model/rate";

describe("bytes", () => {
  it.each([
    [0, "0\u00a0B"],
    [999, "999\u00a0B"],
    [1000, "1.00\u00a0kB"],
    [12_345, "12.3\u00a0kB"],
    [999_499, "999\u00a0kB"],
    [999_500, "1.00\u00a0MB"],
    [1_234_567_890, "1.23\u00a0GB"],
    [5e15, "5000\u00a0TB"],
  ])("%i are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

it("says 100 % only when everything is done", () => {
  expect([0, 0.29, 0.999, 1, 1.2].map(formatPercent)).toEqual([
    "0\u00a0%",
    "29\u00a0%",
    "99\u00a0%",
    "100\u00a0%",
    "100\u00a0%",
  ]);
});

it.each([
  [0.2, "1 s left"],
  [59, "59 s left"],
  [61, "2 min left"],
  [3600, "1 h 0 min left"],
  [5400, "1 h 30 min left"],
  [Number.POSITIVE_INFINITY, ""],
])("%d seconds remain as '%s'", (seconds, text) => {
  expect(formatRemaining(seconds)).toBe(text);
});

it("shows sizes, resolutions and magnifications without needless digits", () => {
  expect(formatSize(20000, 15000)).toBe("20,000 × 15,000 px");
  expect(formatMpp(0.499)).toBe("0.499\u00a0µm/px");
  expect(formatMpp(0.25)).toBe("0.25\u00a0µm/px");
  expect([40, 19.7, 2.04, 0.318].map(formatMagnification)).toEqual(["40×", "20×", "2×", "0.32×"]);
});

it("counts in words", () => {
  expect(plural(1, "slide")).toBe("1 slide");
  expect(plural(1200, "slide")).toBe("1,200 slides");
});

describe("points in time", () => {
  const now = new Date("2025-11-24T15:00:00Z");

  it.each([
    ["2025-11-24T14:32:10.000Z", "today, 14:32"],
    ["2025-11-23T23:59:00.000Z", "23 Nov, 23:59"],
    ["2024-11-24T14:32:00.000Z", "24 Nov 2024"],
  ])("%s is %s", (iso, text) => {
    expect(formatWhen(iso, now, "UTC")).toBe(text);
  });

  it("are told in the reader's time zone", () => {
    expect(formatWhen("2025-11-23T23:30:00.000Z", now, "Europe/Berlin")).toBe("today, 00:30");
  });

  it("name a session so that titles sort by time", () => {
    expect(sessionTitle(new Date(2025, 2, 4, 9, 5))).toBe("2025-03-04 09:05");
  });
});

describe("the rate", () => {
  it("is unknown at first, then what the last seconds show", () => {
    const meter = new RateMeter();

    expect(meter.record(0, 0)).toBeNull();
    expect(meter.record(1000, 1000)).toBe(1000);
    for (let second = 2; second <= 20; second += 1) meter.record(1000 + (second - 1) * 5000, second * 1000);
    expect(meter.record(101_000, 21_000)).toBeCloseTo(5000, 0);
  });

  it("starts afresh when a resumed upload goes back", () => {
    const meter = new RateMeter();
    meter.record(0, 0);
    meter.record(9000, 1000);

    expect(meter.record(4000, 2000)).toBeNull();
    expect(meter.record(5000, 3000)).toBe(1000);
  });
});

describe("the parts of a name", () => {
  it.each([
    ["S26-0417 A1.svs", ["S26-0417 A1.svs", ""]],
    ["S26-0417-A1-HE-Scanner3-final2-v3.svs", ["S26-0417-A1-HE-Scanner3-f", "inal2-v3.svs"]],
    ["S26-0417 Gewebe Ru\u0308ckseite.svs", ["S26-0417 Gewebe R", "u\u0308ckseite.svs"]],
    ["S26-0417 scan of 🔬🔬🔬🔬🔬🔬🔬🔬.svs", ["S26-0417 scan of ", "🔬🔬🔬🔬🔬🔬🔬🔬.svs"]],
  ])("keep the end of %s", (name, parts) => {
    expect(partsOf(name)).toEqual(parts);
  });
});
