import { useRef, useState } from "preact/hooks";
import { operates } from "../api/account";
import { picturePath } from "../api/client";
import type { ImageState, SlideImage } from "../api/types";
import { formatBytes, formatPercent, formatRate, formatRemaining, formatWhen, plural } from "../model/format";
import { isWorking, ratio, stagesBefore, stagesOf, statusLine } from "../model/progress";
import { storeSource } from "../model/stores";
import { imageHref } from "../router";
import { nameOf, type Row } from "../upload/rows";
import type { Upload } from "../upload/upload";
import { FailureNote } from "./failure";
import { FileName } from "./file-name";
import { askToRetry } from "./going-on";
import { AlertIcon, RetryIcon } from "./icons";
import { Mark } from "./mark";
import { RowActions } from "./row-actions";
import { StageTrack } from "./stage-track";

export type RowState = ImageState | "reading" | "waiting" | "paused" | "interrupted";

export function ImageRow({ row }: { row: Row }) {
  const { image, upload, folder } = row;
  const name = nameOf(row);
  const path = folder === "" ? name : `${folder}/${name}`;
  const phase = upload?.phase.value ?? null;
  const sent = upload === null ? 0 : ratio(upload.sent.value, upload.file.size);
  const refused = phase?.kind === "failed" ? phase.problem : null;
  const state = stateOf(row);
  const begun = phase !== null && (phase.kind === "sending" || phase.kind === "retrying" || sent > 0);
  const stages =
    image !== null && refused === null ? stagesOf(image, sent) : stagesBefore(begun, sent, refused !== null);
  const failure = image?.failure ?? (refused && { reason: refused.message, remedy: refused.remedy });
  const openable = image !== null && (image.viewable || image.state === "ready");
  // Who watched it being made sees every stage done; who comes later sees only what there is to open.
  const watched = useRef(state !== "ready");

  return (
    <li
      class={watched.current ? "image-row" : "image-row image-row-settled"}
      data-testid="image-row"
      data-image-id={image?.id ?? ""}
      data-state={state}
    >
      <Thumbnail image={image} state={state} />
      <div class="image-words">
        <p class="image-name" title={path}>
          {openable ? (
            <a href={imageHref(image.id)}>
              <FileName name={name} />
            </a>
          ) : (
            <FileName name={name} />
          )}
        </p>
        {folder !== "" && (
          <p class="quiet image-folder" title={folder} data-testid="image-folder">
            <FileName name={folder} />
          </p>
        )}
        {state !== "failed" && <p class="quiet figures">{lineOf(row)}</p>}
        {image?.source_vanished && <Vanished image={image} since={image.source_vanished} />}
      </div>
      <div class="image-progress">{watched.current && <StageTrack stages={stages} />}</div>
      <RowActions row={row} name={path} openable={openable} />
      {state === "failed" && failure && (
        <FailureNote reason={failure.reason} remedy={failure.remedy}>
          {operates.value && image?.state === "failed" && image.stages.upload.ended !== null && (
            <button
              type="button"
              class="text-button"
              data-testid="retry-image"
              aria-label={`Try ${path} again`}
              onClick={() => askToRetry(image)}
            >
              <RetryIcon />
              Try again
            </button>
          )}
        </FailureNote>
      )}
    </li>
  );
}

/** The slide stays; only its file is no longer where it came from. */
function Vanished({ image, since }: { image: SlideImage; since: string }) {
  const source = storeSource(image.source);
  return (
    <p class="quiet vanished" title={source?.path} data-testid="vanished">
      <AlertIcon />
      Its file has been gone from {source === null ? "its store" : `the store ${source.store}`} since{" "}
      {formatWhen(since, new Date())}
    </p>
  );
}

function stateOf({ image, upload, interrupted }: Row): RowState {
  const phase = upload?.phase.value.kind;
  if (phase === "failed") return "failed";
  if (image !== null && image.state !== "uploading") return image.state;
  if (phase === "reading" || phase === "waiting" || phase === "paused") return phase;
  return interrupted === null ? "uploading" : "interrupted";
}

/** What is going on: this browser's own figures while it sends, else what the gateway tells. */
function lineOf({ image, upload, interrupted }: Row): string {
  if (image !== null && image.state !== "uploading") return statusLine(image);
  if (upload !== null) return sendingLine(upload);
  if (image === null) return "";
  if (interrupted === null) return statusLine(image);
  const { done, total } = image.stages.upload;
  return `Interrupted at ${formatPercent(ratio(done, total))}. Choose or drop it again to go on from there.`;
}

function sendingLine(upload: Upload): string {
  const phase = upload.phase.value;
  const { size } = upload.file;
  const sent = upload.sent.value;
  switch (phase.kind) {
    case "reading":
      return phase.fraction > 0
        ? `Reading its ${plural(phase.files, "file")}, ${formatPercent(phase.fraction)} of ${formatBytes(size)}`
        : `Waiting, ${plural(phase.files, "file")}, ${formatBytes(size)}`;
    case "waiting":
      return sent > 0
        ? `Waiting, ${formatBytes(sent)} of ${formatBytes(size)}`
        : `Waiting, ${formatBytes(size)}`;
    case "paused":
      return `Paused, ${share(sent, size)}`;
    case "sending": {
      const parts = [share(sent, size)];
      const rate = upload.rate.value;
      if (rate !== null && rate > 0) parts.push(formatRate(rate), formatRemaining((size - sent) / rate));
      return parts.join(" · ");
    }
    case "retrying":
      return `${phase.problem.message} Trying again; nothing is lost.`;
    case "stored":
      return "Checking that every byte arrived";
    case "failed":
      return "";
  }
}

const share = (sent: number, size: number): string =>
  sent > 0 ? `${formatBytes(sent)} of ${formatBytes(size)}` : formatBytes(size);

function Thumbnail({ image, state }: { image: SlideImage | null; state: RowState }) {
  const [broken, setBroken] = useState(false);
  if (image === null || broken || state !== "ready") {
    const turning =
      state === "reading" ||
      (state !== "waiting" && state !== "paused" && state !== "interrupted" && isWorking(state));
    return (
      <div class={state === "failed" ? "thumbnail thumbnail-failed" : "thumbnail"}>
        <Mark size={22} turning={turning} />
      </div>
    );
  }
  return (
    <a class="thumbnail" href={imageHref(image.id)} tabIndex={-1}>
      <img
        src={picturePath(image, "/thumbnail")}
        alt={`Thumbnail of ${image.name}`}
        loading="lazy"
        decoding="async"
        onError={() => setBroken(true)}
      />
    </a>
  );
}
