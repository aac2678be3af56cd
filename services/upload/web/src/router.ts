import { signal } from "@preact/signals";

export type Route =
  | { page: "sessions" }
  | { page: "session"; id: string }
  | { page: "image"; id: string }
  | { page: "timeline"; id: string }
  | { page: "pipeline" }
  | { page: "stores" }
  | { page: "nowhere" };

export function routeOf(path: string): Route {
  if (path === "/" || path === "/index.html") return { page: "sessions" };
  const plain = /^\/(pipeline|stores)\/?$/.exec(path);
  if (plain !== null) return { page: plain[1] === "pipeline" ? "pipeline" : "stores" };
  const match = /^\/(sessions|images)\/([^/]+)(\/timeline)?\/?$/.exec(path);
  const id = match?.[2];
  if (match === null || id === undefined) return { page: "nowhere" };
  const timeline = match[3] !== undefined;
  if (timeline && match[1] === "sessions") return { page: "nowhere" };
  try {
    const page = match[1] === "sessions" ? "session" : timeline ? "timeline" : "image";
    return { page, id: decodeURIComponent(id) };
  } catch {
    return { page: "nowhere" };
  }
}

export const route = signal<Route>({ page: "sessions" });

export const sessionHref = (id: string): string => `/sessions/${encodeURIComponent(id)}`;
export const imageHref = (id: string): string => `/images/${encodeURIComponent(id)}`;
export const timelineHref = (id: string): string => `${imageHref(id)}/timeline`;
export const PIPELINE = "/pipeline";
export const STORES = "/stores";

export function navigate(path: string): void {
  history.pushState(null, "", path);
  route.value = routeOf(location.pathname);
  window.scrollTo(0, 0);
  // The link that was followed is gone: the keyboard and the screen reader go on from the new page.
  requestAnimationFrame(() => document.querySelector("main")?.focus({ preventScroll: true }));
}

/** Follows the address bar, and turns plain clicks on the page's own links into navigation without a reload. */
export function startRouter(): void {
  route.value = routeOf(location.pathname);
  window.addEventListener("popstate", () => {
    route.value = routeOf(location.pathname);
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.target !== "" || link.hasAttribute("download")) return;
    const url = new URL(link.href, location.href);
    if (url.origin !== location.origin || routeOf(url.pathname).page === "nowhere") return;
    event.preventDefault();
    navigate(url.pathname);
  });
}
