import { AlertIcon } from "./icons";

/** Why something failed and what to do about it. */
export function FailureNote({ reason, remedy }: { reason: string; remedy: string }) {
  return (
    <div class="failure" data-testid="failure">
      <AlertIcon />
      <p>
        <strong>{reason}</strong> {remedy}
      </p>
    </div>
  );
}
