import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Question {
  title: string;
  text: string;
  /** What the button that does it says. */
  action: string;
  /** What the other one says; "Keep" unless told. */
  keep?: string;
  /** True where nothing is lost. */
  harmless?: boolean;
  /** A field for the reason, and whether there has to be one. */
  reason?: { label: string; required: boolean };
  onYes(reason: string): void;
}

const question = signal<Question | null>(null);

/** Asks before something is done that can't be undone, or that needs a reason. */
export function ask(asked: Question): void {
  question.value = asked;
}

export function ConfirmDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const asked = question.value;
  // Before the next key arrives: Escape must find the dialog open.
  useLayoutEffect(() => {
    if (asked !== null) dialog.current?.showModal();
  }, [asked]);

  return (
    <dialog
      ref={dialog}
      class="confirm"
      aria-labelledby="confirm-title"
      data-testid="confirm"
      onClose={(event) => {
        const reason = event.currentTarget.querySelector("input")?.value.trim() ?? "";
        question.value = null;
        if (event.currentTarget.returnValue === "yes") asked?.onYes(reason);
        event.currentTarget.returnValue = "";
      }}
    >
      {asked !== null && (
        <form method="dialog" class="confirm-box">
          <h2 id="confirm-title">{asked.title}</h2>
          <p>{asked.text}</p>
          {asked.reason !== undefined && (
            <label class="confirm-reason">
              {asked.reason.label}
              <input
                class="field"
                type="text"
                maxLength={500}
                pattern=".*\S.*"
                required={asked.reason.required}
                autocomplete="off"
                data-testid="confirm-reason"
              />
            </label>
          )}
          <div class="confirm-actions">
            {/* No submit button: Enter in the field for the reason must not find it first. */}
            <button type="button" class="button" onClick={() => dialog.current?.close("no")}>
              {asked.keep ?? "Keep"}
            </button>
            <button
              type="submit"
              class={asked.harmless === true ? "button button-primary" : "button button-danger"}
              value="yes"
              data-testid="confirm-yes"
            >
              {asked.action}
            </button>
          </div>
        </form>
      )}
    </dialog>
  );
}
