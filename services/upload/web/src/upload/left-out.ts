import { signal } from "@preact/signals";
import { Problem } from "../api/problem";
import { baseOf } from "../model/companions";
import { formatCount } from "../model/format";

/** Paths of what was left out of dropped or chosen folders because it is no picture, by session, until a person has seen it. */
export const leftOut = signal<ReadonlyMap<string, readonly string[]>>(new Map());

const MOST_TOLD = 10;

export function noteLeftOut(session: string, paths: readonly string[]): void {
  const before = leftOut.peek().get(session) ?? [];
  leftOut.value = new Map(leftOut.peek()).set(session, [...new Set([...before, ...paths])]);
}

export function dismissLeftOut(session: string): void {
  const others = new Map(leftOut.peek());
  others.delete(session);
  leftOut.value = others;
}

/** The names of many files: the first ones, each once. */
export function toldNames(paths: readonly string[]): string {
  const names = [...new Set(paths.map(baseOf))];
  const first = names.slice(0, MOST_TOLD).join(", ");
  return names.length > MOST_TOLD ? `${first} and ${formatCount(names.length - MOST_TOLD)} more` : first;
}

/** There is nothing to send. */
export const noSlide = (leftOut: readonly string[]): Problem =>
  leftOut.length === 0
    ? new Problem(-1, "There is no file in it.", "Drop or choose a slide, or a folder with slides.")
    : new Problem(
        -1,
        `There is no slide in it, only ${toldNames(leftOut)}.`,
        "Drop or choose a slide, or a folder with slides.",
      );
