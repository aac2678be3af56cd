/** Tabs of this browser tell each other what they are sending: what any of them sends is not interrupted. */

const ANSWER_WITHIN_MS = 150;

/** What a tab is sending: the ids of uploads, and the sessions that they go to. */
export interface Sent {
  uploads: ReadonlySet<string>;
  sessions: ReadonlySet<string>;
}

type Message = { kind: "ask" } | ({ kind: "sending" } & Sent);

const channel = new BroadcastChannel("slidemill-uploads");
let heard: Sent[] = [];
let sentHere: () => Sent = () => ({ uploads: new Set(), sessions: new Set() });

channel.addEventListener("message", ({ data }: MessageEvent<Message>) => {
  if (data.kind === "ask") tell({ kind: "sending", ...sentHere() });
  else heard.push(data);
});

const tell = (message: Message): void => channel.postMessage(message);

/** From now on other tabs that ask get this answer. */
export function answerWith(sent: () => Sent): void {
  sentHere = sent;
}

/** What other tabs are sending at the moment. */
export async function sentElsewhere(): Promise<Sent> {
  heard = [];
  tell({ kind: "ask" });
  await new Promise((resolve) => window.setTimeout(resolve, ANSWER_WITHIN_MS));
  return {
    uploads: new Set(heard.flatMap(({ uploads }) => [...uploads])),
    sessions: new Set(heard.flatMap(({ sessions }) => [...sessions])),
  };
}
