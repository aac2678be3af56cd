import type { ComponentChildren } from "preact";

function Icon({ width, children }: { width: number; children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      <g
        fill="none"
        stroke="currentColor"
        stroke-width={width}
        stroke-linecap="round"
        stroke-linejoin="round"
      >
        {children}
      </g>
    </svg>
  );
}

const drawn =
  (d: string, width = 1.6) =>
  () => (
    <Icon width={width}>
      <path d={d} />
    </Icon>
  );

export const CloseIcon = drawn("M5.5 5.5l9 9M14.5 5.5l-9 9");
export const BackIcon = drawn("M11.5 4.5L6 10l5.5 5.5");
export const ForwardIcon = drawn("M8 4.5l5.5 5.5L8 15.5");
export const PlusIcon = drawn("M10 4.5v11M4.5 10h11");
export const MinusIcon = drawn("M4.5 10h11");
export const HomeIcon = drawn("M3.5 7V3.5H7M13 3.5h3.5V7M16.5 13v3.5H13M7 16.5H3.5V13M7.5 8h5v4h-5z");
export const FullScreenIcon = drawn("M11.5 3.5h5v5M16.5 3.5l-5.5 5.5M8.5 16.5h-5v-5M3.5 16.5L9 11");
export const DetailsIcon = drawn("M3.5 5h13M3.5 10h13M3.5 15h8");
export const UploadIcon = drawn("M10 13V4M6.5 7.5L10 4l3.5 3.5M3.5 13v3h13v-3");
export const AlertIcon = drawn("M10 6.5v4.5M10 13.7v.1M10 2.8l7.6 13.4H2.4z");
export const CopyIcon = drawn("M7.5 7.5h8v8h-8zM4.5 12.5v-8h8");
export const RetryIcon = drawn("M15.5 10a5.5 5.5 0 1 1-1.7-4M15.5 3.5v3.2h-3.2");
export const PauseIcon = drawn("M7 5v10M13 5v10");
export const PlayIcon = drawn("M7 4.5l8 5.5-8 5.5z");
export const MoreIcon = drawn("M4.4 10h.2M9.9 10h.2M15.4 10h.2", 2.4);
export const TrashIcon = drawn("M4 6h12M8 6V4h4v2M5.5 6l.7 10h7.6l.7-10M8.5 9v4.5M11.5 9v4.5");
export const DownloadIcon = drawn("M10 4v9M6.5 9.5L10 13l3.5-3.5M3.5 13v3h13v-3");
export const ClockIcon = drawn("M10 5.8V10l3 2M10 3a7 7 0 1 0 0 14a7 7 0 0 0 0-14z");
