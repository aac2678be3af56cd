import { signal } from "@preact/signals";
import type { Problem } from "../api/problem";
import { CloseIcon } from "./icons";

interface Toast {
  key: number;
  title: string;
  text: string;
  remedy: string;
  kind: "alarm" | "note";
}

const NOTE_MS = 15_000;

const toasts = signal<Toast[]>([]);
const spoken = signal("");
let nextKey = 1;

/** Shows what went wrong and what to do; it stays until dismissed, since a person may be elsewhere. */
export function complain(problem: Problem, title: string): void {
  if (toasts.value.some((toast) => toast.title === title && toast.text === problem.message)) return;
  show({ title, text: problem.message, remedy: problem.remedy, kind: "alarm" });
}

/** Shows what a person may want to know for a while: it is of what was just done, and soon true no more. */
export function mention(title: string, text: string): void {
  const key = show({ title, text, remedy: "", kind: "note" });
  setTimeout(() => dismiss(key), NOTE_MS);
}

function show(toast: Omit<Toast, "key">): number {
  const key = nextKey++;
  toasts.value = [...toasts.value, { key, ...toast }].slice(-3);
  return key;
}

/** Takes back what is no longer true. */
export const withdraw = (title: string): void => {
  toasts.value = toasts.value.filter((toast) => toast.title !== title);
};

/** Says something to screen readers only. */
export function announce(text: string): void {
  spoken.value = text;
}

const dismiss = (key: number): void => {
  toasts.value = toasts.value.filter((toast) => toast.key !== key);
};

export function Toasts() {
  return (
    <>
      <div class="visually-hidden" aria-live="polite">
        {spoken}
      </div>
      <div class="toasts" role="alert">
        {toasts.value.map((toast) => (
          <div class={`toast toast-${toast.kind}`} key={toast.key} data-testid="toast">
            <div>
              <p class="toast-title">{toast.title}</p>
              <p>{toast.text}</p>
              <p class="toast-remedy">{toast.remedy}</p>
            </div>
            <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => dismiss(toast.key)}>
              <CloseIcon />
            </button>
          </div>
        ))}
      </div>
    </>
  );
}
