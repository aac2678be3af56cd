/** The mark: four tiles turning about a fifth, a mill and a mosaic at once. `turning` while work goes on. */
export function Mark({ size, turning = false }: { size: number; turning?: boolean }) {
  return (
    <svg
      class={turning ? "mark mark-turning" : "mark"}
      viewBox="0 0 20 20"
      width={size}
      height={size}
      aria-hidden="true"
    >
      <g fill="currentColor">
        <rect x="0" y="0" width="11.4" height="7.2" rx="1.4" />
        <rect x="12.8" y="0" width="7.2" height="11.4" rx="1.4" opacity="0.5" />
        <rect x="8.6" y="12.8" width="11.4" height="7.2" rx="1.4" />
        <rect x="0" y="8.6" width="7.2" height="11.4" rx="1.4" opacity="0.5" />
        <rect x="8.6" y="8.6" width="2.8" height="2.8" rx="0.8" />
      </g>
    </svg>
  );
}
