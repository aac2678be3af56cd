import { signal } from "@preact/signals";

export type Route =
  | { page: "sessions" }
  | { page: "session"; id: string }
  | { page: "image"; id: string }
  | { page: "nowhere" };

export function routeOf(path: string): Route {
  if (path === "/" || path === "/index.html") return { page: "sessions" };
  const match = /^\/(sessions|images)\/([^/]+)\/?$/.exec(path);
  const id = match?.[2];
  if (match === null || id === undefined) return { page: "nowhere" };
  try {
    return { page: match[1] === "sessions" ? "session" : "image", id: decodeURIComponent(id) };
  } catch {
    return { page: "nowhere" };
  }
}

export const route = signal<Route>({ page: "sessions" });

export const sessionHref = (id: string): string => `/sessions/${encodeURIComponent(id)}`;
export const imageHref = (id: string): string => `/images/${encodeURIComponent(id)}`;

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
