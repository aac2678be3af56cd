import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

interface Question {
  title: string;
  text: string;
  /** What the button that does it says. */
  action: string;
  onYes(): void;
}

const question = signal<Question | null>(null);

/** Asks before something is done that can't be undone. */
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
        question.value = null;
        if (event.currentTarget.returnValue === "yes") asked?.onYes();
        event.currentTarget.returnValue = "";
      }}
    >
      {asked !== null && (
        <form method="dialog" class="confirm-box">
          <h2 id="confirm-title">{asked.title}</h2>
          <p>{asked.text}</p>
          <div class="confirm-actions">
            <button type="submit" class="button" value="no">
              Keep
            </button>
            <button type="submit" class="button button-danger" value="yes" data-testid="confirm-yes">
              {asked.action}
            </button>
          </div>
        </form>
      )}
    </dialog>
  );
}
