import { signal } from "@preact/signals";

/** True while dropped or chosen files are looked through and are not on the list yet: thousands take seconds. */
export const looking = signal(false);

/** What is over sooner needs no words. */
const SHOWN_AFTER_MS = 100;

let going = 0;

/** Says so until the work has ended, unless that is soon. */
export async function lookInto<T>(work: Promise<T>): Promise<T> {
  going += 1;
  const timer = window.setTimeout(() => {
    looking.value = true;
  }, SHOWN_AFTER_MS);
  try {
    return await work;
  } finally {
    window.clearTimeout(timer);
    going -= 1;
    if (going === 0) looking.value = false;
  }
}
