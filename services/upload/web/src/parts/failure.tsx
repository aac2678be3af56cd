import type { ComponentChildren } from "preact";
import { AlertIcon } from "./icons";

interface FailureNoteProps {
  reason: string;
  remedy: string;
  /** A button for what can be done here and now. */
  children?: ComponentChildren;
}

/** Why something failed and what to do about it. */
export function FailureNote({ reason, remedy, children }: FailureNoteProps) {
  return (
    <div class="failure" data-testid="failure">
      <AlertIcon />
      <p>
        <strong>{reason}</strong> {remedy}
      </p>
      {children}
    </div>
  );
}
