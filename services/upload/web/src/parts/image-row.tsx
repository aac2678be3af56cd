import { useRef, useState } from "preact/hooks";
import { picturePath } from "../api/client";
import type { ImageState, SlideImage } from "../api/types";
import { formatBytes, formatRate, formatRemaining } from "../model/format";
import { isWorking, ratio, stagesBefore, stagesOf, statusLine } from "../model/progress";
import { imageHref } from "../router";
import { cancel, sendAgain, type Upload } from "../upload/queue";
import type { Row } from "../upload/rows";
import { FailureNote } from "./failure";
import { CloseIcon, RetryIcon } from "./icons";
import { Mark } from "./mark";
import { StageTrack } from "./stage-track";

export function ImageRow({ row }: { row: Row }) {
  const { image, upload } = row;
  const name = image?.name ?? row.upload?.file.name ?? "";
  const sent = upload === null ? 0 : ratio(upload.sent.value, upload.file.size);
  const refused = upload?.phase.value.kind === "failed" ? upload.phase.value.problem : null;
  const state = refused !== null ? "failed" : (image?.state ?? beforeState(upload));
  const stages =
    image !== null && refused === null
      ? stagesOf(image, sent)
      : stagesBefore(upload?.phase.value.kind !== "waiting", sent, refused !== null);
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
        <p class="image-name" title={name}>
          {openable ? <a href={imageHref(image.id)}>{name}</a> : name}
        </p>
        {state !== "failed" && <p class="quiet figures">{line(image, upload)}</p>}
      </div>
      <div class="image-progress">{watched.current && <StageTrack stages={stages} />}</div>
      <div class="image-actions">
        {openable && (
          <a
            class="button button-open"
            href={imageHref(image.id)}
            aria-label={image.state === "ready" ? `Open ${name}` : `Open what there is of ${name}`}
            data-testid="open-viewer"
          >
            Open
          </a>
        )}
        {upload !== null && refused !== null && (
          <button
            type="button"
            class="icon-button"
            aria-label={`Send ${name} again`}
            onClick={() => void sendAgain(upload)}
          >
            <RetryIcon />
          </button>
        )}
        {upload !== null && upload.phase.value.kind !== "stored" && (
          <button
            type="button"
            class="icon-button"
            aria-label={refused === null ? `Cancel the upload of ${name}` : `Remove ${name} from the list`}
            data-testid="cancel-upload"
            onClick={() => void cancel(upload)}
          >
            <CloseIcon />
          </button>
        )}
      </div>
      {state === "failed" && failure && <FailureNote reason={failure.reason} remedy={failure.remedy} />}
    </li>
  );
}

const beforeState = (upload: Upload | null): ImageState | "waiting" =>
  upload?.phase.value.kind === "waiting" ? "waiting" : "uploading";

/** What is going on: this browser's own figures while it sends, else what the gateway tells. */
function line(image: SlideImage | null, upload: Upload | null): string {
  if (upload === null || (image !== null && image.state !== "uploading"))
    return image === null ? "" : statusLine(image);
  const phase = upload.phase.value;
  switch (phase.kind) {
    case "waiting":
      return `Waiting, ${formatBytes(upload.file.size)}`;
    case "sending":
      return sendingLine(upload.sent.value, upload.file.size, upload.rate.value);
    case "retrying":
      return `${phase.problem.message} Trying again; nothing is lost.`;
    case "stored":
      return "Checking that every byte arrived";
    case "failed":
      return "";
  }
}

function sendingLine(sent: number, total: number, rate: number | null): string {
  const parts = [`${formatBytes(sent)} of ${formatBytes(total)}`];
  if (rate !== null && rate > 0) parts.push(formatRate(rate), formatRemaining((total - sent) / rate));
  return parts.join(" · ");
}

function Thumbnail({ image, state }: { image: SlideImage | null; state: ImageState | "waiting" }) {
  const [broken, setBroken] = useState(false);
  if (image === null || broken || state !== "ready") {
    return (
      <div class={state === "failed" ? "thumbnail thumbnail-failed" : "thumbnail"}>
        <Mark size={22} turning={state !== "waiting" && isWorking(state)} />
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
