import { expect, it } from "vitest";
import cases from "../../../../tests/unit/pictures.json";
import { isLitter, isPictureByContent, isPictureByName } from "../src/model/pictures";

const isPicture = ({ name, zeros = 0, head }: { name: string; zeros?: number; head: string }): boolean => {
  const bytes = (head.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
  return (
    isPictureByName(name) ?? isPictureByContent(Uint8Array.from([...new Array(zeros).fill(0), ...bytes]))
  );
};

it("takes of folders what is a picture by content or name", () => {
  expect(cases.pictures.filter((file) => !isPicture(file))).toEqual([]);
  expect(cases.others.filter(isPicture)).toEqual([]);
});

it("leaves out what operating systems put into folders", () => {
  const names = [".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "slide.svs"];

  expect(names.filter((name) => !isLitter(name))).toEqual(["slide.svs"]);
});
