import { expect, it } from "vitest";
import { problemFrom } from "../src/api/problem";
import { imageHref, routeOf, sessionHref, timelineHref } from "../src/router";

it("reads the page from the address", () => {
  expect(routeOf("/")).toEqual({ page: "sessions" });
  expect(routeOf(sessionHref("a/b ü"))).toEqual({ page: "session", id: "a/b ü" });
  expect(routeOf(`${imageHref("x1")}/`)).toEqual({ page: "image", id: "x1" });
  expect(routeOf(timelineHref("a/b"))).toEqual({ page: "timeline", id: "a/b" });
  expect(routeOf("/pipeline/")).toEqual({ page: "pipeline" });
  expect(routeOf("/stores")).toEqual({ page: "stores" });
  expect(routeOf("/sessions/a/timeline")).toEqual({ page: "nowhere" });
  expect(routeOf("/sessions/a/b")).toEqual({ page: "nowhere" });
  expect(routeOf("/sessions/%")).toEqual({ page: "nowhere" });
  expect(routeOf("/api/v1/images/x1/file")).toEqual({ page: "nowhere" });
});

it("reads the gateway's sentences, and has its own for a proxy's page", () => {
  const told = problemFrom(
    422,
    '{"title": "Refused", "detail": "The title is empty.", "remedy": "Give one."}',
  );
  const proxy = problemFrom(502, "<html>Bad gateway</html>");

  expect([told.message, told.remedy]).toEqual(["The title is empty.", "Give one."]);
  expect(problemFrom(415, '{"_id": "u1", "image": "i1"}').about).toEqual({ upload: "u1", image: "i1" });
  expect(proxy.message).toBe("slidemill answered with error 502.");
});
