import { describe, expect, it } from "vitest";
import cases from "../../../../tests/unit/companions.json";
import { group, indexOf, lack, nameInSlide } from "../src/model/companions";

describe("files of one slide", () => {
  for (const { title, names, indexes, series, slides } of cases.slides) {
    it(title, () => {
      const texts = new Map(Object.entries<string>(indexes as Record<string, string>));
      const uids = new Map(Object.entries<string>(series as Record<string, string>));

      expect(group(names, texts, uids)).toEqual(slides);
    });
  }

  it("are told where the slide says which they are", () => {
    expect(["c/x.y.mrxs", "a.VMU", "a.svs", "mrxs", "c/.mrxs"].map(indexOf)).toEqual([
      "c/x.y/Slidedat.ini",
      "a.VMU",
      null,
      null,
      null,
    ]);
  });

  it("are missed by name", () => {
    expect(lack("x.mrxs", ["x/Data0001.dat", "x/Data0002.dat"])).toBe(
      "x.mrxs lacks x/Data0001.dat and 1 more.",
    );
    expect(lack("x.mrxs", ["x/Index.dat"])).toBe("x.mrxs lacks x/Index.dat.");
  });

  it("have names that do not tell where the slide lies", () => {
    const slide = { main: "c/d/x.mrxs", members: [], missing: [] };

    expect(nameInSlide(slide, "c/d/x/Index.dat")).toBe("x/Index.dat");
    expect(nameInSlide({ ...slide, main: "x.mrxs" }, "x/Index.dat")).toBe("x/Index.dat");
  });
});
