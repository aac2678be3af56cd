import { reprocessImage, retryImage } from "../api/operating";
import { asProblem } from "../api/problem";
import type { SlideImage } from "../api/types";
import { ask } from "./confirm";
import { complain, mention } from "./toasts";

/** Lets a failed image go on where it failed; `then` follows. */
export function askToRetry(image: SlideImage, then: () => void = () => undefined): void {
  ask({
    title: "Try again?",
    text: `${image.name} goes on where it failed; what is done already stays.`,
    action: "Try again",
    keep: "Not now",
    harmless: true,
    reason: { label: "What was mended (for the audit)", required: false },
    onYes: (reason) => {
      retryImage(image.id, reason)
        .then(() => mention(`${image.name} goes on`, "It waits behind other work."))
        .then(then)
        .catch((error: unknown) => complain(asProblem(error), `${image.name} does not go on`));
    },
  });
}

/** Makes a further version of an image; `then` follows. */
export function askToReprocess(image: SlideImage, then: () => void = () => undefined): void {
  ask({
    title: "Process anew?",
    text: `${image.name} is cut and folded again from its file, as a further version. What can be seen now stays visible until that is ready.`,
    action: "Process anew",
    keep: "Not now",
    harmless: true,
    reason: { label: "Why (for the audit)", required: false },
    onYes: (reason) => {
      reprocessImage(image.id, reason)
        .then(() => mention(`${image.name} is processed anew`, "It waits behind other work."))
        .then(then)
        .catch((error: unknown) => complain(asProblem(error), `${image.name} is not processed anew`));
    },
  });
}
