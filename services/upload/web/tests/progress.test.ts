import { describe, expect, it } from "vitest";
import {
  announcement,
  countStates,
  ratio,
  stagesBefore,
  stagesOf,
  statusLine,
  tally,
} from "../src/model/progress";
import { ended, image, running, waiting } from "./images";

const states = (stages: ReturnType<typeof stagesOf>) => stages.map((stage) => stage.state);
const folding = image({
  state: "folding",
  stages: { upload: ended(100), dice: ended(40), fold: running(3, 12), finish: waiting },
});

describe("the four stages", () => {
  it("are done up to the one that runs", () => {
    expect(states(stagesOf(folding))).toEqual(["done", "done", "active", "pending"]);
    expect(stagesOf(folding)[2]?.fraction).toBe(0.25);
  });

  it("are all done when the image is ready", () => {
    expect(
      stagesOf(image({ state: "ready" })).every((stage) => stage.state === "done" && stage.fraction === 1),
    ).toBe(true);
  });

  it("stop at the one that failed", () => {
    const failed = image({
      state: "failed",
      failure: { stage: "dice", reason: "", remedy: "" },
      stages: { upload: ended(100), dice: running(1, 2), fold: waiting, finish: waiting },
    });

    expect(states(stagesOf(failed))).toEqual(["done", "failed", "pending", "pending"]);
  });

  it("take this browser's own count when it is ahead of the gateway's, and the gateway's otherwise", () => {
    const uploading = image({
      stages: { upload: running(20, 100), dice: waiting, fold: waiting, finish: waiting },
    });

    expect(stagesOf(uploading, 0.3)[0]?.fraction).toBe(0.3);
    expect(stagesOf(uploading, 0.1)[0]?.fraction).toBe(0.2);
  });

  it("exist for a file of which the gateway does not know yet", () => {
    expect(states(stagesBefore(false, 0))).toEqual(["pending", "pending", "pending", "pending"]);
    expect(states(stagesBefore(true, 0.2))).toEqual(["active", "pending", "pending", "pending"]);
    expect(states(stagesBefore(true, 0.2, true))).toEqual(["failed", "pending", "pending", "pending"]);
  });
});

it("takes an unknown or empty total for no progress", () => {
  expect([ratio(null, 5), ratio(3, null), ratio(0, 0), ratio(7, 5)]).toEqual([0, 0, 0, 1]);
});

describe("the line under the name", () => {
  it("says what happens and how far it is", () => {
    expect(statusLine(folding)).toBe("Building the levels above, 25\u00a0%");
  });

  it("tells receiving from checking", () => {
    const stages = { dice: waiting, fold: waiting, finish: waiting };

    expect(statusLine(image({ stages: { upload: running(1, 2), ...stages } }))).toBe("Receiving, 50\u00a0%");
    expect(statusLine(image({ stages: { upload: running(2, 2), ...stages } }))).toBe(
      "Checking that every byte arrived",
    );
  });

  it("gives what is known of a slide that is ready", () => {
    const facts = { state: "ready", width: 20000, height: 15000, objective: 20, length: 42_000_000 } as const;

    expect(statusLine(image({ ...facts, mpp: 0.499 }))).toBe(
      "20,000 × 15,000 px · 20× · 0.499\u00a0µm/px · 42.0\u00a0MB",
    );
    expect(statusLine(image({ ...facts, objective: null }))).toBe("20,000 × 15,000 px · 42.0\u00a0MB");
  });
});

describe("what a screen reader hears", () => {
  it("is the end of an image, good or bad, with the reason", () => {
    const failure = { stage: "dice", reason: "The file is truncated.", remedy: "Copy it again." } as const;

    expect(announcement("finishing", image({ state: "ready" }))).toBe("kidney.svs is ready.");
    expect(announcement("dicing", image({ state: "failed", failure }))).toBe(
      "kidney.svs failed. The file is truncated.",
    );
  });

  it("is nothing for the first look and for mere progress", () => {
    expect(announcement(null, image({ state: "ready" }))).toBeNull();
    expect(announcement("folding", folding)).toBeNull();
  });
});

it("sums states to what a person asks for", () => {
  const images = (["ready", "ready", "dicing", "folding", "failed"] as const).map((state) =>
    image({ state }),
  );

  expect(tally(countStates(images))).toEqual({ working: 2, ready: 2, failed: 1, total: 5 });
});
