import { signal } from "@preact/signals";
import { deleteImage } from "../api/client";
import { asProblem } from "../api/problem";
import { complain } from "../parts/toasts";
import { forget, type Interrupted } from "./notes";

/** Images that were taken away here: they leave the list before the gateway has answered. */
export const removed = signal<ReadonlySet<string>>(new Set());

export function setRemoved(images: readonly string[], gone: boolean): void {
  const ids = new Set(removed.peek());
  for (const image of images) gone ? ids.add(image) : ids.delete(image);
  removed.value = ids;
}

/** Takes a half-sent file away for good. */
export async function discard(one: Interrupted): Promise<void> {
  if (await remove(one.image, one.name)) forget(one.upload);
}

/** Deletes an image; it leaves the list at once, and comes back with a message if that failed. */
export async function remove(image: string, name: string): Promise<boolean> {
  setRemoved([image], true);
  try {
    await deleteImage(image);
    return true;
  } catch (error) {
    const problem = asProblem(error);
    if (problem.status === 404) return true;
    setRemoved([image], false);
    complain(problem, `${name} was not deleted`);
    return false;
  }
}
