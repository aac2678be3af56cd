import type { Group, Pipeline, PipelineStage } from "../api/operating";
import type { ImageState } from "../api/types";
import { formatCount, plural } from "./format";

export type StageName = PipelineStage["stage"];

/** What each stage does, as its heading says it. */
export const STAGE_WORDS: Record<StageName, { title: string; does: string }> = {
  upload: { title: "Upload", does: "takes files in" },
  dicer: { title: "Dicer", does: "cuts the base level" },
  pyramid: { title: "Pyramid", does: "folds and finishes" },
  sync: { title: "Sync", does: "looks after stores and house" },
};

const STATES_OF: Record<StageName, readonly ImageState[]> = {
  upload: ["uploading"],
  dicer: ["dicing"],
  pyramid: ["folding", "finishing"],
  sync: [],
};

const CAUSES: Record<string, string> = {
  reject: "The slide can't be processed",
  retries: "It did not work in any of its tries",
  undecodable: "The message is not understood",
  unserved: "Its database is not served here",
  "delivery-limit": "Too many workers died of it",
  "queue-full": "The queue was full",
  expired: "It waited for too long",
};

export const causeInWords = (cause: string): string => CAUSES[cause] ?? cause;

/** Slides that a stage is at or has before it. */
export const slidesIn = (stage: StageName, states: Pipeline["states"]): number =>
  STATES_OF[stage].reduce((sum, state) => sum + (states[state] ?? 0), 0);

export type Health = "idle" | "busy" | "stuck" | "unknown";

/** `stuck`: something waits and nobody is there to take it. Without the broker that is not known. */
export function healthOf(
  stage: PipelineStage,
  { states, broker }: Pick<Pipeline, "states" | "broker">,
): Health {
  if (stage.stage === "upload") return slidesIn("upload", states) > 0 ? "busy" : "idle";
  if (broker !== null) return "unknown";
  if (stage.workers === null) return slidesIn(stage.stage, states) > 0 ? "stuck" : "unknown";
  const waits = (stage.express ?? 0) + (stage.bulk ?? 0) + slidesIn(stage.stage, states);
  if (stage.workers === 0) return waits > 0 ? "stuck" : "unknown";
  return waits > 0 ? "busy" : "idle";
}

export const deadIn = (pipeline: Pipeline): number =>
  pipeline.stages.reduce((sum, stage) => sum + (stage.dead ?? 0), 0);

/** How things stand, in one sentence. */
export function summaryOf(pipeline: Pipeline): string {
  const working = (["upload", "dicer", "pyramid"] as const).reduce(
    (sum, stage) => sum + slidesIn(stage, pipeline.states),
    0,
  );
  const stuck = pipeline.stages.filter((stage) => healthOf(stage, pipeline) === "stuck");
  const at = working === 0 ? "Nothing is under way" : `${plural(working, "slide")} under way`;
  if (pipeline.broker !== null) return `${at}; the broker can't be asked.`;
  if (stuck.length > 0) {
    return `${at}; no worker for ${stuck.map(({ stage }) => STAGE_WORDS[stage].title).join(" and ")}.`;
  }
  const dead = deadIn(pipeline);
  return dead === 0 ? `${at}.` : `${at}; ${plural(dead, "dead letter")} for you to look at.`;
}

/** How long something lasts: `12 s`, `4 min`, `2 h 5 min`, `3 d`. */
export function formatAge(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole}\u00a0s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours}\u00a0h` : `${hours}\u00a0h ${minutes % 60}\u00a0min`;
  return `${Math.floor(hours / 24)}\u00a0d`;
}

export const secondsBetween = (from: string, to: string): number =>
  (Date.parse(to) - Date.parse(from)) / 1000;

/** How many slides were ready at a moment (milliseconds). */
export interface Sample {
  at: number;
  ready: number;
}

const WINDOW_MS = 10 * 60_000;
const SHORTEST_MS = 15_000;

/** The samples with one more, without those that are older than ten minutes. */
export const withSample = (samples: readonly Sample[], sample: Sample): Sample[] => [
  ...samples.filter(({ at }) => sample.at - at <= WINDOW_MS),
  sample,
];

/** `+12 in the last 4 min`; null as long as there is too little to tell. */
export function gained(samples: readonly Sample[]): string | null {
  const first = samples[0];
  const last = samples[samples.length - 1];
  if (first === undefined || last === undefined || last.at - first.at < SHORTEST_MS) return null;
  const more = last.ready - first.ready;
  return more > 0 ? `+${formatCount(more)} in the last ${formatAge((last.at - first.at) / 1000)}` : null;
}

/** The delays that hold something, in words: `2 for 10 s`. */
export function delaysInWords(delayed: Record<string, number>): string | null {
  const words: Record<string, string> = { "10s": "10 s", "1min": "1 min", "10min": "10 min" };
  const held = Object.entries(delayed).filter(([, count]) => count > 0);
  if (held.length === 0) return null;
  return held.map(([delay, count]) => `${formatCount(count)} for ${words[delay] ?? delay}`).join(", ");
}

/** `slidemill.dice-block.v1` without what every name has. */
export const shortType = (type: string | null): string =>
  type === null ? "no event" : type.replace(/^slidemill\.|\.v\d+$/g, "");

/** When letters of a group died, in words for its line. */
export function spanOf(group: Group, when: (iso: string) => string): string {
  if (group.last === null) return "";
  if (group.first === null || group.first.slice(0, 16) === group.last.slice(0, 16)) return when(group.last);
  return `${when(group.first)} to ${when(group.last)}`;
}
