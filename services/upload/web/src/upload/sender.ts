import Uppy from "@uppy/core";
import { RateLimitedQueue } from "@uppy/core/utils";
import Tus, { type TusBody } from "@uppy/tus";
import { API, refuse } from "../api/client";
import { Problem, unreachable } from "../api/problem";
import { uploadIdOf } from "../model/interrupted";
import { mayPass, RETRY_DELAYS_MS } from "../model/retrying";
import { missingIn, unreadable } from "./packed-file";
import type { Origin, SlideFile } from "./slides";

/** Files that are sent at the same time, over all sessions. */
const AT_ONCE = 3;
/** A refusal is heard after this many bytes at the latest; whole chunks of the file store. */
const CHUNK_BYTES = 16 * 1024 * 1024;

const slots = new RateLimitedQueue(AT_ONCE);

type Meta = { session: string; folder?: string; relativePath?: string; [field: string]: unknown };
type TusPlugin = Tus<Meta, TusBody>;
type OnShouldRetry = NonNullable<TusPlugin["opts"]["onShouldRetry"]>;
type OnBeforeRequest = NonNullable<TusPlugin["opts"]["onBeforeRequest"]>;
type TusRequest = Parameters<OnBeforeRequest>[0];
type TusError = Parameters<OnShouldRetry>[0];

/** What happens to files, by the ids that `added` gives them. */
export interface SenderEvents {
  added(files: ({ id: string } & SlideFile)[]): void;
  sending(id: string): void;
  /** Bytes that have left, and the id of the upload at the gateway. */
  sent(id: string, bytes: number, upload: string): void;
  retrying(id: string, problem: Problem): void;
  stored(id: string): void;
  failed(id: string, problem: Problem): void;
}

/** Sends files into one session with Uppy over tus. Uppy refuses doubles by name, size and time, hence one for each session. */
export class Sender {
  private readonly uppy: Uppy<Meta, TusBody>;
  private readonly fileOf = new WeakMap<TusRequest, string>();
  private readonly latest = new Map<string, Problem>();
  private readonly keys = new Map<string, string>();
  /** What is to be paused once Uppy has begun with it: what is paused before that never starts. */
  private readonly pausedEarly = new Set<string>();

  constructor(
    private readonly session: string,
    private readonly events: SenderEvents,
  ) {
    this.uppy = new Uppy<Meta, TusBody>({
      id: session,
      autoProceed: true,
      meta: { session },
      // What goes wrong is shown on the page.
      logger: { debug: () => undefined, warn: () => undefined, error: () => undefined },
    });
    this.uppy.use(Tus<Meta, TusBody>, {
      endpoint: `${API}/tus/`,
      chunkSize: CHUNK_BYTES,
      retryDelays: RETRY_DELAYS_MS,
      rateLimitedQueue: slots,
      allowedMetaFields: ["name", "session", "folder"],
      removeFingerprintOnSuccess: true,
      onBeforeRequest: this.beforeRequest,
      onShouldRetry: this.shouldRetry,
      onUploadUrlAvailable: startOnlyOnce,
    });
    this.uppy.on("file-removed", (file) => this.keys.delete(file.id));
    this.uppy.on("files-added", (files) =>
      events.added(files.map(({ id, data, meta }) => ({ id, file: data as File, origin: originIn(meta) }))),
    );
    // Not at once: Uppy hears of a pause from after its telling that it begins.
    this.uppy.on("upload-start", (files) => window.setTimeout(() => this.pauseThoseOf(files)));
    this.uppy.on("upload-progress", (file, { bytesUploaded }) => {
      const url = file === undefined ? undefined : this.uppy.getFile(file.id)?.tus?.uploadUrl;
      if (file !== undefined && typeof url === "string")
        events.sent(file.id, bytesUploaded || 0, uploadIdOf(url));
    });
    this.uppy.on("upload-success", (file) => {
      if (file === undefined) return;
      events.stored(file.id);
      // Not at once: a file that is removed before its upload has been put away is deleted at the gateway, too.
      window.setTimeout(() => this.uppy.removeFile(file.id));
    });
    this.uppy.on("upload-error", (file, error) => {
      if (file !== undefined)
        events.failed(file.id, this.latest.get(file.id) ?? new Problem(-1, error.message, "Try again."));
    });
  }

  /** Adds files; answers the ids of those that were on the list already. */
  add(files: readonly SlideFile[]): string[] {
    const repeated: string[] = [];
    const note = (file?: { id: string }): number | undefined => file && repeated.push(file.id);
    this.uppy.on("restriction-failed", note);
    this.uppy.addFiles(
      files.map(({ file, origin }) => ({
        name: file.name,
        type: file.type,
        data: file,
        meta: this.metaOf(origin),
      })),
    );
    this.uppy.off("restriction-failed", note);
    return repeated;
  }

  /** Uppy tells files of the same name, size and time apart by the field `relativePath`. */
  private metaOf({ folder, apart }: Origin): Meta {
    return { session: this.session, folder, ...(apart === "" ? {} : { relativePath: apart }) };
  }

  pause(id: string, paused: boolean): void {
    const file = this.uppy.getFile(id);
    if (file === undefined) return;
    if (!file.progress.uploadStarted) {
      if (paused) this.pausedEarly.add(id);
      else this.pausedEarly.delete(id);
    } else if ((file.isPaused ?? false) !== paused) this.uppy.pauseResume(id);
  }

  private pauseThoseOf(files: readonly { id: string }[]): void {
    for (const { id } of files) if (this.pausedEarly.delete(id)) this.pause(id, true);
  }

  /** Goes on with a file that failed, from what the gateway has of it. */
  retry(id: string): void {
    this.latest.delete(id);
    // How it ends is told by the events.
    this.uppy.retryUpload(id).catch(() => undefined);
  }

  /** Stops files; what the gateway has of those that were under way is deleted there. */
  remove(ids: readonly string[]): void {
    this.uppy.removeFiles(ids.filter((id) => this.uppy.getFile(id) !== undefined));
  }

  private readonly beforeRequest: OnBeforeRequest = async (request, file) => {
    this.fileOf.set(request, file.id);
    this.events.sending(file.id);
    if (request.getMethod() === "POST") request.setHeader("Idempotency-Key", this.keyOf(file.id));
    if (request.getMethod() !== "PATCH" || !(file.data instanceof Blob)) return;
    const start = Number(request.getHeader("Upload-Offset") ?? 0);
    const missing = await missingIn(file.data, start, start + CHUNK_BYTES);
    if (missing !== null) throw unreadable(missing.name);
  };

  /** Makes a creation that is repeated, because its answer was lost, the same upload. */
  private keyOf(id: string): string {
    const key = this.keys.get(id) ?? randomKey();
    this.keys.set(id, key);
    return key;
  }

  private readonly shouldRetry: OnShouldRetry = (error, _attempt, _options, next) => {
    const problem = problemOf(error);
    const id = error.originalRequest === null ? undefined : this.fileOf.get(error.originalRequest);
    const again = mayPass(problem.status) && next(error);
    if (id !== undefined) {
      this.latest.set(id, problem);
      if (again) this.events.retrying(id, problem);
    }
    return again;
  };
}

/**
 * After any error answer to "where to go on", tus-js-client begins a new upload, even when the gateway is only
 * restarting. Without the address of new uploads it tries again instead.
 */
function startOnlyOnce(this: unknown): void {
  (this as { endpoint?: string | null }).endpoint = null;
}

const originIn = ({ folder = "", relativePath = "" }: Meta): Origin => ({ folder, apart: relativePath });

function problemOf(error: TusError): Problem {
  if (error.causingError instanceof Problem) return error.causingError;
  const answer = error.originalResponse;
  return answer === null ? unreachable() : refuse(answer.getStatus(), answer.getBody());
}

/** `crypto.randomUUID` exists on secure origins only; a laboratory's server may be plain HTTP. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
