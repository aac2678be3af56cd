import type { NewStore, StoreReport, Tick } from "../api/stores";
import { formatBytes, formatCount, plural } from "./format";

const REASONS: Record<string, string> = {
  unstable: "new or still being written",
  temporary: "temporary by name",
  hidden: "hidden or system folders",
  link: "linked, not there",
  special: "no plain files",
  name: "names that are no text",
  empty: "empty",
  unreadable: "can't be read",
  changing: "changed while being read",
  gone: "gone while being read",
  duplicate: "known already",
  "too-large": "too large",
  "no-room": "no room",
  "account-full": "no room in the account",
  incomplete: "lacking files of theirs",
  excluded: "excluded",
};

export const reasonInWords = (reason: string): string => REASONS[reason] ?? reason;

/** Whether a run is still going on. */
export const isRunning = (report: StoreReport | null): boolean =>
  report !== null && ["waiting", "scanning", "importing"].includes(report.state);

/** What a run is doing, or what it found, in one line. */
export function reportLine(report: StoreReport): string {
  if (report.state === "missed") return "Missed";
  const found = [
    report.new > 0 && `${formatCount(report.new)} new`,
    report.changed > 0 && `${formatCount(report.changed)} changed`,
    report.moved > 0 && `${formatCount(report.moved)} moved`,
    report.vanished > 0 && `${formatCount(report.vanished)} vanished`,
    report.back > 0 && `${formatCount(report.back)} back again`,
    report.imported > 0 && `${formatCount(report.imported)} imported (${formatBytes(report.bytes)})`,
    report.failed > 0 && `${formatCount(report.failed)} failed`,
  ].filter((part) => part !== false);
  const seen = plural(report.seen, "file");
  const what = found.length === 0 ? "nothing new" : found.join(", ");
  switch (report.state) {
    case "waiting":
      return "Waiting for its turn";
    case "scanning":
      return `Looking: ${seen} so far`;
    case "importing":
      return `Importing: ${seen}, ${what}`;
    case "done":
      return `${seen}, ${what}`;
  }
}

/** What was left out and why, the most frequent reason first; null for nothing. */
export function skippedLine(report: StoreReport): string | null {
  const skipped = Object.entries(report.skipped).filter(([, count]) => count > 0);
  if (skipped.length === 0) return null;
  skipped.sort(([, one], [, other]) => other - one);
  return `Left out: ${skipped.map(([reason, count]) => `${formatCount(count)} ${reasonInWords(reason)}`).join(", ")}`;
}

/** Ticks in a row of which nobody did any are one line, from the first to the last of them. */
export interface TickLine {
  state: Tick["state"];
  first: string;
  last: string;
  count: number;
  what: string;
}

const HOUSE: Record<string, string> = {
  relayed: "announced late",
  reissued: "announced again",
  expired: "uploads expired",
  superseded: "old versions removed",
  swept: "remains removed",
};

/** What each tick did, the newest first as they come. */
export function tickLines(ticks: readonly Tick[]): TickLine[] {
  const lines: TickLine[] = [];
  for (const tick of ticks) {
    const above = lines.at(-1);
    if (tick.state === "missed" && above?.state === "missed") {
      above.first = tick.tick;
      above.count += 1;
      above.what = `${formatCount(above.count)} missed`;
    } else {
      lines.push({ state: tick.state, first: tick.tick, last: tick.tick, count: 1, what: whatOf(tick) });
    }
  }
  return lines;
}

function whatOf(tick: Tick): string {
  if (tick.error !== null) return tick.error;
  if (tick.state !== "done") return tick.state === "missed" ? "Missed" : "Going on";
  const house = Object.entries(tick.housekeeping)
    .filter(([name, count]) => count > 0 && name !== "missed")
    .map(([name, count]) => `${formatCount(count)} ${HOUSE[name] ?? name}`);
  const imported = tick.reports.reduce((sum, report) => sum + report.imported, 0);
  if (imported > 0) house.unshift(`${formatCount(imported)} imported`);
  return house.length === 0 ? "Nothing to do" : house.join(", ");
}

/** What becomes of colour differences in JPEG tiles, in words. */
export const CHROMA = { "420": "halved both ways (4:2:0)", "444": "whole (4:4:4)" } as const;

/** Globs as a person writes them into one field: separated by commas or spaces at their ends. */
export const globsOf = (text: string): string[] =>
  text
    .split(",")
    .map((glob) => glob.trim())
    .filter((glob) => glob !== "");

/** The fields of the form as the gateway takes them. */
export function storeOf(fields: Record<keyof NewStore, string>): NewStore {
  const quality = Number.parseInt(fields.quality, 10);
  return {
    name: fields.name.trim(),
    root: fields.root.trim(),
    session: fields.session.trim() || null,
    include: globsOf(fields.include),
    exclude: globsOf(fields.exclude),
    quality: Number.isNaN(quality) ? null : quality,
    subsampling: fields.subsampling === "420" || fields.subsampling === "444" ? fields.subsampling : null,
  };
}

/** The store's name and the path in it of an image that came from a folder store: `store:NAME/PATH`. */
export function storeSource(source: string | null): { store: string; path: string } | null {
  const match = /^store:([^/]*)\/(.*)$/s.exec(source ?? "");
  return match === null ? null : { store: match[1] ?? "", path: match[2] ?? "" };
}
