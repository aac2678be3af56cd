import OpenSeadragon from "openseadragon";

const REOPEN_AFTER_MS = 3000;

/**
 * OpenSeadragon adds an inline style sheet unless it finds its own. This one has the name without being HTML, so that
 * a strict content security policy has nothing to object to. What it would say stands in viewer.css.
 */
function forestallInlineStyle(): void {
  const mark = "data-openseadragon-mobile-css";
  if (document.querySelector(`style[${mark}]`) !== null) return;
  const sheet = document.createElementNS(null, "style");
  sheet.setAttribute(mark, "true");
  document.head.append(sheet);
}

interface SlideViewEvents {
  /** CSS pixels per image pixel, at every change. */
  zoomed(zoom: number): void;
  /** False while the description cannot be read; it is asked for again. */
  opened(opened: boolean): void;
  /** A tile is not there, or did not come. */
  absent(): void;
}

/** OpenSeadragon on one slide, with the little that the page needs of it. */
export class SlideView {
  private readonly viewer: OpenSeadragon.Viewer;
  private absent = new Set<OpenSeadragon.Tile>();
  private timer = 0;

  /** `aspect` is the slide's width over its height, as far as it is known. */
  constructor(container: HTMLElement, address: string, aspect: number, events: SlideViewEvents) {
    forestallInlineStyle();
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const room = container.clientWidth < 600 ? 96 : 168;
    this.viewer = OpenSeadragon({
      element: container,
      tileSources: address,
      // The 2D canvas needs no graphics processor, and tiles of any size fit it.
      drawer: "canvas",
      showNavigationControl: false,
      keyboardNavEnabled: false,
      showNavigator: true,
      navigatorPosition: "TOP_RIGHT",
      navigatorWidth: `${Math.round(Math.min(room, room * aspect))}px`,
      navigatorHeight: `${Math.round(Math.min(room, room / aspect))}px`,
      navigatorAutoFade: false,
      navigatorOpacity: 1,
      navigatorBackground: "transparent",
      navigatorBorderColor: "transparent",
      navigatorDisplayRegionColor: getComputedStyle(container).getPropertyValue("--accent").trim(),
      animationTime: calm ? 0 : 0.6,
      blendTime: calm ? 0 : 0.15,
      maxZoomPixelRatio: 3,
      minZoomImageRatio: 0.7,
      visibilityRatio: 0.4,
      imageLoaderLimit: 8,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    });

    const tell = (): void => {
      const image = this.viewer.world.getItemAt(0);
      if (image !== undefined) events.zoomed(image.viewportToImageZoom(this.viewer.viewport.getZoom(true)));
    };
    this.viewer.addHandler("open", () => {
      events.opened(true);
      tell();
    });
    this.viewer.addHandler("animation", tell);
    this.viewer.addHandler("resize", tell);
    this.viewer.addHandler("open-failed", () => {
      events.opened(false);
      this.timer = window.setTimeout(() => this.viewer.open({ tileSource: address }), REOPEN_AFTER_MS);
    });
    this.viewer.addHandler("tile-load-failed", (event) => {
      this.absent.add(event.tile);
      events.absent();
    });
  }

  /** Asks once more for the tiles that were not there; OpenSeadragon by itself never does. */
  lookAgain(): void {
    for (const tile of this.absent) tile.exists = true;
    this.absent.clear();
    this.viewer.forceRedraw();
  }

  /** Moves by fractions of what is seen. */
  pan(x: number, y: number): void {
    const seen = this.viewer.viewport.getBounds();
    this.viewer.viewport.panBy(new OpenSeadragon.Point(x * seen.width, y * seen.height));
    this.viewer.viewport.applyConstraints();
  }

  zoom(factor: number): void {
    this.viewer.viewport.zoomBy(factor);
    this.viewer.viewport.applyConstraints();
  }

  home(): void {
    this.viewer.viewport.goHome();
  }

  close(): void {
    window.clearTimeout(this.timer);
    this.viewer.destroy();
  }
}
