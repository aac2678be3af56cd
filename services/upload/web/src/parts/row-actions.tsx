import { operates } from "../api/account";
import { imagePath } from "../api/client";
import type { SlideImage } from "../api/types";
import { imageHref, timelineHref } from "../router";
import { discard, remove } from "../upload/removal";
import type { Row } from "../upload/rows";
import type { Upload } from "../upload/upload";
import { cancel, pause, resume, retry } from "../upload/uploads";
import { ask } from "./confirm";
import { ClockIcon, CloseIcon, DownloadIcon, PauseIcon, PlayIcon, RetryIcon, TrashIcon } from "./icons";
import { Menu } from "./menu";

interface RowActionsProps {
  row: Row;
  name: string;
  openable: boolean;
}

/** What can be done with a file or an image, as far as it has come. */
export function RowActions({ row, name, openable }: RowActionsProps) {
  const { image, upload, interrupted } = row;
  const sending = upload !== null && (upload.phase.value.kind !== "stored" || image === null);
  return (
    <div class="image-actions">
      {openable && (
        <a
          class="button button-open"
          href={imageHref(image?.id ?? "")}
          aria-label={image?.state === "ready" ? `Open ${name}` : `Open what there is of ${name}`}
          data-testid="open-viewer"
        >
          Open
        </a>
      )}
      {sending && <UploadActions upload={upload} name={name} />}
      {!sending && interrupted !== null && (
        <button
          type="button"
          class="icon-button"
          aria-label={`Remove ${name}`}
          title="Remove"
          data-testid="cancel-upload"
          onClick={() => void discard(interrupted)}
        >
          <CloseIcon />
        </button>
      )}
      {!sending && interrupted === null && image !== null && <ImageMenu image={image} name={name} />}
    </div>
  );
}

function UploadActions({ upload, name }: { upload: Upload; name: string }) {
  const phase = upload.phase.value.kind;
  return (
    <>
      {(phase === "sending" || phase === "retrying") && (
        <button
          type="button"
          class="icon-button"
          aria-label={`Pause the upload of ${name}`}
          title="Pause"
          data-testid="pause-upload"
          onClick={() => pause(upload)}
        >
          <PauseIcon />
        </button>
      )}
      {phase === "paused" && (
        <button
          type="button"
          class="icon-button"
          aria-label={`Go on with the upload of ${name}`}
          title="Go on"
          data-testid="resume-upload"
          onClick={() => resume(upload)}
        >
          <PlayIcon />
        </button>
      )}
      {phase === "failed" && upload.sendable && (
        <button
          type="button"
          class="icon-button"
          aria-label={`Send ${name} again`}
          title="Send again"
          data-testid="retry-upload"
          onClick={() => retry(upload)}
        >
          <RetryIcon />
        </button>
      )}
      {phase !== "stored" && (
        <button
          type="button"
          class="icon-button"
          aria-label={phase === "failed" ? `Remove ${name} from the list` : `Cancel the upload of ${name}`}
          title={phase === "failed" ? "Remove" : "Cancel"}
          data-testid="cancel-upload"
          onClick={() => void cancel([upload])}
        >
          <CloseIcon />
        </button>
      )}
    </>
  );
}

function ImageMenu({ image, name }: { image: SlideImage; name: string }) {
  return (
    <Menu label={`More about ${name}`}>
      {image.stages.upload.ended !== null && (
        <a href={imagePath(image.id, "/file")} download="" data-testid="download">
          <DownloadIcon />
          Download the original
        </a>
      )}
      {operates.value && (
        <a href={timelineHref(image.id)} data-testid="open-timeline">
          <ClockIcon />
          Timeline
        </a>
      )}
      <button type="button" class="menu-danger" data-testid="delete-image" onClick={() => askToDelete(image)}>
        <TrashIcon />
        Delete…
      </button>
    </Menu>
  );
}

/** Deletes an image if a person really wants it; `then` follows. */
export function askToDelete(image: SlideImage, then: () => void = () => undefined): void {
  ask({
    title: "Delete this slide?",
    text: `${image.name} goes with its file and all its tiles. This can't be undone.`,
    action: "Delete slide",
    onYes: () => {
      void remove(image.id, image.name).then((gone) => {
        if (gone) then();
      });
    },
  });
}
