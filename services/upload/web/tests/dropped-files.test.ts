import { expect, it } from "vitest";
import { filesOfFolder } from "../src/upload/dropped-files";

const at = (path: string): File =>
  Object.defineProperty(new File([], path), "webkitRelativePath", { value: path });

it("takes the files of a folder in the order of their names, and leaves litter out", () => {
  const paths = ["run/slide 10.svs", "run/.DS_Store", "run/slide 9.svs", "run/.trash/a.svs", "run/Thumbs.db"];

  const taken = filesOfFolder(paths.map(at)).map(({ path }) => path);

  expect(taken).toEqual(["run/slide 9.svs", "run/slide 10.svs"]);
});
