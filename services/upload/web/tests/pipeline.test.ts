import { expect, it } from "vitest";
import type { Group, Pipeline, PipelineStage } from "../src/api/operating";
import {
  causeInWords,
  delaysInWords,
  formatAge,
  gained,
  healthOf,
  type Sample,
  shortType,
  spanOf,
  summaryOf,
  withSample,
} from "../src/model/pipeline";

function stage(name: PipelineStage["stage"], changes: Partial<PipelineStage> = {}): PipelineStage {
  const none = { express: null, bulk: null, dead: null, workers: null };
  const queues = name === "upload" ? none : { express: 0, bulk: 0, dead: 0, workers: 1 };
  return { stage: name, ...queues, oldest: null, ...changes };
}

function pipeline(changes: Partial<Pipeline> = {}, ...stages: PipelineStage[]): Pipeline {
  const others = (["upload", "dicer", "pyramid", "sync"] as const)
    .filter((name) => !stages.some((one) => one.stage === name))
    .map((name) => stage(name));
  return {
    at: "2026-11-25T10:00:00.000Z",
    states: {},
    superseded: 0,
    stages: [...others, ...stages],
    delayed: { "10s": 0, "1min": 0, "10min": 0 },
    broker: null,
    dead_work: null,
    ...changes,
  };
}

it("says in one sentence how things stand, the worst first", () => {
  const states = { dicing: 2, finishing: 1, ready: 40, failed: 3 };

  expect(summaryOf(pipeline())).toBe("Nothing is under way.");
  expect(summaryOf(pipeline({ states }))).toBe("3 slides under way.");
  expect(summaryOf(pipeline({ states }, stage("dicer", { dead: 1 })))).toBe(
    "3 slides under way; 1 dead letter for you to look at.",
  );
  expect(summaryOf(pipeline({ states }, stage("dicer", { workers: 0, dead: 1 })))).toBe(
    "3 slides under way; no worker for Dicer.",
  );
  expect(summaryOf(pipeline({ states, broker: "It is down." }, stage("dicer", { workers: null })))).toBe(
    "3 slides under way; the broker can't be asked.",
  );
});

it("calls a stage stuck only while something waits for a worker that is not there", () => {
  expect(healthOf(stage("dicer"), { states: {}, broker: null })).toBe("idle");
  expect(healthOf(stage("dicer", { bulk: 3 }), { states: {}, broker: null })).toBe("busy");
  expect(healthOf(stage("dicer"), { states: { dicing: 1 }, broker: null })).toBe("busy");
  expect(healthOf(stage("dicer", { workers: 0 }), { states: {}, broker: null })).toBe("unknown");
  expect(healthOf(stage("dicer", { workers: 0, express: 1 }), { states: {}, broker: null })).toBe("stuck");
  expect(healthOf(stage("pyramid", { workers: null }), { states: { folding: 1 }, broker: null })).toBe(
    "stuck",
  );
  expect(healthOf(stage("upload"), { states: { uploading: 1 }, broker: null })).toBe("busy");
  expect(healthOf(stage("dicer", { workers: null }), { states: { dicing: 1 }, broker: "Down." })).toBe(
    "unknown",
  );
});

it("tells ages as people do", () => {
  const told = [0.4, 59.9, 60, 3599, 3600, 7500, 48 * 3600].map(formatAge);

  expect(told.map((text) => text.replaceAll("\u00a0", " "))).toEqual([
    "0 s",
    "59 s",
    "1 min",
    "59 min",
    "1 h",
    "2 h 5 min",
    "2 d",
  ]);
});

it("tells what was gained once there is something to tell, of the last ten minutes", () => {
  let samples: Sample[] = [];
  const told: (string | null)[] = [];
  for (const [at, ready] of [
    [0, 5],
    [10_000, 7],
    [60_000, 9],
    [700_000, 9],
  ] as const) {
    samples = withSample(samples, { at, ready });
    told.push(gained(samples));
  }

  expect(told.map((text) => text?.replaceAll("\u00a0", " ") ?? null)).toEqual([
    null,
    null,
    "+4 in the last 1 min",
    null,
  ]);
});

it("words delays, causes, types and spans", () => {
  const group = { first: "2026-11-25T10:00:01.000Z", last: "2026-11-25T10:00:59.000Z" } as Group;

  expect(delaysInWords({ "10s": 0, "1min": 0 })).toBeNull();
  expect(delaysInWords({ "10s": 2, "1min": 0, "10min": 1 })).toBe("2 for 10 s, 1 for 10 min");
  expect(causeInWords("reject")).toBe("The slide can't be processed");
  expect(causeInWords("unheard-of")).toBe("unheard-of");
  expect([shortType("slidemill.dice-block.v1"), shortType(null)]).toEqual(["dice-block", "no event"]);
  expect(spanOf(group, (iso) => iso.slice(11, 16))).toBe("10:00");
  expect(spanOf({ ...group, last: "2026-11-25T11:00:00.000Z" }, (iso) => iso.slice(11, 16))).toBe(
    "10:00 to 11:00",
  );
});
