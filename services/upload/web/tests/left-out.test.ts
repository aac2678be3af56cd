import { expect, it } from "vitest";
import { toldNames } from "../src/upload/left-out";

it("names what was left out, each name once and the first ones of many", () => {
  expect(toldNames(["run/a/notes.txt", "run/b/notes.txt", "run/plan.pdf"])).toBe("notes.txt, plan.pdf");
  expect(toldNames(Array.from({ length: 12 }, (_, n) => `run/${n}`))).toBe(
    "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more",
  );
});
