import { useEffect } from "preact/hooks";
import { refreshAccess } from "../api/client";
import { Mark } from "../parts/mark";

/** Pages that stand in for the one asked for. */

export function SignIn() {
  useEffect(() => {
    document.title = "Sign in · slidemill";
    // The link is usually opened in another tab; coming back to this one is enough.
    const look = (): void => void refreshAccess();
    window.addEventListener("focus", look);
    return () => window.removeEventListener("focus", look);
  }, []);
  return (
    <main class="standing" data-testid="sign-in">
      <span class="standing-mark">
        <Mark size={44} />
      </span>
      <h1>Sign in to slidemill</h1>
      <p>
        Open the one-time sign-in link that <code>./slidemill signin</code> prints on the machine where
        slidemill runs.
      </p>
      <p class="quiet">Each link works once and keeps this browser signed in.</p>
      <button type="button" class="button" onClick={() => void refreshAccess()}>
        I have opened the link
      </button>
    </main>
  );
}

export function Unreachable() {
  useEffect(() => {
    document.title = "slidemill";
    const timer = window.setInterval(() => void refreshAccess(), 4000);
    return () => window.clearInterval(timer);
  }, []);
  return (
    <main class="standing" aria-live="polite">
      <span class="standing-mark">
        <Mark size={44} />
      </span>
      <h1>slidemill does not answer</h1>
      <p>
        Check that it is running: <code>./slidemill status</code> tells. This page looks again every few
        seconds.
      </p>
    </main>
  );
}

export function Nowhere({ what }: { what: "page" | "session" | "slide" }) {
  useEffect(() => {
    document.title = "Not found · slidemill";
  }, []);
  return (
    <div class="standing">
      <span class="standing-mark">
        <Mark size={44} />
      </span>
      <h1>There is no such {what}</h1>
      <p>It may have been deleted, or it belongs to someone else.</p>
      <a class="button" href="/">
        All sessions
      </a>
    </div>
  );
}
