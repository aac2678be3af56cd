import { describe, expect, it } from "vitest";
import cases from "../../../../tests/unit/companions.json";
import { seriesOf } from "../src/model/dicom-series";

describe("the series of a DICOM file", () => {
  for (const { title, head, uid } of cases.series) {
    it(title, () => {
      expect(seriesOf(Uint8Array.from(atob(head), (character) => character.charCodeAt(0)))).toBe(uid);
    });
  }
});
