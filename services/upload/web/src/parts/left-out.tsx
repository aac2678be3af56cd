import { plural } from "../model/format";
import { dismissLeftOut, leftOut, toldNames } from "../upload/left-out";
import { CloseIcon } from "./icons";

/** What dropped folders held besides slides, and was not sent. */
export function LeftOut({ session }: { session: string }) {
  const paths = leftOut.value.get(session) ?? [];
  if (paths.length === 0) return null;
  return (
    <section class="notice notice-left-out" role="status" data-testid="left-out">
      <details>
        <summary>
          <strong>{plural(paths.length, "file was", "files were")} left out, being no slides:</strong>{" "}
          {toldNames(paths)}
        </summary>
        <ul class="left-out-paths">
          {paths.map((path) => (
            <li key={path}>{path}</li>
          ))}
        </ul>
        <p>A file that you choose by itself is sent whatever it is.</p>
      </details>
      <button
        type="button"
        class="icon-button"
        aria-label="Dismiss what was left out"
        title="Dismiss"
        onClick={() => dismissLeftOut(session)}
      >
        <CloseIcon />
      </button>
    </section>
  );
}
