import { describe, expect, it } from "vitest";
import { scaleBar } from "../src/model/scale-bar";

describe("the scale bar", () => {
  it("shows a round length at its true width", () => {
    expect(scaleBar(0.5, 1, 150)).toEqual({ pixels: 100, label: "50 µm" });
    expect(scaleBar(0.25, 0.01, 150)).toEqual({ pixels: 80, label: "2 mm" });
  });

  it("names the unit that reads best", () => {
    const labels = [0.0001, 0.001, 0.05, 1, 1000].map((zoom) => scaleBar(0.25, zoom, 150)?.label);

    expect(labels).toEqual(["20 cm", "2 cm", "500 µm", "20 µm", "20 nm"]);
  });

  it("always fits, and never shrinks below 40 % of the room", () => {
    for (let zoom = 1e-4; zoom < 1e3; zoom *= 1.07) {
      const bar = scaleBar(0.4991, zoom, 150);

      expect(bar?.pixels).toBeLessThanOrEqual(150 * (1 + 1e-6));
      expect(bar?.pixels).toBeGreaterThanOrEqual(150 * 0.4 - 1e-6);
    }
  });

  it("is absent when the scale is not known", () => {
    expect(scaleBar(null, 1, 150)).toBeNull();
    expect(scaleBar(0, 1, 150)).toBeNull();
    expect(scaleBar(0.5, 0, 150)).toBeNull();
  });
});
