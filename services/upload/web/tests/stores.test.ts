import { expect, it } from "vitest";
import type { StoreReport, Tick } from "../src/api/stores";
import {
  globsOf,
  isRunning,
  reportLine,
  skippedLine,
  storeOf,
  storeSource,
  tickLines,
} from "../src/model/stores";

const REPORT: StoreReport = {
  store: "Scanner 1",
  tick: "2026-11-25T10:00:00.000Z",
  state: "done",
  started: "2026-11-25T10:00:00.000Z",
  ended: "2026-11-25T10:00:02.000Z",
  seen: 12,
  skipped: {},
  new: 0,
  changed: 0,
  moved: 0,
  vanished: 0,
  back: 0,
  imported: 0,
  failed: 0,
  bytes: 0,
  seconds: 2,
  examples: [],
  note: null,
};

it("tells what a run found, and what it is at", () => {
  const found = { ...REPORT, new: 2, vanished: 1, imported: 2, bytes: 5_000_000 };

  expect(reportLine(REPORT)).toBe("12 files, nothing new");
  expect(reportLine(found).replaceAll("\u00a0", " ")).toBe(
    "12 files, 2 new, 1 vanished, 2 imported (5.00 MB)",
  );
  expect(reportLine({ ...REPORT, state: "scanning", seen: 1 })).toBe("Looking: 1 file so far");
  expect(reportLine({ ...REPORT, state: "missed" })).toContain("Missed");
  expect([null, REPORT, { ...REPORT, state: "importing" as const }].map(isRunning)).toEqual([
    false,
    false,
    true,
  ]);
});

it("tells what was left out and why, the most frequent first", () => {
  expect(skippedLine(REPORT)).toBeNull();
  expect(skippedLine({ ...REPORT, skipped: { link: 1, unstable: 30, unheard: 2, empty: 0 } })).toBe(
    "Left out: 30 new or still being written, 2 unheard, 1 linked, not there",
  );
});

it("tells what each tick did, and joins those in a row that nobody did", () => {
  const tick = (minute: number, state: Tick["state"], more: Partial<Tick> = {}): Tick => ({
    tick: `2026-11-25T10:${minute}:00.000Z`,
    state,
    store: null,
    housekeeping: { relayed: 0, missed: 0 },
    reports: [],
    error: null,
    ...more,
  });
  const lines = tickLines([
    tick(35, "running"),
    tick(30, "done", { housekeeping: { relayed: 2, missed: 2 }, reports: [{ ...REPORT, imported: 3 }] }),
    tick(25, "missed"),
    tick(20, "missed"),
    tick(15, "done"),
    tick(10, "missed"),
  ]);

  expect(lines.map((line) => line.what)).toEqual([
    "Going on",
    "3 imported, 2 announced late",
    "2 missed",
    "Nothing to do",
    "Missed",
  ]);
  expect([lines[2]?.first, lines[2]?.last]).toEqual(["2026-11-25T10:20:00.000Z", "2026-11-25T10:25:00.000Z"]);
});

it("reads the form as the gateway takes it", () => {
  expect(globsOf(" *.svs ,, scans/*.ndpi ")).toEqual(["*.svs", "scans/*.ndpi"]);
  expect(
    storeOf({
      name: " S 1 ",
      root: "/data ",
      session: " ",
      include: "",
      exclude: "x",
      quality: "90",
      subsampling: "444",
    }),
  ).toEqual({
    name: "S 1",
    root: "/data",
    session: null,
    include: [],
    exclude: ["x"],
    quality: 90,
    subsampling: "444",
  });
  expect(
    storeOf({ name: "S", root: "/", session: "C", include: "", exclude: "", quality: "", subsampling: "" })
      .quality,
  ).toBeNull();
});

it("finds the store and the path of an image's source", () => {
  expect(storeSource("store:Scanner 1/2026/a/b.svs")).toEqual({ store: "Scanner 1", path: "2026/a/b.svs" });
  expect(storeSource("upload")).toBeNull();
  expect(storeSource(null)).toBeNull();
});
