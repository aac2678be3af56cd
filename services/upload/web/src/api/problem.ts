/** An error answer (application/problem+json) or a connection that failed (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly remedy: string,
    /** The upload that it is about and the image as which that appears, where the gateway names them. */
    readonly about: { upload: string; image: string } | null = null,
  ) {
    super(message);
  }
}

export const unreachable = (): Problem =>
  new Problem(0, "slidemill does not answer.", "Check that it is running and that you are connected.");

/** Reads an error answer; a proxy's HTML page in its place gives a plain sentence. */
export function problemFrom(status: number, body: string): Problem {
  let fields: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === "object" && parsed !== null) fields = parsed as Record<string, unknown>;
  } catch {
    // Not JSON: the sentences below stand in.
  }
  const text = (key: string): string | null => {
    const value = fields[key];
    return typeof value === "string" && value !== "" ? value : null;
  };
  const upload = text("_id");
  const image = text("image");
  return new Problem(
    status,
    text("detail") ?? text("title") ?? `slidemill answered with error ${status}.`,
    text("remedy") ?? (status >= 500 ? "Try again in a moment." : "Reload the page and try again."),
    upload !== null && image !== null ? { upload, image } : null,
  );
}

export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(
    -1,
    error instanceof Error ? error.message : String(error),
    "Reload the page and try again.",
  );
}
