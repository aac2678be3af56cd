import { useEffect, useState } from "preact/hooks";
import { access, operates } from "./api/account";
import { refreshAccess, signOut } from "./api/client";
import { asProblem } from "./api/problem";
import type { Account } from "./api/types";
import { formatBytes, plural } from "./model/format";
import type { ViewerPage } from "./pages/image";
import { PipelinePage } from "./pages/pipeline";
import { SessionPage } from "./pages/session";
import { SessionsPage } from "./pages/sessions";
import { Nowhere, SignIn, Unreachable } from "./pages/standing";
import { StoresPage } from "./pages/stores";
import { TimelinePage } from "./pages/timeline";
import { ConfirmDialog } from "./parts/confirm";
import { Mark } from "./parts/mark";
import { complain, Toasts } from "./parts/toasts";
import { PIPELINE, route, STORES } from "./router";
import { underWay } from "./upload/entries";

export function App() {
  return (
    <>
      <Content />
      <Toasts />
      <ConfirmDialog />
    </>
  );
}

function Content() {
  switch (access.value.kind) {
    case "unknown":
      return null;
    case "unreachable":
      return <Unreachable />;
    case "signed-out":
      return <SignIn />;
    case "signed-in":
      return <SignedIn account={access.value.account} />;
  }
}

function SignedIn({ account }: { account: Account }) {
  const here = route.value;
  if (here.page === "image") return <LateViewer key={here.id} id={here.id} />;
  return (
    <>
      <Header account={account} />
      <main class="page" tabIndex={-1}>
        {here.page === "sessions" && <SessionsPage />}
        {here.page === "session" && <SessionPage key={here.id} id={here.id} />}
        {here.page === "pipeline" && (account.admin ? <PipelinePage /> : <Nowhere what="page" />)}
        {here.page === "timeline" &&
          (account.admin ? <TimelinePage key={here.id} id={here.id} /> : <Nowhere what="page" />)}
        {here.page === "stores" && (account.admin ? <StoresPage /> : <Nowhere what="page" />)}
        {here.page === "nowhere" && <Nowhere what="page" />}
      </main>
    </>
  );
}

function Header({ account }: { account: Account }) {
  return (
    <header class="header">
      <a class="brand" href="/" aria-label="slidemill: all sessions">
        <Mark size={22} />
        <span>slidemill</span>
      </a>
      {operates.value && (
        <nav class="header-nav" aria-label="Operation">
          <a href={PIPELINE} aria-current={route.value.page === "pipeline" ? "page" : undefined}>
            Pipeline
          </a>
          <a href={STORES} aria-current={route.value.page === "stores" ? "page" : undefined}>
            Stores
          </a>
        </nav>
      )}
      <UploadsUnderWay />
      <span class="header-name">{account.name}</span>
      <button type="button" class="link-button" onClick={leave}>
        Sign out
      </button>
    </header>
  );
}

function leave(): void {
  signOut().catch((error: unknown) => complain(asProblem(error), "You are still signed in"));
}

function UploadsUnderWay() {
  const { files, sent, total } = underWay.value;
  if (files === 0) return <span class="header-uploads" />;
  return (
    <span class="header-uploads">
      <span class="dot" />
      {plural(files, "upload")}
      <span class="header-left">· {formatBytes(total - sent)} left</span>
    </span>
  );
}

/** The viewer with OpenSeadragon is most of the script: it is loaded when a slide is opened. */
function LateViewer({ id }: { id: string }) {
  const [Page, setPage] = useState<typeof ViewerPage | null>(null);
  useEffect(() => {
    import("./pages/image")
      .then((module) => setPage(() => module.ViewerPage))
      .catch(() => void refreshAccess());
  }, []);
  return Page === null ? null : <Page id={id} />;
}
