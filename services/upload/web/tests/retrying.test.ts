import { describe, expect, it } from "vitest";
import { canGoOn, mayPass, RETRY_DELAYS_MS } from "../src/model/retrying";

describe("sending again", () => {
  it("is done by itself for what passes: lost connections, a gateway that restarts or has too much to do", () => {
    expect([0, 409, 423, 429, 500, 502, 503, 504].every(mayPass)).toBe(true);
  });

  it("is left to a person for what the file or its sender must mend", () => {
    expect([-1, 400, 401, 403, 404, 410, 413, 415, 422, 507].some(mayPass)).toBe(false);
  });

  it("goes on where it was after a full disk or a lost sign-in, and begins anew after a refusal", () => {
    expect([401, 403, 507, 503].every(canGoOn)).toBe(true);
    expect([-1, 404, 410, 413, 415, 422].some(canGoOn)).toBe(false);
  });

  it("has patience for an hour, with a try every 15 seconds", () => {
    const hour = RETRY_DELAYS_MS.reduce((sum, delay) => sum + delay, 0) / 3_600_000;

    expect(RETRY_DELAYS_MS.slice(0, 5)).toEqual([1000, 2000, 4000, 8000, 15000]);
    expect(hour).toBeGreaterThan(0.95);
    expect(Math.max(...RETRY_DELAYS_MS)).toBe(15000);
  });
});
