import { type ImageState, type SlideImage, STAGES, type StageName } from "../api/types";
import { formatBytes, formatMagnification, formatMpp, formatPercent, formatSize } from "./format";

export type StageState = "pending" | "active" | "done" | "failed";

export interface StageProgress {
  name: StageName;
  state: StageState;
  /** 0 to 1. */
  fraction: number;
}

export const STAGE_LABEL: Record<StageName, string> = {
  upload: "Upload",
  dice: "Dice",
  fold: "Fold",
  finish: "Finish",
};

const STAGE_OF: Partial<Record<ImageState, StageName>> = {
  uploading: "upload",
  dicing: "dice",
  folding: "fold",
  finishing: "finish",
};

/** States in which something is still going to change by itself. */
export const isWorking = (state: ImageState): boolean => state in STAGE_OF;

export function ratio(done: number | null, total: number | null): number {
  if (done === null || total === null || total <= 0) return 0;
  return Math.min(1, Math.max(0, done / total));
}

/**
 * The four stages of an image. `sent` (0 to 1) is what this browser has sent of the file, which is ahead of
 * what the gateway has reported.
 */
export function stagesOf(image: SlideImage, sent = 0): StageProgress[] {
  const current = STAGE_OF[image.state];
  return STAGES.map((name) => {
    const stage = image.stages[name];
    const told = ratio(stage.done, stage.total);
    const fraction = name === "upload" ? Math.max(told, sent) : told;
    if (image.state === "failed" && image.failure?.stage === name) return { name, state: "failed", fraction };
    if (image.state === "ready" || stage.ended !== null) return { name, state: "done", fraction: 1 };
    if (name === current) return { name, state: "active", fraction };
    return { name, state: "pending", fraction: 0 };
  });
}

/** The stages of a file of which the gateway does not know yet. */
export const stagesBefore = (sending: boolean, sent: number, failed = false): StageProgress[] =>
  STAGES.map((name) => ({
    name,
    state: name !== "upload" ? "pending" : failed ? "failed" : sending ? "active" : "pending",
    fraction: name === "upload" ? sent : 0,
  }));

/** What is happening to an image, in one line. */
export function statusLine(image: SlideImage): string {
  const stage = STAGE_OF[image.state];
  const told = stage === undefined ? null : image.stages[stage];
  const fraction = ratio(told?.done ?? null, told?.total ?? null);
  switch (image.state) {
    case "uploading":
      return fraction >= 1 ? "Checking that every byte arrived" : `Receiving, ${formatPercent(fraction)}`;
    case "dicing":
      return `Cutting the base level into tiles, ${formatPercent(fraction)}`;
    case "folding":
      return `Building the levels above, ${formatPercent(fraction)}`;
    case "finishing":
      return "Making the thumbnail and details";
    case "ready":
      return factsLine(image);
    case "failed":
      return "Failed";
  }
}

/** Size, resolution, objective and length, as far as they are known. */
export function factsLine(image: SlideImage): string {
  const facts: string[] = [];
  if (image.width !== null && image.height !== null) facts.push(formatSize(image.width, image.height));
  if (image.objective !== null) facts.push(formatMagnification(image.objective));
  if (image.mpp !== null) facts.push(formatMpp(image.mpp));
  if (image.length !== null) facts.push(formatBytes(image.length));
  return facts.join(" · ");
}

/** What a screen reader should hear when an image has moved from one state to another; null for nothing. */
export function announcement(before: ImageState | null, image: SlideImage): string | null {
  if (before === null || before === image.state) return null;
  if (image.state === "ready") return `${image.name} is ready.`;
  if (image.state === "failed") return `${image.name} failed. ${image.failure?.reason ?? ""}`.trim();
  if (image.state === "dicing") return `${image.name} is uploaded and being cut into tiles.`;
  return null;
}

export interface Tally {
  working: number;
  ready: number;
  failed: number;
  total: number;
}

export function tally(counts: Partial<Record<ImageState, number>>): Tally {
  const sum: Tally = { working: 0, ready: 0, failed: 0, total: 0 };
  for (const [state, count] of Object.entries(counts) as [ImageState, number][]) {
    sum.total += count;
    if (state === "ready") sum.ready += count;
    else if (state === "failed") sum.failed += count;
    else sum.working += count;
  }
  return sum;
}

export function countStates(images: Iterable<SlideImage>): Partial<Record<ImageState, number>> {
  const counts: Partial<Record<ImageState, number>> = {};
  for (const image of images) counts[image.state] = (counts[image.state] ?? 0) + 1;
  return counts;
}
